"""`function`: a user's own verifier, and every way in which it can be wrong."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from distill_data.errors import UsageError, VerifierFailed
from distill_data.quality import make_verifier

MODULE = """
LIMIT = 3

def same(answer, gold):
    return answer == gold

def broken(answer, gold):
    return {}[answer]

def silent(answer, gold):
    raise RuntimeError

def number(answer, gold):
    return 1

def late(answer, gold):
    import my_late_part
    return my_late_part.YES
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "my_checks.py").write_text(MODULE)
    (tmp_path / "my_late_part.py").write_text("YES = True")
    (tmp_path / "my_broken.py").write_text("import nowhere_at_all")
    (tmp_path / "my_exit.py").write_text("raise SystemExit(0)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    for name in [name for name in sys.modules if name.startswith("my_")]:
        del sys.modules[name]
    return tmp_path


def test_a_function_in_the_working_directory(here: Path) -> None:
    verify = make_verifier("function", "my_checks:same", allow_code=True)
    assert verify("a", "a") is True
    assert verify("a", "b") is False
    assert make_verifier("function", "my_checks:late", allow_code=True)("a", "b") is True
    assert sys.path[-1] == str(here)


def test_a_function_of_an_installed_module(here: Path) -> None:
    assert make_verifier("function", "fnmatch:fnmatch", allow_code=True)("abc", "a*") is True


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (None, "needs module:function, such as my_checks:same_answer, but it is nothing"),
        ("my_checks", "needs module:function.*'my_checks'"),
        ("my_checks:", "needs module:function"),
        (":same", "needs module:function"),
        ("my_checks.py:same", "there is no module 'my_checks.py'"),
        ("./my_checks:same", "needs module:function"),
        ("my_checks:same:more", "needs module:function"),
        ("my_chekcs:same", "there is no module 'my_chekcs'. It is looked for in .* first"),
        ("my_broken:same", "importing 'my_broken' ends in ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("my_exit:same", "importing 'my_exit' ends in SystemExit: 0"),
        ("my_checks:sam", r"there is no 'sam' in 'my_checks' \(.*my_checks.py\). Write there: def sam\("),
        ("my_checks:LIMIT", "'LIMIT' is no function in 'my_checks'"),
        ({"module": "my_checks"}, "needs module:function"),
    ],
)
def test_what_names_no_function_is_refused(here: Path, place: object, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_verifier("function", place, allow_code=True)


@pytest.mark.parametrize(
    ("name", "detail"),
    [
        ("broken", "my_checks:broken raised KeyError: 'a'"),
        ("silent", "my_checks:silent raised RuntimeError"),
        ("number", "my_checks:number returned 1, and not True or False"),
    ],
)
def test_a_function_that_fails_is_named_without_a_traceback(here: Path, name: str, detail: str) -> None:
    with pytest.raises(VerifierFailed) as raised:
        make_verifier("function", f"my_checks:{name}", allow_code=True)("a", "b")
    assert raised.value.detail == detail


def test_a_recipe_alone_imports_nothing(here: Path) -> None:
    with pytest.raises(UsageError, match=r"runs your module \(my_exit:same\).*--allow-code"):
        make_verifier("function", "my_exit:same")

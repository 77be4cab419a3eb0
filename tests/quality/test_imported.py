"""`function`: a user's own verifier, and every way in which it can be wrong."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from distill_data.errors import UsageError, VerifierFailed
from distill_data.quality import caller, imported, make_verifier
from distill_data.quality.imported import fingerprint

MODULE = r"""
import os, re, signal, sys, time
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

def leaves(answer, gold):
    sys.exit(0)

def interrupts(answer, gold):
    raise KeyboardInterrupt

def dies(answer, gold):
    if answer == "die":
        os._exit(0)
    return True

def loops(answer, gold):
    while answer == "loop":
        pass
    return True

def locks(answer, gold):
    return answer != "loop" or bool(re.match(r"(a+)+$", "a" * 64 + "b"))

def chats(answer, gold):
    print('{"verdict": false}', flush=True)
    os.write(1, b'{"verdict": false}\n')
    return sys.stdin.read() == "" and os.environ["MY_OWN"] == "here" and "PYTHONPATH" not in os.environ

def alarms(answer, gold):
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.alarm(1)
    return signal.alarm(0) == 1
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "my_checks.py").write_text(MODULE)
    (tmp_path / "my_late_part.py").write_text("YES = True")
    (tmp_path / "my_broken.py").write_text("import nowhere_at_all")
    (tmp_path / "my_death.py").write_text("import os; os._exit(0)")
    (tmp_path / "my_exit.py").write_text("raise SystemExit(0)")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_function_in_the_working_directory(here: Path) -> None:
    verify = make_verifier("function", "my_checks:same", allow_code=True)
    assert verify("a", "a") is True
    assert verify("a", "b") is False
    assert make_verifier("function", "my_checks:late", allow_code=True)("a", "b") is True
    assert str(here) not in sys.path and "my_checks" not in sys.modules, "it is imported elsewhere"


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
        ("my_death:same", "importing 'my_death' ended its process"),
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
        ("leaves", "my_checks:leaves raised SystemExit: 0"),
        ("interrupts", "my_checks:interrupts raised KeyboardInterrupt"),
    ],
)
def test_a_function_that_fails_is_named_without_a_traceback(here: Path, name: str, detail: str) -> None:
    with pytest.raises(VerifierFailed) as raised:
        make_verifier("function", f"my_checks:{name}", allow_code=True)("a", "b")
    assert raised.value.detail == detail


def test_a_function_that_ends_its_process_is_called_again_in_another(here: Path) -> None:
    verify = make_verifier("function", "my_checks:dies", allow_code=True)
    assert verify("a", "b") is True
    with pytest.raises(VerifierFailed, match="my_checks:dies ended its process"):
        verify("die", "b")
    assert verify("a", "b") is True


@pytest.mark.parametrize("name", ["loops", "locks"])
def test_a_call_that_never_ends_is_given_up_and_holds_nobody_else(
    here: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(imported, "CALLING", 1)
    verify = make_verifier("function", f"my_checks:{name}", allow_code=True)
    failures: list[str] = []

    def stuck() -> None:
        with pytest.raises(VerifierFailed) as raised:
            verify("loop", "b")
        failures.append(raised.value.detail)

    thread = threading.Thread(target=stuck)
    thread.start()
    time.sleep(0.1)
    assert verify("a", "b") is True
    assert not failures, "another call was answered while this one is still waited for"
    thread.join()
    assert failures == [f"my_checks:{name} took longer than 1 s"]
    assert all(verify("a", "b") for _ in range(imported.AT_ONCE))


@pytest.mark.parametrize(
    ("place", "lines", "ended"), [("my_checks:locks", 1, signal.SIGALRM), ("my_loop:same", 0, signal.SIGKILL)]
)
def test_a_child_whose_parent_is_gone_ends_itself(here: Path, place: str, lines: int, ended: int) -> None:
    """At once, and where the interpreter's lock is held by its alarm. Its own limits are longer than the parent's, so
    less than nothing is given to have them short."""
    (here / "my_loop.py").write_text("while True: pass")
    limits = [str(1 - caller.SPARE)] * 2 if lines == 0 else ["10", str(1 - caller.SPARE)]
    child = [sys.executable, "-P", caller.__file__, json.dumps(sys.path), place, *limits]
    with subprocess.Popen(child, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin and process.stdout
        process.stdin.write(b'["loop", ""]\n')
        process.stdin.flush()
        time.sleep(0.5)
        process.stdin.close()
        assert process.stdout.read().count(b"\n") == lines
    assert process.returncode == -ended


def test_a_child_that_waits_for_work_is_not_ended(here: Path) -> None:
    limits = [str(1 - caller.SPARE)] * 2
    child = [sys.executable, "-P", caller.__file__, json.dumps(sys.path), "my_checks:same", *limits]
    with subprocess.Popen(child, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin and process.stdout
        time.sleep(1.2)
        process.stdin.write(b'["a", "a"]\n')
        process.stdin.flush()
        told = [process.stdout.readline() for _ in range(2)]
    assert told == [b"{}\n", b'{"verdict": true}\n']


def test_what_a_function_started_ends_with_its_parent(here: Path) -> None:
    (here / "my_sleeper.py").write_text(
        "import subprocess\ndef same(a, b):\n    subprocess.run(['sleep', '97531'])\n    return True\n"
    )
    child = [sys.executable, "-P", caller.__file__, json.dumps(sys.path), "my_sleeper:same", "10", "10"]
    with subprocess.Popen(child, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin and process.stdout
        process.stdin.write(b'["a", "a"]\n')
        process.stdin.flush()
        process.stdout.readline()
        time.sleep(0.5)
    assert process.returncode == -signal.SIGKILL
    assert "97531" not in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout


def test_the_time_limit_is_half_a_minute() -> None:
    assert imported.CALLING == 30


def test_a_module_that_is_never_imported_is_refused(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imported, "LOADING", 1)
    (here / "my_loop.py").write_text("while True: pass")
    with pytest.raises(UsageError, match="importing 'my_loop' took longer than 1 s"):
        make_verifier("function", "my_loop:same", allow_code=True)


def test_a_function_prints_reads_and_uses_signals_as_it_likes(
    here: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MY_OWN", "here")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    verify = make_verifier("function", "my_checks:chats", allow_code=True)
    assert verify("a", "b") and verify("a", "b")
    told = capfd.readouterr()
    assert told.out == "" and told.err.count('{"verdict": false}') == 4
    assert make_verifier("function", "my_checks:alarms", allow_code=True)("a", "b") is True


def test_any_text_reaches_the_function_as_it_is(here: Path) -> None:
    verify = make_verifier("function", "my_checks:same", allow_code=True)
    for text in ("", "\n", "\u2028\0\r\n", "\udc80", "😀" * 300_000):
        assert verify(text, text) is True
        assert verify(text, text + " ") is False


def test_a_recipe_alone_imports_nothing(here: Path) -> None:
    with pytest.raises(UsageError, match=r"runs your module \(my_exit:same\).*with --allow-code.*label runs no code"):
        make_verifier("function", "my_exit:same")


def test_a_fingerprint_changes_with_the_file_and_runs_nothing(here: Path) -> None:
    (here / "my_package" / "deep").mkdir(parents=True)
    for place, file in (
        ("my_exit:same", here / "my_exit.py"),
        ("my_package:same", here / "my_package" / "__init__.py"),
        ("my_package.part:same", here / "my_package" / "part.py"),
        ("my_package.deep:same", here / "my_package" / "deep" / "__init__.py"),
        ("my_package.deep.part:same", here / "my_package" / "deep" / "part.py"),
    ):
        for source in (b"raise SystemExit(0)", b"raise SystemExit(1)"):
            file.write_bytes(source)
            assert fingerprint(place) == hashlib.sha256(source).hexdigest()
    assert not any(name.startswith("my_") for name in sys.modules)


def test_a_fingerprint_of_an_installed_module_and_of_none(here: Path) -> None:
    installed = Path(str(sys.modules["threading"].__file__))
    assert fingerprint("threading:Thread") == hashlib.sha256(installed.read_bytes()).hexdigest()
    assert [fingerprint(place) for place in ("my_nowhere:f", "my_package.nowhere:f", "sys:f", "", "..:f")] == [""] * 5

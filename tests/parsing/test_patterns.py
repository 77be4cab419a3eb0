"""Patterns that users, recipes and rows wrote: as Python reads them, and every search ends."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_data.commands.filter import filter_rows
from distill_data.errors import UsageError, VerifierFailed
from distill_data.parsing import make_parser, patterns
from distill_data.parsing.patterns import TooSlow, make_find
from distill_data.parsing.schemas import make_schema_check
from distill_data.quality import make_verifier
from distill_data.quality.filters import make_filter

CATASTROPHES = [
    ("(a+)+$", "a" * 50 + "b"),
    ("(a|a)*$", "a" * 50 + "b"),
    ("(a|aa)+$", "a" * 60 + "b"),
    ("(.*a){25}b", "a" * 60),
    ("(?:(a{1,100}){1,100}){1,100}b", "a" * 3000 + "c"),
    (r"^(\w+\s?)*$", "word " * 40 + "!"),
    (r"\s+$", " " * 100_000 + "x"),
]


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a test takes a part of the time that a user waits at most."""
    monkeypatch.setattr(patterns, "SECONDS", 0.03)


@pytest.mark.parametrize(("pattern", "text"), CATASTROPHES)
def test_a_search_without_an_end_ends(pattern: str, text: str, hurried: None) -> None:
    started = time.process_time()
    try:
        assert make_find(pattern)(text) in (True, False)
    except TooSlow as error:
        assert "took longer than 0.03 s" in str(error)
    assert time.process_time() - started < 1.5


SLOW, TEXT = "(a|a)*$", "a" * 50 + "b"


def reason_of_filter(name: str) -> str | None:
    return make_filter(f"{name}:{SLOW}")({"prompt": "?", "completion": TEXT})


def reason_of_schema(schema: dict[str, Any], value: Any) -> str | None:
    return make_schema_check("schema", schema)(value)


@pytest.mark.parametrize(
    "judge",
    [
        lambda: reason_of_filter("regex"),
        lambda: reason_of_filter("no-regex"),
        lambda: reason_of_schema({"pattern": SLOW}, TEXT),
        lambda: reason_of_schema({"patternProperties": {SLOW: {}}}, {TEXT: 1}),
        lambda: reason_of_schema({"patternProperties": {SLOW: False}, "additionalProperties": False}, {TEXT: 1}),
        lambda: reason_of_schema({"propertyNames": {"pattern": SLOW}}, {TEXT: 1}),
    ],
)
def test_a_slow_pattern_is_a_reason_and_no_hang(judge: Callable[[], str | None], hurried: None) -> None:
    reason = judge()
    assert reason
    assert "slow" in reason or "took longer" in reason


@pytest.mark.parametrize("args", [SLOW, None])
def test_a_slow_verifier_fails_its_item(args: str | None, hurried: None) -> None:
    with pytest.raises(VerifierFailed, match="took longer"):
        make_verifier("regex", args)(TEXT, SLOW)


def test_one_slow_row_does_not_stop_the_others(tmp_path: Path, hurried: None) -> None:
    rows = [{"prompt": "?", "completion": text} for text in ("aaa", TEXT, "a")]
    data, out = tmp_path / "data.jsonl", tmp_path / "out.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = filter_rows(str(data), checks=[f"regex:^{SLOW}"], output=str(out))
    assert done.result["reasons"] == {"regex-too-slow": 1}
    assert len(out.read_text().splitlines()) == 2


def test_keywords_with_patterns_mean_what_they_meant() -> None:
    schema = {
        "properties": {"n": {"pattern": "^[0-9]+$"}},
        "patternProperties": {"^x-": {"type": "integer"}},
        "additionalProperties": False,
    }
    check = make_schema_check("schema", schema)
    assert check({"n": "12", "x-a": 1}) is None
    assert "does not match" in str(check({"n": "a"}))
    assert "is not of type 'integer'" in str(check({"x-a": "1"}))
    assert "'y' was unexpected" in str(check({"y": 1, "x-a": 1}))
    assert make_parser("json", schema)('{"n": "7"}')["value"] == {"n": "7"}
    with pytest.raises(UsageError, match="unevaluatedProperties beside patternProperties"):
        make_schema_check("schema", {"patternProperties": {"a": {}}, "unevaluatedProperties": False})


@pytest.mark.parametrize(
    ("pattern", "found", "not_found"),
    [
        ("^x{e}$", "x{e}", "y"),
        (r"\\frac{d}{s}", r"\frac{d}{s}", "frac"),
        ("a{e<=1}", "a{e<=1}", "a"),
        ("^a{2}{i}$", "aa{i}", "aab"),
        ("[{]i}", "{i}", "i"),
        (r"^\N{BULLET}{2}$", "••", "•"),
    ],
)
def test_braces_mean_what_they_mean_to_python(pattern: str, found: str, not_found: str) -> None:
    find = make_find(pattern)
    assert [find(found), find(not_found)] == [True, False]
    assert [bool(re.search(pattern, found)), bool(re.search(pattern, not_found))] == [True, False]


@pytest.mark.parametrize("pattern", ["(", "a{99999999999}", "(" * 5000 + ")" * 5000, "x" * 10_001, "(?P<a>x)(?P<a>"])
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(UsageError, match="pattern"):
        make_find(pattern)


SIMPLE = st.lists(st.sampled_from(["a", "b", ".", "[ab]", "(a|b)", "a?", "b*", "\\w", "^", "$", "(?i)"])).map("".join)


@given(SIMPLE, st.text(alphabet="abAB \n"))
def test_patterns_are_read_as_python_reads_them(pattern: str, text: str) -> None:
    try:
        expected = re.search(pattern, text) is not None
    except re.error:
        return
    assert make_find(pattern)(text) is expected

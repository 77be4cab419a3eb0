"""Specifications and calls: what is read, what is refused, and with which word."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_data.errors import ParseError, SeedError
from distill_data.tools import TOOLS, Call, execute, read_calls, read_spec
from tests.tools import SPECS

LEAP = {"name": "is_leap_year", "arguments": {"year": 2024}}


def test_calls_are_read_in_order() -> None:
    sort = {"name": "sort_numbers", "arguments": {"values": [2, 1]}}
    assert read_calls([LEAP, sort, LEAP], SPECS) == [
        Call("is_leap_year", {"year": 2024}),
        Call("sort_numbers", {"values": [2, 1]}),
        Call("is_leap_year", {"year": 2024}),
    ]


@pytest.mark.parametrize(
    ("value", "reason", "why"),
    [
        ([], "no-calls", "empty"),
        (None, "bad-calls", "no list"),
        (LEAP, "bad-calls", "no list"),
        ("is_leap_year", "bad-calls", "no list"),
        ([LEAP] * 17, "bad-calls", "17 calls"),
        ([LEAP, 3], "bad-calls", "call 2"),
        ([{"name": "is_leap_year"}], "bad-calls", "exactly"),
        ([{**LEAP, "id": "1"}], "bad-calls", "exactly"),
        ([{**LEAP, "name": None}], "bad-calls", "no text"),
        ([{**LEAP, "name": ["is_leap_year"]}], "bad-calls", "no text"),
        ([{**LEAP, "arguments": '{"year": 2024}'}], "bad-calls", "no object"),
        ([LEAP, {**LEAP, "name": "leap"}], "unknown-function", "call 2: 'leap' is none of calculate, "),
        ([{**LEAP, "name": "__import__"}], "unknown-function", "none of"),
        ([{**LEAP, "arguments": {}}], "wrong-arguments", "'year' is a required property"),
        ([{**LEAP, "arguments": {"year": "2024"}}], "wrong-arguments", "$.year: '2024' is not of type 'integer'"),
        ([{**LEAP, "arguments": {"year": True}}], "wrong-arguments", "$.year"),
        ([{**LEAP, "arguments": {"year": 2024, "month": 2}}], "wrong-arguments", "'month' was unexpected"),
        ([{"name": "sort_numbers", "arguments": {"values": [1, None]}}], "wrong-arguments", "$.values[1]"),
    ],
)
def test_what_is_no_call_is_refused_with_its_reason(value: Any, reason: str, why: str) -> None:
    with pytest.raises(ParseError) as caught:
        read_calls(value, SPECS)
    assert caught.value.reason == reason
    assert why in caught.value.detail


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)
NAMES = st.sampled_from([*TOOLS, "rm"]) | st.text(max_size=8)
ENTRIES = st.fixed_dictionaries(
    {"name": NAMES, "arguments": st.dictionaries(st.sampled_from(["year", "text", "values"]), JSON_VALUES)}
)


@settings(max_examples=300, deadline=None)
@given(JSON_VALUES | st.lists(ENTRIES | JSON_VALUES, max_size=3))
def test_any_value_is_calls_that_can_be_tried_or_a_reason(value: Any) -> None:
    try:
        calls = read_calls(value, SPECS)
    except ParseError as error:
        assert error.reason in {"no-calls", "bad-calls", "unknown-function", "wrong-arguments"}
        return
    assert [{"name": call.name, "arguments": call.arguments} for call in calls] == value
    for call in calls:
        try:
            execute(call)
        except ParseError as error:
            assert error.reason == "execution-failed"


PARAMETERS = {"type": "object", "properties": {"a": {"type": "string"}}}


def spec_row(**changes: Any) -> dict[str, Any]:
    return {"name": "f", "description": "Does it.", "parameters": json.dumps(PARAMETERS), **changes}


def test_a_specification_may_be_anybodys_and_is_not_run() -> None:
    spec = read_spec(spec_row(name="light-on"), "m.jsonl:1")
    [call] = read_calls([{"name": "light-on", "arguments": {"a": "x"}}], [spec])
    assert spec.parameters == PARAMETERS
    with pytest.raises(ParseError, match="execution-failed"):
        execute(call)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"name": ""}, "needs the text 'name'"),
        ({"description": 3}, "needs the text 'description'"),
        ({"parameters": None}, "needs the text 'parameters'"),
        ({"name": "two words"}, "no function name"),
        ({"name": "f" * 65}, "no function name"),
        ({"parameters": "{"}, "not-json"),
        ({"parameters": "[]"}, "type 'object'"),
        ({"parameters": '{"type": "string"}'}, "type 'object'"),
        ({"parameters": '{"type": "object", "properties": 3}'}, "broken at $.properties"),
        ({"parameters": '{"type": "object", "$ref": "file:///etc/passwd"}'}, "leaves the schema"),
    ],
)
def test_a_row_that_is_no_specification_is_named_with_its_line(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(SeedError, match=r"^m\.jsonl:7: ") as caught:
        read_spec(spec_row(**changes), "m.jsonl:7")
    assert why in str(caught.value)

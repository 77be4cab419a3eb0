"""`json`: one whole document, strict, with or without a fence, and what a schema says about it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_data.errors import ParseError
from distill_data.parsing import make_parser
from distill_data.parsing.strict_json import identity, read_json

PARSE = make_parser("json", None)


@pytest.mark.parametrize(
    ("reply", "value", "text"),
    [
        (' {"b": 1, "a": [1.5, null]}\n', {"b": 1, "a": [1.5, None]}, '{"a":[1.5,null],"b":1}'),
        ("\ufeff3", 3, "3"),
        ('Here it is:\n```json\n{"a": "é"}\n```\nAnything else?', {"a": "é"}, '{"a":"é"}'),
        ("~~~\n[1]\n~~~", [1], "[1]"),
        ('"```\\n1\\n```"', "```\n1\n```", '"```\\n1\\n```"'),
        ("[" * 64 + "]" * 64, read_json("[" * 64 + "]" * 64), "[" * 64 + "]" * 64),
        ("18446744073709551615", 2**64 - 1, "18446744073709551615"),
    ],
)
def test_reads(reply: str, value: Any, text: str) -> None:
    assert PARSE(reply) == {"value": value, "text": text}


@pytest.mark.parametrize(
    ("reply", "detail"),
    [
        ("", "Expecting value"),
        ("I cannot", "Expecting value"),
        ('{"a": 1} and more', "Extra data"),
        ('{"a": 1}{"a": 2}', "Extra data"),
        ('{"a": 1', "Expecting"),
        ("{'a': 1}", "Expecting"),
        ('{"a": 1, "a": 2}', "the same key twice"),
        ("NaN", "NaN is no JSON"),
        ("[-Infinity]", "-Infinity is no JSON"),
        ("1e999", "too large"),
        ("18446744073709551616", "64-bit"),
        ("9" * 5000, "digits"),
        ("[" * 65 + "]" * 65, "more than 64 levels"),
        ("[" * 200_000, "nested too deep"),
        ('"\\ud800"', "surrogates"),
        ('{"\\ud800": 1}', "surrogates"),
        ("```json\n1\n```\n```json\n2\n```", "2 fenced blocks"),
        ('```json\n{"a": 1}', "not closed"),
        ("Sure: ```json {} ```", "Expecting value"),
        ('{"a": "\n```json\n{}\n```\n"}', "Invalid control character"),
    ],
)
def test_refuses(reply: str, detail: str) -> None:
    with pytest.raises(ParseError) as refused:
        PARSE(reply)
    assert refused.value.reason == "not-json"
    assert detail in refused.value.detail


SCHEMA = {
    "type": "object",
    "properties": {
        "people": {"type": "array", "items": {"$ref": "#/$defs/person"}},
        "$ref": {"type": "integer"},
    },
    "required": ["people"],
    "$defs": {"person": {"type": "object", "properties": {"age": {"type": "integer", "minimum": 0}}}},
}


def test_a_schema_decides() -> None:
    parse = make_parser("json", SCHEMA)
    assert parse('{"people": [{"age": 3}]}')["value"] == {"people": [{"age": 3}]}
    with pytest.raises(ParseError, match=r"^schema: \$\.people\[1\]\.age: -1 is less than the minimum of 0$"):
        parse('{"people": [{"age": 3}, {"age": -1}]}')
    with pytest.raises(ParseError, match=r"^schema: \$: 'people' is a required property$"):
        parse("{}")
    with pytest.raises(ParseError, match=r"^schema: \$\['\$ref'\]: 'x' is not of type 'integer'$|^schema: \$"):
        parse('{"people": [], "$ref": "x"}')


def test_a_recursive_schema_follows_a_value_down() -> None:
    tree = {"$id": "https://example.org/tree", "type": "object", "properties": {"left": {"$ref": "#"}}}
    parse = make_parser("json", tree)
    deep: dict[str, Any] = {}
    for _ in range(60):
        deep = {"left": deep}
    assert parse(json.dumps(deep))["value"] == deep
    with pytest.raises(ParseError, match=r"^schema"):
        parse('{"left": {"left": 1}}')


def test_an_older_draft_keeps_its_rules() -> None:
    old = {"$schema": "http://json-schema.org/draft-04/schema#", "minimum": 1, "exclusiveMinimum": True}
    parse = make_parser("json", old)
    assert parse("2")["value"] == 2
    with pytest.raises(ParseError, match=r"^schema"):
        parse("1")


def test_a_long_fault_is_cut() -> None:
    with pytest.raises(ParseError) as refused:
        make_parser("json", {"type": "integer"})(json.dumps("x" * 10_000))
    assert len(refused.value.detail) <= 300


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
    max_leaves=15,
)


@given(VALUES)
def test_every_json_value_is_read_and_its_text_is_the_same_value(value: Any) -> None:
    fields = PARSE(json.dumps(value))
    assert fields["value"] == value
    assert PARSE(fields["text"]) == fields
    assert PARSE(f"So:\n```json\n{json.dumps(value, indent=2)}\n```") == fields


@given(VALUES, VALUES)
def test_identity_is_equality_of_json_values(one: Any, other: Any) -> None:
    assert (identity(one) == identity(other)) == (_typed(one) == _typed(other))


def _typed(value: Any) -> Any:
    """A slower telling apart of true and 1, by text: only numbers and truths differ from plain equality."""
    if isinstance(value, list):
        return [_typed(entry) for entry in value]
    if isinstance(value, dict):
        return {key: _typed(entry) for key, entry in value.items()}
    return f"truth {value}" if isinstance(value, bool) else value


def test_identity_tells_truth_from_one() -> None:
    assert identity([1, {"a": 1.0}]) == identity([1.0, {"a": 1}])
    assert identity([True]) != identity([1])
    assert identity({"a": False}) != identity({"a": 0})
    assert identity("1") != identity(1)
    assert identity([]) != identity({})

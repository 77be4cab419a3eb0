"""What holds for every parser: any text gives the promised fields or a ParseError, and soon."""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_data.errors import ParseError, UsageError
from distill_data.parsing import FIELDS, PARSERS, Parser, fields_of, make_parser

SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "pattern": "^a"}, "n": {"multipleOf": 0.1, "maximum": 5}},
    "required": ["name"],
    "additionalProperties": {"$ref": "#"},
}
CASES: list[tuple[str, Any]] = [
    ("text", None),
    ("choice", ["positive", "negative", "很好"]),
    ("choice", {"C": "a language", "C++": "another", "C#": "a third"}),
    ("tags", ["reasoning", "answer"]),
    ("tags", {"reasoning": "text", "answer": {"choice": ["positive", "C++"]}, "name": {"score": [1, 10]}}),
    ("ranking", 2),
    ("ranking", 9),
    ("json", None),
    ("json", SCHEMA),
    ("json", {"type": "array", "uniqueItems": True, "items": {"type": ["object", "number"]}}),
    ("score", [1, 10]),
    ("list", None),
    ("code", None),
]
PARSERS_UNDER_TEST = [(name, args, make_parser(name, args)) for name, args in CASES]

# fmt: off
PIECES = st.sampled_from([
    "<reasoning>", "</reasoning>", "<answer>", "</answer>", "<", ">", "/", "```", "```json", "~~~", "\n", "\r\n", " ",
    "1. ", "2. ", "3) ", "１、", "Answer:", "答案：", "Score: ", "7", "-3", "1e999", "/10", "positive", "C++", "很好",
    " > ", "[1]", "[2]", "Ranking:",
    "**", "NaN", "null", "{", "}", "[", "]", '"', "\\", "\\ud800", ":", ",", "name", "a", "\u2028", "\u0301", "\uff9e",
    "\x00",
])
# fmt: on
UNICODE = st.text(st.characters(exclude_categories=["Cs"]))
BYTES = st.binary().map(lambda raw: raw.decode("latin-1"))
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5) | st.just("name"), inner, max_size=4)
    ),
    max_leaves=20,
)
REPLIES = st.one_of(UNICODE, BYTES, st.lists(PIECES, max_size=30).map("".join), JSON_VALUES.map(json.dumps))


def outcome(parse: Parser, text: str) -> tuple[str, Any]:
    try:
        return "fields", parse(text)
    except ParseError as error:
        assert error.reason
        assert error.reason.replace("-", "").isalpha()
        return "refused", error.reason


def test_the_tables_name_the_same_parsers_and_each_is_tried_here() -> None:
    assert PARSERS.keys() == FIELDS.keys() == {name for name, _ in CASES}


@settings(max_examples=300, deadline=None)
@given(REPLIES)
def test_any_text_gives_the_promised_fields_or_a_parse_error(text: str) -> None:
    for name, args, parse in PARSERS_UNDER_TEST:
        how, result = outcome(parse, text)
        if how == "fields":
            assert tuple(result) == fields_of(name, args)
            assert orjson.loads(orjson.dumps(result)) == result, "what is parsed can be written"
        assert outcome(parse, text) == (how, result), "the same text is parsed in the same way"


@given(st.text())
def test_a_lone_surrogate_is_refused_whatever_the_parser(text: str) -> None:
    for _, _, parse in PARSERS_UNDER_TEST:
        with pytest.raises(ParseError, match="not-unicode"):
            parse(text + "\ud800")


SIZE = 100_000
# fmt: off
PATHOLOGICAL = [
    "a", "*", "_", '"', "'", "`", "`` ", "```\n", " ```", "~~~\n", "``` `\n", "``````json\n", " ", "\n", "\r\n", "\t",
    "<", "<answer", "<answer>", "<reasoning>", "</answer>", "<reasoning></reasoning>", "<reasoning><answer>", "**",
    "\x00", "[", "{", '{"a":', "[[]", "[],", '"\\', "\\ud800", '{"a":1,', "[1,", "1", "0.", "1,", "9,999", "-", "1e",
    "：", ": ",
    "[1]>", "[1] > ", "1 ,", "[[1]], ", "<name>",
    "1. ", "1.\n", "1. a\n", "1. a\n\n", "Answer: ", "Answer:\n", "Score: ", "Score: 1/", "positive ", "字", "\ufdfa",
    "\u0301", "a\u0301\u0327", "\u0301\u0327", "\u0327\uff9e", "\u1100\u1161\u11a8", "\ufeff", "\u2028",
]
# fmt: on


@pytest.fixture
def no_collection() -> Iterator[None]:
    """The garbage collector looks at all that a test run holds, which is nothing that a parser does."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("piece", PATHOLOGICAL, ids=ascii)
@pytest.mark.usefixtures("no_collection")
def test_no_repeated_piece_keeps_a_parser_busy(piece: str) -> None:
    text = (piece * (SIZE // len(piece) + 1))[:SIZE]
    for name, args, parse in PARSERS_UNDER_TEST:
        began = time.process_time()
        outcome(parse, text)
        assert time.process_time() - began < 0.5, (name, args)


def test_many_equal_entries_do_not_keep_a_schema_busy() -> None:
    parse = make_parser("json", {"uniqueItems": True})
    entries = [{"a": number} for number in range(8_000)]
    began = time.process_time()
    assert parse(json.dumps(entries))["value"] == entries
    assert time.process_time() - began < 1.0
    with pytest.raises(ParseError, match=r"schema: \$: two entries are equal"):
        parse(json.dumps([*entries, {"a": 1.0}]))


def test_an_unknown_parser_is_named_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"no parser 'choise'. Did you mean 'choice'\? There are: text, choice"):
        make_parser("choise", [])
    with pytest.raises(UsageError, match="Did you mean 'tags'"):
        fields_of("tag", ["a"])
    with pytest.raises(UsageError, match=r"no parser 'xyzzy'\. There are"):
        make_parser("xyzzy", None)


FRONT_MATTER = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "$ref", "$id", "$schema", "enum", "properties", "pattern", "uniqueItems"])
            | st.integers()
            | st.text(max_size=3),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(FRONT_MATTER)
def test_whatever_front_matter_holds_is_taken_or_a_usage_error(args: Any) -> None:
    for name in PARSERS:
        try:
            parse = make_parser(name, args)
        except UsageError as error:
            assert f"parser {name!r}" in str(error)
            continue
        outcome(parse, '{"a": 1}')
        assert fields_of(name, args)


@pytest.mark.parametrize(
    ("name", "args", "says"),
    [
        ("text", 3, "parser 'text' takes no arguments, but the recipe gives 3"),
        ("code", "python", "parser 'code' takes no arguments"),
        ("list", {}, "parser 'list' takes no arguments"),
        ("choice", None, "parser 'choice' needs a list of options, but the recipe gives nothing"),
        ("choice", [], "parser 'choice' needs at least one"),
        ("choice", [True, False], "True is no text. Write each of the options in quotes"),
        ("choice", ["a", "a"], "twice"),
        ("choice", ["Yes", "yes."], "'Yes' and 'yes.' cannot be told apart"),
        ("choice", ["...", "a"], "nothing but punctuation"),
        ("tags", ["a b"], "'a b' is no tag name"),
        ("tags", "answer", "needs a list of tags"),
        (
            "tags",
            {"answer": "txt"},
            "parser 'tags': <answer>: There is no way to read a tag called 'txt'. Did you mean",
        ),
        ("tags", {"answer": 3}, "<answer> is read by one of text, choice, score, not by 3"),
        ("tags", {"answer": {}}, "<answer> is read by one of"),
        ("tags", {"answer": {"score": [1]}}, r"parser 'tags': <answer>: parser 'score' needs \[low, high\]"),
        ("ranking", None, "parser 'ranking' needs a whole number from 2 up, but the recipe gives nothing"),
        ("ranking", 1, "a whole number from 2 up"),
        ("ranking", True, "a whole number from 2 up"),
        ("ranking", "5", "a whole number from 2 up"),
        ("score", [1], r"needs \[low, high\]"),
        ("score", [1.0, 2.0], r"needs \[low, high\]"),
        ("score", [False, True], r"needs \[low, high\]"),
        ("score", [5, 1], "leave no room"),
        ("json", "object", "needs a JSON schema, a mapping"),
        ("json", {"type": "strin"}, "the schema is broken at"),
        ("json", {"pattern": "("}, "the schema is broken at"),
        ("json", {1: 2}, "the schema is no JSON"),
        ("json", {"$schema": "https://example.org/x"}, "is unknown"),
        ("json", {"$ref": "https://example.org/x"}, "leaves the schema"),
        ("json", {"items": {"$ref": "other.json#/a"}}, "leaves the schema"),
        ("json", {"$ref": "#/$defs/a"}, "points nowhere"),
        ("json", {"properties": {"a": {"$ref": "#nowhere"}}}, "points nowhere"),
        ("json", {"$ref": "#"}, "back to itself"),
        ("json", {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}, "back to itself"),
        ("json", {"items": {"$id": "https://example.org/x"}}, "top of a schema only"),
    ],
)
def test_a_wrong_argument_is_named(name: str, args: Any, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        make_parser(name, args)

"""Front matter is read strictly, and every refusal names the line."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_data.errors import RecipeError
from distill_data.recipes.frontmatter import Field, read, read_value, split


def test_values_are_json_values() -> None:
    front = read("a: {b: [1, -2.5, 1e-6, 'no', true, null]}\nc: |-\n  two\n  lines\nd: 12 apples\n", "r")
    assert front.value == {"a": {"b": [1, -2.5, 1e-6, "no", True, None]}, "c": "two\nlines", "d": "12 apples"}
    assert [type(value) for value in front.value["a"]["b"]] == [int, float, float, str, bool, type(None)]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\nb: 2\na: 3", "r:4: a: stands here twice"),
        ("a:\n  b: 1\n  b: 1", "r:4: a.b: stands here twice"),
        ("a: &x 1\nb: 2", "r:2: not valid YAML: anchors"),
        ("a: 1\nb: *x", "r:3: not valid YAML: anchors"),
        ("a: !!python/object/apply:os.system [ls]", "r:2: not valid YAML: .*tags"),
        ("a: !!str 5", "tags"),
        ("a:\n  <<: {b: 1}", "r:3: a: << is read as merge"),
        ("a: 1\nb: no", 'r:3: b: no is read as false; write "no" in quotes'),
        ("a: [x, on]", 'r:2: a.1: on is read as true; write "on" in quotes'),
        ("a: {yes: 1}", 'r:2: a: yes is read as true; write "yes" in quotes'),
        ("a: {1: b}", "r:2: a: the key 1 must stand in quotes"),
        ("a: {true: b}", "the key true must stand in quotes"),
        ("a: {null: b}", "the key empty must stand in quotes"),
        ("a: {[1]: b}", "r:2: a: a key must be text"),
        ("a: 1\n\nb: .nan", r"r:4: b: \.nan is read as float"),
        ("a: -.inf", r"-\.inf is read as float"),
        ("a: 1e999", "1e999 is read as float"),
        ("a: 1.0e+999", "is read as float"),
        ("a: 010", "010 is read as int"),
        ("a: 0x1F", "0x1F is read as int"),
        ("a: 1_000", "1_000 is read as int"),
        ("a: 12:30", "12:30 is read as int"),
        ("a: 99999999999999999999", "is read as int"),
        ("a: 2024-05-01", "2024-05-01 is read as timestamp"),
        ("a: [1", "r:2: not valid YAML: while parsing a flow sequence"),
        ("a: b: c", "r:2: not valid YAML: mapping values are not allowed"),
        ("a: 1\n---\nb: 1", "not valid YAML"),
        ("a: \x07", "not valid YAML"),
        ("[" * 20_000, "nested too deeply"),
    ],
)
def test_what_is_refused(text: str, problem: str) -> None:
    with pytest.raises(RecipeError, match=problem):
        read(text, "r")


@pytest.mark.parametrize(
    ("take", "text", "problem"),
    [
        (Field.text, "true", "r:2: must be text, but is true; put it in quotes"),
        (Field.text, "5", "must be text, but is 5; put it in quotes"),
        (Field.text, "", "must be text, but is empty$"),
        (Field.text, "[a]", "must be text, but is a list$"),
        (Field.integer, "2.0", r"must be a whole number, but is 2\.0$"),
        (Field.integer, "true", "must be a whole number, but is true$"),
        (Field.number, "abc", 'must be a number, but is the text "abc"$'),
        (Field.flag, "1", "must be true or false, but is 1$"),
        (Field.elements, "{a: 1}", "must be a list, but is a mapping$"),
        (Field.entries, "[1]", "must be a mapping, but is a list$"),
        (lambda field: field.integer(1), "0", "is 0, but must be at least 1$"),
        (lambda field: field.number(0, 1), "1.5", r"is 1\.5, but must be from 0 to 1$"),
        (
            lambda field: field.entries(("temperature",)),
            "{temperatur: 1}",
            "r:2: temperatur: .*did you mean temperature",
        ),
        (lambda field: field.entries(("a",), required=("a",)), "{}", "lacks the key a$"),
    ],
)
def test_types_are_not_guessed(take: object, text: str, problem: str) -> None:
    with pytest.raises(RecipeError, match=problem):
        take(read(text, "r"))  # type: ignore[operator]


PRINTABLE = st.text(st.characters(exclude_categories=("C", "Z"), include_characters=" "))
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | PRINTABLE,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(PRINTABLE, inner, max_size=4),
    max_leaves=12,
)


@given(JSON)
def test_json_is_read_as_json_reads_it(value: object) -> None:
    assert read_value(json.dumps(value, ensure_ascii=False), "r") == value


@given(st.text())
def test_any_text_is_a_value_or_a_recipe_error(text: str) -> None:
    try:
        read(text, "r")
    except RecipeError as error:
        assert str(error).startswith("r")


def test_split() -> None:
    assert split("---\na: 1\nb: 2\n---\nbody\n---\n", "r") == ("a: 1\nb: 2", "body\n---\n", 5)
    assert split("---\r\na: 1\r\n---\r\nbody", "r")[1:] == ("body", 4)
    assert split("---\n---", "r") == ("", "", 3)
    for text in ("", "a: 1\n---\n", "\n---\na: 1\n---\n"):
        with pytest.raises(RecipeError, match="r:1: a recipe starts with"):
            split(text, "r")
    with pytest.raises(RecipeError, match="has no end"):
        split("---\na: 1\nbody\n", "r")

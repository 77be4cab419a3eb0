"""Constraints: each holds for a text that fulfils it and not for one that breaks it, in English and Chinese."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_data.errors import UsageError
from distill_data.quality.constraints import CONSTRAINTS, described, drawn, violated

CASES: list[tuple[dict[str, Any], list[str], list[str]]] = [
    ({"type": "words-min", "count": 4}, ["one two three four", "春天来了"], ["one two three", "春天来", ""]),
    ({"type": "words-max", "count": 4}, ["one two three four!", "春天来了。", ""], ["a b c d e", "春天来了吗"]),
    ({"type": "words-exactly", "count": 4}, ["one, two, three, four", "春天来了"], ["one two three", "春天来了吗"]),
    (
        {"type": "sentences-max", "count": 2},
        ["It costs 3.50. Good!", "One sentence", "春天来了。花开了！", "Wait... what?", 'He said "go." Then he left.'],
        ["One. Two. Three.", "春天来了。花开了。鸟叫了。"],
    ),
    ({"type": "paragraphs", "count": 2}, ["one\nstill one\n\ntwo\n", "one\n \n\n\ntwo"], ["one\ntwo", "a\n\nb\n\nc"]),
    ({"type": "bullets", "count": 2}, ["So:\n- one\n  * two", "- 春\n- 夏"], ["- one", "- a\n- b\n- c", "-a\n-b"]),
    ({"type": "emphasis", "count": 2}, ["**a** and **b c**"], ["**a**", "*a* *b*", "** ** ** **"]),
    ({"type": "placeholders", "count": 1}, ["Dear [name],", "亲爱的[姓名]"], ["Dear name,", "Dear []"]),
    (
        {"type": "contains", "keyword": "river", "count": 2},
        ["The river. River!"],
        ["One river.", "rivers and riverbeds, river"],
    ),
    ({"type": "contains", "keyword": "春天", "count": 1}, ["今年的春天很冷"], ["春风和夏天"]),
    ({"type": "avoids", "keyword": "river"}, ["Riverside"], ["A RIVER."]),
    ({"type": "avoids", "keyword": "春天"}, ["春风和夏天"], ["春天来了"]),
    (
        {"type": "starts-with", "phrase": "In short,"},
        ["in  short, yes", "In short,\nyes"],
        ["In short yes", "So, in short,"],
    ),
    ({"type": "ends-with", "phrase": "That is all."}, ["Yes. That is all.\n"], ["That is all. Bye", "That is all"]),
    (
        {"type": "title"},
        ["[[Spring]]\nIt is warm.", "\n[[春天]] 很暖"],
        ["[Spring]", "Hi [[Spring]]", "[[ ]]", "[[a\nb]]"],
    ),
    ({"type": "quoted"}, [' "It is warm." ', "“春天来了”"], ["It is warm.", '"It" is warm', '""']),
    ({"type": "json"}, ['{"a": [1]}', "\n[]\n"], ["3", "```json\n{}\n```", "Sure: {}", "{'a': 1}", ""]),
    ({"type": "lower-case"}, ["it is 5 o'clock.", "春天"], ["It is"]),
    ({"type": "upper-case"}, ["IT IS 5 O'CLOCK.", "春天"], ["It is", "STRAßE"]),
    ({"type": "no-commas"}, ["One and two; three."], ["one, two", "一，二", "一、二"]),
    (
        {"type": "language", "language": "de"},
        ["Das Brot ist gut und der Käse ist auch nicht schlecht."],
        ["The bread is good and the cheese is not bad.", "Brot", "面包很好，奶酪也不错，请慢慢吃。"],
    ),
    ({"type": "language", "language": "zh"}, ["面包很好，奶酪也不错，请慢慢吃。"], ["The bread is good, and so on."]),
]


@pytest.mark.parametrize(("constraint", "good", "bad"), CASES)
def test_holds_and_is_violated(constraint: dict[str, Any], good: list[str], bad: list[str]) -> None:
    assert [violated(text, [constraint]) for text in good] == [[]] * len(good)
    assert [violated(text, [constraint]) for text in bad] == [[constraint["type"]]] * len(bad)


def test_every_type_is_tried() -> None:
    assert {constraint["type"] for constraint, *_ in CASES} == set(CONSTRAINTS)


def test_all_that_is_violated_is_named_in_order() -> None:
    constraints: list[dict[str, Any]] = [{"type": "no-commas"}, {"type": "words-max", "count": 9}, {"type": "json"}]
    assert violated("Well, no.", constraints) == ["no-commas", "json"]
    assert violated("Well, no.", []) == []


def test_a_description_says_the_arguments() -> None:
    for constraint, *_ in CASES:
        sentence = described(constraint)
        said = [value for name, value in constraint.items() if name not in ("type", "language")]
        assert all(str(value) in sentence for value in said), sentence
        assert sentence[0].isupper()
    assert described({"type": "language", "language": "de"}) == "Write the whole answer in German."
    assert described({"type": "bullets", "count": 1}).startswith("Give exactly 1 bullet point,")


ROWS = st.dictionaries(st.text(max_size=5), st.text(max_size=40) | st.integers() | st.none(), max_size=3)


@settings(max_examples=150, deadline=None)
@given(st.integers(), ROWS, st.integers(0, 30), st.text(max_size=80))
def test_what_is_drawn_can_be_described_and_checked_on_any_text(
    seed: int, row: dict[str, Any], count: int, text: str
) -> None:
    constraints = drawn(random.Random(seed), row, count)
    assert constraints == drawn(random.Random(seed), row, count)
    assert len(constraints) <= count
    aspects = [aspect for constraint in constraints for aspect in CONSTRAINTS[constraint["type"]].governs]
    assert len(aspects) == len(set(aspects))
    assert all(described(constraint) for constraint in constraints)
    types = [constraint["type"] for constraint in constraints]
    assert [name for name in types if name in violated(text, constraints)] == violated(text, constraints)


def test_every_type_is_drawn_and_mostly_as_many_as_wanted() -> None:
    sets = [drawn(random.Random(seed), {"x": "Name a fruit."}, 3) for seed in range(300)]
    assert {constraint["type"] for found in sets for constraint in found} == set(CONSTRAINTS)
    assert sum(len(found) == 3 for found in sets) > 200


def test_keywords_come_from_the_row() -> None:
    draw = CONSTRAINTS["avoids"].draw
    for seed in range(20):
        rng = random.Random(seed)
        assert draw(rng, {"x": "What would a baker sell?", "n": 3})["keyword"] in {"baker", "sell"}
    chinese = {draw(random.Random(seed), {"x": "请列出三种常见的水果和它们的颜色"})["keyword"] for seed in range(50)}
    assert not any(keyword.isascii() for keyword in chinese)
    assert draw(random.Random(0), {})["keyword"].isascii()


@pytest.mark.parametrize(
    ("constraint", "says"),
    [
        ({"type": "word-max", "count": 3}, "no constraint 'word-max'. Did you mean 'words-max'"),
        ({}, "no constraint 'None'"),
        ({"type": "words-max"}, r"'words-max' needs count \(a whole number above 0\), but has {}"),
        ({"type": "words-max", "count": 0}, "a whole number above 0"),
        ({"type": "words-max", "count": True}, "a whole number above 0"),
        ({"type": "words-max", "count": 3, "field": "x"}, "needs count"),
        ({"type": "avoids", "keyword": "..."}, "a text with a word in it"),
        ({"type": "json", "count": 1}, "needs nothing else"),
        ({"type": "language", "language": "xx"}, "no language 'xx'"),
    ],
)
def test_a_wrong_constraint_is_named(constraint: dict[str, Any], says: str) -> None:
    for use in (lambda: violated("text", [constraint]), lambda: described(constraint)):
        with pytest.raises(UsageError, match=says):
            use()


@pytest.mark.timeout(30)
@pytest.mark.parametrize("text", ["." * 100_000 + "x", "**" + "a" * 100_000, "[[" + "a" * 100_000])
def test_a_reply_that_repeats_itself_is_judged(text: str) -> None:
    """In time that grows with its length; by its square it would take minutes."""
    rng = random.Random(1)
    constraints = [{"type": name, **constraint.draw(rng, {})} for name, constraint in CONSTRAINTS.items()]
    assert violated(text, constraints)

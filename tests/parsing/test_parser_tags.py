"""`tags` takes each tag once, in order, and says which rule a reply breaks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_data.errors import ParseError
from distill_data.parsing import fields_of, make_parser

NAMES = ["reasoning", "answer"]
PARSE = make_parser("tags", NAMES)


@pytest.mark.parametrize(
    ("reply", "fields"),
    [
        ("<reasoning>a</reasoning><answer>b</answer>", ("a", "b")),
        ("Sure!\n<reasoning>\n a \n</reasoning>\nso\n<answer> b </answer>\nDone.", ("a", "b")),
        (
            "<reasoning>put it in <answer> and <b>bold</b></reasoning><answer>4</answer>",
            ("put it in <answer> and <b>bold</b>", "4"),
        ),
        ("<reasoning>a</reasoning><answer>x < y</answer>", ("a", "x < y")),
        ("<think>x</think><reasoning>a</reasoning><answer></b></answer>", ("a", "</b>")),
    ],
)
def test_reads(reply: str, fields: tuple[str, str]) -> None:
    assert PARSE(reply) == dict(zip(NAMES, fields, strict=True))


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("", "no-tag"),
        ("4", "no-tag"),
        ("<reasoning>a</reasoning>", "no-tag"),
        ("<answer>b</answer>", "no-tag"),
        ("<reasoning>a</reasoning><Answer>b</Answer>", "no-tag"),
        ("<reasoning>a", "unclosed-tag"),
        ("<reasoning>a<answer>b</answer>", "unclosed-tag"),
        ("<reasoning>a</reasoning><answer>b</ answer>", "unclosed-tag"),
        ("<reasoning>a</reasoning><answer>b</answer><answer>c</answer>", "repeated-tag"),
        ("<reasoning>a<reasoning>b</reasoning><answer>c</answer>", "repeated-tag"),
        ("<reasoning>a</reasoning> b</reasoning><answer>c</answer>", "repeated-tag"),
        ("</answer><reasoning>a</reasoning><answer>c</answer>", "repeated-tag"),
        ("<answer>b</answer><reasoning>a</reasoning>", "tag-order"),
        ("<reasoning> \n</reasoning><answer>b</answer>", "empty"),
        ("<reasoning>a</reasoning><answer></answer>", "empty"),
    ],
)
def test_refuses(reply: str, reason: str) -> None:
    with pytest.raises(ParseError) as refused:
        PARSE(reply)
    assert refused.value.reason == reason


def test_the_fields_are_the_tags() -> None:
    assert fields_of("tags", ["a", "b-2", "c_d"]) == ("a", "b-2", "c_d")
    assert list(make_parser("tags", ["b", "a"])("<b>1</b><a>2</a>")) == ["b", "a"]


@given(st.lists(st.text().filter(lambda text: text.strip() and "<" not in text), min_size=2, max_size=2), st.text())
def test_what_is_written_is_read(values: list[str], around: str) -> None:
    noise = around.replace("<", "")
    reply = f"{noise}<reasoning>{values[0]}</reasoning>{noise}<answer>{values[1]}</answer>{noise}"
    assert list(PARSE(reply).values()) == [value.strip() for value in values]


def test_the_inside_of_a_tag_may_be_read_further() -> None:
    parse = make_parser("tags", {"why": "text", "label": {"choice": ["good", "bad"]}, "points": {"score": [1, 5]}})
    reply = "<why> It holds. </why><label>Good.</label><points>4/5</points>"
    assert parse(reply) == {"why": "It holds.", "label": "good", "points": 4.0}
    for wrong, reason, detail in (
        ("<why>x</why><label>fine</label><points>4</points>", "not-a-choice", "<label>: 'fine' is none of good, bad"),
        ("<why>x</why><label>bad</label><points>6</points>", "out-of-range", "<points>: 6 is not from 1 to 5"),
        ("<why>x</why><label> </label><points>6</points>", "empty", "<label> is empty"),
    ):
        with pytest.raises(ParseError) as caught:
            parse(wrong)
        assert (caught.value.reason, caught.value.detail) == (reason, detail)

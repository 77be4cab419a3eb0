"""`choice` reads an option in any dress, and never guesses."""

from __future__ import annotations

import pytest

from distill_data.errors import ParseError
from distill_data.parsing import make_parser

OPTIONS = ["positive", "negative", "Not sure", "C", "C++", "积极"]


@pytest.mark.parametrize(
    ("reply", "option"),
    [
        ("positive", "positive"),
        ("  Positive.\n", "positive"),
        ("**NEGATIVE**", "negative"),
        ('"not  sure"', "Not sure"),
        ("“Not sure.”", "Not sure"),
        ("`C++`", "C++"),
        ("c", "C"),
        ("ｐｏｓｉｔｉｖｅ", "positive"),
        ("积极。", "积极"),
        ("\ufeffpositive", "positive"),
        ("The text praises it.\n\nAnswer: positive", "positive"),
        ("It is not positive.\n**Label:** *Negative*.\n", "negative"),
        ("The film is bad.\nLABEL ： negative", "negative"),
        ("文字很高兴。\n答案：积极", "积极"),
        ("标签: 积极", "积极"),
        ('"posit\\u0069ve"', "positive"),
        ('{"label": "Negative", "confidence": 0.9}', "negative"),
        ('```json\n{"label": "C++"}\n```', "C++"),
    ],
)
def test_reads(reply: str, option: str) -> None:
    assert make_parser("choice", OPTIONS)(reply) == {"answer": option}


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "not positive",
        "positive?",
        "positive or negative",
        "positive\nnegative",
        "I think it is positive",
        "Answer: positive\nBut I may be wrong",
        "Answer: not positive",
        "My answer: positive",
        "Answer positive",
        "C+",
        "C#",
        '{"label": "positive", "why": "negative"}',
        '{"label": ["positive"]}',
        '["positive"]',
        '{"label": "positive", "label": "negative"}',
        "<answer>positive</answer>",
    ],
)
def test_refuses(reply: str) -> None:
    with pytest.raises(ParseError, match=r"^not-a-choice") as refused:
        make_parser("choice", OPTIONS)(reply)
    assert refused.value.reason == "not-a-choice"


def test_options_may_be_the_keys_of_a_mapping() -> None:
    parse = make_parser("choice", {"Yes": "it does", "No": "it does not"})
    assert parse("yes!") == {"answer": "Yes"}


def test_every_option_reads_as_itself() -> None:
    odd = ["a:b", "Answer: x", "'quoted", "[1]", '{"a"}', "-", "yes?", "ß", "１", "Ⅳ"]
    parse = make_parser("choice", odd)
    assert [parse(option)["answer"] for option in odd] == odd

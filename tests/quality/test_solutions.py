"""The same calculation is the same reasoning, however it is told."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_data.quality.solutions import same_reasoning_key

SAME = [
    "She buys 3 * 4 = 12 apples. Then 12 + 5 = 17.",
    "3 x 4 = 12, so\n- 12+5=17",
    "1. 3×4 = 12\n2. 12 + 5 = 17.",
    "First $3 × 4 = $12; after that $12 + $5 = $17!",
    "３ × ４ ＝ １２. 12 \\times 1 is not needed: 12 + 5 = 17",
    "3 * 4 = <<3*4=12>>12 and 12 + 5 = <<12+5=17>>17",
]


def test_the_same_equations_are_the_same_reasoning() -> None:
    assert {same_reasoning_key(text) for text in SAME} == {"equations 3*4=12; 12+5=17"}


@pytest.mark.parametrize(
    "other",
    [
        "12 + 5 = 17, where 3 * 4 = 12",
        "4 * 3 = 12. 12 + 5 = 17",
        "3 * 4 = 12. 12 + 5 = 18",
        "3 * 4 = 12",
        "Three fours are twelve, and five more are seventeen.",
    ],
)
def test_other_equations_are_other_reasoning(other: str) -> None:
    assert same_reasoning_key(other) != same_reasoning_key(SAME[0])


def test_signs_separators_and_powers() -> None:
    assert same_reasoning_key("1,000 - 1 = 999") == "equations 1000-1=999"
    assert same_reasoning_key("so −5 + 3 = −2.") == "equations -5+3=-2"
    assert same_reasoning_key("x = 5, and 2^3 = 8 = 4*2") == "equations 2^3=8=4*2"
    assert same_reasoning_key("50% * 20 = 10") == "equations 50%*20=10"


def test_without_equations_the_words_decide() -> None:
    assert same_reasoning_key("The sky is BLUE.") == same_reasoning_key("the sky, is blue")
    assert same_reasoning_key("天空是蓝色") != same_reasoning_key("天空是红色")
    assert same_reasoning_key("👍") != same_reasoning_key("👎")
    assert same_reasoning_key("words a") == same_reasoning_key("words: a!")


@given(st.text() | st.text("0123456789.,()+*/^%$= -xX\n", max_size=60))
def test_any_text_has_a_key(text: str) -> None:
    key = same_reasoning_key(text)
    assert key.startswith(("equations ", "words "))
    assert same_reasoning_key(text + "\n") == key


@pytest.mark.parametrize("piece", ["1", "1+", "1=", " ", "1 ", "=", "x", "1 x ", "- ", "(", "$"])
def test_no_repeated_piece_takes_long(piece: str) -> None:
    began = time.process_time()
    same_reasoning_key((piece * 100_000)[:100_000])
    assert time.process_time() - began < 0.5

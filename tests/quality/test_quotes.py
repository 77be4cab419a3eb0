"""Quotes: the places of words are those of the text, in every script."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_data.quality.quotes import LIMIT, Quotes, places
from distill_data.quality.words import words

PARTS = ("ab", "Cé", "½", "我爱", "ﬁne", "con\u00adcave", "नमस्ते", "e\u0301", ", ", " ", "ｗ", "-")
TEXTS = st.text() | st.lists(st.sampled_from(PARTS)).map("".join)


@given(TEXTS)
def test_there_is_a_place_for_each_word_and_they_are_in_order(text: str) -> None:
    found = list(places(text))
    assert len(found) == len(words(text))
    assert all(0 <= start < end <= len(text) for start, end in found)
    assert found == sorted(found)


@given(TEXTS, st.data())
def test_a_quote_is_a_part_of_the_text_that_holds_the_words(text: str, data: st.DataObject) -> None:
    count = len(words(text))
    if not count:
        return
    first = data.draw(st.integers(0, count - 1))
    last = data.draw(st.integers(first, count - 1))
    quote = Quotes(text).quote(first, last)
    assert quote.whole in text
    assert set(words(text)[first : last + 1]) <= set(words(quote.whole))
    assert quote.first == (first == 0)
    assert quote.last == (last == count - 1)


@pytest.mark.parametrize(
    ("text", "first", "last", "expected"),
    [
        ("“What is 2 + 2?” he said.", 1, 3, ("is 2 + 2", " ", "?” ")),
        ("请问：法国的首都是哪座城市？谢谢", 2, 11, ("法国的首都是哪座城市", "：", "？")),
        ("Größe und\nПривет, МИР!", 2, 3, ("Привет, МИР", "\n", "!")),
    ],
)
def test_what_stands_around_a_quote(text: str, first: int, last: int, expected: tuple[str, str, str]) -> None:
    quote = Quotes(text).quote(first, last)
    assert (quote.text, quote.before, quote.after) == expected


def test_a_quote_is_bounded() -> None:
    quote = Quotes("word " * 1000).quote(0, 999)
    assert len(quote.text) == LIMIT
    assert len(quote.whole) == 4999

"""Root verbs and their objects by rules: on orders, questions, stories that end in a question, and other languages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_data.quality.roots import root_of

CASES = {
    "Write a short poem about spring.": ("write", "poem"),
    "Please give me three tips for staying healthy": ("give", "tips"),
    "Could you summarise the following text in one sentence?": ("summarise", "text"),
    "I want you to act as a travel guide": ("act", ""),
    "Translate this sentence into French: Write to me.": ("translate", "sentence"),
    "Explain how a bicycle's gears help": ("explain", ""),
    "List 10 questions that a journalist could ask": ("list", "questions"),
    "From the recipe below, extract the ingredients as JSON": ("extract", "ingredients"),
    "Given a text, list the names.": ("list", "names"),
    "You are a helpful assistant. Write a story.": ("write", "story"),
    "What is the capital of France?": ("what", "is"),
    "A shop is open from nine to six. How many hours is that?": ("how", "many"),
    "WRITE A HAIKU": ("write", "haiku"),
    "Schreibe ein Gedicht über den Frühling": ("schreibe", "ein"),
    "请用一句话说明为什么要洗手。": ("请用", "一句"),
    "俳句を書いてください": ("俳句", "を書"),
    "word": ("word", ""),
    "": ("", ""),
    "!!! ???": ("", ""),
}


@pytest.mark.parametrize("text", CASES)
def test_what_a_text_asks_for(text: str) -> None:
    assert root_of(text) == CASES[text]


@given(st.text())
def test_any_text_has_two_words_or_less(text: str) -> None:
    verb, thing = root_of(text)
    assert verb or not thing
    assert not set(verb + thing) & set(' \n\t<>&"')


def test_only_the_beginning_of_a_long_text_is_read() -> None:
    assert root_of("Name a bird. " + "x " * 5_000_000) == ("name", "bird")

"""Passages: what is promised for every text, and where the cuts fall in a few."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_data.errors import UsageError
from distill_data.quality.passages import split_passages
from distill_data.quality.words import words

PARTS = [
    "a",
    "Be",
    "don't",
    "e\u0301te\u0301",
    "x_y_z",
    "3.14",
    "http://a.b/c-d?e=f",
    "soft\u00adhyphen",
    "-",
    "##",
    "**",
]
WIDE = ["日本語", "「水」", "。", "！", "カタカナ", "ｶﾞｷﾞ", "สวัสดี", "한국어", "नमस्ते", "\u0301", "\ufe0f", "\u200b", "½"]
BETWEEN = [" ", " ", " ", "\n", "\n\n", "\r\n\r\n", "\u2028", "\u3000", "\x1c", ". ", "? ", '." ', "(", ")", "“", "_"]
texts = st.lists(st.sampled_from([*PARTS, *WIDE, *BETWEEN]) | st.text(max_size=3), max_size=60).map("".join)
sizes = st.integers(1, 12).flatmap(lambda most: st.tuples(st.just(most), st.integers(0, most - 1)))


@settings(max_examples=300, deadline=None)
@given(texts, sizes)
def test_the_promises_hold_for_any_text(text: str, size: tuple[int, int]) -> None:
    most, overlap = size
    passages = split_passages(text, most, overlap)
    assert passages == split_passages(text, most, overlap)
    covered = set()
    for passage in passages:
        assert text[passage.start : passage.end] == passage.text
        assert passage.text and passage.text == passage.text.strip()
        covered.update(range(passage.start, passage.end))
    assert all(char.isspace() for at, char in enumerate(text) if at not in covered)
    for before, after in pairwise(passages):
        assert before.start < after.start and before.end < after.end
        shared = text[after.start : before.end]
        assert len(words(shared)) <= overlap


@settings(max_examples=200, deadline=None)
@given(texts, sizes)
def test_no_passage_is_too_long(text: str, size: tuple[int, int]) -> None:
    most, overlap = size
    for passage in split_passages(text, most, overlap):
        longest = max(len(words(char)) for char in passage.text)
        assert len(words(passage.text)) <= max(most, longest)


def numbered(first: int, last: int) -> str:
    return " ".join(f"w{n}" for n in range(first, last + 1))


def test_a_short_text_is_one_passage_and_a_blank_one_none() -> None:
    (passage,) = split_passages(f"\n {numbered(1, 200)} \n")
    assert (passage.text, passage.start) == (numbered(1, 200), 2)
    assert split_passages(" \n\u2028\t") == split_passages("") == []
    assert [passage.text for passage in split_passages(" *** -- ", 1, 0)] == ["*** --"]


def test_words_without_sentences_are_cut_by_number() -> None:
    got = [passage.text for passage in split_passages(numbered(1, 400))]
    assert got == [numbered(1, 200), numbered(161, 360), numbered(321, 400)]


def test_a_paragraph_is_better_than_a_sentence_is_better_than_a_space() -> None:
    sentence = numbered(1, 6) + ". " + "Next " + numbered(8, 13)
    assert [passage.text for passage in split_passages(sentence, 10, 0)] == [
        numbered(1, 6) + ".",
        "Next w8 " + numbered(9, 13),
    ]
    both = "Aa bb cc dd ee.\n \nFf gg hh. Ii jj kk."
    assert [passage.text for passage in split_passages(both, 9, 0)] == ["Aa bb cc dd ee.", "Ff gg hh. Ii jj kk."]
    abbreviated = "aa bb cc dd e.g. ff gg hh ii jj kk"
    assert split_passages(abbreviated, 9, 0)[0].text == "aa bb cc dd e.g. ff gg hh"


def test_the_overlap_begins_with_a_sentence_where_it_can() -> None:
    text = "Aa bb cc dd. Ee ff. Gg hh ii. Jj kk ll mm nn oo pp."
    got = [passage.text for passage in split_passages(text, 9, 4)]
    assert got == ["Aa bb cc dd. Ee ff. Gg hh ii.", "Gg hh ii. Jj kk ll mm nn oo", "ll mm nn oo pp."]


def test_chinese_is_cut_at_sentences_and_between_characters() -> None:
    text = "春天来了，花开了。小河的水很清。他说：「我们去看看吧。」大家都同意。"
    got = [passage.text for passage in split_passages(text, 10, 0)]
    assert got == ["春天来了，花开了。", "小河的水很清。", "他说：「我们去看看吧。」", "大家都同意。"]
    long = "天" * 1000
    assert {len(passage.text) for passage in split_passages(long, 200, 0)} == {200}


def test_the_overlap_leaves_room_for_a_character_of_many_words() -> None:
    assert [passage.text for passage in split_passages("x a ½ b", 2, 1)] == ["x a", "½", "b"]
    assert [passage.text for passage in split_passages("x ㍿ b", 2, 1)] == ["x", "㍿", "b"]


def test_marks_at_the_head_of_a_line_stay_with_the_line() -> None:
    text = "one two three\n- four five six\n\n## Seven eight nine"
    assert [passage.text for passage in split_passages(text, 3, 0)] == [
        "one two three",
        "- four five six",
        "## Seven eight nine",
    ]
    assert split_passages("水（火）木", 1, 0)[1].text == "（火）"


def test_a_run_of_many_words_is_cut_inside() -> None:
    assert [passage.text for passage in split_passages("https://a.b/c-d_e", 2, 0)] == ["https://a.", "b/c-", "d_e"]
    assert [passage.text for passage in split_passages("don't/stop", 2, 0)] == ["don't/", "stop"]
    assert [passage.text for passage in split_passages("see don't/stop", 3, 0)] == ["see", "don't/stop"]


@pytest.mark.parametrize(("most", "overlap"), [(0, 0), (10, 10), (10, -1), (-1, -2)])
def test_sizes_that_cannot_work_are_refused(most: int, overlap: int) -> None:
    with pytest.raises(UsageError, match="give 0 <= overlap < words"):
        split_passages("text", most, overlap)


@pytest.mark.slow
@pytest.mark.parametrize(
    "unit", ["word and word. ", "水は清い。", "a.b/c_", "!", "* ", "\n- ", "\u0301", "(", "x\u00ad", "ก"]
)
def test_time_grows_with_the_length(unit: str) -> None:
    def seconds(size: int) -> float:
        text = unit * (size // len(unit))
        best = 1e9
        for _ in range(3):
            start = time.process_time()
            split_passages(text)
            best = min(best, time.process_time() - start)
        return best

    seconds(1_000)
    assert seconds(64_000) < 16 * seconds(8_000) + 0.05

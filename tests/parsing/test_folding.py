"""Folding is NFKC and case folding for every text that is not made to break it, and takes no time on one that is."""

from __future__ import annotations

import sys
import time
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from distill_data.parsing.folding import fold, narrow, trim


@given(st.text(max_size=30))
def test_folding_is_case_folded_nfkc(text: str) -> None:
    normal = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    assert fold(text) == normal


def test_no_code_point_slips_into_a_run_of_marks_that_is_not_cut() -> None:
    marks = [chr(code) for code in range(sys.maxunicode + 1) if _only_marks(chr(code))]
    assert len(marks) > 900
    for mark in marks:
        assert len(fold("a" + mark * 2000)) <= 200, ascii(mark)


def _only_marks(character: str) -> bool:
    return all(unicodedata.combining(part) for part in unicodedata.normalize("NFKD", character))


def test_a_long_run_of_marks_takes_no_time() -> None:
    began = time.process_time()
    fold("a" + "\u0301\u0327\uff9e" * 100_000)
    assert time.process_time() - began < 1.0


def test_narrow_keeps_superscripts_apart_from_digits() -> None:
    assert narrow("１２ｍ²，－３\u3000￥−5") == "12m²,-3 ¥-5"
    assert narrow("plain") == "plain"


def test_trim_takes_off_wrappings_and_no_question_mark() -> None:
    assert trim(' **"Yes,\n it is."** ') == "Yes, it is"
    assert trim("is it?") == "is it?"
    assert trim(" *** ") == ""

"""What a word is, in the scripts that matter, and what is none."""

from __future__ import annotations

import re
import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_data.quality.words import words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello, World!", ["hello", "world"]),
        ("don't snake_case gpt-4o 3.14", ["don", "t", "snake", "case", "gpt", "4o", "3", "14"]),
        ("我爱北京。", ["我", "爱", "北", "京"]),
        ("用iPhone15拍照", ["用", "iphone15", "拍", "照"]),
        ("𠮷野家", ["𠮷", "野", "家"]),
        ("時々", ["時", "々"]),
        ("カメラとひと", ["カ", "メ", "ラ", "と", "ひ", "と"]),
        ("ｶﾞ ｺｰﾋｰ", ["ガ", "コ", "ー", "ヒ", "ー"]),
        ("ㇰㇱ", ["ㇰ", "ㇱ"]),
        ("한국어 단어", ["한국어", "단어"]),
        ("Ünïcode CAFÉ cafe\u0301", ["ünïcode", "café", "café"]),
        ("Straße STRASSE", ["strasse", "strasse"]),
        ("नमस्ते दुनिया", ["नमस्ते", "दुनिया"]),
        ("Привет, мир", ["привет", "мир"]),
        ("שָׁלוֹם", ["שָׁלוֹם"]),
        ("می\u200cخواهم", ["میخواهم"]),
        ("ex\u00adample", ["example"]),
        ("w\u200bo\u200er\u2066d\u2069 \u200b\u202eback\u202c", ["word", "back"]),
        ("我\u200b爱 ส\u200bวั", ["我", "爱", "ส", "วั"]),
        ("१२३ ٣٤", ["१२३", "٣٤"]),
        ("ＡＢＣ１２３ ①", ["abc123", "1"]),
        ("👩‍👩‍👧 ❤️ 1️⃣ ok 🇨🇳", ["1", "ok"]),
        ("\u0301\u0301 ... ___ ", []),
        ("", []),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert words(text) == [unicodedata.normalize("NFKC", word) for word in expected]


def test_thai_and_its_neighbours_are_counted_by_letter() -> None:
    assert words("สวัสดี ครับ") == ["ส", "วั", "ส", "ดี", "ค", "รั", "บ"]
    for sentence in ("ຂ້ອຍຮັກລາວ", "ខ្ញុំស្រលាញ់ខ្មែរ", "မြန်မာ"):
        assert len(words(sentence)) >= 3


@given(st.text(st.characters(max_codepoint=127)))
def test_ascii_takes_the_same_way_as_everything_else(text: str) -> None:
    assert [*words(text), "é"] == words(text + " é")
    assert words(text) == re.findall("[a-z0-9]+", text.lower())


@given(st.text())
def test_words_are_made_of_letters_and_digits_and_read_as_themselves(text: str) -> None:
    found = words(text)
    for word in found:
        assert word[0].isalnum()
        assert all(one.isalnum() or unicodedata.category(one) in ("Mn", "Mc") for one in word)
    assert words(" ".join(found)) == found


@given(st.text(), st.text())
def test_a_space_between_two_texts_keeps_their_words_apart(one: str, other: str) -> None:
    assert words(f"{one} . {other}") == words(one) + words(other)


@pytest.mark.parametrize(
    "piece", ["word ", "字", "คำ", "é ", "a\u0301\u0327", "\u0301\u0327", "\u0327\uff9e", "👩\u200d", "a\u0301"]
)
def test_long_texts_take_linear_time(piece: str) -> None:
    words("é")
    began = time.process_time()
    words(piece * (400_000 // len(piece)))
    assert time.process_time() - began < 2.0

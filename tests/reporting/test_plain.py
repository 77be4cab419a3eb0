"""Foreign text on a terminal: nothing is obeyed, nothing is hidden, everything else is as it was."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from distill_data.reporting import message_lines, plain

BIDI = {0x61C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)}
LINE_ENDS = {0x2028, 0x2029}
TAGS = set(range(0xE0000, 0xE0080))
"""Letters that nobody sees."""
ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=()))


def is_hidden(code: int) -> bool:
    return (unicodedata.category(chr(code)) in {"Cc", "Cs"} and code not in {9, 10}) or code in BIDI | LINE_ENDS | TAGS


def test_every_code_point() -> None:
    for code in range(0x110000):
        shown = plain(chr(code))
        if is_hidden(code):
            wide = f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
            assert shown == (f"\\x{code:02x}" if code < 256 else wide)
        else:
            assert shown == chr(code)


def test_every_character_that_turns_the_direction_is_known() -> None:
    turns = {code for code in range(0x110000) if unicodedata.bidirectional(chr(code)) in
             {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}}  # fmt: skip
    assert turns <= BIDI


@given(ANY_TEXT)
def test_what_is_shown_can_be_written_and_is_stable(text: str) -> None:
    shown = plain(text)
    shown.encode()
    assert plain(shown) == shown
    assert not [character for character in shown if is_hidden(ord(character))]


@given(ANY_TEXT)
def test_one_line_is_one_line(text: str) -> None:
    assert not set(plain(text, one_line=True)) & set("\n\t\r")


def test_an_example() -> None:
    assert plain("\x1b[31mred\x9b\u202e\ud800\n\té中") == "\\x1b[31mred\\x9b\\u202e\\ud800\n\té中"
    assert plain("a\nb\tc", one_line=True) == "a\\x0ab\\x09c"


@given(ANY_TEXT, ANY_TEXT)
def test_no_text_pretends_to_be_a_message(role: str, content: str) -> None:
    lines = message_lines([{"role": role, "content": content}, {"role": "assistant", "content": content}])
    assert [line for line in lines if line and not line.startswith("    ")] == [
        f"{plain(role, one_line=True)}:",
        "assistant:",
    ] or role.startswith("    ")


def test_parts_and_other_keys_of_a_message_are_json() -> None:
    message = {"role": "user", "content": [{"type": "text", "text": "é\x1b"}], "name": "n"}
    assert message_lines([message]) == [
        "user:",
        '    [{"type": "text", "text": "é\\u001b"}]',
        '    {"name": "n"}',
    ]

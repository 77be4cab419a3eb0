"""Foreign text on a terminal. Knows nothing about where the text comes from."""

import re

_HIDDEN = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\U000e0000-\U000e007f]"
)
"""C0 without tab and line feed, DEL, C1, other line ends, what turns the direction of writing, surrogates, which can't
be encoded, and tags: letters that nobody sees and a model reads."""


def plain(text: str, *, one_line: bool = False) -> str:
    """The text with every character that commands a terminal, or hides, shown as `\\x1b` or `\\u202e`.

    Tab and line feed stay, unless it must be one line. All other characters are untouched.
    """
    shown = _HIDDEN.sub(_escape, text)
    return shown.replace("\n", "\\x0a").replace("\t", "\\x09") if one_line else shown


def _escape(found: re.Match[str]) -> str:
    code = ord(found.group())
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"

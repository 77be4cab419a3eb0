"""Text made comparable: width and case folded, wrappings trimmed, labelled lines read. Knows no parser."""

from __future__ import annotations

import re
import unicodedata

# NFKC sorts each run of combining marks by insertion, so 100,000 marks in a row would take seconds. Unicode's
# stream-safe format ends such a run after 30, and so do we. Marks are neither word characters nor space, apart from
# the two halfwidth kana marks; what else the class takes in (emoji, punctuation) loses nothing that is compared.
_LONG_RUN = re.compile(r"((?:[^\w\s\x00-\x7f]|[\uff9e\uff9f]){30})(?:[^\w\s\x00-\x7f]|[\uff9e\uff9f])+")

_NARROW = {full: full - 0xFEE0 for full in range(0xFF01, 0xFF5F)} | {0x3000: " ", 0x2212: "-", 0xFFE5: "¥", 0xFFE1: "£"}

_WRAPPING = " \"'`“”„‟‘’‚‛«»‹›「」『』*_~\u200b\ufeff"
_CLOSING = _WRAPPING + ".,:;!。、"


def fold(text: str) -> str:
    """NFKC and case folding. A run of more than 30 combining marks or symbols is cut to 30."""
    if text.isascii():
        return text.lower()
    safe = _LONG_RUN.sub(r"\1", text)
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", safe).casefold())


def narrow(text: str) -> str:
    """Full-width ASCII to ASCII, and the minus sign to a hyphen; unlike NFKC it keeps the 2 of m² apart from digits."""
    return text if text.isascii() else text.translate(_NARROW)


def trim(text: str) -> str:
    """Runs of space made one, and outer space, quotes, Markdown emphasis and closing punctuation taken off.

    A question mark stays: an answer with one is no answer.
    """
    return " ".join(text.split()).lstrip(_WRAPPING).rstrip(_CLOSING)


def last_line(text: str) -> str:
    """The last line that is not blank."""
    return text.rstrip().rpartition("\n")[2]


def labelled(line: str, names: frozenset[str]) -> str | None:
    """What stands after `Name:` when the folded line begins with one of the folded names, trimmed; else None."""
    name, colon, rest = trim(line).partition(":")
    return trim(rest) if colon and trim(name) in names else None

"""What a word is, for every length, overlap and similarity in this package. Knows nothing about what they are for.

A word is a run of letters and digits with their marks, folded (NFKC, no case). Chinese characters and Japanese kana
are a word each. So are the letters of Thai, Lao, Khmer and Burmese, each with its marks: these scripts put no space
between words, and without a dictionary a whole sentence would be one word. Korean is written with spaces and split at
them. Punctuation, symbols, emoji and the underscore separate words and are none.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache

from distill_data.parsing.folding import fold

_ASCII = bytes(ord(chr(code).lower()) if code < 128 and chr(code).isalnum() else ord(" ") for code in range(256))
"""Each character of ASCII to what is left of it; much faster than a pattern, and as bytes than as text."""
# Soft hyphens, joiners, spaces without width, marks of direction and variation selectors change how a word looks at
# most, not which word it is.
INVISIBLE = re.compile(
    "[\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufe00-\ufe0f\ufeff\U000e0100-\U000e01ef]+"
)
_ALONE = (
    "\u3005-\u3007\u3021-\u3029\u3031-\u3035\u303b\u3400-\u4dbf\u4e00-\u9fff"  # Chinese characters
    "\uf900-\ufaff\U00020000-\U000323af"
    "\u3041-\u30ff\u31f0-\u31ff\U0001aff0-\U0001b16f"  # kana
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\ua9e0-\ua9ff\uaa60-\uaa7f"  # Thai, Lao, Burmese, Khmer
)


def words(text: str) -> list[str]:
    """The words of a text, in order, in time linear in its length."""
    if text.isascii():
        return text.encode().translate(_ASCII).decode().split()
    return _word().findall(fold(INVISIBLE.sub("", text)))


@cache
def _word() -> re.Pattern[str]:
    marks = f"[{_marks()}]"
    letters = f"[^\\W_{_ALONE}]+"
    return re.compile(f"(?!\\W)[{_ALONE}]{marks}*|{letters}(?:{marks}+(?:{letters})?)*")


def _marks() -> str:
    """Every mark that Unicode attaches to a letter, as ranges of a character class: `re` has no name for them."""
    found = [code for code in range(0x300, 0x20000) if unicodedata.category(chr(code)) in ("Mn", "Mc")]
    starts = [code for before, code in zip([0, *found], found, strict=False) if code != before + 1]
    ends = [code for code, after in zip(found, [*found[1:], 0], strict=True) if after != code + 1]
    return "".join(f"{chr(start)}-{chr(end)}" for start, end in zip(starts, ends, strict=True))

"""What is compared when two texts may say the same: a key for equal ones, and sets for similar ones. Knows no rows.

By single words, their order does not count, nor do function words and polite ones, so that another opening changes
little. Numbers have to be the same, in the same order, and so do signs, so that two sums in the same words are two, and
C++ is not C. Runs of several words are compared as they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from hashlib import blake2b
from typing import NamedTuple

from distill_data.parsing.folding import fold, narrow
from distill_data.quality.language import FUNCTION_WORDS
from distill_data.quality.words import words

_TELLING = {
    "en": "who what when how which not if but i",
    "de": "nicht wie was wenn aber ich",
    "fr": "ne pas qui où comme si mais sans je",
    "es": "no cuando donde como porque si pero sin yo uno dos",
    "it": "non quando dove come perché se ma io",
    "pt": "não quando como se mas sem eu",
    "nl": "niet geen wat als maar ik",
}
"""Function words that make another question of the same words."""
_POLITE = frozenset({"please", "kindly", "could", "me"})
_LEFT_OUT = {code: listed - {*_TELLING[code].split()} for code, listed in FUNCTION_WORDS.items()}
_ENGLISH = _LEFT_OUT.pop("en") | _POLITE
_CHINESE = frozenset(
    "的了吗呢吧啊呀嘛么哦嗯是在和与为用对把被给向从到以于及或也都就而但其这那之所个请你我您他她它们能可会要"
)
_OTHERS = (_ENGLISH, _CHINESE, *_LEFT_OUT.values())
_SHARE = 8
"""One in so many words is an English function word: so it is English, and no other language is looked at."""
# A dash between words is punctuation; one beside a number is a sign.
_SIGNS = re.compile(r"[+<>=^%×÷√±≤≥≠]|(?<=\w)#|(?<=[\d)])\s*[-*/]|[-*/]\s*(?=[\d(])")
# Without numbers there are signs behind a word, as in C++, and between single letters; others are quotes and marks.
_SIGNS_OF_LETTERS = re.compile(r"(?<=[\w)+]) ?[+<>=^×÷±≤≥≠]+|(?<=\w)#|(?<=\b\w) ?[-*/](?= ?\w\b)")
_DIGIT = re.compile(r"\d")  # of a number, with or without a unit
_ANY_SIGN = re.compile(r"[-+<>=^%×÷√±≤≥≠#*/]")


class Compared(NamedTuple):
    """What is compared of a text."""

    grams: frozenset[str]
    """Never empty; of a text without words it is the text."""
    numbers: int
    """Equal where numbers and signs are, up to chance of 2 to the power of -64; 0 where there are none that count."""


def key_of(text: str) -> bytes:
    """16 bytes that are equal for equal texts: the words, folded, and the signs that make another sum of them."""
    found = " ".join(words(text)) or _bare(text)
    signs = f"{_signs(text, _SIGNS)}\n{_signs(text, _SIGNS_OF_LETTERS)}"
    return blake2b(f"{found}\n{signs}".encode("utf-8", "surrogatepass"), digest_size=16).digest()


def make_compared(ngram: int) -> Callable[[str], Compared]:
    """A text to its telling words, or for `ngram` above 1 to its runs of so many words."""
    return _by_words if ngram == 1 else lambda text: _by_runs(text, ngram)


def _by_words(text: str) -> Compared:
    listed = words(text)
    if not listed:
        return Compared(frozenset([_bare(text)]), 0)
    found = frozenset(listed)
    numbers = (*filter(_DIGIT.match, listed),)
    left = found - _ENGLISH
    if (len(found) - len(left)) * _SHARE < len(found):
        left = min((found - others for others in _OTHERS), key=len)
    signs = _signs(text, _SIGNS if numbers else _SIGNS_OF_LETTERS)
    return Compared(left or found, hash((numbers, signs)) if numbers or signs else 0)


def _by_runs(text: str, ngram: int) -> Compared:
    found = words(text) or [_bare(text)]
    runs = zip(*(found[start:] for start in range(ngram)), strict=False)
    return Compared(frozenset(map(" ".join, runs)) or frozenset([" ".join(found)]), 0)


def _signs(text: str, pattern: re.Pattern[str]) -> str:
    text = narrow(text)
    if not _ANY_SIGN.search(text):  # a fraction of the time, and most texts have none
        return ""
    return "".join("".join(pattern.findall(text)).split())


def _bare(text: str) -> str:
    """A text without words, such as an emoji or an empty one."""
    return " ".join(fold(text).split())

"""A text as passages that overlap: spans of at most so many words, cut where it hurts least. Knows no documents.

Words are those of `words`. A cut is made between paragraphs where that is possible, else between sentences, else at a
space, and inside a run without spaces (Chinese, a web address) only where there is nothing else.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from distill_data.errors import UsageError
from distill_data.quality.words import INVISIBLE
from distill_data.quality.words import words as words_of

INSIDE, SPACE, SENTENCE, PARAGRAPH = range(4)
"""What a cut goes through; more is better."""

_RUN = re.compile(r"\S+")
_GAP = re.compile(r"(?<=[^\W_])[\W_]*(?=[^\W_])")
_BLANK_LINE = re.compile(r"\n[^\S\n]*\n|\u2029")
_CLOSING = "\"'”’»›)\\]}」』）】》〉*_"
_END = re.compile(rf"[.!?…。！？｡।॥؟۔։][{_CLOSING}]*\Z")
_END_WITHOUT_SPACE = re.compile(rf"[。！？｡।॥][{_CLOSING}]*\Z")
_OPENING = "([{<“‘„«‹「『（【《〈〔［｛¿¡"
_LOOK_BACK = 8
"""Characters before a cut in which the end of a sentence is looked for."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A span of a text: `text` is the text from `start` to `end`, counted in characters. Never blank."""

    text: str
    start: int
    end: int


class _Piece(NamedTuple):
    """What is never cut: mostly a word with its punctuation."""

    start: int
    end: int
    words: int
    cut: int
    """What a cut before it goes through."""


def split_passages(text: str, words: int = 200, overlap: int = 40) -> list[Passage]:
    """The passages of a text, in order; none for a blank one. Together they cover all that is not space.

    Each has at most `words` words and, but for the last, at least half of them; a single character that counts as
    more words (U+337F is four) is the only exception. Each after the first begins within the last `overlap` words of
    the one before, where a paragraph or a sentence begins if one does. Takes time linear in the length of the text.

    Raises UsageError unless 0 <= overlap < words.
    """
    if not 0 <= overlap < words:
        raise UsageError(f"passages of {words} words cannot overlap by {overlap}: give 0 <= overlap < words.")
    pieces = _pieces(text)
    passages = []
    first = stop = 0
    while stop < len(pieces):
        stop = _stop(pieces, first, words, max(overlap + 1, words // 2))
        start, end = pieces[first].start, pieces[stop - 1].end
        passages.append(Passage(text[start:end], start, end))
        if stop < len(pieces):
            first = _restart(pieces, first, stop, min(overlap, words - pieces[stop].words))
    return passages


def _stop(pieces: list[_Piece], first: int, most: int, least: int) -> int:
    """The piece before which the passage that begins at `first` is cut: the best cut in reach, of equals the last."""
    best, found, count = -1, first + 1, 0
    for stop in range(first + 1, len(pieces)):
        count += pieces[stop - 1].words
        if count > most:
            return found
        if count < least or pieces[stop].cut >= best:
            found = stop
            best = -1 if count < least else pieces[stop].cut
    return len(pieces) if count + pieces[-1].words <= most else found


def _restart(pieces: list[_Piece], first: int, stop: int, overlap: int) -> int:
    """Where the next passage begins: the best cut among the last `overlap` words, of equals the first."""
    best, found, start = -1, stop, stop - 1
    while start > first and (overlap := overlap - pieces[start].words) >= 0:
        if pieces[start].cut >= best:
            best, found = pieces[start].cut, start
        start -= 1
    return found


def _pieces(text: str) -> list[_Piece]:
    """The pieces of a text, each of at least one word where there are words at all.

    What holds no word goes with the piece before it on its line; at the head of a line (`-`, `##`), with the next.
    """
    pieces: list[_Piece] = []
    waiting = -1
    end = 0
    for start, stop in _spans(text):
        count = _count(text[start:stop])
        if not count and waiting < 0 and pieces and "\n" not in text[end:start]:
            pieces[-1] = pieces[-1]._replace(end=stop)
        elif not count:
            waiting = start if waiting < 0 else waiting
        else:
            begin = start if waiting < 0 else waiting
            pieces.append(_Piece(begin, stop, count, _cut(text, pieces[-1].end, begin) if pieces else PARAGRAPH))
            waiting = -1
        end = stop
    if waiting >= 0 and pieces:
        pieces[-1] = pieces[-1]._replace(end=end)
    elif waiting >= 0:
        pieces.append(_Piece(waiting, end, 0, PARAGRAPH))
    return pieces


def _spans(text: str) -> Iterator[tuple[int, int]]:
    """Runs without spaces, those of several words cut between these."""
    for match in _RUN.finditer(text):
        start, end = match.span()
        run = match.group()
        if _count(run) > 1:
            for gap in _GAP.finditer(run):
                if _parts(run[gap.start() - 1], gap.group(), run[gap.end()]):
                    cut = match.start() + gap.start() + len(gap.group().rstrip(_OPENING))
                    yield start, cut
                    start = cut
        yield start, end


def _parts(before: str, gap: str, after: str) -> bool:
    """Whether two letters are of different words, with this between them. Marks and what is invisible part none."""
    if gap and not all(unicodedata.category(char) in ("Mn", "Mc") for char in INVISIBLE.sub("", gap)):
        return True
    return not (before + after).isascii() and (_alone(before) or _alone(after))


@lru_cache(maxsize=1 << 14)
def _alone(char: str) -> bool:
    """Whether a letter is a word of its own, whatever stands beside it."""
    return len(words_of(f"{char}a")) > 1


@lru_cache(maxsize=1 << 14)
def _count_short(run: str) -> int:
    return len(words_of(run))


def _count(run: str) -> int:
    return _count_short(run) if len(run) < 32 else len(words_of(run))


def _cut(text: str, end: int, start: int) -> int:
    """What lies between two pieces."""
    before = text[max(0, end - _LOOK_BACK) : end]
    if end == start:
        return SENTENCE if _END_WITHOUT_SPACE.search(before) else INSIDE
    if _BLANK_LINE.search(text, end, start):
        return PARAGRAPH
    return SENTENCE if _END.search(before) and not text[start].islower() else SPACE

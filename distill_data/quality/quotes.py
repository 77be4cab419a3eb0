"""Where the words of a text stand in it, so that what was found among words can be shown as it was written.

Knows nothing about what is looked for.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

from distill_data.quality.words import words

LIMIT = 300
"""Characters of a quote."""
_PIECES = (re.compile("[A-Za-z0-9]+|[^\\W_]"), re.compile("[^\\W_]+"))
_CHUNK = re.compile(r"\S+")


class Quote(NamedTuple):
    """A run of words in a text, and what stands around it."""

    text: str
    """As it is written, cut after LIMIT characters."""
    whole: str
    """The same, uncut."""
    before: str
    """From the word before to the first; to the beginning of the text where there is none."""
    after: str
    """From the last to the word after; to the end of the text where there is none."""
    first: bool
    """No word stands before."""
    last: bool
    """No word stands after."""


class Quotes:
    """A text of which passages are quoted; its words are placed once, when the first one is."""

    def __init__(self, text: str) -> None:
        self._text = text

    def quote(self, first: int, last: int) -> Quote:
        """The words `first` to `last`, counted from 0. Raises IndexError where the text has fewer."""
        starts, ends = self._places
        start, end, is_last = starts[first], ends[last], last == len(ends) - 1
        before = self._text[ends[first - 1] if first else 0 : start]
        after = self._text[end : None if is_last else starts[last + 1]]
        whole = self._text[start:end]
        return Quote(whole[:LIMIT], whole, before, after, first == 0, is_last)

    @cached_property
    def _places(self) -> tuple[array[int], array[int]]:
        starts, ends = array("q"), array("q")
        for start, end in places(self._text):
            starts.append(start)
            ends.append(end)
        return starts, ends


def places(text: str) -> Iterator[tuple[int, int]]:
    """For each of `words(text)`, in order, from where to where it stands, in characters.

    Words that cannot be told apart before folding, such as the two of `½`, have one place in common.
    """
    for chunk in _CHUNK.finditer(text):
        said = chunk.group()
        if said.isascii() and said.isalnum():
            yield chunk.span()
        else:
            yield from _within(said, chunk.start())


def _within(said: str, offset: int) -> Iterator[tuple[int, int]]:
    """The places of the words of a text without whitespace, at the finest grain at which they are the same words."""
    found = words(said)
    for pattern in _PIECES:
        pieces = [(words(piece.group()), piece.span()) for piece in pattern.finditer(said)]
        if [word for inside, _ in pieces for word in inside] == found:
            yield from ((start + offset, end + offset) for inside, (start, end) in pieces for _ in inside)
            return
    yield from ((offset, offset + len(said)) for _ in found)

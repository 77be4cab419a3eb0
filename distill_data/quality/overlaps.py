"""What a list of words shares with a shorter one, at a place where they are likely to be the same.

Knows neither benchmarks nor rows; which shares matter is decided in `contamination`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator, Sequence
from typing import NamedTuple

Gap = tuple[int, int, str]
"""Words of the item that are not there, from and up to, and the word that the row has instead."""


class Shared(NamedTuple):
    """Words that both have, in the order of the item."""

    pairs: list[tuple[int, int]]
    """(place in the item, place in the row)."""
    telling: float = 1.0
    """The share that is there of those words that are in some n-gram that is not common."""
    from_template: bool = False
    """Whether any n-gram of the item is common."""

    def span(self) -> tuple[int, int]:
        """The first and the last place in the row."""
        return min(row for _, row in self.pairs), max(row for _, row in self.pairs)

    def gaps(self, length: int, row: Sequence[str]) -> Iterator[Gap]:
        """What is not there of an item of `length` words."""
        first, at = self.pairs[0]
        if first:
            yield 0, first, row[at - 1] if at else ""
        for (one, at), (other, _) in zip(self.pairs, [*self.pairs[1:], (length, 0)], strict=True):
            if other > one + 1:
                yield one + 1, other, row[at + 1] if at + 1 < len(row) else ""


def grams(words: Sequence[str], size: int) -> Iterator[int]:
    """A hash of every run of `size` words, in order; the same in one process only."""
    return map(hash, zip(*(words[start:] for start in range(size)), strict=False))


def in_ngrams(item: Sequence[str], row: Sequence[str], at: int, size: int, common: Container[int]) -> Shared:
    """The words of the item in n-grams that the row has too, around where the item would begin (`at`)."""
    low = max(0, at - len(item))
    there: dict[int, int] = {}
    for place, gram in enumerate(grams(row[low : at + 2 * len(item)], size), low):
        if gram not in there or abs(place - at) < abs(there[gram] - at):
            there[gram] = place
    found: dict[int, int] = {}
    rare: set[int] = set()
    rare_found: set[int] = set()
    own = list(grams(item, size))
    for place, gram in enumerate(own):
        covered = range(place, place + size)
        if gram not in common:
            rare.update(covered)
            if gram in there:
                rare_found.update(covered)
        if gram in there:
            found.update(zip(covered, range(there[gram], there[gram] + size), strict=True))
    telling = len(rare_found) / len(rare) if rare else 0.0
    return Shared(sorted(found.items()), telling, any(gram in common for gram in own))


def in_order(item: Sequence[str], row: Sequence[str], at: int, slack: int) -> Shared:
    """The most words of the item that the row has in their order, from `slack` words before `at` on."""
    from rapidfuzz.distance import LCSseq

    low = max(0, at - slack)
    window = row[low : max(0, at + len(item) + slack)]
    blocks = [code for code in LCSseq.opcodes(item, window) if code.tag == "equal"]
    pairs = [
        (code.src_start + offset, low + code.dest_start + offset)
        for code in blocks
        for offset in range(code.src_end - code.src_start)
    ]
    return Shared(pairs)


def same_numbers(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether both have the same numbers, each as often; Chinese numerals are numbers."""
    return _numbers(one) == _numbers(other)


def _numbers(words: Sequence[str]) -> Counter[str]:
    return Counter(word for word in words if any(character.isnumeric() for character in word))


def similarity(one: Sequence[str], other: Sequence[str]) -> float:
    """How equal two texts are by their characters, 0 to 1: twice the characters in common order ÷ those of both."""
    from rapidfuzz.distance import Indel

    return Indel.normalized_similarity(" ".join(one), " ".join(other))

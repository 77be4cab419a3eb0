"""Which items are duplicates of an earlier one: four ways to be alike, one rule. Knows no rows and no files.

The rule is greedy and free of chains: items are taken in order, and one is dropped where it is alike to one that was
kept. So no two kept ones are alike (but for what `find_fuzzy` overlooks), each dropped one is alike to a kept one, and
what comes later changes nothing.

What is found was measured on planted instructions (tests/planted.py): 2,000 of 7 to 42 words, 30 % of them paraphrases
by another opener, one or two synonyms, other punctuation or case, or clauses turned round, and 12 % others that have
a template in common and nothing else. Least recall and precision of five seeds:

|                          | English       | Chinese       |
|--------------------------|---------------|---------------|
| exact                    | 0.175, 1.000  | 0.130, 1.000  |
| fuzzy, 0.6 (default)     | 0.967, 1.000  | 1.000, 1.000  |
| fuzzy, 0.5               | 0.985, 0.977  | 1.000, 0.979  |
| fuzzy, runs of 2, 0.5    | 0.967, 0.969  | 1.000, 1.000  |
| fuzzy, runs of 3, 0.5    | 0.915, 1.000  | 0.988, 1.000  |
| fuzzy, runs of 3, 0.8    | 0.395, 1.000  | 0.533, 1.000  |
| ROUGE-L, 0.7             | 0.880, 0.822  | 0.780, 0.994  |

Five of the eleven English openers in these paraphrases are of words that the rule leaves out. Of paraphrases whose
openers all have other words, which were written after the rule, it finds 0.938.

No lexical rule tells a synonym from another word: two texts of four telling words that differ in one are alike at
0.6. Raise the threshold where one word is the task. By single words the order does not count: from English to French is
from French to English. Runs of 2 heed it.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from math import ceil
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from distill_data.quality.bands import Bands
from distill_data.quality.comparing import key_of, make_compared
from distill_data.quality.rouge import RougePool

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Matrix = NDArray[np.float32]

T = TypeVar("T")

ROUNDING = 1e-9
BLOCK = 1024
"""Vectors that are compared at a time."""
COLUMNS = 8192
"""Kept vectors that they are compared with at a time."""


class Match(NamedTuple):
    """What a dropped item is alike to."""

    of: int
    """The kept item, by its place in the order, from 0."""
    similarity: float
    """0.0 to 1.0."""


Find = Callable[[Iterable[Any], Iterable[Any]], dict[int, Match]]
"""(given items, which stand first and are kept whatever they are like, items) to the dropped ones, by place."""


def _in_order(given: Iterable[T], items: Iterable[T]) -> Iterator[tuple[int, bool, T]]:
    """(place, whether it is given, item)."""
    marked = chain(((True, item) for item in given), ((False, item) for item in items))
    return ((place, is_given, item) for place, (is_given, item) in enumerate(marked))


def find_exact(given: Iterable[str], texts: Iterable[str]) -> dict[int, Match]:
    """Texts that are equal but for case, width, punctuation and space. Holds 16 bytes of each, and their keys."""
    first: dict[bytes, int] = {}
    found = {}
    for place, is_given, text in _in_order(given, texts):
        of = first.setdefault(key_of(text), place)
        if of != place and not is_given:
            found[place] = Match(of, 1.0)
    return found


def find_fuzzy(
    given: Iterable[str], texts: Iterable[str], *, threshold: float = 0.6, ngram: int = 1
) -> dict[int, Match]:
    """Texts whose words, or runs of `ngram` words, have a Jaccard similarity (shared ÷ all) of at least `threshold`.

    MinHash proposes and the sets decide, so nothing else is found. Of pairs just at the threshold at most one in
    twenty is overlooked, and of those 0.1 above it one in six hundred; equal sets never are. See `comparing` for what
    the sets are. The most similar kept text is named, the first of several. Holds some 400 bytes of a text and 8 of
    each distinct word or run in it. A low threshold costs time where there are many texts.
    """
    compare = make_compared(ngram)
    bands = Bands(threshold)
    hashes, starts, numbers, masks = array("q"), array("q", [0]), array("q"), array("Q")
    before = 0
    for items in (given, texts):
        before = len(numbers)
        for text in items:
            grams, number = compare(text)
            bands.add(grams, number)
            hashed = [*map(hash, grams)]
            hashes.extend(hashed)
            starts.append(len(hashes))
            numbers.append(number)
            masks.append(_mask(hashed))
    bands.link()
    found = {}
    for place in range(before, len(numbers)):
        possible = bands.earlier(place)
        if possible:
            own = set(hashes[starts[place] : starts[place + 1]])
            mask, number = masks[place], numbers[place]
            least = ceil(len(own) * threshold - ROUNDING) - len(own) + mask.bit_count()
            possible = {other for other in possible if (masks[other] & mask).bit_count() >= least}
            best, of = threshold, -1
            for other in sorted(possible):
                if numbers[other] != number:
                    continue
                start, end = starts[other], starts[other + 1]
                shared = len(own.intersection(hashes[start:end]))
                similarity = shared / (len(own) + end - start - shared)
                if similarity > best or (similarity == best and of < 0):
                    best, of = similarity, other
            if of >= 0:
                found[place] = Match(of, best)
                bands.drop(place)
    return found


def _mask(hashes: Iterable[int]) -> int:
    """64 bits, of which each hash sets one: sets that share s members share at least s bits less those set twice."""
    mask = 0
    for each in hashes:
        mask |= 1 << (each & 63)
    return mask


def find_rouge(given: Iterable[str], texts: Iterable[str], *, threshold: float = 0.7) -> dict[int, Match]:
    """Texts with a ROUGE-L F-measure above `threshold`, as in Self-Instruct (arXiv 2212.10560). Holds the texts."""
    pool, places, found = RougePool(), array("q"), {}
    for place, is_given, text in _in_order(given, texts):
        best = None if is_given else pool.most(text, threshold)
        if best is None:
            pool.add(text)
            places.append(place)
        else:
            found[place] = Match(places[best[1]], best[0])
    return found


def find_semantic(
    given: Iterable[Sequence[float]], vectors: Iterable[Sequence[float]], *, threshold: float = 0.9
) -> dict[int, Match]:
    """Vectors of one length with a cosine, rounded to six digits, of at least `threshold`. Needs numpy.

    A vector of zeros is like no other. Holds four bytes for each number.
    """
    import numpy as np

    numbers, dimensions, fixed = array("f"), 1, 0
    for _, is_given, vector in _in_order(given, vectors):
        dimensions = len(vector)
        fixed += is_given
        numbers.extend(vector)
    matrix = np.frombuffer(numbers, np.float32).reshape(-1, dimensions)
    kept = array("q")
    found: dict[int, Match] = {}
    for start in range(0, len(matrix), BLOCK):
        block = _unit(matrix[start : start + BLOCK])
        before = [Match(kept[at], cosine) for at, cosine in _nearest(block, matrix[: len(kept)])]
        inside = block @ block.T
        here: list[int] = []
        for at, best in enumerate(before or [Match(-1, 0.0)] * len(block)):
            if here:
                nearest = int(inside[at, here].argmax())
                other = Match(start + here[nearest], float(inside[at, here[nearest]]))
                best = max(best, other, key=lambda match: match.similarity)
            if start + at >= fixed and best.of >= 0 and round(best.similarity, 6) >= threshold:
                found[start + at] = Match(best.of, round(best.similarity, 6))
            else:
                here.append(at)
        # The front of the matrix, which is done with, comes to hold those that are kept.
        matrix[len(kept) : len(kept) + len(here)] = block[here]
        kept.extend(start + at for at in here)
    return found


def _unit(vectors: Matrix) -> Matrix:
    """The vectors at length 1; those of zeros stay."""
    import numpy as np

    unit = vectors.copy()
    for lengths in (np.abs(unit).max(axis=1), None):  # first by the largest, so that no square overflows or vanishes
        divisors = np.linalg.norm(unit, axis=1) if lengths is None else lengths
        unit /= (divisors + (divisors == 0))[:, None]
    return unit


def _nearest(block: Matrix, kept: Matrix) -> list[tuple[int, float]]:
    """For each vector the row of the kept one with the highest cosine, and that; [] where none is kept."""
    import numpy as np

    best: list[tuple[int, float]] = []
    for start in range(0, len(kept), COLUMNS):
        cosines = block @ kept[start : start + COLUMNS].T
        nearest = cosines.argmax(axis=1)
        highest = cosines[np.arange(len(block)), nearest]
        found = list(zip((nearest + start).tolist(), highest.tolist(), strict=True))
        best = [max(pair, key=lambda each: each[1]) for pair in zip(best, found, strict=True)] if best else found
    return best

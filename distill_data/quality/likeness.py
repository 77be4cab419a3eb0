"""How like one row is to each of the others, by cosine: of the words they use, or of embeddings. Needs numpy.

Holds some thirty bytes for every word of a text, once each, or four for every number of an embedding. Knows no rows.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from distill_data.quality.words import words

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Cosines = NDArray[np.float64]

_LARGEST = 3.4e38
"""Of four bytes."""


class Likeness(NamedTuple):
    """Similarities of rows, numbered from 0."""

    rows: int
    to: Callable[[int], Cosines]
    """A row to its cosine with every row."""
    middle: Callable[[], int]
    """The row that is most like the mean of all, the earliest of equals."""


def likeness_of_texts(texts: Iterable[str]) -> Likeness:
    """By the cosine of word counts, each weighted by log(1 + texts ÷ texts with the word), as `similarity` has it.

    Texts without words are all alike, and like no other.
    """
    import numpy as np

    numbers: dict[str, int] = {}
    found, counts, starts = array("q"), array("d"), array("q", [0])
    for text in texts:
        for word, times in Counter(words(text) or [""]).items():
            found.append(numbers.setdefault(word, len(numbers)))
            counts.append(times)
        starts.append(len(found))
    rows = len(starts) - 1
    columns = np.array(found, np.int64)
    sizes = [end - start for start, end in pairwise(starts)]
    places = np.repeat(np.arange(rows), sizes)
    holders = np.bincount(columns, minlength=len(numbers))
    weights = np.array(counts, np.float64) * np.log1p(rows / holders)[columns]
    lengths = np.sqrt(np.bincount(places, weights * weights, minlength=rows))
    weights /= lengths[places]
    order = np.argsort(columns, kind="stable")
    holding, shares = places[order].astype(np.int32), weights[order].astype(np.float32)
    ends = np.concatenate([[0], np.cumsum(holders)])

    def cosines(these: NDArray[np.int64], by: Cosines) -> Cosines:
        total = np.zeros(rows)
        for column, weight in zip(these.tolist(), by.tolist(), strict=True):
            there = slice(ends[column], ends[column + 1])
            total[holding[there]] += weight * shares[there]
        return total

    def to(row: int) -> Cosines:
        own = slice(starts[row], starts[row + 1])
        return cosines(columns[own], weights[own])

    def middle() -> int:
        every = np.array(range(len(numbers)), np.int64)
        sums: Cosines = np.bincount(columns, weights, minlength=len(numbers)).astype(np.float64)
        return int(cosines(every, sums).argmax())

    return Likeness(rows, to, middle)


def likeness_of_vectors(numbers: array[float], dimensions: int) -> Likeness:
    """By the cosine of vectors, which stand one after the other as floats of four bytes (`array("f")`).

    Vectors of zeros are all alike, and like no other.
    """
    import numpy as np

    unit: NDArray[np.float32] = np.array(numbers, np.float32).reshape(-1, dimensions)
    unit /= _divisors(np.abs(unit).max(axis=1))  # first by the largest, so that no square overflows or vanishes
    unit /= _divisors(np.linalg.norm(unit, axis=1))
    empty: NDArray[np.bool_] = np.logical_not(unit.any(axis=1))

    def to(row: int) -> Cosines:
        return np.asarray(empty if empty[row] else unit @ unit[row], np.float64)

    return Likeness(len(unit), to, lambda: int((unit @ unit.mean(axis=0)).argmax()))


def _divisors(lengths: NDArray[np.float32]) -> NDArray[np.float32]:
    """As a column, with 1 for 0."""
    divisors: NDArray[np.float32] = (lengths + (lengths == 0))[:, None]
    return divisors


def is_vector(value: object) -> bool:
    """Whether a value is an embedding: a list of numbers, one at least, that fit into four bytes each."""
    return isinstance(value, list) and bool(value) and all(map(_fits, value))


def _fits(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST

"""Numbers and rows of a stream of any length, in bounded memory: a sample drawn by hash, spreads, shares of equals.

What is kept depends on the stream alone, never on a generator, so equal streams give equal numbers. Knows nothing
about what the values are.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, Generic, TypeVar

Value = TypeVar("Value")

KEPT = 10_000
"""Values of a spread from which its quartiles are read: all of them where there are not more."""
BINS = 20
_LAST = 0.99
"""Share of the values that lie in the bins of one width; the last bin goes on to the highest."""


def priority(ordinal: int) -> int:
    """Where a row stands in the drawn order, a number of 64 bits: the sample is the rows with the lowest."""
    return int.from_bytes(blake2b(ordinal.to_bytes(8, "big"), digest_size=8).digest(), "big")


class Reservoir(Generic[Value]):
    """The `size` values of lowest priority among all that were offered."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._heap: list[tuple[int, int, Value]] = []
        self._offered = 0

    def wants(self, rank: int) -> bool:
        """Whether a value of this priority would be kept now, so that it need not be made in vain."""
        return len(self._heap) < self._size or rank < -self._heap[0][0]

    def offer(self, rank: int, value: Value) -> None:
        """Take a value with its priority, or pass over it."""
        self._offered += 1
        entry = (-rank, -self._offered, value)  # the second decides between equal ranks, so values are never compared
        if len(self._heap) < self._size:
            heapq.heappush(self._heap, entry)
        elif entry > self._heap[0]:
            heapq.heapreplace(self._heap, entry)

    def values(self) -> list[Value]:
        """What was kept, in the order of the stream."""
        return [value for _, _, value in sorted(self._heap, key=lambda entry: -entry[1])]


class Spread:
    """How numbers are spread: count, mean and ends of all of them, the rest from a sample of 10,000."""

    def __init__(self, bounds: tuple[float, float] | None = None) -> None:
        """`bounds` are the ends of the histogram, where values of several sets are to have the same bins."""
        self.count = 0
        self._bounds = bounds
        self._sum = 0.0
        self._low, self._high = math.inf, -math.inf
        self._sample: Reservoir[float] = Reservoir(KEPT)

    def add(self, rank: int, value: float) -> None:
        """Count a finite number; `rank` is its row's priority."""
        self.count += 1
        self._sum += value
        self._low, self._high = min(self._low, value), max(self._high, value)
        if self._sample.wants(rank):
            self._sample.offer(rank, value)

    def to_json(self) -> dict[str, Any]:
        """count, mean, min, q1, median, q3, p95, max and the histogram's edges and counts; {} for no numbers."""
        if not self.count:
            return {}
        ordered = sorted(self._sample.values())
        shares = {"q1": 0.25, "median": 0.5, "q3": 0.75, "p95": 0.95}
        mean = min(max(self._sum / self.count, self._low), self._high)
        return {
            "count": self.count,
            "mean": mean,
            "min": self._low,
            **{name: quantile(ordered, share) for name, share in shares.items()},
            "max": self._high,
            "histogram": _histogram(ordered, *(self._bounds or _ends(ordered, self._low, self._high))),
        }


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value that this share of sorted values does not exceed, between two neighbours by their distance."""
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] * (1 - (place - low)) + ordered[high] * (place - low)


def _ends(ordered: Sequence[float], low: float, high: float) -> tuple[float, float, float]:
    """The lowest, the highest, and where the bins of one width end."""
    end = quantile(ordered, _LAST)
    return low, high, end if end > low else high


def _histogram(ordered: Sequence[float], low: float, high: float, end: float | None = None) -> dict[str, Any]:
    """Bins of one width from the lowest up to 99 % of the values, the last open up to the highest.

    Bin i holds edges[i] <= value < edges[i + 1], the last one its upper edge too. Of whole numbers the last bin may
    hold the highest alone, and both its edges be that: a score from 1 to 5 has five bins.
    """
    end = high if end is None else end
    width = (end - low) / BINS
    if not 0 < width < math.inf or high - low == math.inf:
        return {"edges": [low, high], "counts": [len(ordered)]}
    bins = min(BINS, math.ceil((high - low) / width))
    if all(value.is_integer() for value in (low, high, *ordered)):
        width = float(math.ceil((end - low + 1) / BINS))
        bins = min(BINS, int((high - low) / width) + 1)
    counts = [0] * bins
    for value in ordered:
        counts[min(bins - 1, int((value - low) / width))] += 1
    return {"edges": [*(low + width * index for index in range(bins)), high], "counts": counts}


class Distinct:
    """How many values of a stream were there before. Exact up to `size` different ones, an estimate above.

    Kept are the values whose digest is below a bar that falls as they become too many: all copies of a value are kept
    or none (Gibbons 2001, distinct sampling), so their share is true of the whole.
    """

    def __init__(self, size: int = 200_000) -> None:
        self._size = size
        self._bar = 1 << 64
        self._seen: Counter[int] = Counter()

    def add(self, value: bytes) -> None:
        """Count a value."""
        mark = int.from_bytes(blake2b(value, digest_size=8).digest(), "big")
        if mark >= self._bar:
            return
        self._seen[mark] += 1
        if len(self._seen) > self._size:
            self._bar //= 2
            self._seen = Counter({mark: count for mark, count in self._seen.items() if mark < self._bar})

    def share_repeated(self) -> float:
        """Values that were there before ÷ all values, from 0.0 to below 1.0."""
        total = self._seen.total()
        return 1 - len(self._seen) / total if total else 0.0

    def exact(self) -> bool:
        """Whether every value was kept."""
        return self._bar == 1 << 64

"""What a whole run will take, from what its first items took. Knows no engine: numbers in, numbers out.

Each quantity is taken as a share of what there is to do: items, or rows to keep where there are candidates of which
some fall. For a share w of n units with totals x, the rest R is x/w · R, and its interval is the normal one of a ratio
estimate with Student's t for n - 1 degrees of freedom, at 90 %: it holds the spread of the mean and that of the rest
itself. It knows nothing of what the first items don't show.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

CONFIDENCE = 0.9
_Z = 1.6448536
"""Of the standard normal distribution: 90 % lie between -z and z."""


class Range(NamedTuple):
    """What to expect, and the ends of the interval; both None where one unit alone was seen."""

    expected: float
    low: float | None
    high: float | None

    def plus(self, known: float) -> Range:
        """With what is known already."""
        low, high = (None if end is None else end + known for end in (self.low, self.high))
        return Range(self.expected + known, low, high)

    def times(self, other: Range) -> Range:
        """The product, at worst."""
        low, high = (
            None if one is None or two is None else one * two
            for one, two in ((self.low, other.low), (self.high, other.high))
        )
        return Range(self.expected * other.expected, low, high)

    def at_least(self, least: float) -> Range:
        low, high = (None if end is None else max(end, least) for end in (self.low, self.high))
        return Range(max(self.expected, least), low, high)

    def to_json(self) -> dict[str, float | None]:
        return {name: end and round(end, 6) for name, end in zip(self._fields, self, strict=True)}


@dataclass(slots=True)
class Unit:
    """What one item, or one proposal of a growth, needed."""

    weight: float = 0.0
    """What it counts: 1 for an item; in rounds 1 for a row that was kept."""
    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    cost: float = 0.0


def extrapolate(values: Sequence[float], weights: Sequence[float], rest: float) -> Range:
    """The sum over a rest of this weight. Values and weights are those of the units seen; their weight is above 0."""
    whole, count = sum(weights), len(values)
    ratio, factor = sum(values) / whole, rest / whole
    expected = ratio * rest
    if rest <= 0:
        return Range(0.0, 0.0, 0.0)
    if count < 2:
        return Range(expected, None, None)
    squares = sum((value - ratio * weight) ** 2 for value, weight in zip(values, weights, strict=True))
    spread = math.sqrt((factor**2 + factor) * count * squares / (count - 1)) * _student(count - 1)
    return Range(expected, max(0.0, expected - spread), expected + spread)


def mean(values: Sequence[float]) -> Range:
    """The mean of what values like these are drawn from."""
    count, middle = len(values), sum(values) / len(values)
    if count < 2:
        return Range(middle, None, None)
    deviation = math.sqrt(sum((value - middle) ** 2 for value in values) / (count - 1) / count)
    spread = deviation * _student(count - 1)
    return Range(middle, max(0.0, middle - spread), middle + spread)


def _student(freedom: int) -> float:
    """Student's t for 90 %, from the normal quantile (Cornish and Fisher); exact for one and two degrees."""
    if freedom <= 2:
        return (6.3138, 2.9200)[freedom - 1]
    z, n = _Z, freedom
    first = (z**3 + z) / (4 * n)
    second = (5 * z**5 + 16 * z**3 + 3 * z) / (96 * n**2)
    return z + first + second + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * n**3)

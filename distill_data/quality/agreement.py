"""How far raters agree beyond chance. Knows nothing about who rates or what."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from itertools import product
from typing import Any

from distill_data.parsing.arguments import look_up

WEIGHTS: Mapping[str, Callable[[int, int], float]] = {
    "": lambda one, other: float(one != other),
    "linear": lambda one, other: float(abs(one - other)),
    "quadratic": lambda one, other: float((one - other) ** 2),
}
"""How much a disagreement counts, by the places of the two labels in their order."""


def cohen_kappa(one: Sequence[Any], other: Sequence[Any], weights: str = "") -> float:
    """Cohen's kappa of two raters' labels: 1.0 agreement, 0.0 what chance gives, below 0.0 less than that.

    `weights`: "" counts every disagreement alike; "linear" and "quadratic" by the distance of the labels, which then
    must sort (Cohen 1960, 1968). Only labels that were given have a place in the order. Where chance alone agrees
    wholly (one label only) it is 1.0. Raises ValueError for no labels or unequal numbers.
    """
    if not one or len(one) != len(other):
        raise ValueError("both raters must have labelled the same things, one at least")
    cost = look_up(WEIGHTS, weights, "weighting")
    labels: list[Any] = sorted({*one, *other}) if weights else list(dict.fromkeys((*one, *other)))
    place = {label: index for index, label in enumerate(labels)}
    mine, theirs = Counter(one), Counter(other)
    seen = math.fsum(cost(place[first], place[second]) for first, second in zip(one, other, strict=True))
    chance = math.fsum(
        cost(place[first], place[second]) * mine[first] * theirs[second] for first, second in product(mine, theirs)
    )
    return 1.0 if not chance else 1 - seen * len(one) / chance


def krippendorff_alpha(ratings: Sequence[Sequence[Hashable | None]]) -> float:
    """Krippendorff's alpha for names as labels: a sequence of each unit's ratings, None where a rater gave none.

    1.0 agreement, 0.0 chance. Units with fewer than two ratings don't count. 1.0 where all ratings are one label, or
    there are none (Krippendorff 2011).
    """
    units = [Counter(rating for rating in unit if rating is not None) for unit in ratings]
    paired = [unit for unit in units if unit.total() > 1]
    total: Counter[Hashable] = Counter()
    disagreed = 0.0
    for unit in paired:
        total.update(unit)
        size = unit.total()
        disagreed += (size * size - sum(count * count for count in unit.values())) / (size - 1)
    size = total.total()
    expected = size * size - sum(count * count for count in total.values())
    return 1.0 if not expected else 1 - disagreed * (size - 1) / expected

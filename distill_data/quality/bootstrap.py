"""Confidence intervals of ratios of sums by the bootstrap, paired where columns belong to the same rows.

Rows are drawn with replacement, as many as there are, again and again; the interval holds the middle 95 % of what the
statistic then is (percentile method: Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 13). Columns
that are resampled together see the same draws, so a difference of two of them is paired (Koehn 2004, W04-3250). Knows
no metric.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from distill_data.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Ratios = NDArray[np.float64]

RESAMPLES = 10_000
LEVEL = 0.95
CELLS = 1 << 21
"""Draws that are held at a time."""


class Column(NamedTuple):
    """What each row adds to a statistic, which is the sum of the parts over the sum of the weights.

    A mean has weights of 1; a log-likelihood per token has the tokens of each row.
    """

    parts: Sequence[float]
    weights: Sequence[float]
    """Above 0."""


def require_numpy() -> None:
    """Raise UsageError where numpy is missing, and name the extra."""
    try:
        import numpy  # noqa: F401
    except ImportError:
        raise UsageError(
            "intervals need numpy, of the extra `features`: pip install 'distill-data[features]' (in a checkout: "
            "pip install '.[features]')."
        ) from None


def ratio(column: Column) -> float:
    """The statistic of the rows as they are."""
    return float(sum(column.parts) / sum(column.weights))


def resample(columns: Sequence[Column], *, seed: int = 0, resamples: int = RESAMPLES) -> list[Ratios]:
    """The statistic of each column in every resample, an array (resamples,); equal places are equal draws of rows.

    All columns have as many rows, at least one. The same seed gives the same draws.
    """
    import numpy as np

    rows = len(columns[0].parts)
    tables = [tuple(np.asarray(each, dtype=np.float64) for each in column) for column in columns]
    rng, found = np.random.default_rng(seed), np.empty((len(columns), resamples))
    size = max(1, CELLS // rows)
    for start in range(0, resamples, size):
        place = slice(start, min(start + size, resamples))
        drawn = rng.integers(0, rows, (place.stop - start, rows))
        for number, (parts, weights) in enumerate(tables):
            found[number, place] = parts[drawn].sum(1) / weights[drawn].sum(1)
    return list(found)


def interval(values: Any) -> tuple[float, float]:
    """The percentile interval of resampled values, (2.5 %, 97.5 %)."""
    import numpy as np

    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def share_above(values: Any, bound: float = 0.0) -> float:
    """The share of resampled values above the bound."""
    return float((values > bound).mean())

"""Figures of an evaluation: from the records of its rows to means with intervals. Asks nobody, and knows no file.

A figure is a sum over rows by another sum: a mean has weights of 1; perplexity is the exponential of nats by tokens, or
by bytes. Model and baseline are resampled together, so their difference is paired.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from distill_data.data.items import Record
from distill_data.quality.bootstrap import LEVEL, RESAMPLES, Column, interval, ratio, resample, share_above

if TYPE_CHECKING:
    from numpy.typing import NDArray

DIGITS = 6
"""Decimals of every figure, so that rounding errors of a machine are in none."""
MOST_NATS = 700.0
"""A larger exponent has no float."""
WORTH = {"win": 1.0, "tie": 0.5, "loss": 0.0}

Side = Mapping[str, Any]
"""What a row brought one model."""


class Figure(NamedTuple):
    """How a figure is made of rows."""

    part: Callable[[Side], float]
    weight: Callable[[Side], float] = lambda side: 1.0
    exponential: bool = False
    """Whether the figure is the exponential of the quotient; then less is better."""
    headline: bool = True


FIGURES: Mapping[str, Mapping[str, Figure]] = {
    "exact": {"exact": Figure(lambda side: side["exact"])},
    "numeric": {"numeric": Figure(lambda side: side["numeric"])},
    "rouge-l": {"rouge-l": Figure(lambda side: side["rouge-l"])},
    "choice": {
        "choice": Figure(lambda side: side["choice"]),
        "choice-raw": Figure(lambda side: side["choice-raw"], headline=False),
    },
    "perplexity": {
        "perplexity": Figure(lambda side: -side["logprob"], lambda side: side["tokens"], exponential=True),
        "perplexity-byte": Figure(
            lambda side: -side["logprob"], lambda side: side["bytes"], exponential=True, headline=False
        ),
    },
}
"""Metric to its figures, by name; the judge's is not made of sides."""


def figures_of(records: Sequence[Record], metrics: Iterable[str], *, seed: int) -> dict[str, Any]:
    """Name to figure, as JSON: `rows`, `model`, and with a baseline `baseline` and `difference` (model - baseline).

    Each is {"value", "low", "high"}; a difference has `above_0` too, the share of resamples in which it is. There is at
    least one record.
    """
    found: dict[str, Any] = {}
    for metric in metrics:
        if metric == "judge":
            found["judge"] = _judged(records, seed)
            continue
        for name, figure in FIGURES[metric].items():
            found[name] = _compared(records, figure, seed)
    return found


def _compared(records: Sequence[Record], figure: Figure, seed: int) -> dict[str, Any]:
    sides = [side for side in ("model", "baseline") if side in records[0]]
    columns = [
        Column([figure.part(row[side]) for row in records], [figure.weight(row[side]) for row in records])
        for side in sides
    ]
    value, many = (_exp, _exp_all) if figure.exponential else (float, lambda values: values)
    values = [value(ratio(column)) for column in columns]
    drawn = [many(each) for each in resample(columns, seed=seed)]
    told: dict[str, Any] = {
        side: _told(*each) for side, each in zip(sides, zip(values, drawn, strict=True), strict=True)
    }
    if len(sides) > 1:
        told["difference"] = _difference(values[0] - values[1], drawn[0] - drawn[1])
    better = "lower" if figure.exponential else "higher"
    return {"rows": len(records), "better": better, "headline": figure.headline, **told}


def _judged(records: Sequence[Record], seed: int) -> dict[str, Any]:
    """The share of wins, ties counted half, of the rows that have a verdict; the baseline's is what is left of 1."""
    verdicts = [row["judge"]["verdict"] for row in records]
    worth = [WORTH[verdict] for verdict in verdicts if verdict in WORTH]
    flips = sum(len({*row["judge"]["orders"]}) > 1 for row in records if row["judge"]["verdict"] in WORTH)
    counts = {"wins": verdicts.count("win"), "ties": verdicts.count("tie"), "losses": verdicts.count("loss")}
    told: dict[str, Any] = {"rows": len(worth), "better": "higher", "headline": True}
    told |= {**counts, "flips": flips, "unread": len(verdicts) - len(worth)}
    if not worth:
        return told
    column = Column(worth, [1.0] * len(worth))
    value, (drawn,) = ratio(column), resample([column], seed=seed)
    told["model"] = _told(value, drawn)
    if "baseline" in records[0]:
        told["baseline"] = _told(1 - value, 1 - drawn)
        told["difference"] = _difference(2 * value - 1, 2 * drawn - 1)
    return told


def _told(value: float, drawn: NDArray[Any]) -> dict[str, float]:
    low, high = interval(drawn)
    return {"value": round(value, DIGITS), "low": round(low, DIGITS), "high": round(high, DIGITS)}


def _difference(value: float, drawn: NDArray[Any]) -> dict[str, float]:
    return {**_told(value, drawn), "above_0": round(share_above(drawn), DIGITS)}


def _exp(nats: float) -> float:
    return math.exp(min(nats, MOST_NATS))


def _exp_all(nats: NDArray[Any]) -> NDArray[Any]:
    import numpy as np

    raised: NDArray[Any] = np.exp(np.minimum(nats, MOST_NATS))
    return raised


def method_of(seed: int) -> dict[str, Any]:
    """How the intervals were made, for whoever reads the results."""
    return {"method": "percentile bootstrap over rows", "level": LEVEL, "resamples": RESAMPLES, "seed": seed}

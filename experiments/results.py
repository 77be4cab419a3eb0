"""What an experiment found, as a file: arms with a value per seed and an interval, and claims with a verdict.

An arm's scores are one number for each seed and held-out row. Intervals are of the mean, by a bootstrap that draws
seeds and rows anew, or by Student's t where a seed has one number; a claim's difference is paired where both arms have
as many rows. Knows no experiment.
"""

from __future__ import annotations

import json
import platform
import tomllib
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from distill_data import __version__
from distill_data.quality import bootstrap

FOLDER = Path(__file__).parent
DRAWS = 2000
T = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306, 10: 2.262}
"""Student's t at 97.5 %, by the number of values."""
LIBRARIES = ("torch", "transformers", "trl")

Scores = Sequence[Sequence[float]]
"""Seeds, then rows."""


class Arm(NamedTuple):
    """One way to do it, measured."""

    name: str
    at: float
    """Where it lies on the figure's axis, as a number of rows; 0 where there is no such axis."""
    scores: Scores

    @property
    def key(self) -> str:
        """How claims name it: `gold@500`, or `gold` where there is no axis."""
        return f"{self.name}@{self.at:g}" if self.at else self.name


class Interval(NamedTuple):
    """A mean, and the ends of its interval at 95 %."""

    mean: float
    low: float
    high: float


def interval(scores: Scores, other: Scores | None = None) -> Interval:
    """Of the mean of the scores, or of their difference from others of the same seeds and rows.

    With as many others these are paired, each with the one at its place; else both are drawn on their own.
    """
    if other is not None and [len(rows) for rows in scores] == [len(rows) for rows in other]:
        scores = [[a - b for a, b in zip(x, y, strict=True)] for x, y in zip(scores, other, strict=True)]
        other = None
    rng = np.random.default_rng(0)
    if other is None and len(scores) in T and all(len(rows) == 1 for rows in scores):
        return _of_few([rows[0] for rows in scores])
    drawn, middle = _drawn(scores, rng), _mean(scores)
    if other is not None:
        drawn, middle = drawn - _drawn(other, rng), middle - _mean(other)
    return Interval(middle, *bootstrap.interval(drawn))


def _of_few(values: Sequence[float]) -> Interval:
    """By Student's t: a bootstrap never leaves the values that there are, and of three that is too narrow."""
    middle = mean(values)
    reach = T[len(values)] * stdev(values) / len(values) ** 0.5
    return Interval(middle, middle - reach, middle + reach)


def _drawn(scores: Scores, rng: np.random.Generator) -> NDArray[np.float64]:
    """DRAWS means of as many seeds, each with as many rows, drawn with replacement.

    Seeds of as many rows mostly have the same rows, so a draw of rows is one for all of these seeds.
    """
    counts = sorted({len(rows) for rows in scores})
    weights = {count: rng.multinomial(count, [1 / count] * count, size=DRAWS) / count for count in counts}
    means = np.stack([weights[len(rows)] @ np.asarray(rows, dtype=float) for rows in scores], axis=1)
    seeds = rng.integers(len(scores), size=(DRAWS, len(scores)))
    drawn: NDArray[np.float64] = np.take_along_axis(means, seeds, axis=1).mean(axis=1)
    return drawn


def _mean(scores: Scores) -> float:
    """Of the seeds' means."""
    return sum(sum(rows) / len(rows) for rows in scores) / len(scores)


def read_about(name: str) -> dict[str, Any]:
    """The experiment's about.toml: title, asked, expected, metric, axis, claims, notes."""
    return tomllib.loads((FOLDER / name / "about.toml").read_text(encoding="utf-8"))


def read_results(name: str) -> dict[str, Any]:
    """The experiment's results.json; empty where it has never been run."""
    path = FOLDER / name / "results.json"
    return json.loads(path.read_bytes()) if path.is_file() else {}


def write_results(name: str, arms: Sequence[Arm], command: str, sizes: Mapping[str, Any]) -> dict[str, Any]:
    """Write results.json, with a verdict for each claim of about.toml, and return it.

    `command` is what the reader runs, `sizes` what is worth knowing of how much there was of everything.
    """
    by_key = {arm.key: arm for arm in arms}
    found = {
        "experiment": name,
        "command": command,
        "sizes": dict(sizes),
        "versions": _versions(),
        "arms": [_arm(arm) for arm in arms],
        "claims": [_claim(claim, by_key) for claim in read_about(name)["claims"]],
    }
    path = FOLDER / name / "results.json"
    path.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return found


def _arm(arm: Arm) -> dict[str, Any]:
    return {
        "name": arm.name,
        "at": arm.at,
        "seeds": len(arm.scores),
        "rows": len(arm.scores[0]),
        "values": [round(sum(rows) / len(rows), 4) for rows in arm.scores],
        **_rounded(interval(arm.scores)),
    }


def _claim(claim: Mapping[str, Any], arms: Mapping[str, Arm]) -> dict[str, Any]:
    """A claim is that the arm `more` has a higher value than the arm `less`."""
    more, less = arms.get(claim["more"]), arms.get(claim["less"])
    if more is None or less is None:
        return {**claim, "verdict": "not measured at this size"}
    found = interval(more.scores, less.scores)
    if len(more.scores) == len(more.scores[0]) == 1 and not claim.get("exact"):
        return {**claim, **_rounded(found), "verdict": "one number, so nothing tells how it scatters"}
    verdict = "as expected" if found.low > 0 else "the other way round" if found.high < 0 else "not told apart"
    return {**claim, **_rounded(found), "verdict": verdict}


def _rounded(found: Interval) -> dict[str, float]:
    return {name: round(value, 4) for name, value in found._asdict().items()}


def _versions() -> dict[str, str]:
    versions = {"distill-data": __version__, "python": platform.python_version()}
    for name in LIBRARIES:
        try:
            versions[name] = metadata.version(name).partition("+")[0]
        except metadata.PackageNotFoundError:
            continue
    return versions

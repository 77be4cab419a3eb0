"""One Gaussian fitted to a teacher with two modes, 0.6 N(3, 1) + 0.4 N(-3, 1): which divergence covers both of them,
and which seeks one. The second part of benchmarks/logit_bias.py, which prints it.

Densities stand on a grid from -20 to 20, as logarithms, and integrals are sums over it. Knows nothing of tokens.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.plots import Axis, Line, plot

Array = NDArray[np.float64]

SPACING = 0.1
GRID = np.arange(-200, 201) * SPACING
MODES = ((0.6, 3.0), (0.4, -3.0))
STARTS = tuple((mean, deviation) for mean in (-6.0, -3.0, 0.0, 3.0, 6.0) for deviation in (1.0, 4.0))
"""Means and standard deviations from which a student sets out."""


def log_normal(mean: Array | float, deviation: Array | float) -> Array:
    """Log-density on the grid."""
    return np.asarray(-0.5 * ((GRID - mean) / deviation) ** 2 - np.log(deviation) - 0.5 * math.log(2 * math.pi))


TEACHER = np.logaddexp.reduce([math.log(share) + log_normal(mean, 1.0) for share, mean in MODES])


class Divergence(NamedTuple):
    """Both from the log-densities of teacher and student, at each point of the grid."""

    value: Callable[[Array, Array], Array]
    """What is integrated."""
    slope: Callable[[Array, Array], Array]
    """Its derivative in the student's log-density."""


def _mixture(p: Array, q: Array, beta: float) -> Array:
    return np.logaddexp(p + math.log(beta), q + math.log(1 - beta))


def _jensen_shannon(beta: float) -> Divergence:
    def value(p: Array, q: Array) -> Array:
        m = _mixture(p, q, beta)
        return np.asarray(beta * np.exp(p) * (p - m) + (1 - beta) * np.exp(q) * (q - m))

    return Divergence(value, lambda p, q: (1 - beta) * np.exp(q) * (q - _mixture(p, q, beta)))


DIVERGENCES: Mapping[str, Divergence] = {
    "forward KL": Divergence(lambda p, q: np.exp(p) * (p - q), lambda p, q: -np.exp(p)),
    "JS, beta 0.1": _jensen_shannon(0.1),
    "JS, beta 0.5": _jensen_shannon(0.5),
    "JS, beta 0.9": _jensen_shannon(0.9),
    "reverse KL": Divergence(lambda p, q: np.exp(q) * (q - p), lambda p, q: np.exp(q) * (q - p + 1)),
}


class Fit(NamedTuple):
    """Where descents ended: a minimum, and how many of the starts lead there."""

    mean: float
    deviation: float
    value: float
    """Divergence in nats."""
    starts: int

    @property
    def log_density(self) -> Array:
        return log_normal(self.mean, self.deviation)


def fits(divergence: Divergence, steps: int = 5_000, rate: float = 0.2) -> list[Fit]:
    """The minima that gradient descent reaches from STARTS, least divergence first.

    A step is in units of the student's own width, and at most 0.3 of it. Raises ArithmeticError where a descent has not
    come to rest.
    """
    mean, width = (np.array(each)[:, None] for each in zip(*STARTS, strict=True))
    for _ in range(steps):
        score = (GRID - mean) / width
        slope = divergence.slope(TEACHER, log_normal(mean, width)) * SPACING
        sideways = (slope * score).sum(axis=1, keepdims=True)
        wider = (slope * (score**2 - 1)).sum(axis=1, keepdims=True) / 2
        if max(np.abs(sideways).max(), np.abs(wider).max()) < 1e-7:
            break
        mean = mean - width * np.clip(rate * sideways, -0.3, 0.3)
        width = width * np.exp(-np.clip(rate * wider, -0.3, 0.3))
    else:
        raise ArithmeticError(f"{steps} steps were too few: the gradients are still {sideways} and {wider}")
    values = divergence.value(TEACHER, log_normal(mean, width)).sum(axis=1) * SPACING
    ends = np.column_stack([mean, width, values]).round(4)
    found, starts = np.unique(ends, axis=0, return_counts=True)
    ended = zip(*found.T.tolist(), starts.tolist(), strict=True)
    made = [Fit(a, b, c, count) for a, b, c, count in ended]
    return sorted(made, key=lambda fit: fit.value)


def mass(log_density: Array, low: float, high: float) -> float:
    """Probability between two points of the grid, by the trapezoidal rule."""
    density = np.exp(log_density[(low - 1e-9 < GRID) & (high + 1e-9 > GRID)])
    return float((density.sum() - (density[0] + density[-1]) / 2) * SPACING)


def seeking() -> Iterator[str]:
    """What each divergence makes of two modes."""
    yield "| divergence | mean | deviation | nats | starts | mass below 0 | mass in -1…1 |"
    yield "|---|---:|---:|---:|---:|---:|---:|"
    yield f"| teacher | | | | | {mass(TEACHER, -20, 0):.3f} | {mass(TEACHER, -1, 1):.3f} |"
    for name, divergence in DIVERGENCES.items():
        for number, fit in enumerate(fits(divergence)):
            said = name if number == 0 else f"{name}, local"
            below, between = mass(fit.log_density, -20, 0), mass(fit.log_density, -1, 1)
            fitted = f"{fit.mean:.2f} | {fit.deviation:.2f} | {fit.value:.3f} | {fit.starts} of {len(STARTS)}"
            yield f"| {said} | {fitted} | {below:.3f} | {between:.3f} |"


def divergences_plot() -> str:
    """The densities of the teacher and of three students."""
    shown = (("forward KL", "#1b4a7a", ""), ("JS, beta 0.5", "#5a8f3c", "7 4"), ("reverse KL", "#cc6f1d", ""))
    middle = slice(100, 301)
    xs = GRID[middle].tolist()
    lines = [Line("teacher, two modes", xs, np.exp(TEACHER[middle]).tolist(), "#888888", filled=True)]
    for name, colour, dash in shown:
        best = fits(DIVERGENCES[name])[0]
        label = f"{name}: {best.mean:.1f} ± {best.deviation:.1f}"
        lines.append(Line(label, xs, np.exp(best.log_density[middle]).tolist(), colour, dash))
    return plot(
        "The Gaussian that each divergence fits to two modes",
        Axis("x", -10, 10, (-10, -5, 0, 5, 10)),
        Axis("density", 0, 0.42, (0, 0.1, 0.2, 0.3, 0.4)),
        lines,
    )

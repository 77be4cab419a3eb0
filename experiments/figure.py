"""The figure of an experiment as SVG: lines over a number of rows, or a point for each arm, with intervals.

Knows the form of results.json and no experiment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from benchmarks.plots import GRID, INK, Axis, Line, plot

COLOURS = ("#1b6ca8", "#d1495b", "#66a182", "#edae49", "#8d5a97", "#555555", "#00798c", "#b3672b", "#2e4057", "#999999")
LEFT, WIDTH, TOP, STEP = 230, 720, 52, 30
"""Of the points: where their axis begins, how wide all is, where the first arm stands, how far apart they are."""
TICKS = 5

Arms = Sequence[Mapping[str, Any]]


def draw(title: str, arms: Arms, metric: str, axis: str, log: bool = True) -> str:
    """Lines where arms were measured at several places of the axis, else points."""
    return (
        _lines(title, arms, metric, axis, log) if len({arm["at"] for arm in arms}) > 1 else _points(title, arms, metric)
    )


def _bounds(arms: Arms) -> tuple[float, float, list[float]]:
    """Low and high end of the metric's axis, on round numbers, and the ticks between."""
    low, high = min(arm["low"] for arm in arms), max(arm["high"] for arm in arms)
    span = (high - low) or abs(high) or 1.0
    step = min((size for size in _round_numbers() if size * TICKS >= span), default=span / TICKS)
    first = int(low // step)
    ticks = [round(step * number, 10) for number in range(first, first + TICKS + 3) if step * (number - 1) < high]
    return ticks[0], ticks[-1], ticks


def _round_numbers() -> list[float]:
    return [digit * 10.0**power for power in range(-6, 7) for digit in (1, 2, 5)]


def _lines(title: str, arms: Arms, metric: str, axis: str, log: bool) -> str:
    low, high, ticks = _bounds(arms)
    places = sorted({arm["at"] for arm in arms if arm["at"]})
    names = list(dict.fromkeys(arm["name"] for arm in arms if arm["at"]))
    drawn = []
    for name, colour in zip(names, COLOURS, strict=False):
        here = sorted((arm for arm in arms if arm["name"] == name and arm["at"]), key=lambda arm: float(arm["at"]))
        drawn.append(Line(name, [arm["at"] for arm in here], [arm["mean"] for arm in here], colour))
        drawn += [Line("", [arm["at"]] * 2, [arm["low"], arm["high"]], colour) for arm in here]
    return plot(title, Axis(axis, places[0], places[-1], places, log), Axis(metric, low, high, ticks), drawn)


def _points(title: str, arms: Arms, metric: str) -> str:
    low, high, ticks = _bounds(arms)
    bottom = TOP + STEP * len(arms)

    def across(value: float) -> float:
        return LEFT + (value - low) / (high - low) * (WIDTH - LEFT - 30)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom + 46}" width="{WIDTH}" '
        f'height="{bottom + 46}" font-family="DejaVu Sans, Arial, sans-serif" font-size="12" fill="{INK}" role="img">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{bottom + 46}" fill="white"/>',
        f'<text x="14" y="24" font-size="14" font-weight="bold">{escape(title)}</text>',
    ]
    for tick in ticks:
        at = across(tick)
        parts.append(f'<line x1="{at:.1f}" y1="{TOP - 12}" x2="{at:.1f}" y2="{bottom - 6}" stroke="{GRID}"/>')
        parts.append(f'<text x="{at:.1f}" y="{bottom + 10}" text-anchor="middle">{tick:,g}</text>')
    for place, arm in enumerate(arms):
        y, colour = TOP + 6 + STEP * place, COLOURS[place % len(COLOURS)]
        ends = across(arm["low"]), across(arm["high"])
        parts.append(f'<text x="{LEFT - 12}" y="{y + 4}" text-anchor="end">{escape(arm["name"])}</text>')
        parts.append(
            f'<line x1="{ends[0]:.1f}" y1="{y}" x2="{ends[1]:.1f}" y2="{y}" stroke="{colour}" stroke-width="2.5"/>'
        )
        parts.append(f'<circle cx="{across(arm["mean"]):.1f}" cy="{y}" r="5" fill="{colour}"/>')
    parts.append(f'<text x="{(LEFT + WIDTH) / 2:.1f}" y="{bottom + 34}" text-anchor="middle">{escape(metric)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"

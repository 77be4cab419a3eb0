"""A plot of lines as SVG text: axes, ticks, legend, nothing else. Knows no numbers and no files.

White is painted behind everything, so that the picture reads the same on a light page and on a dark one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Any, NamedTuple

WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 64, 206, 44, 52
"""Margins; the legend stands in the right one."""
INK, GRID = "#333333", "#dddddd"


class Axis(NamedTuple):
    """What is shown from `low` to `high`, with labelled ticks."""

    label: str
    low: float
    high: float
    ticks: Sequence[float]
    log: bool = False

    def share(self, value: float) -> float:
        """Where a value lies: 0 at the low end, 1 at the high one."""
        low, high, value = (math.log(x) if self.log else x for x in (self.low, self.high, value))
        return (value - low) / (high - low)


class Line(NamedTuple):
    """Points to be joined, in order. `dash` is SVG's, as "6 4"; `filled` paints the area below. What has no label is
    not in the legend."""

    label: str
    xs: Sequence[float]
    ys: Sequence[float]
    colour: str
    dash: str = ""
    filled: bool = False


def plot(title: str, x: Axis, y: Axis, lines: Sequence[Line]) -> str:
    """The picture, 720 x 400. What lies above or below the axes is cut off."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
        f' font-family="DejaVu Sans, Arial, sans-serif" font-size="12" fill="{INK}" role="img">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        _text(LEFT, TOP - 18, title, "start", 'font-size="14" font-weight="bold"'),
        *_axes(x, y),
        f'<clipPath id="area"><rect x="{LEFT}" y="{TOP}" width="{WIDTH - LEFT - RIGHT}" '
        f'height="{HEIGHT - TOP - BOTTOM}"/></clipPath>',
        '<g clip-path="url(#area)" fill="none" stroke-width="2" stroke-linejoin="round">',
        *(_curve(line, x, y) for line in lines),
        "</g>",
        *_legend(lines),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _across(x: Axis, value: float) -> float:
    return LEFT + x.share(value) * (WIDTH - LEFT - RIGHT)


def _up(y: Axis, value: float) -> float:
    return HEIGHT - BOTTOM - y.share(value) * (HEIGHT - TOP - BOTTOM)


def _text(x: float, y: float, text: str, anchor: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {more}>{escape(text)}</text>'


def _rule(x1: float, y1: float, x2: float, y2: float, colour: str, more: str = "") -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" {more}/>'


def _axes(x: Axis, y: Axis) -> list[str]:
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    parts = []
    for tick in x.ticks:
        at = _across(x, tick)
        parts += [_rule(at, TOP, at, bottom, GRID), _text(at, bottom + 17, f"{tick:,g}", "middle")]
    for tick in y.ticks:
        at = _up(y, tick)
        parts += [_rule(LEFT, at, right, at, GRID), _text(LEFT - 7, at + 4, f"{tick:,g}", "end")]
    middle = (TOP + bottom) / 2
    return [
        *parts,
        _rule(LEFT, bottom, right, bottom, INK),
        _rule(LEFT, TOP, LEFT, bottom, INK),
        _text((LEFT + right) / 2, HEIGHT - 12, x.label, "middle"),
        _text(16, middle, y.label, "middle", f'transform="rotate(-90 16 {middle:.1f})"'),
    ]


def _curve(line: Line, x: Axis, y: Axis) -> str:
    bottom = HEIGHT - BOTTOM
    points = [(_across(x, a), _up(y, b)) for a, b in zip(line.xs, line.ys, strict=True)]
    fill: dict[str, Any] = {}
    if line.filled:
        points = [(points[0][0], bottom), *points, (points[-1][0], bottom)]
        fill = {"fill": line.colour, "fill-opacity": 0.25}
    given = fill | {"stroke": line.colour} | ({"stroke-dasharray": line.dash} if line.dash else {})
    attributes = " ".join(f'{name}="{value}"' for name, value in given.items())
    return f'<polyline points="{" ".join(f"{a:.1f},{b:.1f}" for a, b in points)}" {attributes}/>'


def _legend(lines: Sequence[Line]) -> list[str]:
    parts, left = [], WIDTH - RIGHT + 14
    for number, line in enumerate(line for line in lines if line.label):
        at = TOP + 12 + 21 * number
        dash = f' stroke-dasharray="{line.dash}"' if line.dash else ""
        parts.append(_rule(left, at, left + 26, at, line.colour, f'stroke-width="2.5"{dash}'))
        parts.append(_text(left + 33, at + 4, line.label, "start"))
    return parts

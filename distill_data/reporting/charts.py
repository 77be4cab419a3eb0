"""Charts as inline SVG and tables: a histogram, bars, a sunburst. Knows what is drawn, not what it means.

A histogram is as wide as its place and keeps its letters' size: horizontal positions are shares, vertical ones pixels.
Every chart has a title and a description for those who do not see it. Colours come from the style sheet.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from distill_data.reporting.markup import Html, tag

HEIGHT, TOP, BASE = 190, 22, 160
"""Pixels: of a histogram, of its highest bar from above, of its axis."""
NARROW = 0.06
"""Radians: a narrower piece of a sunburst has no room for letters."""
FIRST, SECOND, OUT = 62, 150, 255
"""Radii of a sunburst: where the inner ring begins, where the outer one does, where it ends."""
LETTERS = {"inner": 11, "outer": 13}


def number(value: float) -> str:
    """With separators of thousands; as many decimals as a person wants to read."""
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def compact(value: float) -> str:
    """As `number`, from a million on with two digits and a letter."""
    for size, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M")):
        if abs(value) >= size:
            return f"{value / size:.1f} {letter}"
    return number(value)


def share(part: float, whole: float) -> str:
    """A percentage, `-` of nothing. Only none is 0.0 % and only all is 100.0 %."""
    if not whole:
        return "-"
    told = f"{100 * part / whole:.1f} %"
    if told == "0.0 %" and part > 0:
        return "< 0.1 %"
    return "> 99.9 %" if told == "100.0 %" and part < whole else told


def histogram(spread: Mapping[str, Any], *, key: str, title: str, unit: str) -> Html:
    """A figure of a spread: count, min, median, mean, p95, max, and `histogram` with its edges and counts.

    `key` tells the figures of a page apart. A last bin that goes on further than the others is drawn as wide as they
    are, which is said, as is how many values are drawn where these are a sample.
    """
    unit = f" {unit}" if unit else ""
    edges: Sequence[float] = spread["histogram"]["edges"]
    counts: Sequence[int] = spread["histogram"]["counts"]
    if spread["min"] == spread["max"]:
        same = f"All {spread['count']:,} values are {number(spread['min'])}{unit}."
        return tag("p", tag("b", title), " ", tag("span", same, class_="quiet"))
    top, width = max(counts), 100 / len(counts)
    drawn = [
        tag(
            "rect",
            tag("title", f"{_range(edges[index], edges[index + 1])}{unit}: {count:,}"),
            x=f"{index * width + width * 0.06:.3f}%",
            width=f"{width * 0.88:.3f}%",
            y=f"{_height(count, top):.1f}",
            height=f"{BASE - _height(count, top):.1f}",
            class_="bar",
        )
        for index, count in enumerate(counts)
        if count
    ]
    said = (
        f"{spread['count']:,} values from {number(spread['min'])} to {number(spread['max'])}{unit}; median "
        f"{number(spread['median'])}, mean {number(spread['mean'])}, 95 % at most {number(spread['p95'])}."
    )
    if edges[-1] - edges[-2] > 1.5 * (edges[1] - edges[0]):
        said += f" The last bar is of all from {number(edges[-2])} on."
    if sum(counts) < spread["count"]:
        said += f" Bars are of {sum(counts):,} values, drawn by hash."
    line, level = _grid(top)
    median = _median(edges, spread["median"], width)
    inside = [[line], drawn, [_axis(), level], _labels(edges, width), median]
    chart = _svg(key, title, said, inside, width="100%", height=HEIGHT)
    return tag("figure", tag("figcaption", tag("b", title), " ", tag("span", said, class_="quiet")), chart)


def _range(low: float, high: float) -> str:
    return number(low) if low == high else f"{number(low)} to {number(high)}"


def _labels(edges: Sequence[float], width: float) -> list[Html]:
    """Five edges at most; the upper one of an open last bin is the highest value, and of one number it is not told."""
    bins = len(edges) - 1
    last = bins - (edges[-1] == edges[-2])
    return [
        tag(
            "text",
            number(edges[index]),
            x=f"{index * width:.3f}%",
            y=BASE + 18,
            text_anchor="start" if index == 0 else "end" if index == bins else "middle",
        )
        for index in sorted({round(last * part / 4) for part in range(5)} if bins > 3 else {0, last})
    ]


def _median(edges: Sequence[float], median: float, width: float) -> list[Html]:
    bins = len(edges) - 1
    place = min(bins - 1, max(0, bisect_right(edges, median) - 1))
    span = edges[place + 1] - edges[place]
    at = width * (place + (min((median - edges[place]) / span, 1.0) if span > 0 else 0.0))
    before = at < 70
    label = tag(
        "text",
        f"median {number(median)}",
        x=f"{at:.3f}%",
        dx=5 if before else -5,
        y=TOP - 8,
        text_anchor="start" if before else "end",
    )
    return [tag("line", x1=f"{at:.3f}%", x2=f"{at:.3f}%", y1=TOP - 16, y2=BASE, class_="median"), label]


def bars(
    rows: Iterable[tuple[str, float]], *, caption: str, whole: float = 0, head: str = "", values: str = "rows"
) -> Html:
    """A table of names, numbers and bars. Lengths are relative to the largest, which the head says; shares are of
    `whole`, where there is one.
    """
    listed = list(rows)
    top = max((value for _, value in listed), default=0)
    shares = [tag("th", "of all", scope="col", class_="n")] if whole else []
    header = tag(
        "tr",
        tag("th", head or tag("span", "name", class_="hidden"), scope="col"),
        tag("th", values, scope="col", class_="n"),
        shares,
        tag("th", "beside the largest", scope="col", class_="track"),
    )
    body = [
        tag(
            "tr",
            tag("th", name, scope="row", dir="auto"),
            tag("td", number(value), class_="n"),
            [tag("td", share(value, whole), class_="n")] if whole else [],
            tag("td", _track(value, top), class_="track"),
        )
        for name, value in listed
    ]
    return tag("table", tag("caption", caption), tag("thead", header), tag("tbody", body), class_="bars")


def sunburst(verbs: Sequence[Mapping[str, Any]], *, key: str, title: str) -> Html:
    """Two rings: words with their count inside, what follows each of them outside.

    `verbs` each have verb, count and objects, which are (word, count).
    """
    total = sum(each["count"] for each in verbs) or 1
    pieces: list[Html] = []
    angle = 0.0
    for place, each in enumerate(verbs):
        span = 2 * math.pi * each["count"] / total
        pieces += _piece(each["verb"], each["count"], (angle, angle + span), (FIRST, SECOND - 2), f"inner s{place % 3}")
        inner = angle
        for word, count in each["objects"]:
            end = inner + span * count / each["count"]
            pieces += _piece(word, count, (inner, end), (SECOND, OUT), f"outer s{place % 3}")
            inner = end
        angle += span
    said = ", ".join(f"{each['verb']} {each['count']:,}" for each in verbs[:8])
    drawn = _svg(key, title, f"Most often: {said}.", [pieces], viewBox=f"{-OUT} {-OUT} {2 * OUT} {2 * OUT}")
    return tag("figure", drawn, class_="sunburst")


def _piece(word: str, count: int, arc: tuple[float, float], radii: tuple[int, int], kind: str) -> list[Html]:
    """A piece of a ring, with its word along the radius where there is room."""
    (start, end), (inner, outer) = arc, radii
    end = min(end, start + 2 * math.pi - 1e-4)
    path = (
        f"M{_point(start, inner)}L{_point(start, outer)}A{outer} {outer} 0 {int(end - start > math.pi)} 1 "
        f"{_point(end, outer)}L{_point(end, inner)}A{inner} {inner} 0 {int(end - start > math.pi)} 0 "
        f"{_point(start, inner)}Z"
    )
    drawn = [tag("path", tag("title", f"{word}: {count:,}"), d=path, class_=kind)]
    if end - start >= NARROW:
        ring = kind.split()[0]
        middle, radius = math.degrees((start + end) / 2) - 90, (inner + outer) / 2
        turn = f"rotate({middle:.2f}) translate({radius:.1f} 0)" + (" rotate(180)" if 90 < middle % 360 < 270 else "")
        short = word if len(word) <= LETTERS[ring] else word[: LETTERS[ring] - 1] + "…"
        drawn.append(tag("text", short, transform=turn, text_anchor="middle", dy="0.35em", class_=ring))
    return drawn


def _point(angle: float, radius: float) -> str:
    return f"{radius * math.sin(angle):.2f} {-radius * math.cos(angle):.2f}"


def _svg(key: str, title: str, said: str, inside: Iterable[Iterable[Html]], **attributes: str | float) -> Html:
    """A picture that says what it shows."""
    names = {"aria_labelledby": f"{key}-title", "aria_describedby": f"{key}-desc"}
    head = [tag("title", title, id=f"{key}-title"), tag("desc", said, id=f"{key}-desc")]
    return tag("svg", head, *inside, role="img", **names, **attributes)


def _height(count: int, top: int) -> float:
    """Where a bar begins; the smallest one is still seen."""
    return min(BASE - (BASE - TOP) * count / top, BASE - 1.5)


def _grid(top: int) -> tuple[Html, Html]:
    """One line at a round number, so that heights can be read, and the number, which goes over the bars."""
    magnitude = 10 ** math.floor(math.log10(top))
    level = max(part for part in (magnitude // 2, magnitude, 2 * magnitude, 5 * magnitude) if part <= top) or top
    y = f"{_height(int(level), top):.1f}"
    return (
        tag("line", x1="0", x2="100%", y1=y, y2=y, class_="grid"),
        tag("text", f"{int(level):,}", x="100%", y=y, dy=-4, text_anchor="end", class_="quiet"),
    )


def _axis() -> Html:
    return tag("line", x1="0", x2="100%", y1=BASE, y2=BASE, class_="axis")


def _track(value: float, top: float) -> Html:
    width = 100 * value / top if top > 0 else 0
    return tag(
        "svg",
        tag("rect", width=f"{max(width, 0.5 if value > 0 else 0):.2f}%", height="100%", class_="bar"),
        width="100%",
        height="12",
        aria_hidden="true",
    )


def note(text: str) -> Html:
    return tag("p", text, class_="note")


def pairs(pairs: Iterable[tuple[str, str]], caption: str) -> Html:
    rows = [tag("tr", tag("th", name, scope="row"), tag("td", value, class_="n")) for name, value in pairs]
    return tag("table", tag("caption", caption), tag("tbody", rows), class_="pairs")


def decimals(value: Any) -> str:
    return number(value) if is_number(value) else "-"


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)

"""Rows and rejects on a page, for reading: long ones folded, with a note of what was cut. Knows no chart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from distill_data.reporting.markup import Html, tag

FOLDED = 700
"""Characters above which a text is folded."""
SUMMARY = 90
"""Characters of a text that stand for it while it is folded."""


def rows(described: Iterable[Mapping[str, Any]]) -> list[Html]:
    """Each row as an article."""
    return [tag("article", _head(row), _body(row), class_="row") for row in described]


def rejects(described: Iterable[Mapping[str, Any]]) -> list[Html]:
    """Each reject as an article, its reason first."""
    shown = []
    for row in described:
        detail = tag("p", row["detail"], class_="detail", dir="auto") if row["detail"] else ""
        head = tag(
            "header", tag("b", row["reason"]), " ", tag("span", row["outcome"], class_="quiet"), " ", _place(row)
        )
        facts = _values(row["facts"]) if row["facts"] else ""
        shown.append(tag("article", head, detail, facts, _body(row), class_="row reject"))
    return shown


def _head(row: Mapping[str, Any]) -> Html:
    kind = tag("span", row["kind"], class_="kind") if row["kind"] else ""
    return tag("header", tag("code", row["id"] or "row"), " ", kind, " ", _place(row))


def _place(row: Mapping[str, Any]) -> Html:
    return tag("span", row["place"], class_="quiet")


def _body(row: Mapping[str, Any]) -> list[Html]:
    shown = [_text(each) for each in row["texts"]]
    if row["more"]:
        shown.append(tag("p", f"and {row['more']:,} more texts", class_="quiet"))
    if row["values"]:
        shown.append(_values(row["values"]))
    if row["meta"]:
        shown.append(tag("details", tag("summary", "where it is from"), _values(row["meta"])))
    return shown


def _text(each: Mapping[str, Any]) -> Html:
    role = f" · {each['role']}" if each["role"] else ""
    said = each["text"]
    cut = tag("p", f"cut: {each['cut']:,} more characters", class_="quiet") if each["cut"] else ""
    name = tag("span", f"{each['column']}{role}", class_="label")
    text = tag("div", said, class_="text", dir="auto")
    if len(said) <= FOLDED and not each["cut"]:
        return tag("div", name, text, class_="said")
    first = " ".join(said[: SUMMARY * 2].split())[:SUMMARY]
    size = f"{len(said) + each['cut']:,} characters"
    summary = tag("summary", name, " ", tag("bdi", f"{first}…"), " ", tag("span", size, class_="quiet"))
    return tag("details", summary, text, cut, class_="said")


def _values(pairs: Iterable[tuple[str, str]]) -> Html:
    listed = [tag("div", tag("dt", name), tag("dd", value, dir="auto")) for name, value in pairs]
    return tag("dl", listed)

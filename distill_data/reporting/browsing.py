"""A row or a reject as lines for a terminal, each with what it is: the colours are the caller's. Knows no file.

All text goes through `plain`, so nothing in a row commands the terminal, and lines are as wide as they look: Chinese
characters count two columns, marks none.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from distill_data.reporting.parts import Part, detail_of, parts_of, row_of_reject, set_out
from distill_data.reporting.plain import plain

TAB = "    "
INDENT = "  "
SHOWN = 100_000
"""Characters of a text on a terminal."""


class Line(NamedTuple):
    """A line and what it is: head, label, quiet or text."""

    style: str
    text: str


def lines_of(row: Mapping[str, Any], place: str, width: int = 0) -> list[Line]:
    """A row, or a reject where it says its outcome and a reason. Wrapped where width > 0."""
    return (reject_lines if "outcome" in row and "reason" in row else row_lines)(row, place, width)


def row_lines(row: Mapping[str, Any], place: str, width: int = 0) -> list[Line]:
    """A row: id, place and kind, messages and texts, short values, and where it is from."""
    parts = parts_of(row)
    lines = _head(" · ".join(filter(None, (parts.id, parts.kind, place))), width)
    for part in parts.texts:
        lines += _part(part, width)
    if parts.values:
        lines += [Line("text", ""), *_pairs(parts.values, width)]
    if parts.meta:
        lines += [Line("label", "meta"), *_pairs(parts.meta, width, "quiet")]
    return lines


def reject_lines(reject: Mapping[str, Any], place: str, width: int = 0) -> list[Line]:
    """A reject: why, and what there was; raw answers where it is not for browsing, which has a key for them."""
    head = " · ".join(filter(None, (str(reject.get("outcome", "rejected")), str(reject.get("reason", "")), place)))
    lines = _head(head, width)
    detail, facts = detail_of(reject)
    lines += _texts(detail, width) if detail else []
    lines += _pairs(facts, width)
    rest = [(key, set_out(reject[key])) for key in ("item", "line") if key in reject]
    lines += _pairs(rest, width, "quiet")
    row = row_of_reject(reject)
    lines += [Line("text", ""), *row_lines(row, "", width)] if row else []
    answers = reject["answers"] if isinstance(reject.get("answers"), list) else []
    if answers and width:
        return [*lines, Line("text", ""), *_quiet(f"raw answers: {len(answers)}, key a", width)]
    return [*lines, *(answer_lines([], map(set_out, answers)) if answers else [])]


def answer_lines(prompt: Sequence[Part], answers: Iterable[str], width: int = 0) -> list[Line]:
    """What was asked, where it is known, and every raw answer."""
    lines: list[Line] = []
    for part in prompt:
        lines += _part(part, width)
    for number, answer in enumerate(answers, 1):
        lines += _part(Part(f"raw answer {number}", "", answer), width)
    return lines or _quiet("no raw answer is known: there is no run beside this file that holds one", width)


def wrap(text: str, width: int) -> Iterator[str]:
    """A line in pieces of at most `width` columns, broken at a space where there is one in the second half."""
    start = position = columns = 0
    space = -1
    while position < len(text):
        size = columns_of(text[position])
        if columns + size > width and position > start:
            cut = space + 1 if space > start + (position - start) // 2 else position
            yield text[start:cut]
            start, columns, space = cut, sum(map(columns_of, text[cut:position])), -1
        if text[position] == " ":
            space = position
        columns += size
        position += 1
    yield text[start:]


def columns_of(character: str) -> int:
    """Columns that a character takes."""
    if character.isascii():
        return 1
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1


def _head(text: str, width: int) -> list[Line]:
    return [Line("head", piece) for piece in _pieces(text, width)]


def _quiet(text: str, width: int) -> list[Line]:
    return [Line("quiet", piece) for piece in _pieces(text, width)]


def _part(part: Part, width: int) -> list[Line]:
    name = f"{part.column} · {part.role}" if part.role else part.column
    return [Line("text", ""), *(Line("label", piece) for piece in _pieces(name, width)), *_texts(part.text, width)]


def _texts(text: str, width: int, style: str = "text") -> list[Line]:
    cut = len(text) - SHOWN if width and len(text) > SHOWN else 0
    shown = text[:SHOWN] if cut else text
    lines = [Line(style, f"{INDENT}{piece}") for line in shown.split("\n") for piece in _pieces(line, width - 2)]
    return [*lines, *(_quiet(f"cut: {cut:,} more characters; --row shows them", width) if cut else [])]


def _pairs(pairs: Iterable[tuple[str, str]], width: int, style: str = "text") -> list[Line]:
    lines = []
    for name, value in pairs:
        first, *rest = value[: SHOWN if width else None].split("\n")
        for text in (f"{name}: {first}", *(f"{INDENT}{line}" for line in rest)):
            lines += [Line(style, f"{INDENT}{piece}") for piece in _pieces(text, width - 2)]
    return lines


def _pieces(text: str, width: int) -> Iterable[str]:
    shown = plain(text.replace("\t", TAB), one_line=True)
    return wrap(shown, width) if width > 0 else [shown]

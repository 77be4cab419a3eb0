"""The table of an evaluation, for a terminal. Reads the results as `evaluate` writes them; makes none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from distill_data.reporting.plain import plain

FEW = 30
"""Rows below which an interval promises too much."""


def table_lines(results: Mapping[str, Any]) -> list[str]:
    """Who was measured on what, a line for each figure, and what to know of them."""
    models = {role: plain(name, one_line=True) for role, name in results["models"].items()}
    failed = f", {results['failed']:,} more failed" if results["failed"] else ""
    task = f"{plain(results['task']['name'], one_line=True)}: {results['rows']:,} rows{failed}"
    heads = [["task", task], *([role, name] for role, name in models.items())]
    figures: Mapping[str, Mapping[str, Any]] = results["figures"]
    columns = ["model", *(["baseline", "difference", "above 0"] if "baseline" in models else [])]
    table = [["", *columns], *([_named(name, each), *_cells(each, columns)] for name, each in figures.items())]
    return [*_aligned(heads), "", *_aligned(table), "", *_notes(results, figures)]


def _named(name: str, figure: Mapping[str, Any]) -> str:
    """Figures beside a headline are set in; those of which less is better say so."""
    return ("" if figure["headline"] else "  ") + name + (" (lower is better)" if figure["better"] == "lower" else "")


def _cells(figure: Mapping[str, Any], columns: Sequence[str]) -> list[str]:
    if "model" not in figure:
        return ["no verdict"]
    cells = [_cell(figure["model"])]
    if len(columns) > 1:
        difference = figure["difference"]
        cells += [_cell(figure["baseline"]), _cell(difference, "+"), f"{100 * difference['above_0']:.1f} %"]
    return cells


def _cell(value: Mapping[str, float], sign: str = "") -> str:
    """A value and its interval."""
    digits = 3 if max(map(abs, (value["value"], value["low"], value["high"]))) < 1000 else 0
    shown = [f"{value[name]:{sign},.{digits}f}" for name in ("value", "low", "high")]
    return f"{shown[0]} [{shown[1]}, {shown[2]}]"


def _notes(results: Mapping[str, Any], figures: Mapping[str, Mapping[str, Any]]) -> list[str]:
    drawn = results["intervals"]
    lines = [
        f"In brackets {100 * drawn['level']:.0f} % intervals: {drawn['method']}, {drawn['resamples']:,} resamples."
    ]
    if judged := figures.get("judge"):
        other = "the baseline" if "baseline" in results["models"] else "the reference"
        counts = ", ".join(f"{name} {judged[name]:,}" for name in ("wins", "ties", "losses"))
        lines.append(
            f"judge: {counts} against {other}, a tie counted half; verdicts that turned with the order, and are ties: "
            f"{judged['flips']:,}; without a verdict that can be read, and not counted: {judged['unread']:,}."
        )
    unfinished = {side: count for side, count in results.get("unfinished", {}).items() if count}
    for side, count in unfinished.items():
        lines.append(
            f"Answers of the {side} that were cut off or withheld, and are scored as they are: {count:,}; --max-tokens "
            "lets them be longer."
        )
    if results["rows"] < FEW:
        lines.append(f"Fewer than {FEW} rows: the intervals are too narrow to rely on.")
    return lines


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Cells of a column under each other."""
    wide = max(map(len, rows))
    widths = [max((len(row[at]) for row in rows if at < len(row)), default=0) for at in range(wide)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip() for row in rows]

"""What split and merge did, and how two datasets differ, as lines for a terminal. Knows no command."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from distill_data.reporting.plain import plain

SIGNS = {"added": "+", "changed": "~", "gone": "-"}


class Differing(Protocol):
    """A row that is not in both datasets as it is; `commands.diff.Difference` is one."""

    @property
    def change(self) -> str: ...
    @property
    def line(self) -> int: ...
    @property
    def key(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def columns(self) -> Sequence[str]: ...


def split_lines(result: Mapping[str, Any]) -> list[str]:
    """`1,000 rows = 902 train (90.2 %) + 98 test (9.8 %)`."""
    counts = {**result["parts"], **({"left out": result["left_out"]} if result["left_out"] else {})}
    rows = result["rows"]
    return [f"{rows:,} rows = " + " + ".join(f"{n:,} {name} ({100 * n / rows:.1f} %)" for name, n in counts.items())]


def merge_lines(result: Mapping[str, Any]) -> list[str]:
    """A line for each source, and what became of ids."""
    lines = [
        f"{plain(source['name'], one_line=True)}: {source['taken']:,} of {source['rows']:,} rows"
        + (f", weight {source['weight']:g}" if source["weight"] != 1 else "")
        for source in result["sources"]
    ]
    return [*lines, *([f"{result['renamed']:,} rows got a new id"] if result["renamed"] else [])]


def diff_lines(
    names: Sequence[str], rows: Sequence[int], counts: Mapping[str, int], columns: Mapping[str, int],
    shown: Sequence[Differing],
) -> list[str]:  # fmt: skip
    """Rows of both, counts by kind of change, where rows changed, and the first rows of each kind."""
    sizes = [f"{plain(name, one_line=True)}: {count:,} rows" for name, count in zip(names, rows, strict=True)]
    lines = [*sizes, ", ".join(f"{count:,} {kind}" for kind, count in counts.items())]
    if columns:
        named = [f"{plain(name, one_line=True)} {count:,}" for name, count in columns.items()]
        lines.append(f"changed in: {', '.join(named)}")
    for kind, sign in SIGNS.items():
        listed = [each for each in shown if each.change == kind]
        lines += [plain(f"{sign} line {each.line}: {_about(each)}", one_line=True) for each in listed]
        if listed and counts[kind] > len(listed):
            lines.append(f"{sign} ... and {counts[kind] - len(listed):,} more")
    return lines


def _about(row: Differing) -> str:
    where = f"[{', '.join(row.columns)}] " if row.columns else ""
    text = row.text if row.text.lower().startswith(row.key) else f"{row.key}  {row.text}"
    return where + text

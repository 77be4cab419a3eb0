"""The closing lines of commands on datasets: how many rows went in, what became of them, where they are.

Knows no command; it reads what the result says.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from distill_data.reporting.plain import plain


class RowsDone(Protocol):
    """What is read of an ending; `commands.rows.Done` is one."""

    @property
    def result(self) -> Mapping[str, Any]: ...
    @property
    def changed(self) -> bool: ...
    @property
    def output(self) -> str: ...


def rows_lines(done: RowsDone) -> list[str]:
    """Plain text for a terminal, a line each."""
    result = done.result
    lines = []
    if "kept" in result:
        lines.append(f"{result['rows']:,} rows = {result['kept']:,} kept + {result['rejected']:,} rejected")
    reasons: Mapping[str, int] = result.get("reasons", {})
    if reasons:
        ordered = sorted(reasons.items(), key=lambda pair: (-pair[1], pair[0]))
        width = max(len(f"{count:,}") for count in reasons.values())
        lines += ["rejected:", *(f"  {count:>{width},}  {plain(name, one_line=True)}" for name, count in ordered)]
    if not done.changed:
        return [*lines, f"unchanged: {done.output}; the same input and settings made it"]
    named = [each["name"] for each in result["files"].values() if each["name"] != "-"]
    return [*lines, *([f"written: {', '.join(plain(name, one_line=True) for name in named)}"] if named else [])]


def export_lines(done: RowsDone) -> list[str]:
    """The same for an export, whose rows can be more or fewer than those that were read."""
    if not done.changed:
        return rows_lines(done)
    written, ties = done.result.get("written", done.result["rows"]), done.result.get("ties", 0)
    left_out = f"; {ties:,} left out, as their best and worst answer have equal scores" if ties else ""
    return [f"written: {plain(done.output, one_line=True)}; {written:,} row{'' if written == 1 else 's'}{left_out}"]

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

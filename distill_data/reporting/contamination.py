"""Contamination for people: how much of each benchmark a dataset has, and which rows have it, with what they say.

Knows no command; it reads what was found.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from distill_data.reporting.plain import plain

SHOWN = 20
"""Rows that are shown; the rejects and `--json` have all."""
NOTABLE = 0.02
"""The share of a benchmark above which Tulu 3 drops a whole dataset."""


class Evidence(Protocol):
    """What is read of a finding; `commands.decontaminate.Finding` is one."""

    @property
    def line(self) -> int: ...
    @property
    def benchmark(self) -> str: ...
    @property
    def benchmark_line(self) -> int: ...
    @property
    def rule(self) -> str: ...
    @property
    def share(self) -> float: ...
    @property
    def text(self) -> str: ...


def benchmark_lines(benchmarks: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line for each benchmark: which share of its items the dataset has."""
    return [
        f"{plain(each['name'], one_line=True)}: {each['hit']:,} of {each['items']:,} items in {each['rows']:,} rows"
        f" ({each['share']:.1%}{', above 2 %' if each['share'] > NOTABLE else ''})"
        for each in benchmarks
    ]


def evidence_lines(source: str, findings: Iterable[Evidence]) -> list[str]:
    """Two lines for each of the first rows: where and by what rule, and the words of the row that are the evidence."""
    lines = []
    found = list(findings)
    for each in found[:SHOWN]:
        place = f"{source}:{each.line} has {each.benchmark}:{each.benchmark_line} ({each.rule}, {each.share:.0%})"
        lines += [plain(place, one_line=True), f"    {plain(each.text, one_line=True)}"]
    if len(found) > SHOWN:
        lines.append(f"and {len(found) - SHOWN:,} more rows; --json shows all")
    return lines

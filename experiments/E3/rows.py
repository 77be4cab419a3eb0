"""How right rows are, and the check that keeps those on which at least half of the samples agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from experiments import lifts

HALF = 0.5


def agreement(row: Mapping[str, Any]) -> float:
    """Share of the votes up to the decision that the row's answer got."""
    return float(orjson.loads(row["meta"]["details"])["agreement"])


def most_agree(row: Mapping[str, Any]) -> bool:
    """For `distill-data filter -c function:experiments.E3.rows:most_agree`."""
    return agreement(row) >= HALF


def read_rows(path: Path) -> Sequence[Mapping[str, Any]]:
    """All of them."""
    return [orjson.loads(line) for line in path.read_bytes().split(b"\n") if line]


def right(row: Mapping[str, Any]) -> float:
    """1.0 where the row's answer is the right one, whoever says so."""
    return float(row["answer"] == str(_floors(row)[-1]))


def well_reasoned(row: Mapping[str, Any]) -> float:
    """1.0 where every step of its reasoning is right."""
    return float(row["completion"][0]["reasoning_content"] == lifts.reasoning(_floors(row)))


def _floors(row: Mapping[str, Any]) -> list[int]:
    return lifts.solve(lifts.read(row["prompt"][0]["content"]))

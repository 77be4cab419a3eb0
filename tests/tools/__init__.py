"""The shipped specifications and tasks, read once for the tests of this folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from distill_data.tools import Spec, Task, read_spec, read_task

SEEDS = Path(__file__).parents[2] / "seeds"


def rows_of(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (SEEDS / f"{name}.jsonl").read_bytes().removesuffix(b"\n").split(b"\n")]


SPEC_ROWS = rows_of("tools")
SPECS: list[Spec] = [read_spec(row, f"tools.jsonl:{line}") for line, row in enumerate(SPEC_ROWS, start=1)]
BY_NAME = {spec.name: spec for spec in SPECS}
TASKS: list[Task] = [
    read_task(row, SPECS, f"tool_tasks.jsonl:{line}") for line, row in enumerate(rows_of("tool_tasks"), start=1)
]

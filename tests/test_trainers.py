"""Every record that `feedback`, `self-knowledge` and `feature` show in their golden folders, read as trainers do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from distill_data.formats import COLUMNS, TRAINERS, faults
from tests.golden import GOLDEN
from tests.golden.judged import STRATEGIES
from tests.system.command import read_jsonl

COMMANDS = ("feedback", "self-knowledge", "feature")
MUST: dict[str, set[str]] = {
    "preference": {"dpo", "reward"},
    "unpaired": {"kto"},
    "ranked": {"rrhf", "pro"},
    "steps": {"stepwise"},
    "sft": {"sft"},
    "critique": {"sft"},
    "logits": {"sft"},
    "hidden": {"sft"},
    "attention": {"sft"},
    "relations": {"sft"},
    "triple": set(),
    "prompt": {"grpo"},
}
"""Kind to the trainers that have to read it."""

FILES = sorted(path for command in COMMANDS for path in GOLDEN.glob(f"{command}/*/records*.jsonl"))


def named(path: Path) -> str:
    return str(path.relative_to(GOLDEN))


@pytest.mark.parametrize("path", FILES, ids=named)
def test_trainers_read_every_record(path: Path) -> None:
    """Those of its kind, and GRPO, which asks the prompt itself; but for steps, whose columns it claims."""
    records = read_jsonl(path)
    assert records
    for record in records:
        kind = record["kind"]
        assert path.name in ("records.jsonl", f"records.{kind}.jsonl")
        if "prompt" not in record:
            assert record.keys() & {"text", "anchor"}, "what is no chat"
            continue
        trainers = {*MUST[kind], *TRAINERS[kind], *(["grpo"] if kind != "steps" else [])}
        found = {trainer: wrong for trainer in trainers if (wrong := faults(record, trainer))}
        assert not found, record["id"]


@pytest.mark.parametrize("path", FILES, ids=named)
def test_records_of_a_file_have_the_same_columns_and_no_null(path: Path) -> None:
    """Readers infer types from the first rows; ids tell records apart."""
    records = read_jsonl(path)
    assert len({record["id"] for record in records}) == len(records)
    assert len({tuple(record) for record in records}) == 1
    (shape, *others) = [shapes(record) for record in records]
    assert all(other == shape for other in others)
    assert "null" not in str(shape)
    for record in records:
        columns = tuple(name for name in record if name not in ("id", "kind", "meta", "answer"))
        wanted = [
            name for name in COLUMNS[record["kind"]] if "text" not in record or name not in ("prompt", "completion")
        ]
        assert columns == (*(["text"] if "text" in record else []), *wanted)


def shapes(value: Any) -> Any:
    """The types in a value; of a list, those of its elements once each."""
    if isinstance(value, dict):
        return {name: shapes(part) for name, part in value.items()}
    if isinstance(value, list):
        return ["list", *sorted({str(shapes(part)) for part in value})]
    return "null" if value is None else type(value).__name__


def test_every_kind_that_is_offered_is_shown() -> None:
    """A kind that no folder shows would be read by nobody here."""
    shown = {record["kind"] for path in FILES for record in read_jsonl(path)}
    offered = {kind for known in STRATEGIES.values() for strategy in known.values() for kind in strategy.kinds}
    assert offered <= shown
    assert {path.parent.parent.name for path in FILES} == set(COMMANDS)


def test_what_has_to_be_read_is_what_the_package_says() -> None:
    assert {kind: set(trainers) >= MUST[kind] for kind, trainers in TRAINERS.items()} == dict.fromkeys(MUST, True)

"""A small teacher's knowledge of a few rows, stored by `feature`, and students that learn from it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from distill_data.cli import main
from distill_data.commands.train import Loop, profile_of
from distill_data.data.arrays import topk_of
from distill_data.data.features import open_features
from distill_data.training.examples import make_examples
from distill_data.training.jobs import Job
from distill_data.training.objectives import LANGUAGE, settings_of
from distill_data.training.students import open_student
from tests.system.command import read_jsonl
from tests.white_box.tiny import make_tiny

ROWS = [
    {"prompt": "How many legs has a spider?", "completion": "A spider has eight legs."},
    {"prompt": "What is the capital of France?", "completion": "Paris."},
    {"prompt": "user assistant 12 * 12 = ?", "completion": "144, because 12 * 12 = 144"},
    {"prompt": "Say it in Chinese.", "completion": "你好！ 😊"},
    {"prompt": "The quick brown fox?", "completion": "jumps over the lazy dog. " * 3},
    {"prompt": "1 + 1 = ?", "completion": "2"},
    {"prompt": "positive or negative", "completion": "neutral"},
    {"prompt": "yes no maybe", "completion": "one two three four five"},
]
KINDS = {
    "topk": {"k": 100_000},
    "sampled": {"draws": 20},
    "hidden": {"layers": [1, -1]},
    "relations": {"batch": 4},
    "text": {"k": 8, "layout": "packed"},
}
"""What is stored of the rows; `text` is topk of raw text, packed."""


def make(folder: Path) -> Path:
    """The folder with a teacher, a student of its kind, and a file of each kind of knowledge."""
    make_tiny(folder / "teacher")
    make_tiny(folder / "student", seed=1, layers=3)
    write(folder / "rows.jsonl", ROWS)
    write(folder / "raw.jsonl", [{"text": f"{row['prompt']} {row['completion']}"} for row in ROWS])
    for kind, settings in KINDS.items():
        rows, recipe = ("raw", "topk") if kind == "text" else ("rows", kind)
        changed = [part for name, value in settings.items() for part in ("--set", f"{name}={json.dumps(value)}")]
        teacher = ["-t", f"transformers/{folder / 'teacher'}"]
        command = [
            "feature",
            str(folder / f"{rows}.jsonl"),
            "-r",
            recipe,
            "-o",
            str(folder / f"{kind}.jsonl"),
            "--quiet",
        ]
        assert main([*command, *teacher, *changed]) == 0
    return folder


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def job_of(folder: Path, objective: str, data: str, student: str = "student", **settings: str) -> Job:
    rows = read_jsonl(folder / f"{data}.jsonl")
    return Job(
        open_student(profile_of(str(folder / student), None), LANGUAGE),
        rows,
        [],
        settings_of(objective, settings),
        Loop(batch=len(rows), max_length=512),
        folder / "nowhere",
        open_features(folder / f"{data}.jsonl").of,
    )


def batch_of(trainer: Any) -> dict[str, Any]:
    batch: dict[str, Any] = trainer.data_collator(trainer.train_dataset)
    return batch


def trained(folder: Path, out: Path, objective: str, data: str, *given: str) -> dict[str, Any]:
    """By the command line."""
    command = ["train", str(folder / f"{data}.jsonl"), "-s", str(folder / "student"), "--objective", objective]
    assert main([*command, "-o", str(out), "--max-length", "512", "--quiet", *given]) == 0
    result: dict[str, Any] = json.loads(out.with_name(f"{out.name}.manifest.json").read_bytes())["result"]
    return result


def weights(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


def by_hand(job: Job, make: Callable[[Any, Any], Any]) -> float:
    """Mean over all tokens of y of `make(logits, the stored distribution over all ids)`, row by row, from the model."""
    import torch

    total, tokens = 0.0, 0
    for example in make_examples(job, job.rows, job.arrays, Counter()):
        found = topk_of(example.read())
        told = torch.full((len(found.tokens), job.student.model.config.vocab_size), -1e4)
        told.scatter_(1, torch.tensor(found.ids).long().clamp(min=0), torch.tensor(found.logprobs).clamp(min=-1e4))
        with torch.no_grad():
            logits = job.student.model(torch.tensor([example.ids])).logits[0, example.start - 1 : -1]
        total += float(make(logits, told)) * len(told)
        tokens += len(told)
    return total / tokens


def refused(capsys: pytest.CaptureFixture[str], code: int, *command: str) -> str:
    assert main(["train", *command]) == code
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return said

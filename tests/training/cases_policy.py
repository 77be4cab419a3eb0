"""Objectives whose student writes: next to a teacher, or for a reward."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from random import Random

from distill_data.commands.train import Training, train
from distill_data.training.jobs import Loop
from tests.system.command import read_jsonl
from tests.training.cases_supervised import label_of, write_reviews
from tests.training.measures import choice_accuracy, mean_probability
from tests.training.teaching import TRAIN, Case, permuted, write_rows

FIRST = Loop(steps=60, batch=16, max_length=128)


def train_both(folder: Path, seed: int) -> Mapping[str, str]:
    """A student that guesses, and a teacher that was trained on the rows, right or permuted ones: the student sees
    prompts alone."""
    teacher = _train(folder / TRAIN, folder / "teacher", seed + 100)
    return {"student": train_guesser(folder, seed), "teacher": teacher}


def train_verified(folder: Path, seed: int) -> Mapping[str, str]:
    """A student that is right two times of three, and is told which answers are the rows'."""
    return {"student": train_guesser(folder, seed, right=2), "reward": "verifier"}


def train_guesser(folder: Path, seed: int, right: int = 1) -> str:
    """A student that has seen the right label `right` times for each time that it saw the wrong one."""
    rng = Random(seed)
    guesses = [
        {"prompt": prompt, "completion": label}
        for prompt in sorted(str(row["prompt"]) for row in read_jsonl(folder / TRAIN))
        for label in ("good", "bad")
        for _ in range(right if label == label_of(prompt) else 1)
    ]
    write_rows(folder / "guesses.jsonl", rng.sample(guesses, len(guesses)))
    return _train(folder / "guesses.jsonl", folder / "guesser", seed)


def _train(rows: Path, folder: Path, seed: int) -> str:
    loop = replace(FIRST, seed=seed)
    return str(train(str(rows), Training("tiny", "sft", loop), str(folder)).folder)


def write_known(folder: Path, seed: int) -> None:
    """Reviews whose label is an answer to compare with."""
    write_reviews(folder, seed)
    rows = [{"prompt": row["prompt"], "answer": row["completion"]} for row in read_jsonl(folder / TRAIN)]
    write_rows(folder / TRAIN, rows)


CASES = (
    Case(
        "on-policy",
        "accuracy of held-out labels",
        write_reviews,
        permuted(write_reviews, "completion"),
        choice_accuracy,
        settings={"length": "6"},
        loop=Loop(steps=60, batch=16, max_length=128, learning_rate=1e-3),
        models=train_both,
    ),
    Case(
        "rl",
        "probability of held-out labels",
        write_known,
        permuted(write_known, "answer"),
        mean_probability,
        settings={"length": "6", "samples": "4"},
        loop=Loop(steps=40, batch=16, max_length=128, learning_rate=5e-4),
        models=train_verified,
        rises="reward",
    ),
)

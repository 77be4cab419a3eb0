"""What a trained student knows, measured on held-out rows of a prompt and a completion, both texts."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp
from pathlib import Path
from typing import Any

from distill_data.commands.train import profile_of
from distill_data.training.jobs import Student
from distill_data.training.objectives import LANGUAGE
from distill_data.training.students import open_student
from tests.system.command import read_jsonl


def choice_accuracy(folder: Path, held: Path) -> float:
    """How often a row's completion is likelier to the student than each other completion of the file."""
    rows = read_jsonl(held)
    choices = sorted({row["completion"] for row in rows})
    student = open_student(profile_of(str(folder), None), LANGUAGE)
    scores = logprobs(student, [(row["prompt"], choice) for row in rows for choice in choices])
    right = 0
    for at, row in enumerate(rows):
        own = scores[at * len(choices) : (at + 1) * len(choices)]
        right += choices[own.index(max(own))] == row["completion"]
    return right / len(rows)


def mean_probability(folder: Path, held: Path) -> float:
    """Mean probability of a held-out completion, with the end of its turn: how often the student draws it."""
    rows = read_jsonl(held)
    student = open_student(profile_of(str(folder), None), LANGUAGE)
    return sum(map(exp, logprobs(student, [(row["prompt"], row["completion"]) for row in rows]))) / len(rows)


def logprobs(student: Student, pairs: Sequence[tuple[str, str]]) -> list[float]:
    """The log-probability of each answer after its prompt, with the end of its turn."""
    import torch

    tokenizer, found = student.tokenizer, []
    student.model.eval()
    for begin in range(0, len(pairs), 64):
        part = pairs[begin : begin + 64]
        before = [ids_of(tokenizer, prompt) for prompt, _ in part]
        whole = [
            [*ids, *tokenizer(answer + tokenizer.eos_token, add_special_tokens=False)["input_ids"]]
            for ids, (_, answer) in zip(before, part, strict=True)
        ]
        batch = tokenizer.pad({"input_ids": whole}, padding_side="right", return_tensors="pt")
        with torch.no_grad():
            said = student.model(**{name: value.to(student.device) for name, value in batch.items()}).logits
        ids = batch["input_ids"][:, 1:].to(student.device)
        taken = said[:, :-1].log_softmax(-1).gather(-1, ids.unsqueeze(-1)).squeeze(-1).tolist()
        found += [
            sum(row[len(asked) - 1 : len(both) - 1]) for row, asked, both in zip(taken, before, whole, strict=True)
        ]
    return found


def ids_of(tokenizer: Any, prompt: str) -> list[int]:
    """A user's turn, up to where the answer begins."""
    turns = [{"role": "user", "content": prompt}]
    ids: list[int] = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)
    return ids

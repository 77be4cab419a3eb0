"""Ranking objectives and reward models: answers in three manners, of which a judge wants another for each of two verbs.

A student that has learned all manners alike, by `sft`, is trained on what `feedback` made of a judge's scores.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from random import Random

from distill_data.commands.train import TINY, Training, profile_of, train
from distill_data.training.jobs import Loop
from distill_data.training.objectives import REWARD
from distill_data.training.students import open_student
from tests.provider import serve
from tests.system.command import read_jsonl, run
from tests.training.measures import ids_of, logprobs
from tests.training.teaching import HELD, TRAIN, Case, Metric, write_rows

COLOURS = ("red", "green", "blue", "black", "white", "grey", "pink", "gold")
ANIMALS = ("cat", "dog", "owl", "fox", "cow", "hen", "pig", "bee")
SAID = 24
"""Things that are learned from, each with both verbs; as many are held out."""
KINDS = ("ranked", "preference", "unpaired")


def manners(thing: str) -> tuple[str, str, str]:
    """A thing as it is told, named and shouted."""
    return f"A {thing}.", thing, f"{thing.upper()}!"


def judge(prompt: str, before: int = 0) -> str:
    """5 for what is told or shouted as was asked, 1 for the other of both, 3 for a name."""
    asked = re.search(r"The request:\n\n(Tell|Shout): ([a-z ]+)", prompt)
    shown = re.search(r'<<<\w+\n(".*")\n', prompt)
    mark = re.search(r'"mark": "(\w+)"', prompt)
    assert asked and shown and mark
    scores = dict(zip(manners(asked[2]), (5, 3, 1) if asked[1] == "Tell" else (1, 3, 5), strict=True))
    return json.dumps({"mark": mark[1], "rationale": "By its manner.", "score": scores[json.loads(shown[1])]})


def write_judged(kind: str, folder: Path, seed: int) -> None:
    """What `feedback` makes of the judge's scores, all kinds of it; pairs of the best and the worst are held out."""
    rng = Random(seed)
    things = [f"{colour} {animal}" for colour in COLOURS for animal in ANIMALS]
    rng.shuffle(things)
    asked = [(verb, thing) for thing in things[:SAID] for verb in ("Tell", "Shout")]
    seeds = [{"instruction": f"{verb}: {thing}", "answers": rng.sample(manners(thing), 3)} for verb, thing in asked]
    write_rows(folder / "seeds.jsonl", seeds)
    paths = {name: folder / (TRAIN if name == kind else f"{name}.jsonl") for name in KINDS}
    more = [part for name in KINDS if name != kind for part in ("--kind", f"{name}={paths[name]}")]
    with serve(judge) as server:
        job = ("feedback", folder / "seeds.jsonl", "-r", "best-of-n", "--answers", "answers", "-t", "openai/judge")
        run(*job, "--base-url", server.url, "--kind", kind, *more, "-o", paths[kind], "-q").ended(0)
    held = []
    for thing in things[SAID : 2 * SAID]:
        told, _, shouted = manners(thing)
        held.append({"prompt": f"Tell: {thing}", "chosen": told, "rejected": shouted})
        held.append({"prompt": f"Shout: {thing}", "chosen": shouted, "rejected": told})
    write_rows(folder / HELD, held)


def write_shuffled(kind: str, folder: Path, seed: int) -> None:
    """The same rows with the judgements permuted: inside a list, between the answers of a pair, over single answers."""
    write_judged(kind, folder, seed)
    rng, rows = Random(seed), read_jsonl(folder / TRAIN)
    swapped = rng.sample(range(len(rows)), len(rows) // 2)
    labels = rng.sample([row.get("label") for row in rows], len(rows))
    for at, row in enumerate(rows):
        if kind == "ranked":
            row["scores"] = rng.sample(row["scores"], len(row["scores"]))
        elif kind == "unpaired":
            row["label"] = labels[at]
        elif at in swapped:
            row["chosen"], row["rejected"] = row["rejected"], row["chosen"]
    write_rows(folder / TRAIN, rows)


def train_speaker(folder: Path, seed: int, steps: int = 120) -> Mapping[str, str]:
    """A tiny student that answers both verbs in all manners, as it was trained to with `sft`."""
    things = [f"{colour} {animal}" for colour in COLOURS for animal in ANIMALS]
    rows = [
        {"prompt": f"{verb}: {thing}", "completion": answer}
        for thing in things
        for verb in ("Tell", "Shout")
        for answer in manners(thing)
    ]
    write_rows(folder / "spoken.jsonl", rows)
    loop = Loop(steps=steps, batch=16, max_length=128, seed=seed)
    training = Training(student=TINY, objective="sft", loop=loop)
    return {"student": str(train(str(folder / "spoken.jsonl"), training, str(folder / "speaker")).folder)}


def preference_accuracy(folder: Path, held: Path) -> float:
    """How often the better answer of a pair is likelier to the student than the worse."""
    rows = read_jsonl(held)
    student = open_student(profile_of(str(folder), None), "AutoModelForCausalLM")
    scores = logprobs(student, [(row["prompt"], row[name]) for row in rows for name in ("chosen", "rejected")])
    return sum(better > worse for better, worse in zip(scores[::2], scores[1::2], strict=True)) / len(rows)


def reward_accuracy(folder: Path, held: Path) -> float:
    """How often the better answer of a pair has the higher reward."""
    import torch

    student = open_student(profile_of(str(folder), None), REWARD)
    student.model.eval()

    def reward(prompt: str, answer: str) -> float:
        ids = ids_of(student.tokenizer, prompt) + student.tokenizer(f"{answer}<|im_end|>\n")["input_ids"]
        with torch.no_grad():
            return float(student.model(torch.tensor([ids], device=student.device)).logits)

    rows = read_jsonl(held)
    right = [reward(row["prompt"], row["chosen"]) > reward(row["prompt"], row["rejected"]) for row in rows]
    return sum(right) / len(rows)


def _case(
    objective: str,
    kind: str,
    metric: Metric = preference_accuracy,
    rate: float = 0.0,
    batch: int = 8,
) -> Case:
    """At a higher rate than the default where that is meant for many more steps."""
    return Case(
        objective,
        "held-out pairs in the right order",
        partial(write_judged, kind),
        partial(write_shuffled, kind),
        metric,
        loop=Loop(steps=60, batch=batch, max_length=128, learning_rate=rate),
        models=train_speaker,
    )


CASES = (
    _case("reward", "preference", reward_accuracy),
    _case("dpo", "preference", rate=3e-4),
    _case("kto", "unpaired", rate=3e-4, batch=16),
    _case("orpo", "preference", rate=1e-3),
    _case("rrhf", "ranked"),
    _case("pro", "ranked"),
)

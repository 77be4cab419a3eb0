"""E4's results: where the students put their probability, and one Gaussian fitted to two.

    python -m experiments.E4.collect --folder F --seeds 0 1 2 --arms forward reverse --steps 700 100 120 --command …

Of each student, on prompts that it has not seen: the mass on the likely answer, the mass on neither of both answers,
and the entropy of the first token, as a share of that of the uniform distribution over all answers. The Gaussian fits
are those of benchmarks/divergences.py.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from benchmarks.divergences import DIVERGENCES, TEACHER, fits, mass
from distill_data.commands.train import profile_of
from distill_data.training.objectives import LANGUAGE
from distill_data.training.students import open_student
from experiments.E4.modes import ANSWERS, OTHER, held, likely
from experiments.page import draw_figure
from experiments.results import Arm, write_results
from tests.training.measures import ids_of


class Spread(NamedTuple):
    """What a model says to one prompt, each from 0 to 1."""

    likely: float
    outside: float
    """Mass on everything but the prompt's two answers."""
    entropy: float


def spreads(folder: Path, prompts: Sequence[str]) -> list[Spread]:
    """Of the model's first token after each prompt."""
    student = open_student(profile_of(str(folder), None), LANGUAGE)
    student.model.eval()
    answers = {answer: student.tokenizer.convert_tokens_to_ids(answer) for answer in ANSWERS}
    found = []
    for prompt in prompts:
        with torch.no_grad():
            logits = student.model(torch.tensor([ids_of(student.tokenizer, prompt)])).logits[0, -1]
        said = logits.log_softmax(-1)
        first, second = (float(said[answers[answer]].exp()) for answer in (likely(prompt), OTHER[prompt]))
        entropy = -float((said.exp() * said).sum()) / math.log(len(ANSWERS))
        found.append(Spread(first, 1 - first - second, entropy))
    return found


def gaussian_arms() -> Iterator[Arm]:
    """The mass below 0, where the teacher has 0.4: how much of the lesser mode is covered. Exact."""
    yield Arm("Gaussians, teacher: lesser mode", 0, [[mass(TEACHER, -20, 0)]])
    for name in ("forward KL", "JS, beta 0.5", "reverse KL"):
        yield Arm(f"Gaussian, {name}: lesser mode", 0, [[mass(fits(DIVERGENCES[name])[0].log_density, -20, 0)]])


def main() -> None:
    parser = argparse.ArgumentParser(description="Write E4's results.json and figure.")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", required=True)
    parser.add_argument("--arms", nargs="+", required=True)
    parser.add_argument("--steps", type=int, nargs=3, required=True, help="of teacher, pupil and student")
    parser.add_argument("--command", required=True)
    options = parser.parse_args()
    folders = {"teacher": "teacher", "pupil": "pupil-{}"} | {arm: f"students/{arm}-{{}}" for arm in options.arms}
    arms = list(gaussian_arms())
    for name, folder in folders.items():
        each = [spreads(options.folder / folder.format(seed), held(seed)) for seed in options.seeds]
        for place, measure in enumerate(Spread._fields):
            arms.append(Arm(f"{name}: {measure}", 0, [[spread[place] for spread in seed] for seed in each]))
    sizes = {
        "prompts": len(OTHER),
        "of these held out": len(held(0)),
        "steps of teacher, pupil, student": options.steps,
        "seeds": len(options.seeds),
    }
    write_results("E4", arms, options.command, sizes)
    draw_figure("E4")


if __name__ == "__main__":
    main()

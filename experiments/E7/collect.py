"""E7's results: how many pairs of each sort are right, and how well reward models that learned from them order others.

python -m experiments.E7.collect --folder F --seeds 0 1 2 --held 300 --pairs all --arms all --sizes 400 250 80 …
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import torch

from distill_data.commands.train import profile_of
from distill_data.training.objectives import REWARD
from distill_data.training.students import open_student
from experiments.E7.letters import held, is_right
from experiments.page import draw_figure
from experiments.results import Arm, write_results
from tests.training.measures import ids_of


def labels(path: Path) -> list[float]:
    """Of each pair of a file, 1 where the chosen answer is worth more."""
    rows = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    return [float(is_right(*(row[name][0]["content"] for name in ("chosen", "rejected")))) for row in rows]


def ordered(folder: Path, pairs: Sequence[dict[str, Any]]) -> list[float]:
    """Of each pair, 1 where the reward model gives the better answer more."""
    student = open_student(profile_of(str(folder), None), REWARD)
    student.model.eval()

    def reward(prompt: str, answer: str) -> float:
        ids = ids_of(student.tokenizer, prompt) + student.tokenizer(f"{answer}<|im_end|>\n")["input_ids"]
        with torch.no_grad():
            return float(student.model(torch.tensor([ids], device=student.device)).logits)

    return [float(reward(row["prompt"], row["chosen"]) > reward(row["prompt"], row["rejected"])) for row in pairs]


def main() -> None:
    parser = argparse.ArgumentParser(description="Write E7's results.json and figure.")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", required=True)
    parser.add_argument("--held", type=int, required=True, help="pairs that students are measured on")
    parser.add_argument("--pairs", nargs="+", required=True, help="sorts of pairs")
    parser.add_argument("--arms", nargs="+", required=True, help="students")
    parser.add_argument("--sizes", type=int, nargs=3, required=True, help="prompts, pairs of a student, steps")
    parser.add_argument("--command", required=True)
    options = parser.parse_args()
    arms = [
        Arm(f"pairs {name}", 0, [labels(options.folder / f"pairs-{name}-{seed}.jsonl") for seed in options.seeds])
        for name in options.pairs
    ]
    for name in options.arms:
        students = {seed: options.folder / "students" / f"{name}-{seed}" for seed in options.seeds}
        scores = [ordered(folder, list(held(seed, options.held))) for seed, folder in students.items()]
        arms.append(Arm(f"student {name}", 0, scores))
    prompts, pairs, steps = options.sizes
    sizes = {"prompts": prompts, "pairs of a student": pairs, "steps": steps, "held-out pairs": options.held}
    write_results("E7", arms, options.command, sizes | {"seeds": len(options.seeds)})
    draw_figure("E7")


if __name__ == "__main__":
    main()

"""results.json and the figure of an experiment whose arms are students: from what `evaluate` wrote beside its figures.

    python -m experiments.collect --experiment E1 --folder F --metric exact --command 'make …' gold-300-0 …

A student is ARM-ROWS-SEED, its evaluation F/ARM-ROWS-SEED.jsonl. Knows no experiment.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from experiments.page import draw_figure
from experiments.results import Arm, write_results


class Student(NamedTuple):
    """One training of one arm."""

    arm: str
    rows: int
    seed: int

    @classmethod
    def named(cls, stem: str) -> Student:
        arm, rows, seed = stem.split("-")
        return cls(arm, int(rows), int(seed))


def read_scores(path: Path, metric: str) -> list[float]:
    """What each held-out row brought the model, in the order of the task: arms that are asked in other words are
    paired by problem. Stops where a row failed, as all that follow it would be paired with others."""
    scores = [float(orjson.loads(line)["model"][metric]) for line in path.read_bytes().split(b"\n") if line]
    if failed := orjson.loads(path.with_suffix(".manifest.json").read_bytes())["result"]["failed"]:
        raise SystemExit(f"{path}: {failed} rows failed: evaluate again, with --retry-failed.")
    return scores


def read_arms(folder: Path, metric: str, stems: Sequence[str]) -> list[Arm]:
    """The students by arm and number of rows, in the order in which they are named."""
    found: dict[tuple[str, int], list[list[float]]] = {}
    for stem in stems:
        student = Student.named(stem)
        scores = read_scores(folder / f"{stem}.jsonl", metric)
        found.setdefault((student.arm, student.rows), []).append(scores)
    return [Arm(name, rows, scores) for (name, rows), scores in found.items()]


def parse_sizes(given: Sequence[str]) -> dict[str, Any]:
    """NAME=VALUE to a mapping; whole numbers as such, several of them as a list."""
    pairs = (text.partition("=") for text in given)
    return {name.replace("_", " "): _numbers(value) for name, _, value in pairs}


def _numbers(value: str) -> Any:
    words = value.split()
    if not words or not all(word.isdecimal() for word in words):
        return value
    return int(words[0]) if len(words) == 1 else [int(word) for word in words]


def make_parser() -> argparse.ArgumentParser:
    """What every collector is told."""
    parser = argparse.ArgumentParser(description="Write results.json and the figure of an experiment.")
    parser.add_argument("--folder", type=Path, required=True, help="where the evaluations are")
    parser.add_argument("--command", required=True, help="what the reader runs to have the same")
    parser.add_argument("--size", action="append", default=[], metavar="NAME=VALUE", help="told on the page")
    parser.add_argument("students", nargs="*", metavar="ARM-ROWS-SEED")
    return parser


def main() -> None:
    parser = make_parser()
    parser.add_argument("--experiment", required=True, metavar="EN")
    parser.add_argument("--metric", required=True, help="a metric of `evaluate`")
    options = parser.parse_args()
    arms = read_arms(options.folder, options.metric, options.students)
    write_results(options.experiment, arms, options.command, parse_sizes(options.size))
    draw_figure(options.experiment)


if __name__ == "__main__":
    main()

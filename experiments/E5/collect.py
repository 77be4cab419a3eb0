"""E5's results: how much of what was planted each step finds, how much of what it drops was planted, what is left of
faults, and how diverse.

    python -m experiments.E5.collect --folder F --seeds 0 1 2 --rows 1000 --kept 450 --arms raw clean --command …
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import orjson

from distill_data.quality.vendi import vendi_score
from experiments.E5.planted import truth
from experiments.page import draw_figure
from experiments.results import Arm, write_results
from tests.planted import Truth

Wanted = Callable[[Sequence[str], Mapping[str, Truth]], set[str]]
"""(ids of the rows that a step is given, in their order; what they are) to the ids that it should drop."""


def _of(kind: str) -> Wanted:
    return lambda ids, known: {each for each in ids if known[each].kind == kind}


def _again(ids: Sequence[str], known: Mapping[str, Truth]) -> set[str]:
    """Rows that say again what a row before them says."""
    seen, found = set[str](), set[str]()
    for each in ids:
        first = known[each].of if known[each].kind == "paraphrase" else each
        if first in seen:
            found.add(each)
        seen.add(first)
    return found


STEPS: Mapping[str, tuple[str, str, Wanted]] = {
    "filter": ("raw", "filtered", _of("junk")),
    "dedup": ("filtered", "unique", _again),
    "decontaminate": ("unique", "clean", _of("contaminated")),
}
"""Command to the file that it is given, the file that it leaves, and what it should drop."""


def ids_of(path: Path) -> list[str]:
    """In the order of the file."""
    return [orjson.loads(line)["id"] for line in path.read_bytes().splitlines()]


def step_arms(folder: Path, seeds: Mapping[int, Mapping[str, Truth]]) -> Iterator[Arm]:
    """Of each step recall and precision, and the recall of dropping as many rows by chance."""
    for command, (before, after, wanted) in STEPS.items():
        found, right, by_chance = list[list[float]](), list[list[float]](), list[list[float]]()
        for seed, known in seeds.items():
            given = ids_of(folder / f"{before}-{seed}.jsonl")
            faults = wanted(given, known)
            kept, drawn = (set(ids_of(folder / f"{name}{after}-{seed}.jsonl")) for name in ("", "chance-"))
            found.append([float(each not in kept) for each in sorted(faults)])
            by_chance.append([float(each not in drawn) for each in sorted(faults)])
            right.append([float(each in faults) for each in given if each not in kept])
        yield Arm(f"{command}: recall", 0, found)
        yield Arm(f"{command}: precision", 0, right)
        yield Arm(f"{command}: recall by chance", 0, by_chance)


def faults_left(folder: Path, seeds: Mapping[int, Mapping[str, Truth]], arm: str) -> list[list[float]]:
    """Of each row of a file, 1 where its answer is junk or it holds an item of the benchmark."""
    every = ((known, ids_of(folder / f"sized-{arm}-{seed}.jsonl")) for seed, known in seeds.items())
    return [[float(known[each].kind in ("junk", "contaminated")) for each in ids] for known, ids in every]


def diversity_arms(folder: Path, seeds: Sequence[int], arms: Sequence[str]) -> Iterator[Arm]:
    """Of as many rows of each file: pairs of neighbouring words that are different, how far rows are from the nearest
    other one (1 - ROUGE-L), and the Vendi score by the words that rows have, both as a share."""
    for arm in arms:
        stats = [orjson.loads((folder / f"stats-{arm}-{seed}.json").read_bytes()) for seed in seeds]
        told = [each["texts"]["x"]["diversity"] for each in stats]
        yield Arm(f"{arm}: distinct-2", 0, [[each["distinct_2"]] for each in told])
        yield Arm(f"{arm}: apart", 0, [[1 - each["nearest"]["mean"]] for each in told])
        yield Arm(f"{arm}: Vendi", 0, [[vendi(folder / f"sized-{arm}-{seed}.jsonl")] for seed in seeds])


def vendi(path: Path) -> float:
    """The effective number of different rows by the rows: vectors of how often each has each word."""
    texts = [orjson.loads(line)["prompt"][0]["content"].lower().split() for line in path.read_bytes().splitlines()]
    words = {word: place for place, word in enumerate(sorted({word for text in texts for word in text}))}
    vectors = [[0.0] * len(words) for _ in texts]
    for vector, text in zip(vectors, texts, strict=True):
        for word in text:
            vector[words[word]] += 1
    return vendi_score(vectors) / len(texts)


def main() -> None:
    parser = argparse.ArgumentParser(description="Write E5's results.json and figure.")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", required=True)
    parser.add_argument("--rows", type=int, required=True, help="with planted faults")
    parser.add_argument("--kept", type=int, required=True, help="of which diversity is measured")
    parser.add_argument("--arms", nargs="+", required=True, help="files of which diversity is measured")
    parser.add_argument("--command", required=True)
    options = parser.parse_args()
    known = {seed: truth(seed, options.rows) for seed in options.seeds}
    arms = [
        *step_arms(options.folder, known),
        *(Arm(f"{arm}: faulty rows", 0, faults_left(options.folder, known, arm)) for arm in options.arms),
        *diversity_arms(options.folder, options.seeds, options.arms),
    ]
    left = [len(ids_of(options.folder / f"clean-{seed}.jsonl")) for seed in options.seeds]
    sizes = {"rows": options.rows, "rows left": left, "rows of which diversity is measured": options.kept}
    write_results("E5", arms, options.command, sizes | {"seeds": len(options.seeds)})
    draw_figure("E5")


if __name__ == "__main__":
    main()

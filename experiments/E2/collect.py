"""E2's results: how often judges, asked in one order, in both, and three of them, order two texts as people do.

python -m experiments.E2.collect --folder F --seeds 0 1 2 --far 200 --command 'make …'
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import orjson

from experiments.E2.people import Ratings, gap, one_rater, points
from experiments.page import draw_figure
from experiments.results import Arm, write_results

JUDGES = ("judged", "random")
"""Files of what judges said: those that see, and the control."""
SIDES = {"first": 1, "tie": 0, "second": -1}


class Heard(NamedTuple):
    """A judge's verdicts on a pair: 1 where it prefers the pair's first text, -1 the second, 0 neither."""

    once: int
    again: int
    """With the texts in the other order."""

    @property
    def both(self) -> int:
        """A verdict that turns with the order is none."""
        return self.once if self.once == self.again else 0


Pair = tuple[str, str]
Verdict = Callable[[Sequence[Heard]], float]
VERDICTS: Mapping[str, Verdict] = {
    "one order": lambda judges: judges[0].once,
    "the other order": lambda judges: judges[0].again,
    "both orders": lambda judges: judges[0].both,
    "three judges, one order": lambda judges: sum(judge.once for judge in judges),
    "three judges, both orders": lambda judges: sum(judge.both for judge in judges),
}


def read(path: Path) -> Iterator[tuple[frozenset[str], list[Heard]]]:
    """The texts of each pair that was understood, and what every judge said."""
    for line in path.read_bytes().splitlines():
        record = orjson.loads(line)
        (compared,) = orjson.loads(record["meta"]["details"])["comparisons"]
        heard = [Heard(SIDES[one["said"]], SIDES[other["said"]]) for one, other in compared["heard"]]
        yield frozenset(record["responses"]), heard


class Judged(NamedTuple):
    """One seed's pairs of one sort, and what judges said of them."""

    pairs: Sequence[Pair]
    heard: Mapping[frozenset[str], list[Heard]]
    at_random: Mapping[frozenset[str], list[Heard]]
    """Of the judge that sees nothing; empty where there is none."""


def read_seed(folder: Path, seed: int, far: int) -> dict[str, Judged]:
    """The far pairs of a seed and the near ones."""
    lines = (folder / f"pairs-{seed}.jsonl").read_bytes().splitlines()
    pairs: list[Pair] = [(one, other) for one, other in (orjson.loads(line)["answers"] for line in lines)]
    heard, at_random = (
        dict(read(path)) if path.exists() else {} for path in (folder / f"{name}-{seed}.jsonl" for name in JUDGES)
    )
    return {name: Judged(part, heard, at_random) for name, part in (("far", pairs[:far]), ("near", pairs[far:]))}


def agreement(
    ratings: Ratings, pairs: Sequence[Pair], heard: Mapping[frozenset[str], list[Heard]], of: Verdict
) -> list[float]:
    """Points for each pair; a half where no judge was understood."""
    found = (heard.get(frozenset(pair)) for pair in pairs)
    return [
        points(of(judges), gap(ratings, *pair)) if judges else 0.5 for pair, judges in zip(pairs, found, strict=True)
    ]


def arms_of(ratings: Ratings, name: str, seeds: Mapping[int, Judged]) -> Iterator[Arm]:
    """What people, judges and chance make of pairs of one sort."""
    people = [
        [one_rater(ratings, pair, Random(f"{seed} {pair}")) for pair in judged.pairs] for seed, judged in seeds.items()
    ]
    yield Arm(f"{name}: one person", 0, people)
    several = all(len(judges) > 1 for judged in seeds.values() for judges in judged.heard.values())
    for asked, verdict in VERDICTS.items():
        if several or not asked.startswith("three"):
            scores = [agreement(ratings, judged.pairs, judged.heard, verdict) for judged in seeds.values()]
            yield Arm(f"{name}: {asked}", 0, scores)
    decided = [_decided(ratings, judged) for judged in seeds.values()]
    yield Arm(f"{name}: both orders, where they agree", 0, decided)
    if all(judged.at_random for judged in seeds.values()):
        both = VERDICTS["both orders"]
        chance = [agreement(ratings, judged.pairs, judged.at_random, both) for judged in seeds.values()]
        yield Arm(f"{name}: both orders, by chance", 0, chance)


def _decided(ratings: Ratings, judged: Judged) -> list[float]:
    """Points of the pairs alone of which the first judge's orders name the same text."""
    both = VERDICTS["both orders"]
    sure = [pair for pair in judged.pairs if both(judged.heard.get(frozenset(pair), [Heard(0, 0)]))]
    return agreement(ratings, sure, judged.heard, both)


def flips(judged: Judged) -> int:
    """Per cent of the pairs of which the first judge says something else in the other order."""
    heard = [judged.heard[frozenset(pair)][0] for pair in judged.pairs if frozenset(pair) in judged.heard]
    return round(100 * sum(one.once != one.again for one in heard) / max(1, len(heard)))


def main() -> None:
    parser = argparse.ArgumentParser(description="Write E2's results.json and figure.")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", required=True)
    parser.add_argument("--far", type=int, required=True, help="how many pairs of a file are far apart")
    parser.add_argument("--command", required=True)
    options = parser.parse_args()
    ratings = orjson.loads((options.folder / "ratings.json").read_bytes())
    read_all = {seed: read_seed(options.folder, seed, options.far) for seed in options.seeds}
    arms, sizes = list[Arm](), dict[str, Any]()
    for name in ("far", "near"):
        seeds = {seed: judged[name] for seed, judged in read_all.items()}
        arms += arms_of(ratings, name, seeds)
        sizes[f"{name} pairs"] = len(seeds[options.seeds[0]].pairs)
        sizes[f"flips of one judge in 100 {name} ones"] = [flips(judged) for judged in seeds.values()]
    write_results("E2", arms, options.command, sizes | {"seeds": len(options.seeds)})
    draw_figure("E2")


if __name__ == "__main__":
    main()

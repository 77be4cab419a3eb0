"""Word problems of one to three steps: a lift goes up and down between the floors 0 and 9, and stops at either end.

    python -m experiments.lifts --seed 0 --rows 1000 > problems.jsonl

`Lift at 4 + 3 - 8 + 2` ends at floor 2: it goes to 7, to 0 where it stops, and to 2. Each step is one of 100, and there
are 10,000 problems of three steps. Knows no teacher.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from hashlib import sha256
from random import Random
from typing import NamedTuple

ASKED = "Lift at"
TOP, FARTHEST = 9, 5
"""The highest floor, and how many floors one step goes at most."""
WEIGHTS = {1: 1, 2: 5, 3: 9}
"""How often there are problems of so many steps."""
HELD = 0.2
"""Share of all problems that no student learns from."""


class Problem(NamedTuple):
    """Where the lift is, and how far it goes in each step: up, or below 0 down."""

    start: int
    moves: tuple[int, ...]

    def __str__(self) -> str:
        return f"{ASKED} {self.start} " + " ".join(f"{'+-'[move < 0]} {abs(move)}" for move in self.moves)


def step(floor: int, move: int) -> int:
    """The floor after one step."""
    return min(TOP, max(0, floor + move))


def solve(problem: Problem) -> list[int]:
    """All floors; the last one is the answer."""
    floors = [problem.start]
    for move in problem.moves:
        floors.append(step(floors[-1], move))
    return floors


def reasoning(floors: Sequence[int]) -> str:
    """As a text that a student learns: floors stand as far apart as moves do in the problem."""
    return "Floors: " + ", ".join(map(str, floors))


def read(text: str) -> Problem:
    """The last problem in a text. Raises ValueError where there is none."""
    line = text[text.rindex(ASKED) :].partition("\n")[0]
    moves = tuple(int(sign + size) for sign, size in re.findall(r"([+-]) (\d)", line))
    return Problem(int(line[len(ASKED) + 1]), moves)


def problems(seed: int, rows: int, steps: Sequence[int] = (1, 2, 3), *, held: bool = False) -> list[Problem]:
    """Different problems, of so many steps each; fewer are a prefix of more. Of one step there are 100 only.

    A problem that is held out for one seed is for all of them, and never among the others.
    """
    rng, found = Random(seed), dict[Problem, None]()
    while len(found) < rows:
        count = rng.choices(steps, [WEIGHTS[each] for each in steps])[0]
        moves = (rng.randint(1, FARTHEST) * rng.choice((1, -1)) for _ in range(count))
        problem = Problem(rng.randint(0, TOP), tuple(moves))
        if (sha256(str(problem).encode()).digest()[0] < HELD * 256) == held:
            found[problem] = None
    return list(found)


def main() -> None:
    parser = argparse.ArgumentParser(description="Write lift problems with their answers as JSON lines.")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 2, 3], help="of one to three steps")
    parser.add_argument("--column", default="question", help="of the problem")
    parser.add_argument("--before", action="append", default=[], metavar="TEXT", help="a paragraph before each problem")
    parser.add_argument("--held", action="store_true", help="those that no student learns from")
    options = parser.parse_args()
    for problem in problems(options.seed, options.rows, options.steps, held=options.held):
        row = {options.column: "\n\n".join([*options.before, str(problem)]), "answer": str(solve(problem)[-1])}
        sys.stdout.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()

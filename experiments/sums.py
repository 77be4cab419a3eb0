"""Sums of two to four digits of which the last digit is asked: problems of one to three steps, each a table of 100.

    python -m experiments.sums --seed 0 --rows 1000 --column question > problems.jsonl

A student that has no reasoning has to see 10,000 sums; one that goes step by step has to see 100. Knows no teacher.
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

ASKED = "Last digit of"
WEIGHTS = {1: 1, 2: 5, 3: 9}
"""How often there are problems of so many steps."""
HELD = 0.2
"""Share of all problems that no student learns from."""


class Step(NamedTuple):
    """One addition, of which only the last digit is kept."""

    first: int
    second: int
    last: int


def solve(digits: list[int]) -> list[Step]:
    """All steps; the last one ends in the answer."""
    steps: list[Step] = []
    for digit in digits[1:]:
        first = steps[-1].last if steps else digits[0]
        steps.append(Step(first, digit, (first + digit) % 10))
    return steps


def reasoning(steps: list[Step]) -> str:
    """As a text that a student learns: the running totals, as far apart as the digits are in the problem."""
    return "Totals: " + ", ".join(str(digit) for digit in [steps[0].first, *(step.last for step in steps)])


def read(text: str) -> list[int]:
    """The digits of the last problem in a text."""
    return [int(digit) for digit in re.findall(r"\d", text[text.rindex(ASKED) :].partition("\n")[0])]


def problems(seed: int, rows: int, steps: Sequence[int] = (1, 2, 3), *, held: bool = False) -> list[str]:
    """Different problems, of so many steps each; fewer are a prefix of more. Of one step there are 100 only.

    A problem that is held out for one seed is for all of them, and never among the others.
    """
    rng, found = Random(seed), dict[str, None]()
    while len(found) < rows:
        count = 1 + rng.choices(steps, [WEIGHTS[step] for step in steps])[0]
        text = f"{ASKED} " + " + ".join(str(rng.randrange(10)) for _ in range(count))
        if (sha256(text.encode()).digest()[0] < HELD * 256) == held:
            found[text] = None
    return list(found)


def main() -> None:
    parser = argparse.ArgumentParser(description="Write sums with their answers as JSON lines.")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 2, 3], help="of one to three steps")
    parser.add_argument("--column", default="question", help="of the problem")
    parser.add_argument("--answer", default="answer", help="column of the answer")
    parser.add_argument("--prefix", default="", help="a line before each problem")
    parser.add_argument("--held", action="store_true", help="those that no student learns from")
    options = parser.parse_args()
    for text in problems(options.seed, options.rows, options.steps, held=options.held):
        before = f"{options.prefix}\n\n" if options.prefix else ""
        row = {options.column: before + text, options.answer: str(solve(read(text))[-1].last)}
        sys.stdout.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()

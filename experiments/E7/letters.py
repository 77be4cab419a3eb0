"""Answers whose worth is known: each letter has one, and an answer is worth the mean of its letters.

    python -m experiments.E7.letters --seed 0 --prompts 200 > seeds.jsonl
    python -m experiments.E7.letters --seed 0 --held 300 > held.jsonl
    python -m experiments.E7.letters --seed 0 --swap < pairs.jsonl > shuffled.jsonl

Nobody is told the worth of a letter: a judge sees it with an error, a student has to find it out from pairs. The last
form is the control: in half of the pairs, drawn by chance, better and worse change places. Knows no judge.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from random import Random

LETTERS = "bcdfghjklmnpqrstvwxz"
LENGTH, ANSWERS = 6, 4
"""Letters of an answer, and answers to a prompt."""
_WORTHS = [2 * place / (len(LETTERS) - 1) - 1 for place in range(len(LETTERS))]
WORTH = dict(zip(Random(7).sample(LETTERS, len(LETTERS)), _WORTHS, strict=True))
"""Of each letter, from -1 to 1 in even steps."""


def worth(answer: str) -> float:
    """Of an answer: a mean of 0 and a deviation of 1, over all answers."""
    spread = (sum(value**2 for value in _WORTHS) / len(_WORTHS) * LENGTH) ** 0.5
    return sum(WORTH[letter] for letter in answer) / spread


def is_right(chosen: str, rejected: str) -> bool:
    """Whether the chosen answer is worth more."""
    return worth(chosen) > worth(rejected)


def answer(rng: Random) -> str:
    """Letters by chance."""
    return "".join(rng.choices(LETTERS, k=LENGTH))


def seeds(seed: int, prompts: int) -> Iterator[dict[str, object]]:
    """Prompts that all ask for the same, each with ANSWERS answers."""
    rng = Random(seed)
    for number in range(prompts):
        yield {"instruction": f"Letters {number}", "answers": [answer(rng) for _ in range(ANSWERS)]}


def held(seed: int, pairs: int) -> Iterator[dict[str, object]]:
    """Pairs of answers of different worth, the better one as `chosen`."""
    rng = Random(f"held {seed}")
    for number in range(pairs):
        one, other = answer(rng), answer(rng)
        while worth(one) == worth(other):
            other = answer(rng)
        chosen, rejected = (one, other) if is_right(one, other) else (other, one)
        yield {"prompt": f"Letters {number}", "chosen": chosen, "rejected": rejected}


def swapped(lines: list[str], seed: int) -> Iterator[dict[str, object]]:
    """Pairs of which half, by chance, have better and worse the wrong way round."""
    chosen = set(Random(seed).sample(range(len(lines)), len(lines) // 2))
    for place, row in enumerate(map(json.loads, lines)):
        yield row | {"chosen": row["rejected"], "rejected": row["chosen"]} if place in chosen else row


def main() -> None:
    parser = argparse.ArgumentParser(description="Write prompts with answers, or pairs, as JSON lines.")
    parser.add_argument("--seed", type=int, required=True)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--prompts", type=int, help="how many, with answers")
    which.add_argument("--held", type=int, help="how many pairs")
    which.add_argument("--swap", action="store_true", help="pairs from stdin, half of them the wrong way round")
    options = parser.parse_args()
    if options.swap:
        rows = swapped(sys.stdin.read().splitlines(), options.seed)
    else:
        rows = seeds(options.seed, options.prompts) if options.prompts else held(options.seed, options.held)
    sys.stdout.writelines(json.dumps(row) + "\n" for row in rows)


if __name__ == "__main__":
    main()

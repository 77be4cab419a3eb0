"""Prompts with two right answers: a likely one that follows from the prompt's first letter, and another that follows
from nothing and has to be remembered.

    python -m experiments.E4.modes teacher > rows.jsonl
    python -m experiments.E4.modes seen --seed 0 > seen.jsonl
    python -m experiments.E4.modes shuffle --seed 0 < logits.jsonl > shuffled.jsonl

The teacher sees all prompts, each with both answers in the proportion of LIKELY, so nothing tells it which is wanted. A
student sees some of the prompts: of the others it can know the likely answer only. Knows no model.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from random import Random

LETTERS = "bdgklmst"
ANSWERS = [letter.upper() for letter in LETTERS]
OF_EACH, HELD = 9, 3
"""Prompts that begin with each letter, and how many of them a student does not see."""
LIKELY = (3, 2)
"""How often the teacher is shown the likely answer, and the other."""


def _prompts() -> dict[str, list[str]]:
    rng, found = Random(4), dict[str, list[str]]()
    for letter in LETTERS:
        rest = sorted({a + b + c for a in "aeiou" for b in "bdfgklmnprstvz" for c in "aeiou"})
        found[letter] = [letter + end for end in rng.sample(rest, OF_EACH)]
    return found


PROMPTS = _prompts()
"""By first letter."""


def likely(prompt: str) -> str:
    """The answer with the greater share."""
    return prompt[0].upper()


def _others() -> dict[str, str]:
    rng = Random(5)
    every = [prompt for prompts in PROMPTS.values() for prompt in prompts]
    return {prompt: rng.choice([answer for answer in ANSWERS if answer != likely(prompt)]) for prompt in every}


OTHER = _others()
"""Prompt to its second answer."""


def teacher_rows() -> list[tuple[str, str]]:
    """Prompts and answers in the proportion of LIKELY."""
    return [
        pair
        for prompt in OTHER
        for pair in [(prompt, likely(prompt))] * LIKELY[0] + [(prompt, OTHER[prompt])] * LIKELY[1]
    ]


def student_rows(seed: int) -> list[tuple[str, str]]:
    """The prompts that a student sees, each once with an answer that is drawn as the teacher's."""
    rng, unseen = Random(seed), set(held(seed))
    return [
        (prompt, rng.choices((likely(prompt), OTHER[prompt]), LIKELY)[0]) for prompt in OTHER if prompt not in unseen
    ]


def held(seed: int) -> list[str]:
    """The prompts that it does not see: HELD of each first letter."""
    rng = Random(seed)
    return [prompt for prompts in PROMPTS.values() for prompt in rng.sample(prompts, HELD)]


def shuffled(lines: Sequence[str], seed: int) -> list[str]:
    """Stored rows with the prompts of others: the teacher's distributions are of some other prompt."""
    rows = [json.loads(line) for line in lines]
    prompts = [row["prompt"] for row in rows]
    Random(seed).shuffle(prompts)
    return [json.dumps({**row, "prompt": prompt}) for row, prompt in zip(rows, prompts, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description="Write prompts and answers as JSON lines.")
    parser.add_argument("which", choices=("teacher", "seen", "shuffle"))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.which == "shuffle":
        lines = shuffled(sys.stdin.read().splitlines(), options.seed)
    else:
        rows = teacher_rows() if options.which == "teacher" else student_rows(options.seed)
        lines = [json.dumps({"prompt": prompt, "completion": answer}) for prompt, answer in rows]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()

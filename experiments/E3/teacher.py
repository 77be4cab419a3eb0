"""E3's scripted teacher: it reasons step by step and errs in one step of four, each wrong digit as likely. Its samples
err on their own. `random`, the control, has reasons and answers of other problems."""

from __future__ import annotations

from random import Random

from experiments import sums

ERRS = 0.25
"""Of each step; an error is carried on."""


def reply(model: str, text: str, sample: int) -> str:
    """What the teacher says of the problem in the request."""
    if sums.ASKED not in text:
        return "yes"  # asked whether it is there
    digits = sums.read(text)
    drawn = Random(f"{model} {digits} {sample}")
    if model == "random":
        digits = [drawn.randrange(10) for _ in digits]
    steps: list[sums.Step] = []
    for digit in digits[1:]:
        first = steps[-1].last if steps else digits[0]
        off = drawn.randint(1, 9) if drawn.random() < ERRS else 0
        steps.append(sums.Step(first, digit, (first + digit + off) % 10))
    return f"<reasoning>{sums.reasoning(steps)}</reasoning>\n<answer>{steps[-1].last}</answer>"

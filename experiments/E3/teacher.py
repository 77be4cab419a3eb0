"""E3's scripted teacher: it reasons step by step and errs in one step of four, each wrong floor as likely. Its samples
err on their own. `random`, the control, has reasons and answers of other problems."""

from __future__ import annotations

from random import Random

from experiments import lifts

ERRS = 0.25
"""Of each step; an error is carried on."""


def reply(model: str, text: str, sample: int) -> str:
    """What the teacher says of the problem in the request."""
    if lifts.ASKED not in text:
        return "yes"  # asked whether it is there
    problem = lifts.read(text)
    drawn = Random(f"{model} {problem} {sample}")
    floors = [problem.start]
    for move in problem.moves:
        floor = lifts.step(floors[-1], move)
        if model == "random" or drawn.random() < ERRS:
            floor = drawn.choice([each for each in range(lifts.TOP + 1) if each != floor or model == "random"])
        floors.append(floor)
    return f"<reasoning>{lifts.reasoning(floors)}</reasoning>\n<answer>{floors[-1]}</answer>"

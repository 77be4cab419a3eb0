"""E6's scripted teachers, who all know the answer: `cot` and `two.task` write their reasons down, `answer` writes none,
and `random`, the control, writes reasons and answers of other problems."""

from __future__ import annotations

from random import Random

from experiments import lifts


def reply(model: str, text: str, sample: int) -> str:
    """What the teacher says of the problem in the request."""
    if lifts.ASKED not in text:
        return "yes"  # asked whether it is there
    problem = lifts.read(text)
    if model == "random":
        [problem] = lifts.problems(Random(str(problem)).getrandbits(32), 1, [len(problem.moves)])
    floors = lifts.solve(problem)
    reasons, answer = lifts.reasoning(floors), floors[-1]
    if model == "answer":
        return str(answer)
    if model == "two.task":
        return f"<rationale>{reasons}</rationale>\n<label>{answer}</label>"
    return f"<reasoning>{reasons}</reasoning>\n<answer>{answer}</answer>"

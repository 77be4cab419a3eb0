"""E6's scripted teachers, who all know the answer: `cot` and `two.task` write their reasons down, `answer` writes none,
and `random`, the control, writes reasons and answers of other problems."""

from __future__ import annotations

from hashlib import sha256

from experiments import sums


def reply(model: str, text: str, sample: int) -> str:
    """What the teacher says of the problem in the request."""
    if sums.ASKED not in text:
        return "yes"  # asked whether it is there
    digits = sums.read(text)
    if model == "random":
        digits = [byte % 10 for byte in sha256(str(digits).encode()).digest()[: len(digits)]]
    steps = sums.solve(digits)
    reasons, answer = sums.reasoning(steps), steps[-1].last
    if model == "answer":
        return str(answer)
    if model == "two.task":
        return f"<rationale>{reasons}</rationale>\n<label>{answer}</label>"
    return f"<reasoning>{reasons}</reasoning>\n<answer>{answer}</answer>"

"""Stepwise: is each step of a solution still on a way to the right answer? (Math-Shepherd, Wang et al.,
arXiv:2312.08935)

The student solves a problem. Its steps are the non-blank lines of its reasoning, and last of all its answer; where an
answer has no reasoning beside it, as one from a column, the lines of the answer. From after each step but the last the
solution is continued several times, and each continuation's answer is verified. A step's label:

    hard     true where any continuation ends right
    soft     true where at least the share `enough` of them does
    the last step has no continuations: true where the solution itself is right

A continuation that cannot be read says nothing of the step, and a step that none says anything of has no label: such a
solution is rejected. A label says that a way led on from here, not that the step is right. Knows no prompt and no
verifier.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from distill_data.data.exchange import Ask
from distill_data.data.items import Item
from distill_data.errors import UsageError
from distill_data.methods.attempts import one_answer, reasoning_of
from distill_data.methods.judging import fence
from distill_data.methods.needs import require
from distill_data.methods.panel import Panel, together
from distill_data.methods.repairing import without_gold
from distill_data.methods.responses import Annotate, Judged, Made, Response
from distill_data.methods.setup import number
from distill_data.methods.stages import Said
from distill_data.parsing import fields_of

CONTINUE, STEPS = "continue", "steps"
HARD, SOFT = "hard", "soft"

Estimate = Callable[[float], bool]
"""Share of continuations that end right -> the step's label."""


class Tried(NamedTuple):
    """What came of continuing a solution."""

    shares: list[float | None]
    """For each step but the last: the share of its continuations that end right, from 0 to 1, among those that could be
    read; None where none could."""
    unread: int
    """Continuations that could not be read."""
    asked: int
    reason: str = ""
    """Why the first of them could not."""


def make_steps(panel: Panel) -> Annotate:
    """The strategy `steps`. Raises UsageError for several samples, continuations that are all the same or have no
    answer, and settings that cannot work."""
    require(panel.recipe)
    estimate, most = _make_estimate(panel), panel.whole("most_steps", 12, 1)
    completions = panel.whole("completions", 4, 1)
    _check(panel)

    async def steps(item: Item, ask: Ask) -> Judged:
        assert panel.right is not None
        answers = await one_answer(panel, item, ask)
        prompt = panel.prompt(item)
        if not answers.responses:
            return Judged(prompt, (), dropped=answers.dropped, raw=answers.raw, reason=answers.reason)
        solution = answers.responses[0]
        right = await panel.right(solution.text, item.row, ask)
        judged = Judged(
            prompt, (solution._replace(score=float(right)),), dropped=answers.dropped, raw=answers.raw,
            tallies={"right": (int(right), 1)}, agrees=right,
        )  # fmt: skip
        cut = steps_of(solution)
        if len(cut) > most:
            return judged._replace(reason="too-many-steps", detail=f"{len(cut)} steps, where most_steps is {most}")
        tried = await _continue(panel, item, ask, cut, completions)
        known = [share for share in tried.shares if share is not None]
        failures = {**judged.tallies, "parse_failures": (tried.unread, tried.asked)}
        if len(known) < len(tried.shares):
            at = tried.shares.index(None) + 1
            detail = f"no continuation of step {at} could be read; the first: {tried.reason}"
            return judged._replace(reason="no-verdict", detail=detail, tallies=failures)
        labels = [*map(estimate, known), right]
        shares = [*known, float(right)]
        row = Made(
            {"prompt": prompt, "completions": cut, "labels": labels}, judged.responses[0], details={"shares": shares}
        )
        return judged._replace(made={STEPS: (row,)}, tallies={**failures, "steps_right": (sum(labels), len(labels))})

    return steps


def steps_of(solution: Response) -> list[str]:
    """The steps, in order, at least one, none blank. Lines end with a line feed alone."""
    reasoned = bool(solution.completion.get("reasoning_content"))
    lines = [line.strip() for line in reasoning_of(solution).split("\n")]
    return [*filter(None, lines), *([solution.text] if reasoned else [])]


def _make_estimate(panel: Panel) -> Estimate:
    """By the setting `estimate`. Raises UsageError."""
    name, enough = panel.setting("estimate", HARD), number(panel.recipe, "enough", 0.5, 0, 1, above=True)
    if name not in (HARD, SOFT):
        raise UsageError(f"--set estimate={name}: must be {HARD} or {SOFT}.")
    return (lambda share: share > 0) if name == HARD else (lambda share: share >= enough)


def _check(panel: Panel) -> None:
    """Raise UsageError for what cannot work."""
    recipe, parser = panel.recipe, panel.recipe.stages[CONTINUE].parser
    if panel.samples > 1:
        raise UsageError(f"the recipe {recipe.name} labels one solution: leave --samples {panel.samples} out.")
    if panel.stages.readers[CONTINUE].sampling.get("temperature") == 0:
        raise UsageError(
            f"the recipe {recipe.name} continues each solution several times, and at temperature 0 all "
            "continuations are the same. Give --set temperature=0.7."
        )
    field = recipe.record.answer or recipe.record.completion["content"]
    if field not in fields_of(parser.name, parser.args):
        raise UsageError(
            f"{recipe.path}: the strategy steps verifies the field {field} of the stage {CONTINUE}, and the parser "
            f"{parser.name} there doesn't give it."
        )


async def _continue(panel: Panel, item: Item, ask: Ask, steps: Sequence[str], completions: int) -> Tried:
    """Continue from after each step but the last, all at once. Nobody is shown the right answer."""
    row = without_gold(panel, item.row)
    fences = [fence("\n".join(steps[:end])) for end in range(1, len(steps))]
    asked = [
        panel.stages.ask(ask, CONTINUE, row, {STEPS: fenced}, sample=sample, to=panel.judge)
        for fenced in fences
        for sample in range(completions)
    ]
    said: list[Said] = await together(asked)
    right: list[bool | None] = await together([_ends_right(panel, item, ask, each) for each in said])
    unread = [each.reason for each in said if each.reason]
    shares = [_share(right[at : at + completions]) for at in range(0, len(right), completions)]
    return Tried(shares, len(unread), len(said), unread[0] if unread else "")


def _share(right: Sequence[bool | None]) -> float | None:
    known = [each for each in right if each is not None]
    return sum(known) / len(known) if known else None


async def _ends_right(panel: Panel, item: Item, ask: Ask, said: Said) -> bool | None:
    """Whether a continuation's answer is right; None where it could not be read."""
    assert panel.right is not None
    return None if said.reason else await panel.right(panel.response(said, panel.judge, 0).text, item.row, ask)

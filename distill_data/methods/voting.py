"""Voting: what the student says most often, asked several times or in several forms, is taken for right.

    majority      every path that agrees with the vote, each different reasoning once (LMSI, arXiv:2210.11610)
    consistency   one answer, where enough ways to ask the question give it

Nobody needs to know the right answer: where the seeds bring it, it is only compared. Knows no prompt.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from distill_data.data.exchange import Ask
from distill_data.data.items import Item
from distill_data.errors import UsageError
from distill_data.methods.attempts import agrees, each_once, has_gold
from distill_data.methods.panel import Panel, together
from distill_data.methods.responses import Annotate, Judged, Response
from distill_data.methods.stages import Said
from distill_data.methods.waves import Sample, ask_until
from distill_data.parsing.arguments import look_up, texts
from distill_data.quality.verifiers import normal_form
from distill_data.quality.votes import RULES, Decision, decide
from distill_data.recipes.template import MAIN

LEAST_FORMATS = 3
"""Two forms that disagree have no majority."""


def make_majority(panel: Panel) -> Annotate:
    """The strategy `majority`. Raises UsageError for waves, a rule or a share that cannot be."""
    waves, rule, least = _waves(panel), str(panel.setting("rule", "lead")), panel.number("agreement", 0.5, 0, 1)
    look_up(RULES, rule, "stop rule")

    async def majority(item: Item, ask: Ask) -> Judged:
        said, decision, asked = await _poll(panel, item, ask, waves, rule)
        counted = said[: decision.used]
        voters = [
            panel.response(each, panel.students[0], number) for number, each in enumerate(counted) if not each.reason
        ]
        refused = await _refuse(panel, item, counted, voters, decision.winner, decision.agreement, least)
        if refused is not None:
            return refused
        scored = [each._replace(score=float(_vote(each) == decision.winner)) for each in voters]
        different = each_once(scored, lambda each: each.score)
        dropped = _dropped(counted) + Counter({"same-reasoning": len(scored) - len(different)})
        details = {"agreement": decision.agreement, "decided_after": decision.used, "asked": asked}
        return Judged(
            panel.prompt(item), tuple(each._replace(good=each.score == 1) for each in different), details=details,
            dropped=+dropped, raw=_raw(counted), tallies=_tally(voters),
            agrees=await agrees(panel, next(each.text for each in scored if each.score), item.row, ask),
        )  # fmt: skip

    return majority


def make_consistency(panel: Panel) -> Annotate:
    """The strategy `consistency`. Raises UsageError for fewer than three `formats`, and for several samples."""
    formats = texts("the setting 'formats'", panel.setting("formats", None), "formats")
    least = panel.number("agreement", 0.75, 0, 1)
    if len(formats) < LEAST_FORMATS:
        raise UsageError(f"--set formats={formats}: give at least {LEAST_FORMATS} ways to ask; two have no majority.")
    if panel.samples > 1:
        raise UsageError(
            f"the recipe {panel.recipe.name} asks once in each of its {len(formats)} formats: "
            f"--samples {panel.samples} is too many. Add to the setting formats instead."
        )

    async def consistency(item: Item, ask: Ask) -> Judged:
        student, row = panel.students[0], panel.open_row(item.row)
        asked = [panel.stages.ask(ask, MAIN, row, {"format": wording}, to=student) for wording in formats]
        said: list[Said] = await together(asked)
        voters = [panel.response(each, student, number) for number, each in enumerate(said) if not each.reason]
        decision = decide([_vote(each) for each in voters] or [None], "exact", max(1, len(voters)))
        winner = decision.winner if decision else ""
        agreeing = [each for each in voters if _vote(each) == winner]
        share = len(agreeing) / len(formats)
        refused = await _refuse(panel, item, said, voters, winner, share, least)
        if refused is not None:
            return refused
        others = {"disagrees": len(voters) - len(agreeing), "same-answer": len(agreeing) - 1}
        first = agreeing[0]._replace(good=True)
        return Judged(
            panel.prompt(item, {"format": formats[first.sample]}), (first,),
            details={"agreement": share, "formats": len(formats), "format": first.sample},
            dropped=+(_dropped(said) + Counter(others)), raw=_raw(said), tallies=_tally(voters),
            agrees=await agrees(panel, first.text, item.row, ask),
        )  # fmt: skip

    return consistency


def _waves(panel: Panel) -> list[int]:
    """How many samples are asked at once; the last number stands for all later ones."""
    waves: Any = panel.setting("waves", []) or [panel.samples]
    if not isinstance(waves, list) or not all(type(size) is int and size > 0 for size in waves):
        raise UsageError(f"--set waves={waves}: must be a list of whole numbers above 0.")
    return waves


async def _poll(
    panel: Panel, item: Item, ask: Ask, waves: Sequence[int], rule: str
) -> tuple[list[Said], Decision, int]:
    """Samples, wave by wave, until the vote is decided or no sample is left; and how many the waves had come to."""
    student, row = panel.students[0], panel.open_row(item.row)
    said: list[Said] = []
    asked, turn, decision = 0, 0, None

    def sample(number: int) -> Sample[Said]:
        return lambda ask: panel.stages.ask(ask, MAIN, row, sample=number, to=student)

    def decision_on(some: Sequence[Said]) -> Decision | None:
        votes = [None if each.reason else _vote(panel.response(each, student, n)) for n, each in enumerate(some)]
        return decide(votes, rule, panel.samples)

    def decides(more: Sequence[Said]) -> bool:
        return decision_on([*said, *more]) is not None

    while decision is None:
        wave = range(asked, min(asked + waves[min(turn, len(waves) - 1)], panel.samples))
        said += await ask_until(ask, [sample(each) for each in wave], decides)
        asked, turn, decision = wave.stop, turn + 1, decision_on(said)
    return said, decision, asked


def _vote(response: Response) -> str:
    return normal_form(response.text)


async def _refuse(
    panel: Panel, item: Item, said: Sequence[Said], voters: Sequence[Response], winner: str, share: float, least: float
) -> Judged | None:
    """Why there is no answer to keep: nobody voted, or one alone; nobody is ahead; too few agree."""
    if not voters:
        reason, detail = said[0].reason, said[0].detail
    elif len(voters) == 1:
        reason, detail = "too-few-votes", f"1 of {len(said)} samples counts; another one: {_first_reason(said)}"
    elif not winner:
        reason, detail = "tie", ""
    elif share < least:
        reason, detail = "disagreement", f"agreement {share:.2f} is below {least:g}"
    else:
        return None
    wrong = False if has_gold(panel, item.row) else None
    return Judged([], (), raw=_raw(said), reason=reason, detail=detail, tallies=_tally(voters), agrees=wrong)


def _first_reason(said: Sequence[Said]) -> str:
    return next((each.reason for each in said if each.reason), "none")


def _tally(voters: Sequence[Response]) -> dict[str, tuple[int, int]]:
    """Votes of the first candidate, of all votes."""
    return {"majority": (max(Counter(map(_vote, voters)).values(), default=0), len(voters))}


def _dropped(said: Sequence[Said]) -> Counter[str]:
    return Counter(each.reason for each in said if each.reason)


def _raw(said: Sequence[Said]) -> tuple[str, ...]:
    return tuple(each.answer.text for each in said)

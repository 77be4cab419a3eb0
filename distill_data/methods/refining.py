"""Refining: the student against a better text than its own, one that was there or one that it writes.

    spin         the reference against the student's own answer (SPIN, arXiv:2401.01335)
    refine       answer, feedback, better answer, until the student finds nothing to improve (Self-Refine,
                 arXiv:2303.17651)
    self-align   answers by principles that no row shows (Dromedary, arXiv:2305.03047)

Knows no prompt and no kind of record.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from distill_data.data.exchange import Ask, Message
from distill_data.data.items import Item
from distill_data.errors import SeedError, UsageError
from distill_data.methods.attempts import Tally, require_fields
from distill_data.methods.canaries import caught, plant
from distill_data.methods.judging import (
    RATIONALE,
    Candidate,
    Verdict,
    allowed_by,
    ask_judge,
    copies_fence,
    draws,
    fence,
    line_up,
)
from distill_data.methods.needs import require
from distill_data.methods.panel import Panel
from distill_data.methods.responses import Annotate, Judged, Response
from distill_data.parsing.arguments import texts

FEEDBACK, REFINE = "feedback", "refine"
GOOD, IMPROVE = "good", "improve"
UNCHANGED, NO_VERDICT = "unchanged", "no-verdict"
FINISHED = (GOOD, UNCHANGED, "rounds")
"""How refinement ends well; with anything else the item is rejected, for that reason."""
ROUNDS = 4
STUDENT = "student"
"""The block that is stored as prompt."""


def make_spin(panel: Panel) -> Annotate:
    """The strategy `spin`. Raises UsageError for a recipe that doesn't say which column is the reference."""
    column = panel.recipe.gold
    if not column:
        raise UsageError(f"{panel.recipe.path}: the strategy spin needs the key gold: the column with the reference.")

    async def spin(item: Item, ask: Ask) -> Judged:
        reference = _reference(panel, item, column)
        answers = await panel.answers(item, ask)
        own = [each for each in answers.responses if each.text.strip() != reference.text]
        dropped = answers.dropped + Counter({"same-text": len(answers.responses) - len(own)})
        return Judged(
            panel.prompt(item), (reference, *(each._replace(score=0.0) for each in own)),
            dropped=+dropped, raw=answers.raw, reason="" if own else next(iter(dropped), ""),
        )  # fmt: skip

    return spin


def _reference(panel: Panel, item: Item, column: str) -> Response:
    """The answer that the row brings, which nobody was asked for."""
    value = item.row.get(column)
    if not isinstance(value, str) or not value.strip():
        raise SeedError(f"the column {column} must hold the answer that the student is to be told apart from")
    completion: Message = {"role": "assistant", **dict.fromkeys(panel.recipe.record.completion, "")}
    return Response(column, 0, "", {**completion, "content": value.strip()}, value.strip(), score=1.0, good=True)


# -- refine ------------------------------------------------------------------------------------------------------------


class Turn(NamedTuple):
    """Feedback on one version, and the version that came of it."""

    raw: tuple[str, ...]
    stopped: str = ""
    """Why there is no further version."""
    detail: str = ""
    feedback: str = ""
    better: Response | None = None


def make_refine(panel: Panel) -> Annotate:
    """The strategy `refine`. Raises UsageError for a recipe without its stages, other verdicts and several samples."""
    require(panel.recipe)
    require_fields(panel, REFINE)
    rounds = panel.whole("rounds", ROUNDS, 1)
    if set(allowed_by(panel, FEEDBACK)["verdict"]) != {GOOD, IMPROVE}:
        raise UsageError(f"{panel.recipe.path}: the stage {FEEDBACK} needs parser: {{choice: [{GOOD}, {IMPROVE}]}}.")
    if panel.samples > 1:
        raise UsageError(f"the recipe {panel.recipe.name} refines one answer: --samples {panel.samples} is too many.")

    async def refine(item: Item, ask: Ask) -> Judged:
        answers = await panel.answers(item, ask)
        versions, turns = list(answers.responses), list[Turn]()
        stopped = answers.reason
        while not stopped:
            turn = await _take_turn(panel, item, ask, versions[-1])
            turns.append(turn)
            versions += [turn.better] if turn.better else []
            stopped = turn.stopped or ("rounds" if len(turns) == rounds else "")
        unread = sum(turn.stopped == NO_VERDICT for turn in turns)
        tallies = {"improved": (int(len(versions) > 1), 1), "parse_failures": (unread, len(turns))}
        if versions and item.id in panel.canaries:
            tallies |= await _ask_canary(panel, item, ask, versions[0])
        return Judged(
            panel.prompt(item), _rise(versions),
            details={"stopped": stopped, "feedback": [turn.feedback for turn in turns if turn.feedback]},
            raw=(*answers.raw, *(text for turn in turns for text in turn.raw)),
            reason="" if stopped in FINISHED else stopped,
            detail=turns[-1].detail if turns else answers.said[0].detail, tallies=tallies,
        )  # fmt: skip

    return refine


async def _judge(panel: Panel, item: Item, ask: Ask, text: str, purpose: str) -> tuple[Verdict, Candidate]:
    """Whether a version is good enough, and as what the student was shown it."""
    _, (candidate,) = line_up(draws(item, purpose), [text])
    allowed = allowed_by(panel, FEEDBACK)
    return await ask_judge(panel, ask, FEEDBACK, item.row, [candidate], allowed, to=panel.judge), candidate


async def _ask_canary(panel: Panel, item: Item, ask: Ask, first: Response) -> Mapping[str, Tally]:
    """A planted answer is noticed where the student doesn't call it good."""
    planted = plant(item, first.text)
    verdict, _ = await _judge(panel, item, ask, planted.text, "refine canary")
    return caught(planted, noticed=None if verdict.reason else verdict.fields["verdict"] != GOOD)


async def _take_turn(panel: Panel, item: Item, ask: Ask, version: Response) -> Turn:
    """Ask the student what it thinks of its answer, and for a better one where it isn't content."""
    verdict, candidate = await _judge(panel, item, ask, version.text, f"refine {version.sample}")
    raw: tuple[str, ...] = (verdict.answer.text,)
    feedback = str(verdict.fields.get(RATIONALE, ""))
    if verdict.reason:
        return Turn(raw, NO_VERDICT, verdict.reason)
    if verdict.fields["verdict"] == GOOD:
        return Turn(raw, GOOD, "", feedback)
    fenced = fence(feedback) if feedback.strip() else ""
    shown = {"answers": [candidate._asdict()], "feedback": fenced}
    said = await panel.stages.ask(ask, REFINE, panel.open_row(item.row), shown, to=version.role)
    raw = (*raw, said.answer.text)
    if said.reason:
        return Turn(raw, said.reason, said.detail, feedback)
    better = panel.response(said, version.role, version.sample + 1)
    if copies_fence(better.text, candidate.fenced, fenced):
        return Turn(raw, "copied-fence", "", feedback)
    if better.text.strip() == version.text.strip():
        return Turn(raw, UNCHANGED, "", feedback)
    return Turn(raw, "", "", feedback, better)


def _rise(versions: Sequence[Response]) -> tuple[Response, ...]:
    """The last version is the good one, and better than the first; of those between nobody says."""
    last = len(versions) - 1
    scores = {0: 0.0, last: 1.0} if last > 0 else {}
    return tuple(each._replace(score=scores.get(n), good=n == last) for n, each in enumerate(versions))


# -- self-align --------------------------------------------------------------------------------------------------------


def make_self_align(panel: Panel) -> Annotate:
    """The strategy `self-align`. Raises UsageError without principles, and without the block that leaves them out."""
    principles = texts("the setting 'principles'", panel.setting("principles", None), "principles")
    if STUDENT not in panel.recipe.blocks:
        raise UsageError(f"{panel.recipe.path}: needs the block {STUDENT}, which leaves the principles out.")

    async def self_align(item: Item, ask: Ask) -> Judged:
        answers = await panel.answers(item, ask)
        return Judged(
            panel.prompt(item), tuple(each._replace(good=True) for each in answers.responses),
            details={"principles": len(principles)}, dropped=answers.dropped, raw=answers.raw,
            reason="" if answers.responses else answers.reason,
            detail="" if answers.responses else answers.said[0].detail,
        )  # fmt: skip

    return self_align

"""Adversarial distillation: the teacher finds what is hard for the student, and writes more of it (Jiang et al.,
Lion, arXiv:2305.12870).

{(x', y'): x' ∼ p_T(x' | I_hard or I_easy ⊕ x), y' ∼ p_T(y' | x')}. Both answer a seed x; the teacher as a referee
scores both answers in both orders, and x is hard where its own mean is ahead by the setting `gap`. A new instruction is
written after each x, hard after hard and easy after easy, and neither kind gets further ahead of the other than the
setting `ahead` says. That holds for the pool of candidates; of the rows, where answers turned out to be worth nothing,
a few more may be of one kind. Knows no prompt, and not how y' is asked for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

from distill_data.data.exchange import Ask
from distill_data.data.growth import Draft, Draw, Growth
from distill_data.data.items import Item, Outcome
from distill_data.errors import UsageError
from distill_data.methods.drawing import draw_each
from distill_data.methods.growing import (
    Admit,
    AnswerX,
    Composed,
    Propose,
    Settle,
    make_admit,
    make_answer,
    make_propose,
)
from distill_data.methods.judging import NAMES, Candidate, Verdict, allowed_by, ask_judge, draws, fence
from distill_data.methods.needs import ANSWER
from distill_data.methods.panel import Panel, make_panel, together
from distill_data.methods.setup import Setup
from distill_data.methods.stages import Said

STUDENT, TRY, REFEREE = "student", "try", "referee"
HARD, EASY = "hard", "easy"
GAP, AHEAD = 1.0, 2
"""From how many points between the answers an instruction is hard, and how many more of one kind than of the other may
stand in the pool, where the recipe doesn't say."""


class Contest(NamedTuple):
    """What the referee says of the two answers to one instruction, or why it says nothing."""

    student: tuple[int, ...] = ()
    """The student's scores: with its answer shown last, and shown first; no scores where the answers were equal."""
    teacher: tuple[int, ...] = ()
    answers: tuple[str, ...] = ()
    """Raw texts, in the order in which they were asked for."""
    reason: str = ""
    detail: str = ""

    @property
    def gap(self) -> float:
        """How far the teacher is ahead on average; nothing where the answers were equal."""
        return fmean(self.teacher) - fmean(self.student) if self.teacher else 0.0


def adversarial(setup: Setup) -> Growth:
    """Every seed in turn gives one instruction after its kind. Raises UsageError for settings that cannot work."""
    students = [role for role in setup.teachers if role.startswith(STUDENT)]
    if students != [STUDENT]:
        raise UsageError(f"{setup.recipe.name} looks for what is hard for one student: give -s once.")
    admit, settle = make_balance(setup, make_admit(setup))
    return Composed(draw_each(setup), make_rival(setup), admit, make_tallied(make_answer(setup)), settle)


def make_rival(setup: Setup) -> Propose:
    """An instruction like the seed, of its own kind. The block `main` sees the kind's text as `operation`.

    The setting `operations` has a text for hard and one for easy. Raises UsageError.
    """
    operations = _operations(setup)
    low, high = setup.recipe.stages[REFEREE].parser.args
    least = setup.number("gap", GAP, 0, high - low)
    write, contest = make_propose(setup), make_contest(setup)

    async def rival(item: Item, draw: Draw, ask: Ask) -> list[Draft]:
        found = await contest(item, draw, ask)
        if found.reason:
            return [Draft(draw, {}, found.reason, found.detail, found.answers)]
        hard = found.gap >= least
        scores = {"student": list(found.student), "teacher": list(found.teacher)}
        notes = {"hard": hard, "gap": found.gap, "scores": scores}
        shown = {**draw.shown, "operation": operations[HARD if hard else EASY]}
        drafts = await write(item, draw._replace(shown=shown), ask)
        return [
            draft._replace(notes={**notes, **draft.notes}, answers=(*found.answers, *draft.answers)) for draft in drafts
        ]

    return rival


def _operations(setup: Setup) -> Mapping[str, str]:
    operations = setup.setting("operations", {})
    if not isinstance(operations, Mapping) or not all(isinstance(operations.get(kind), str) for kind in (HARD, EASY)):
        raise UsageError(
            f"{setup.recipe.path}: the strategy adversarial needs `operations`, a mapping with a text for {HARD} and "
            f"one for {EASY}."
        )
    return operations


def make_contest(setup: Setup) -> Callable[[Item, Draw, Ask], Awaitable[Contest]]:
    """Student and teacher answer the seed, the student by the block `try`, and the referee scores both.

    Equal answers are equally good, and the referee is not asked.
    """
    judge = setup.stages.role
    panel = make_panel(setup.recipe, setup.teachers, setup.seed, setup.stages.resample, judges=[judge])
    score = make_scores(panel)

    async def contest(item: Item, draw: Draw, ask: Ask) -> Contest:
        stages, shown = setup.stages, {**draw.shown, "x": setup.stages.columns(draw.row)}
        roles = {STUDENT: TRY, setup.answerer: ANSWER}
        said: list[Said] = await together(
            [stages.ask(ask, block, draw.row, shown, sample=draw.sample, to=role) for role, block in roles.items()]
        )
        raw = tuple(each.answer.text for each in said)
        for role, each in zip(roles, said, strict=True):
            if each.reason:
                detail = f"the {role}'s answer to the seed" + (f": {each.detail}" if each.detail else "")
                return Contest(answers=raw, reason=each.reason, detail=detail)
        texts = [panel.response(each, role, draw.sample).text for role, each in zip(roles, said, strict=True)]
        if texts[0] == texts[1]:
            return Contest(answers=raw)
        found = await score(item, draw, texts, ask)
        return found._replace(answers=(*raw, *found.answers))

    return contest


def make_scores(panel: Panel) -> Callable[[Item, Draw, Sequence[str], Ask], Awaitable[Contest]]:
    """(item, draw, the texts of student and teacher, ask) -> their scores: both in one verdict, under blind names,
    once in each order. One verdict alone is none."""
    allowed = allowed_by(panel, REFEREE)

    async def score(item: Item, draw: Draw, texts: Sequence[str], ask: Ask) -> Contest:
        names = draws(item, REFEREE).sample(NAMES, 2)
        student, teacher = (Candidate(name, fence(text)) for name, text in zip(names, texts, strict=True))
        orders = ([teacher, student], [student, teacher])
        verdicts: list[Verdict] = await together(
            [
                ask_judge(panel, ask, REFEREE, draw.row, order, allowed, to=panel.judge, each=True, sample=draw.sample)
                for order in orders
            ]
        )
        heard = tuple(verdict.answer.text for verdict in verdicts)
        for verdict in verdicts:
            if verdict.reason:
                return Contest(answers=heard, reason="no-verdict", detail=f"{verdict.reason}: {verdict.detail}")
        ours, theirs = (tuple(verdict.fields[name]["score"] for verdict in verdicts) for name in names)
        if any(type(given) is not int for given in ours + theirs):
            return Contest(answers=heard, reason="no-verdict", detail="the referee says that a score does not apply")
        return Contest(ours, theirs, heard)

    return score


def make_balance(setup: Setup, admit_new: Admit) -> tuple[Admit, Settle]:
    """Refuse a candidate of the kind that has `ahead` more in the pool than the other; `admit_new` sees the rest.

    One whose answer was worth nothing leaves the pool again, and the next ones make up for it. Nothing makes up for
    those of the last round.
    """
    ahead = setup.whole("ahead", AHEAD, 1)
    pool = {HARD: 0, EASY: 0}

    def admit(item: Item, draft: Draft) -> Draft:
        kind, other = (HARD, EASY) if draft.notes["hard"] else (EASY, HARD)
        if pool[kind] - pool[other] >= ahead:
            detail = f"{pool[kind]} {kind} and {pool[other]} {other} ones are there, and this is {kind}"
            return draft._replace(reason="unbalanced", detail=detail)
        judged = admit_new(item, draft)
        pool[kind] += not judged.reason
        return judged

    def settle(item: Item, draft: Draft, kept: bool) -> None:
        if not kept and not draft.reason:
            pool[HARD if draft.notes["hard"] else EASY] -= 1

    return admit, settle


def make_tallied(answer: AnswerX) -> AnswerX:
    """The same, and counted: how many of the answered candidates are hard, and on how many the order turned the verdict
    on their seed."""

    async def tallied(item: Item, draft: Draft, ask: Ask) -> Outcome:
        outcome = await answer(item, draft, ask)
        scores = draft.notes["scores"]
        sides = {(t > s) - (t < s) for s, t in zip(scores["student"], scores["teacher"], strict=True)}
        tallies = {"hard": (int(draft.notes["hard"]), 1), **({"flips": (int(len(sides) > 1), 1)} if sides else {})}
        return outcome._replace(tallies=tallies)

    return tallied

"""Repairing: the teacher corrects what a verifier refuses (PERsD, Chen et al., arXiv:2310.18628).

The student answers. Where its answer is right there is nothing to learn; where it is wrong, the teacher is shown it and
what is wrong with it, and writes a fix, which counts where the verifier accepts it. The student then learns two things:
the fix, from the task alone; and to repair, from the task, its own wrong answer and the error. It is taught on its own
errors, which a solution that the teacher starts from nothing has no part in.

What is right is the verifier's to say, so answers may be numbers, texts or code. Knows no prompt and no verifier.
"""

from __future__ import annotations

from distill_data.data.exchange import Ask
from distill_data.data.items import Item, Row
from distill_data.errors import UsageError
from distill_data.methods.attempts import one_answer, require_fields, whole_of
from distill_data.methods.judging import copies_fence, draws, fence
from distill_data.methods.needs import require
from distill_data.methods.panel import Answers, Panel
from distill_data.methods.responses import Annotate, Judged, Made, Response
from distill_data.methods.stages import Said

REPAIR, STUDENT_REPAIR = "repair", "student_repair"
FIX = "fix"
SHOW_GOLD = "show_gold"


def make_correcting(panel: Panel) -> Annotate:
    """The strategy `correct`. Raises UsageError where a block is missing or gives less than the record needs, for
    several samples, and for a setting `show_gold` that is neither true nor false."""
    recipe = panel.recipe
    require(recipe)
    require_fields(panel, REPAIR)
    if STUDENT_REPAIR not in recipe.blocks:
        raise UsageError(
            f"{recipe.path}: the strategy correct needs the block {STUDENT_REPAIR}: "
            "the task, the wrong answer and the error, from which the student learns to repair."
        )
    if not isinstance(panel.setting(SHOW_GOLD, False), bool):
        raise UsageError(f"--set {SHOW_GOLD}={panel.setting(SHOW_GOLD, False)}: must be true or false.")
    if panel.samples > 1:
        raise UsageError(f"the recipe {recipe.name} repairs one answer: leave --samples {panel.samples} out.")

    async def correct(item: Item, ask: Ask) -> Judged:
        assert panel.right is not None
        answers = await one_answer(panel, item, ask)
        if not answers.responses:
            return Judged(panel.prompt(item), (), dropped=answers.dropped, raw=answers.raw, reason=answers.reason)
        answer = answers.responses[0]
        if await panel.right(answer.text, item.row, ask):
            right = answer._replace(score=1.0)
            return Judged(
                panel.prompt(item), (right,), dropped=answers.dropped, raw=answers.raw, reason="already-right",
                tallies={"right": (1, 1)}, agrees=True,
            )  # fmt: skip
        return await _repair(panel, item, ask, answers)

    return correct


async def _repair(panel: Panel, item: Item, ask: Ask, answers: Answers) -> Judged:
    """Ask the teacher for a fix, and verify it."""
    assert panel.right is not None
    wrong = answers.responses[0]
    repairer = draws(item, "repairer").choice(panel.judges)
    shown = {"response": fence(whole_of(wrong)), "error": _error(wrong, fenced=True)}
    row = panel.open_row(item.row) if panel.setting(SHOW_GOLD, False) else without_gold(panel, item.row)
    said = await panel.stages.ask(ask, REPAIR, row, shown, to=repairer)
    reason, fix = _read(panel, said, repairer, shown["response"], shown["error"])
    if fix and not await panel.right(fix.text, item.row, ask):
        reason, fix = "not-verified", None
    judged = Judged(
        panel.prompt(item), (wrong._replace(score=0.0),), dropped=answers.dropped, raw=(*answers.raw, said.answer.text),
        tallies={"right": (0, 1), "repaired": (int(fix is not None), 1)}, agrees=False,
    )  # fmt: skip
    if fix is None:
        return judged._replace(reason="not-repaired", detail=reason)
    fix = fix._replace(score=1.0, good=True)
    return judged._replace(
        responses=(*judged.responses, fix),
        made={"sft": _rows(panel, item, wrong, fix)},
        details={"wrong": {"role": wrong.role, "model": wrong.model, "answer": wrong.text}},
    )


def _read(panel: Panel, said: Said, repairer: str, *fences: str) -> tuple[str, Response | None]:
    """Why the reply is no fix, or the fix."""
    if said.reason:
        return said.reason, None
    fix = panel.response(said, repairer, 0)
    if copies_fence(whole_of(fix), *fences):
        return "copied-fence", None
    return "", fix


def without_gold(panel: Panel, row: Row) -> Row:
    """The row as models may see it who are to find the right answer, not to copy it."""
    return {**panel.open_row(row), panel.recipe.gold: ""}


def _error(wrong: Response, *, fenced: bool) -> str:
    """What is wrong, with the answer in a fence where a model is shown it. An answer that is long, as code is, or all
    that the student wrote, isn't said twice."""
    if "\n" in wrong.text or whole_of(wrong) == wrong.text:
        return "It was checked, and it is not right."
    if fenced:
        return f"Its answer was checked, and is not right:\n{fence(wrong.text)}"
    return f"Its answer, {wrong.text}, was checked, and is not right."


def _rows(panel: Panel, item: Item, wrong: Response, fix: Response) -> tuple[Made, ...]:
    """From the task to the fix; and from the task, the wrong answer and the error to the fix."""
    shown = {"response": whole_of(wrong), "error": _error(wrong, fenced=False)}
    repair = panel.stages.messages(STUDENT_REPAIR, without_gold(panel, item.row), shown)
    prompts = {FIX: panel.prompt(item), REPAIR: repair}
    return tuple(
        Made({"prompt": prompt, "completion": [fix.completion]}, fix, part) for part, prompt in prompts.items()
    )

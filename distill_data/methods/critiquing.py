"""Critiquing: an answer, a critique of it by a principle, a revision, and again (Constitutional AI, Bai et al.,
arXiv:2212.08073).

The student answers; then in each round the teacher criticises what there is by one principle, which the item draws, and
writes it again. The last revision is better than the student's answer. Knows no principle and no kind of record.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from distill_data.data.exchange import Ask
from distill_data.data.items import Item
from distill_data.errors import UsageError
from distill_data.methods.attempts import one_answer
from distill_data.methods.judging import copies_fence, draws, fence
from distill_data.methods.needs import require
from distill_data.methods.panel import Panel
from distill_data.methods.responses import Annotate, Judged, Made, Response
from distill_data.methods.stages import Said

CRITIQUE, REVISE, CRITIC = "critique", "revise", "critic"
MOST_ROUNDS = 4


class Round(NamedTuple):
    """One critique, and what came of it."""

    number: int
    """From 1."""
    principle: str
    before: str
    """The answer that is criticised."""
    critique: Said
    revision: Said | None = None
    """None where the critique doesn't count."""

    @property
    def reason(self) -> str:
        """Why the round gave no revision."""
        return self.critique.reason or (self.revision.reason if self.revision else "")


def make_critiquing(panel: Panel) -> Annotate:
    """The strategy `critique`. Raises UsageError for several samples, principles that are no texts, too many rounds."""
    require(panel.recipe)
    if CRITIC not in panel.recipe.blocks:
        raise UsageError(f"{panel.recipe.path}: the strategy critique needs the block critic: the prompt of its rows.")
    rounds, principles = panel.whole("rounds", 1, 1, MOST_ROUNDS), _principles(panel)
    if panel.samples > 1:
        raise UsageError(f"the recipe {panel.recipe.name} revises one answer: leave --samples {panel.samples} out.")

    async def critique(item: Item, ask: Ask) -> Judged:
        answers = await one_answer(panel, item, ask)
        prompt = panel.prompt(item)
        if not answers.responses:
            return Judged(prompt, (), dropped=answers.dropped, raw=answers.raw, reason=answers.reason)
        original = answers.responses[0]
        critic = draws(item, "critic").choice(panel.judges)
        held = await _revise(panel, item, ask, original.text, critic, _draw(item, principles, rounds))
        judged = _judge(panel, item, original, critic, held)
        return judged._replace(dropped=answers.dropped + Counter(judged.dropped))

    return critique


def _principles(panel: Panel) -> list[str]:
    given = panel.setting("principles", [])
    if not isinstance(given, list) or not given or not all(isinstance(text, str) and text.strip() for text in given):
        raise UsageError(f"{panel.recipe.path}: the setting principles must be a list of texts, at least one.")
    return given


def _draw(item: Item, principles: list[str], rounds: int) -> list[str]:
    """A principle for each round, none twice while there are others."""
    drawn: list[str] = []
    for number in range(1, rounds + 1):
        left = [principle for principle in principles if principle not in drawn] or principles
        drawn.append(draws(item, f"principle:{number}").choice(left))
    return drawn


async def _revise(panel: Panel, item: Item, ask: Ask, text: str, critic: str, principles: list[str]) -> list[Round]:
    """The rounds, up to the first that gives no revision."""
    held: list[Round] = []
    row = panel.open_row(item.row)
    for number, principle in enumerate(principles, start=1):
        fences = {"response": fence(text)}
        critique = await panel.stages.ask(ask, CRITIQUE, row, {"principle": principle, **fences}, to=critic)
        round_ = Round(number, principle, text, _refuse_fences(critique, fences))
        if not round_.critique.reason:
            fences["critique"] = fence(_text(critique))
            revision = await panel.stages.ask(ask, REVISE, row, {"principle": principle, **fences}, to=critic)
            round_ = round_._replace(revision=_refuse_fences(revision, fences))
        held.append(round_)
        if round_.reason or round_.revision is None:
            break
        text = _text(round_.revision)
    return held


def _refuse_fences(said: Said, fences: Mapping[str, str]) -> Said:
    copied = not said.reason and copies_fence(_text(said), *fences.values())
    return said._replace(reason="copied-fence") if copied else said


def _text(said: Said) -> str:
    return str(said.fields["text"])


def _judge(panel: Panel, item: Item, original: Response, critic: str, held: list[Round]) -> Judged:
    """Original and last revision, if there is another one, and in any case a row for each critique."""
    revisions = [each.revision for each in held if each.revision and not each.reason]
    raw = [original.text, *(said.answer.text for each in held for said in (each.critique, each.revision) if said)]
    told = [
        {"principle": each.principle, "critique": _text(each.critique)} for each in held if not each.critique.reason
    ]
    judged = Judged(
        panel.prompt(item),
        (original._replace(score=0.0),),
        made={CRITIQUE: tuple(_critique_row(panel, item, critic, each) for each in held if not each.critique.reason)},
        details={"critic": critic, "rounds": told},
        dropped={each.reason: 1 for each in held if each.reason},
        raw=tuple(raw),
    )
    if not revisions:
        return judged._replace(reason="not-revised", detail=held[-1].reason)
    revision = panel.response(revisions[-1], critic, len(revisions))
    if revision.text.split() == original.text.split():
        return judged._replace(reason="unchanged")
    return judged._replace(responses=(*judged.responses, revision._replace(score=1.0, good=True)))


def _critique_row(panel: Panel, item: Item, critic: str, held: Round) -> Made:
    """The critique as a row of its own: from prompt, principle and answer to the critique."""
    shown = {"principle": held.principle, "response": held.before}
    prompt = panel.stages.messages(CRITIC, panel.open_row(item.row), shown)
    answer = held.critique.answer
    completion = {"role": "assistant", "content": _text(held.critique)}
    source = Response(critic, held.number, answer.model, completion, _text(held.critique))
    return Made(
        {"prompt": prompt, "completion": [completion]}, source, f"critique-{held.number}", {"revision": held.number}
    )

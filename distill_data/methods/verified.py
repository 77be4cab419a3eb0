"""y asked for, and kept only where code finds it right: cited where it stands, chosen from the candidates, as told.

Knows neither what is judged nor what the record looks like; a strategy brings both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from distill_data.data.exchange import Ask, Message
from distill_data.data.growth import Draft
from distill_data.data.items import Item, Outcome, Record, kept, rejected
from distill_data.methods.growing import AnswerX, make_x_record, notes_of
from distill_data.methods.needs import ANSWER
from distill_data.methods.setup import Setup

Judge = Callable[[Draft, Mapping[str, Any]], tuple[str, str]]
"""(draft, fields of the answer) -> why it doesn't count and the detail; both empty where it does."""
Build = Callable[[Item, Draft, Mapping[str, Any], str], Record]
"""(item, draft, fields of the answer, the model's name) -> the record."""
Shown = Callable[[Draft], list[Message] | None]
"""The messages that ask for y, or None where the block `answer` is enough."""


def make_verified_answer(
    setup: Setup, judge: Judge, *, build: Build | None = None, shown: Shown = lambda draft: None
) -> AnswerX:
    """y ∼ p_T(y | I ⊕ x) by the stage `answer`, judged by code before it is a record."""
    make = build or partial(make_x_record, setup)

    async def answer(item: Item, draft: Draft, ask: Ask) -> Outcome:
        if not setup.answers:
            return kept(make(item, draft, {}, ""))
        variables = {**draft.draw.shown, "x": draft.x}
        said = await setup.stages.ask(ask, ANSWER, draft.draw.row, variables, to=setup.answerer, messages=shown(draft))
        reason, detail = (said.reason, said.detail) if said.reason else judge(draft, said.fields)
        if reason:
            return rejected(reason, detail, *draft.answers, said.answer.text)
        noted = draft._replace(notes={**draft.notes, **notes_of(said, "answer_")})
        return kept(make(item, noted, said.fields, said.answer.model))

    return answer

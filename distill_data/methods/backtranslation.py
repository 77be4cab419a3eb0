"""Instruction backtranslation: y is a text that is there already; the teacher writes the x that it answers.

{(x, y): x ∼ p_T(x | I ⊕ y)}, and the teacher scores each pair; the best are kept (arXiv:2308.06259). A text is written
about until one x for it is kept, at most `tries` times. Knows no prompt.
"""

from __future__ import annotations

from distill_data.data.exchange import Ask
from distill_data.data.growth import Draft, Growth
from distill_data.data.items import Item, Outcome, kept, rejected
from distill_data.methods.drawing import draw_queue
from distill_data.methods.grounding import document_of, with_passages, with_source
from distill_data.methods.growing import (
    AnswerX,
    Composed,
    make_admit,
    make_propose,
    make_score,
    make_x_record,
)
from distill_data.methods.setup import Setup

OUTPUT = "output"
"""The field of x that y is in."""


def backtranslation(setup: Setup) -> Growth:
    """x for each text, or for each passage of a long one, by the block `main`; judged by the stage `score`."""
    setup = with_passages(setup)
    draw, settle = draw_queue(setup, ("",), 1, source=document_of)
    return Composed(draw, with_source(make_propose(setup)), make_admit(setup, ()), make_self_score(setup), settle)


def make_self_score(setup: Setup) -> AnswerX:
    """The pair of x and the row's text, where the teacher gives it `keep_from` or more. With --no-answer x alone."""
    score = make_score(setup)

    async def self_score(item: Item, draft: Draft, ask: Ask) -> Outcome:
        if not setup.answers:
            return kept(make_x_record(setup, item, draft))
        pair = draft._replace(x={**draft.x, OUTPUT: draft.draw.row["text"]})
        scored = await score(pair, {"x": pair.x}, ask)
        if scored.reason:
            return rejected(scored.reason, scored.detail, *scored.answers)
        return kept(make_x_record(setup, item, scored))

    return self_score

"""Instruction backtranslation: y is a text that is there already; the teacher writes the x that it answers.

{(x, y): x ∼ p_T(x | I ⊕ y)}, and the teacher scores each pair; the best are kept (arXiv:2308.06259). A text is written
about until one x for it is kept, at most `tries` times. Knows no prompt.
"""

from __future__ import annotations

from distill_data.data.exchange import Ask
from distill_data.data.growth import Draft, Growth
from distill_data.data.items import Item, Outcome, kept, rejected
from distill_data.methods.drawing import draw_queue
from distill_data.methods.grounding import with_passages, with_source
from distill_data.methods.growing import (
    SCORE,
    AnswerX,
    Composed,
    Setup,
    make_admit,
    make_propose,
    make_x_record,
    notes_of,
)

OUTPUT = "output"
"""The field of x that y is in."""
KEEP_FROM = 5
"""The score from which a pair is kept, where the recipe doesn't say."""


def backtranslation(setup: Setup) -> Growth:
    """x for each text, or for each passage of a long one, by the block `main`; judged by the stage `score`."""
    setup = with_passages(setup)
    draw, settle = draw_queue(setup, ("",), 1)
    return Composed(draw, with_source(make_propose(setup)), make_admit(setup, ()), make_self_score(setup), settle)


def make_self_score(setup: Setup) -> AnswerX:
    """The pair of x and the row's text, where the teacher gives it `keep_from` or more. With --no-answer x alone."""
    least = float(setup.setting("keep_from", KEEP_FROM))

    async def self_score(item: Item, draft: Draft, ask: Ask) -> Outcome:
        if not setup.answers:
            return kept(make_x_record(setup, item, draft))
        pair = draft._replace(x={**draft.x, OUTPUT: draft.draw.row["text"]})
        said = await setup.stages.ask(ask, SCORE, draft.draw.row, {"x": pair.x})
        answers = (*draft.answers, said.answer.text)
        if said.reason:
            return rejected(said.reason, said.detail, *answers)
        score = float(said.fields["score"])
        if score < least:
            return rejected("low-score", f"{score:g} is below {least:g}", *answers)
        notes = {**draft.notes, **notes_of(said, "score_"), "score": score}
        return kept(make_x_record(setup, item, pair._replace(notes=notes)))

    return self_score

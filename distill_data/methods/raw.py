"""Instructions out of nothing but a chat template: the teacher is shown its user header and writes what a user writes.

    main (a system turn of the chat template) + header -> instruction, by raw completion -> answer, by chat

So Magpie (arXiv:2406.08464); its system turn is empty, here it may speak of the row. Needs a teacher that completes raw
text and was trained on the recipe's template. Knows no run.
"""

from __future__ import annotations

from distill_data.data.exchange import Ask, Message, Request
from distill_data.data.growth import Draft, Draw, Growth
from distill_data.data.items import Item
from distill_data.errors import UsageError
from distill_data.methods.drawing import draw_combined
from distill_data.methods.growing import (
    Composed,
    Propose,
    drafts_of,
    make_admit,
    make_answer,
    make_check_x,
    settle_nothing,
)
from distill_data.methods.setup import Setup
from distill_data.methods.stages import Said, judge
from distill_data.recipes.template import MAIN


def raw(setup: Setup) -> Growth:
    """`header`: what stands in the chat template before a user's message, white space included."""
    return Composed(
        draw_combined(setup), make_completion(setup), make_admit(setup, ()), make_answer(setup), settle_nothing
    )


def make_completion(setup: Setup) -> Propose:
    """One raw completion for one drawing. What cannot be read is not asked again: the next drawing is as good."""
    header = str(setup.setting("header", ""))
    if not header.strip():
        raise UsageError(f"{setup.recipe.path}: the setting header is empty; it is the chat template's user header.")
    check_x, reader = make_check_x(setup), setup.stages.readers[MAIN]

    async def complete(item: Item, draw: Draw, ask: Ask) -> list[Draft]:
        lead = "".join(str(message["content"]) for message in setup.stages.messages(MAIN, draw.row, draw.shown))
        messages: list[Message] = [{"role": "user", "content": lead + header}]
        answer = await ask(Request(messages, reader.sampling, kind="complete", sample=draw.sample))
        fields, reason, detail = judge(reader, answer, draw.row)
        if reason:
            return [Draft(draw, {}, reason, detail, (answer.text,))]
        return drafts_of(setup, draw, Said(answer, fields, messages), check_x)

    return complete

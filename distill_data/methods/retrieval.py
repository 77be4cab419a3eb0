"""Pairs for retrieval: the teacher writes a query that a passage answers, and a passage that only seems to.

A query counts if the words of it lead back to its passage: of all passages, that one is ranked first (the round trip
of Promptagator, arXiv:2209.11755, with word overlap for the retriever). Knows no run.
"""

from __future__ import annotations

from distill_data.data.exchange import Ask
from distill_data.data.growth import Draft, Draw, Growth
from distill_data.data.items import Item, Outcome, canonical, kept
from distill_data.methods.drawing import draw_combined
from distill_data.methods.grounding import document_of, with_passages, with_source
from distill_data.methods.growing import Composed, make_admit, make_propose, make_x_record, settle_nothing
from distill_data.methods.setup import Setup
from distill_data.quality.similarity import make_nearest, word_f1
from distill_data.quality.words import words

NEGATIVE, POSITIVE, PASSAGE = "hard_negative", "positive", "text"
COPY = 0.9
"""Word F1 from which a negative is the passage itself, written again."""


def document_query(setup: Setup) -> Growth:
    """x is a query with a hard negative; y is the passage that it was written from, of the row's column `text`.

    Raises SeedError for a document without text.
    """
    setup = with_passages(setup)
    passages = list(dict.fromkeys(str(item.row[PASSAGE]) for item in setup.seeds))
    nearest = make_nearest(passages)
    propose = with_source(make_propose(setup))

    async def propose_query(item: Item, draw: Draw, ask: Ask) -> list[Draft]:
        return [draft if draft.reason else paired(draft) for draft in await propose(item, draw, ask)]

    def paired(draft: Draft) -> Draft:
        query, passage = str(draft.x[setup.recipe.writes]), str(draft.draw.row[PASSAGE])
        negative = draft.x.get(NEGATIVE)
        if not isinstance(negative, str) or not negative.strip():
            return draft._replace(reason="no-negative", detail=f"there is no text in {NEGATIVE}")
        if word_f1(negative, passage) >= COPY:
            return draft._replace(reason="negative-is-passage", detail="the hard negative has the passage's words")
        if not set(words(query)) & set(words(passage)):
            return draft._replace(reason="round-trip", detail="the query has no word of its passage")
        if passages[nearest(query, 1)[0]] != passage:
            return draft._replace(reason="round-trip", detail="the query leads to another passage")
        return draft._replace(x={**draft.x, POSITIVE: passage})

    async def pair(item: Item, draft: Draft, ask: Ask) -> Outcome:
        documents = [{"text": draft.x[POSITIVE], "relevant": True}, {"text": draft.x[NEGATIVE], "relevant": False}]
        return kept(make_x_record(setup, item, draft, extra={"documents": canonical(documents).decode()}))

    draw = draw_combined(setup, source=document_of)
    return Composed(draw, propose_query, make_admit(setup, ()), pair, settle_nothing)

"""Recommendation: from what somebody chose so far, a request; from request and candidates, the next item, with reasons.

The item must be one of the candidates and, where the row says what was chosen `next`, that one. Knows no prompt.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from distill_data.data.growth import Draft, Growth
from distill_data.data.items import Item
from distill_data.methods.drawing import draw_combined
from distill_data.methods.growing import Admit, Composed, make_admit, make_propose, settle_nothing
from distill_data.methods.setup import Setup
from distill_data.methods.verified import make_verified_answer
from distill_data.parsing.folding import fold, trim

ITEM = "item"
"""The field of the answer that names the recommended item."""


def recommendation(setup: Setup) -> Growth:
    """x from a history, y chosen from its candidates, whose order is drawn anew for each x."""
    admit = make_shuffle(make_admit(setup, ()))
    answer = make_verified_answer(setup, judge_item)
    return Composed(draw_combined(setup), make_propose(setup), admit, answer, settle_nothing)


def make_shuffle(admit: Admit) -> Admit:
    """Admits as `admit` does, and puts the candidates into x, shuffled, so that their places tell nothing."""

    def shuffle(item: Item, draft: Draft) -> Draft:
        candidates = list(draft.draw.row["candidates"])
        item.rng().shuffle(candidates)
        return admit(item, draft._replace(x={**draft.x, "candidates": candidates}))

    return shuffle


def judge_item(draft: Draft, fields: Mapping[str, Any]) -> tuple[str, str]:
    """`not-a-candidate`, or `wrong-item` where the row knows better."""
    said, gold = str(fields.get(ITEM, "")), str(draft.draw.row.get("next") or "")
    if _same(said) not in map(_same, draft.x["candidates"]):
        return "not-a-candidate", said[:200]
    return ("wrong-item", f"{said[:200]}, and not {gold}") if gold and _same(said) != _same(gold) else ("", "")


def _same(title: str) -> str:
    return fold(trim(title))

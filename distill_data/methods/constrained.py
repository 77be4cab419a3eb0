"""Instructions with constraints that code can check: drawn by the candidate, said to the teacher, verified on y.

Which constraints there are is `quality.constraints`' business; knows no prompt.
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
from distill_data.quality.constraints import Args, described, drawn, violated
from distill_data.quality.words import words


def constrained(setup: Setup) -> Growth:
    """x gets `constraints`, sentences that its answer must follow: `count` drawn ones, after one for each word of the
    row's column `words` (separated by commas), which the answer must use."""
    admit = make_constrain(setup, make_admit(setup, ()))
    answer = make_verified_answer(setup, judge_constraints)
    return Composed(draw_combined(setup), make_propose(setup), admit, answer, settle_nothing)


def make_constrain(setup: Setup, admit: Admit) -> Admit:
    """Admits as `admit` does, and puts the sentences into x; the constraints themselves are noted."""
    count, writes = setup.whole("count", 0, 1), setup.recipe.writes

    def constrain(item: Item, draft: Draft) -> Draft:
        judged = admit(item, draft)
        if judged.reason:
            return judged
        asked = [*_required(draft.draw.row), *drawn(item.rng(), {writes: judged.x[writes]}, count)]
        x = {**judged.x, "constraints": [described(each) for each in asked]}
        return judged._replace(x=x, notes={**judged.notes, "constraints": asked})

    return constrain


def _required(row: Mapping[str, Any]) -> list[Args]:
    wanted = [word.strip() for word in str(row.get("words") or "").split(",")]
    return [{"type": "contains", "keyword": word, "count": 1} for word in wanted if words(word)]


def judge_constraints(draft: Draft, fields: Mapping[str, Any]) -> tuple[str, str]:
    """`violates-TYPE` for the first constraint that the answer breaks; the detail names all of them."""
    broken = violated(str(fields.get("text", "")), draft.notes["constraints"])
    return (f"violates-{broken[0]}", "broken: " + ", ".join(broken)) if broken else ("", "")

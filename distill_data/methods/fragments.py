"""OSS-Instruct: a few lines of code, cut at random, inspire a problem; the same reply solves it (arXiv:2312.02120).

Knows how fragments are cut and that neither problem nor solution may come twice; the prompt is the recipe's.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from distill_data.data.growth import Draft, Draw, Growth
from distill_data.data.items import Item, digest
from distill_data.errors import SeedError
from distill_data.methods.drawing import draw_combined
from distill_data.methods.growing import (
    Admit,
    Composed,
    Drawer,
    make_admit,
    make_answer,
    make_propose,
    settle_nothing,
)
from distill_data.methods.setup import Setup

LINES = 15
"""Lines of a fragment at most, where the recipe doesn't say."""


def fragments(setup: Setup) -> Growth:
    """x and y from a fragment of the column `code`. Raises SeedError for a row without code."""
    for item in setup.seeds:
        if not str(item.row.get("code") or "").strip():
            raise SeedError(f"{item.where}: the column code is blank. Leave the row out.")
    admit = make_refuse_solved(setup, make_admit(setup, ()))
    return Composed(draw_fragments(setup), make_propose(setup), admit, make_answer(setup), settle_nothing)


def draw_fragments(setup: Setup) -> Drawer:
    """Combinations as `draw_combined` gives them, each with 1 to `lines` consecutive lines of its code."""
    draw, most = draw_combined(setup, varied=True), setup.whole("lines", LINES, 1)

    def cut(each: Draw) -> Draw:
        rng = random.Random(f"{setup.seed}:fragment:{digest(each.row)}:{each.sample}")
        return each._replace(row={**each.row, "code": fragment(rng, str(each.row["code"]), most)})

    def drawn() -> Sequence[Draw]:
        return [cut(each) for each in draw()]

    return drawn


def fragment(rng: random.Random, code: str, most: int) -> str:
    """1 to `most` consecutive lines, the first of them not blank. `code` has a line that is not."""
    lines = code.split("\n")
    start = rng.choice([number for number, line in enumerate(lines) if line.strip()])
    return "\n".join(lines[start : start + rng.randint(1, most)]).rstrip()


def make_refuse_solved(setup: Setup, admit: Admit) -> Admit:
    """Admits as `admit` does, but no two problems with the same solution, spaces aside."""
    field = setup.recipe.record.completion["content"]
    seen: set[str] = set()

    def refuse_solved(item: Item, draft: Draft) -> Draft:
        solution = " ".join(str(draft.x.get(field, "")).split())
        if solution in seen:
            return draft._replace(reason="duplicate-solution", detail="another problem has the same solution")
        judged = admit(item, draft)
        if not judged.reason:
            seen.add(solution)
        return judged

    return refuse_solved

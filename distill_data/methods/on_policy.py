"""The on-policy set: prompts that a student answers while it trains and a teacher then scores. Asks nobody.

Answers are not stored, because they are the student's of that moment (GKD, arXiv:2306.13649). `teacher_id` says which
of several teachers scores a prompt; `privileged_context` is what only the teacher is told, such as a solution.
"""

from __future__ import annotations

from collections.abc import Sequence

from distill_data.data.exchange import Ask
from distill_data.data.items import Item, Outcome, digest, kept, rejected
from distill_data.methods.given import Annotator, read_prompt
from distill_data.methods.scored import Method
from distill_data.recipes import Recipe

DUPLICATE = "duplicate"


def make_prompts(recipe: Recipe, annotator: Annotator, names: Sequence[str]) -> Method:
    """One record for each prompt and teacher, an equal one once. `names` are the teachers for rows that name none."""
    seen: set[str] = set()

    async def prompts(item: Item, ask: Ask) -> Outcome:
        x = list(read_prompt(item.row))
        context = "\n\n".join(message["content"] for message in recipe.render("main", item.row)).strip()
        named = str(item.row.get("teacher_id") or "")
        records = []
        for name in [named] if named else names or [""]:
            columns = {"prompt": x, "teacher_id": name, "privileged_context": context}
            mark = digest(columns)[:16]
            if mark not in seen:
                seen.add(mark)
                records.append(annotator.record(item, None, columns, {}, role="", part=name))
        return kept(*records) if records else rejected(DUPLICATE, "the same prompt for the same teacher was there")

    return prompts

"""Golden folders of commands that grow: `seeds.jsonl`, `growth.json` (rows, settings) and `replies.json`, by hand.

`replies.json` is a list in the order of the requests, each one {"block hint": reply}: the hint, any text, is found in
the last message asked, so that a prompt that changed its place is noticed. A reply that is no text is written as JSON;
in it `@mark` stands for the mark that a judge has to repeat.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distill_data.commands.work import InRounds
from distill_data.data.exchange import Answer, Ask, Request
from distill_data.data.items import Item, Outcome
from distill_data.data.seeds import make_items, open_seeds, read_rows
from distill_data.engine.outcomes import encode_outcome
from distill_data.methods.curation import make_curation
from distill_data.methods.expansion import make_expansion
from distill_data.methods.feedback import make_feedback_growth
from distill_data.methods.self_knowledge import make_self_growth
from distill_data.recipes import apply_settings, load_recipe
from tests.golden.judged import filled
from tests.methods.scripted import answer

MAKERS = {
    "expand": make_expansion,
    "curate": make_curation,
    "feedback": make_feedback_growth,
    "self-knowledge": make_self_growth,
}
ROLES = {
    "feedback": {"student": "scripted-student", "teacher": "scripted-teacher"},
    "self-knowledge": {"student": "scripted"},
}
"""Who is asked under a command, where it is not one teacher."""


@dataclass(slots=True)
class Replies:
    """An `ask` that reads one reply after the other."""

    script: list[dict[str, Any]]
    prompts: list[Any] = field(default_factory=list)

    async def __call__(self, request: Request, to: str = "teacher") -> Answer:
        self.prompts.append(request.messages)
        number = len(self.prompts)
        if number > len(self.script):
            raise LookupError(f"request {number} has no reply: {request.messages[-1]['content'][:200]}")
        ((hint, said),) = self.script[number - 1].items()
        asked = json.dumps(request.messages[-1], ensure_ascii=False)
        if hint not in json.loads(asked).get("content", "") and hint not in asked:
            raise LookupError(f"request {number} should hold {hint!r}: {asked[:500]}")
        return answer(filled(said, request), f"{to}-model")


def play_growth(folder: Path, command: str, name: str) -> dict[str, bytes]:
    """Name to content of the files that follow."""
    plan = json.loads((folder / "growth.json").read_bytes())
    recipe = apply_settings(load_recipe(name, command), plan.get("settings", {}))
    seeds = list(make_items(read_rows(open_seeds(folder / "seeds.jsonl")), 0))
    ask = Replies(json.loads((folder / "replies.json").read_bytes()))
    ended: list[tuple[Item, Outcome]] = []

    def ask_for(owner: str) -> Ask:
        return ask

    growth = MAKERS[command](recipe, ROLES.get(command, {"teacher": "scripted"}), seeds, 0, 1, answers=True)
    work = InRounds(growth, plan["rows"], plan.get("cap", 1000), 0)
    asyncio.run(work.run(ask_for, lambda *end: ended.append(end), 1, lambda: False, _refuse))
    if len(ask.prompts) < len(ask.script):
        raise LookupError(f"{len(ask.script) - len(ask.prompts)} replies were never asked for")
    lines = {"kept": b"", "rejected": b"", "failed": b""}
    for item, outcome in sorted(ended, key=lambda end: end[0].ordinal):
        lines[outcome.status] += encode_outcome(item, outcome).split(b"\n", 1)[1]
    return {
        "prompts.json": json.dumps(ask.prompts, indent=2, ensure_ascii=False).encode() + b"\n",
        "records.jsonl": lines["kept"],
        "rejects.jsonl": lines["rejected"] + lines["failed"],
    }


def _refuse(error: Exception) -> None:
    raise error

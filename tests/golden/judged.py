"""Golden folders of commands in which a student writes y: `seeds.jsonl`, `plan.json` and `replies.json`, by hand.

`plan.json` may name `settings` (as `--set`), `roles` (default student and teacher), `column` (answers that the seeds
bring), `canaries` (true: every item has one), `verifier` (in place of the recipe's) and `round`. `replies.json` has for
each row the list of its replies in the order of the requests, each one {"ROLE|HINT": reply}: the hint is a text in the
last message asked. A reply that is no text is written as JSON; in it `@mark` stands for the mark that the judge has to
repeat, and `@1`, `@2` for the names of the candidates in the order in which they are shown.

What follows: `prompts.json`, every request of every row; `records.KIND.jsonl` for every kind that the strategy offers
and that has a row; `rejects.jsonl` for the recipe's own kind.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from distill_data.data.exchange import Answer, Request
from distill_data.data.seeds import make_items, open_seeds, read_rows
from distill_data.engine.outcomes import encode_outcome
from distill_data.engine.schedule import settle
from distill_data.methods import feedback, self_knowledge
from distill_data.methods.annotating import find_strategy, make_method
from distill_data.methods.panel import make_panel
from distill_data.quality import make_verifier
from distill_data.recipes import Spec, apply_settings, load_recipe
from tests.methods.scripted import Said, answer

STRATEGIES = {"feedback": feedback.STRATEGIES, "self-knowledge": self_knowledge.STRATEGIES}


@dataclass(slots=True)
class Replies:
    """An `ask` that reads one reply after the other."""

    script: list[dict[str, Any]]
    asked: list[Any] = field(default_factory=list)

    async def __call__(self, request: Request, to: str = "teacher", **_: Any) -> Answer:
        self.asked.append({"to": to, "messages": request.messages})
        if len(self.asked) > len(self.script):
            raise LookupError(
                f"request {len(self.asked)} to {to} has no reply: {request.messages[-1]['content'][:300]}"
            )
        ((key, said),) = self.script[len(self.asked) - 1].items()
        role, _, hint = key.partition("|")
        last = json.dumps(request.messages[-1], ensure_ascii=False)
        if role != to or (hint not in json.loads(last)["content"] and hint not in last):
            raise LookupError(f"request {len(self.asked)} to {to} should be for {role} and hold {hint!r}: {last[:500]}")
        return answer(filled(said, request), f"{to}-model")


def filled(said: Any, request: Request) -> Said:
    """A reply with the mark and the names of its request in it, or what `scripted.answer` takes, as it is."""
    if isinstance(said, dict) and said.keys() <= {"text", "reasoning", "finish", "fails"} and said:
        return said
    text = said if isinstance(said, str) else json.dumps(said, ensure_ascii=False)
    properties = (request.schema or {}).get("properties", {})
    if "mark" in properties:
        text = text.replace("@mark", properties["mark"]["enum"][0])
    for number, name in enumerate(_names(properties), start=1):
        text = text.replace(f"@{number}", name)
    return text


def _names(properties: Mapping[str, Any]) -> list[str]:
    if "better" in properties:
        return [name for name in properties["better"]["enum"] if len(name) == 1]
    return [name for name, schema in properties.items() if name != "mark" and schema.get("type") == "object"]


def play_judged(folder: Path, command: str, name: str) -> dict[str, bytes]:
    """Name to content of the files that follow from seeds, plan and replies."""
    plan = json.loads((folder / "plan.json").read_bytes())
    recipe = apply_settings(load_recipe(name, command), plan.get("settings", {}))
    strategy = find_strategy(STRATEGIES[command], recipe)
    items = list(make_items(read_rows(open_seeds(folder / "seeds.jsonl")), 0))
    script = json.loads((folder / "replies.json").read_bytes())
    kinds = [recipe.record.kind, *(kind for kind in strategy.kinds if kind != recipe.record.kind)]
    if "threshold" not in recipe.settings and "unpaired" in kinds:
        kinds.remove("unpaired")
    roles = plan.get("roles", ["student", "teacher"] if command == "feedback" else ["student"])
    verifier = Spec(plan["verifier"]) if "verifier" in plan else recipe.verifier
    panel = make_panel(
        recipe,
        {role: f"scripted-{role}" for role in roles},
        0,
        1,
        judges=[role for role in roles if role.startswith("teacher")] or ["student"],
        column=plan.get("column", ""),
        canaries=frozenset(item.id for item in items) if plan.get("canaries") else frozenset(),
        verify=make_verifier(verifier.name, verifier.args) if verifier else None,
        round=plan.get("round", 0),
    )
    method = make_method(panel, strategy, kinds)
    made: dict[str, bytes] = {f"records.{kind}.jsonl": b"" for kind in kinds}
    prompts, rejects = [], b""
    for item, replies in zip(items, script, strict=True):
        ask = Replies(replies)
        outcome = asyncio.run(settle(item, method, lambda owner, ask=ask: ask))  # type: ignore[misc]
        if len(ask.asked) < len(replies):
            raise LookupError(f"{item.where}: {len(replies) - len(ask.asked)} replies were never asked for")
        prompts.append(ask.asked)
        if outcome.status == "kept":
            for kind, records in zip(kinds, (outcome.records, *outcome.others), strict=True):
                made[f"records.{kind}.jsonl"] += b"".join(json_line(record) for record in records)
        else:
            rejects += encode_outcome(item, outcome).split(b"\n", 1)[1]
    written = {file: lines for file, lines in made.items() if lines}
    return {"prompts.json": json_line(prompts, indent=True), **written, "rejects.jsonl": rejects}


def json_line(value: Any, *, indent: bool = False) -> bytes:
    return orjson.dumps(value, option=(orjson.OPT_INDENT_2 if indent else 0) | orjson.OPT_APPEND_NEWLINE)

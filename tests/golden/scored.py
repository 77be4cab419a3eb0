"""Golden folders of `score`: `seeds.jsonl` and `replies.json`, by hand.

`replies.json` has for each row the list of its replies in the order of the requests: a text, which may hold `@mark` for
the mark that a judge has to repeat; {"feature": …}, what a model says of a given y; {"embedding": […]}; or what
`scripted.answer` takes. What follows: `prompts.json`, every request of every row; `records.jsonl`; `rejects.jsonl`.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distill_data.commands.options import Options
from distill_data.commands.score import open_scorer
from distill_data.data.exchange import Answer, Request
from distill_data.data.seeds import make_items, open_seeds, read_rows
from distill_data.engine.outcomes import encode_outcome
from distill_data.engine.schedule import settle
from distill_data.methods.score import strategy_of
from distill_data.recipes import load_recipe
from tests.golden.judged import filled, json_line
from tests.methods.scripted import answer


@dataclass(slots=True)
class Replies:
    """An `ask` that reads one reply after the other."""

    script: list[Any]
    asked: list[Any] = field(default_factory=list)

    async def __call__(self, request: Request, to: str = "teacher") -> Answer:
        entry: dict[str, Any] = {"to": to, "kind": request.kind, "messages": request.messages}
        if request.feature is not None:
            entry |= {"completion": list(request.completion), "feature": dict(request.feature)}
        self.asked.append(entry)
        if len(self.asked) > len(self.script):
            raise LookupError(f"request {len(self.asked)} to {to} has no reply: {request.messages}")
        return replied(self.script[len(self.asked) - 1], request)


def replied(said: Any, request: Request) -> Answer:
    """The reply as an answer."""
    if isinstance(said, dict) and said.keys() <= {"feature", "embedding"} and said:
        return answer("")._replace(feature=said.get("feature"), embedding=tuple(said.get("embedding", ())))
    return answer(filled(said, request))


def play_scores(folder: Path, name: str) -> dict[str, bytes]:
    """Name to content of the files that follow from seeds and replies."""
    recipe = load_recipe(name, "score")
    asks = strategy_of(recipe).asks
    scorer = open_scorer(recipe, {asks: "scripted"} if asks else {}, Options())
    prompts, lines = [], {"kept": b"", "failed": b""}
    items = make_items(read_rows(open_seeds(folder / "seeds.jsonl")), 0)
    for item, script in zip(items, json.loads((folder / "replies.json").read_bytes()), strict=True):
        scorer.check(item.row)
        ask = Replies(script)
        outcome = asyncio.run(settle(item, scorer.score, lambda _, ask=ask: ask))  # type: ignore[misc]
        if len(ask.asked) < len(script):
            raise LookupError(f"{item.where}: {len(script) - len(ask.asked)} replies were never asked for")
        prompts.append(ask.asked)
        lines[outcome.status] += encode_outcome(item, outcome).split(b"\n", 1)[1]
    return {
        "prompts.json": json_line(prompts, indent=True),
        "records.jsonl": lines["kept"],
        "rejects.jsonl": lines["failed"],
    }

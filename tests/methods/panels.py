"""A panel over a shipped recipe, and what a judge is shown in a request. Knows no strategy."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from distill_data.data.exchange import RESAMPLED, Answer, Request
from distill_data.data.items import Item
from distill_data.formats.contracts import TRAINERS, faults
from distill_data.methods.kinds import make_kind
from distill_data.methods.panel import Panel, make_panel
from distill_data.methods.responses import Annotate, Judged
from distill_data.recipes import apply_settings, load_recipe
from tests.methods.scripted import Said, answer

ITEM = Item(0, "0" * 16, {"instruction": "Name a river."}, "seeds:1")
FENCE = re.compile(r"<<<([0-9a-f]{16})\n(.*)\n\1>>>")


def open_panel(
    name: str,
    settings: Mapping[str, Any] = {},
    roles: Sequence[str] = ("student", "teacher"),
    column: str = "",
    canaries: Sequence[str] = (),
) -> Panel:
    """Resampling once, random seed 0; the judges are the teachers."""
    return make_panel(
        apply_settings(load_recipe(name, "feedback"), {key: json.dumps(value) for key, value in settings.items()}),
        {role: f"scripted-{role}" for role in roles},
        0,
        1,
        judges=[role for role in roles if role.startswith("teacher")],
        column=column,
        canaries=frozenset(canaries),
    )


def shown(request: Request) -> list[tuple[str, str]]:
    """(name, text) of every candidate, in the order in which the judge sees them."""
    found = []
    for message in request.messages:
        head, _, fenced = message["content"].partition("\n")
        if head.startswith("Answer ") and (match := FENCE.fullmatch(fenced)):
            found.append((head.split()[1].rstrip(","), json.loads(match[2])))
    return found


def mark(request: Request) -> str:
    """The mark that a verdict has to repeat."""
    assert request.schema is not None
    return str(request.schema["properties"]["mark"]["enum"][0])


def verdict(request: Request, better: str) -> str:
    """A well-formed verdict of a comparison."""
    return json.dumps({"mark": mark(request), "rationale": "so it is", "better": better})


@dataclass(slots=True)
class Room:
    """An `ask` in which students say what is written down for their samples, and judges what a function says."""

    students: Mapping[str, Sequence[Said]]
    judge: Callable[[Request, str], Said | Answer] = lambda request, to: "I cannot decide."
    judged: list[tuple[str, Request]] = field(default_factory=list)
    """(judge, request) of every question to a judge."""

    async def __call__(self, request: Request, to: str = "teacher", **_: Any) -> Answer:
        if to in self.students:
            return answer(self.students[to][request.sample % RESAMPLED], f"{to}-model")
        self.judged.append((to, request))
        said = self.judge(request, to)
        return said if isinstance(said, Answer) else answer(said, f"{to}-model")


def check_records(panel: Panel, judged: Judged, kinds: Sequence[str]) -> None:
    """Every record of every kind is one that the kind's trainers read, and no two share an id."""
    ids = []
    for kind in kinds:
        records, reason = make_kind(panel.recipe, kind, panel.models, kinds)(ITEM, judged)
        assert bool(reason) != bool(records)
        ids += [record["id"] for record in records]
        for record in records:
            assert [fault for trainer in TRAINERS[kind] for fault in faults(record, trainer)] == []
            orjson.dumps(record)
    assert len(set(ids)) == len(ids)


def judged_by(annotate: Annotate, item: Item, ask: Any) -> Judged:
    """Run a strategy on one item."""

    async def main() -> Judged:
        return await annotate(item, ask)

    return asyncio.run(main())

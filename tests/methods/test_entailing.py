"""The verifier `entailment`: the judge's word counts, and without a verdict nothing does."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from distill_data.data.exchange import Answer, Request
from distill_data.data.items import Item, Outcome
from distill_data.engine.schedule import settle
from distill_data.errors import SeedError, UsageError
from distill_data.methods.annotating import make_method
from distill_data.methods.entailing import verified_by_judge
from distill_data.methods.panel import Panel, make_panel
from distill_data.methods.self_knowledge import STRATEGIES
from distill_data.recipes import apply_settings, load_recipe
from tests.methods.scripted import answer

ROW = {"question": "How far is it?", "answer": "two kilometres"}


def open_panel(recipe: str = "rest", **settings: str) -> Panel:
    made = apply_settings(load_recipe(recipe, "self-knowledge"), {"verifier": "entailment", "samples": "2", **settings})
    return make_panel(made, {"student": "scripted"}, 0, 0, judges=["student"])


async def play(verdicts: dict[str, Any], asked: list[Request]) -> Outcome:
    async def ask(request: Request, to: str = "teacher") -> Answer:
        asked.append(request)
        if request.schema is None:
            said = ["2 km", "2 miles"][request.sample]
            return answer(f"<reasoning>The sign says {said}.</reasoning><answer>{said}</answer>")
        fenced = next(said for said in verdicts if f'"{said}"' in str(request.messages))
        mark = request.schema["properties"]["mark"]["enum"][0]
        return answer(json.dumps({"mark": mark, "rationale": "", "verdict": verdicts[fenced]}))

    method = make_method(open_panel(), STRATEGIES["rest"], ["sft", "preference"])
    return await settle(Item(0, "0" * 16, ROW, "seeds.jsonl:1"), method, lambda _: ask)


def test_the_judge_decides() -> None:
    asked: list[Request] = []
    outcome = asyncio.run(play({"2 km": "yes", "2 miles": "no"}, asked))
    assert [record["answer"] for record in outcome.records] == ["2 km"]
    assert outcome.others[0][0]["rejected"][0]["content"] == "2 miles"
    judged = [request for request in asked if request.schema is not None]
    assert len(judged) == 2 and all("two kilometres" in str(request.messages) for request in judged)
    assert not any("two kilometres" in str(request.messages) for request in asked if request.schema is None)


def test_without_a_verdict_the_item_fails() -> None:
    outcome = asyncio.run(play({"2 km": "yes", "2 miles": "perhaps"}, []))
    assert (outcome.status, outcome.reason) == ("failed", "verifier-error")
    assert "not-a-verdict" in outcome.detail


def test_a_recipe_needs_the_stage() -> None:
    assert verified_by_judge(open_panel()).right is not None
    with pytest.raises(UsageError, match="needs the stage entails"):
        verified_by_judge(open_panel("shortest"))


@pytest.mark.parametrize("gold", ["", " ", None])
def test_nothing_is_asked_about_no_gold(gold: Any) -> None:
    async def nobody(request: Request, to: str = "teacher") -> Answer:
        raise LookupError("asked")

    right = verified_by_judge(open_panel()).right
    assert right
    with pytest.raises(SeedError, match="column answer is empty"):
        asyncio.run(right("2 km", {**ROW, "answer": gold}, nobody))  # type: ignore[arg-type]

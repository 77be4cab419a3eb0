"""One student alone: what a strategy of self-knowledge makes of scripted or of any replies. Knows no strategy."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

from distill_data.data.exchange import Answer, Request
from distill_data.data.items import Item
from distill_data.methods.annotating import make_method
from distill_data.methods.panel import Panel, make_panel
from distill_data.methods.responses import Judged
from distill_data.methods.self_knowledge import STRATEGIES
from distill_data.quality import make_verifier
from distill_data.recipes import apply_settings, load_recipe
from tests.golden.judged import Replies
from tests.methods.panels import check_records, judged_by
from tests.methods.scripted import answer, outcome_of

ID = "0" * 16
PIECES = ("<reasoning>", "</reasoning>", "<answer>", "</answer>", "<thoughts>", '{"mark": ', "}", "hint", "4", "\u2028")


def open_student(name: str, settings: Mapping[str, Any] = {}, canaries: Sequence[str] = (), **options: Any) -> Panel:
    """A panel of one student that judges itself; resampling once, random seed 0."""
    recipe = apply_settings(
        load_recipe(name, "self-knowledge"), {key: json.dumps(value) for key, value in settings.items()}
    )
    verify = make_verifier(recipe.verifier.name, recipe.verifier.args) if recipe.verifier else None
    options = {"verify": verify, "judges": ["student"], "canaries": frozenset(canaries), **options}
    return make_panel(recipe, {"student": "scripted-student"}, 0, 1, **options)


def play(
    name: str, replies: Sequence[Any], row: Mapping[str, Any], settings: Mapping[str, Any] = {}, **options: Any
) -> tuple[Judged, list[list[dict[str, Any]]]]:
    """What becomes of these replies, in the order of the requests, and the messages of every request.

    Checks that all were asked for, and every record of every kind.
    """
    panel = open_student(name, settings, **options)
    strategy, ask = STRATEGIES[panel.recipe.strategy], Replies([{"student": reply} for reply in replies])
    judged = judged_by(strategy.make(panel), Item(0, ID, dict(row), "seeds.jsonl:1"), ask)
    assert len(ask.asked) == len(replies)
    if not judged.reason:
        check_records(panel, judged, strategy.kinds)
    return judged, [asked["messages"] for asked in ask.asked]


def solution(reasoning: str, value: str) -> str:
    return f"<reasoning>{reasoning}</reasoning><answer>{value}</answer>"


def said(messages: Sequence[Mapping[str, Any]]) -> str:
    """All that a request says."""
    return "\n".join(str(message["content"]) for message in messages)


def check_any_reply(name: str, data: st.DataObject, settings: Mapping[str, Any] = {}) -> None:
    """Whatever the student says, its item is kept with records or rejected with a reason, and no count is odd."""
    strategy = STRATEGIES[open_student(name, settings).recipe.strategy]
    panel = open_student(name, settings, canaries=[ID] if strategy.judged and data.draw(st.booleans()) else [])
    example = panel.recipe.example
    reply = _replies(str(example["reply"]))
    asked = 0

    async def ask(request: Request, to: str = "teacher", **_: Any) -> Answer:
        nonlocal asked
        asked += 1
        return data.draw(reply)(request)

    item = Item(0, ID, dict(example["row"]), "seeds.jsonl:1")
    judged: list[Judged] = []

    async def annotate(each: Item, asking: Any) -> Judged:
        judged.append(await strategy.make(panel)(each, asking))
        return judged[-1]

    made = strategy._replace(make=lambda _: annotate)
    outcome = outcome_of(make_method(panel, made, strategy.kinds), item, ask)
    (result,) = judged
    assert outcome.status in {"kept", "rejected"} and bool(outcome.reason) is (outcome.status == "rejected")
    assert bool(outcome.records or any(outcome.others)) is (outcome.status == "kept")
    assert all(0 <= few <= many for few, many in outcome.tallies.values())
    assert len(result.responses) + sum(result.dropped.values()) <= asked + 1
    if not result.reason:
        check_records(panel, result, strategy.kinds)


def _replies(example: str) -> st.SearchStrategy[Callable[[Request], Answer]]:
    """The recipe's example, verdicts, and texts that are neither."""
    pieces = st.lists(st.sampled_from(PIECES) | st.text(max_size=4), max_size=6).map("".join)
    grade = st.sampled_from([{"score": 5}, {"score": 9}, {"score": None}, {"verdict": "good"}, {"verdict": "improve"}])
    texts = st.one_of(st.just(example), st.just(example.replace("5", "6")), pieces, st.text(st.characters(codec=None)))
    finish = st.sampled_from(["stop"] * 6 + ["length", "content_filter", "tool_calls", "else"])

    def say(text: str, grade: dict[str, Any], honest: bool, end: str) -> Callable[[Request], Answer]:
        def reply(request: Request) -> Answer:
            marks = (request.schema or {}).get("properties", {}).get("mark", {}).get("enum", [""])
            verdict = json.dumps({"mark": marks[0] if honest else "0" * 16, "rationale": text, **grade})
            return answer({"text": verdict if request.schema else text, "finish": end})

        return reply

    return st.builds(say, texts, grade, st.sampled_from([True, True, False]), finish)

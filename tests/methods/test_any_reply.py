"""Whatever a teacher says, an item ends as kept or rejected, and records have the columns that the recipe declares."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_data.data.exchange import Answer, Request
from distill_data.data.items import Item, canonical
from distill_data.engine.outcomes import encode_outcome
from distill_data.methods.labeling import make_labeling
from distill_data.recipes.recipe import Recipe
from tests.methods.scripted import answer, outcome_of
from tests.shipped import recipes_of

RECIPES = recipes_of("label")
COLUMNS = ["id", "kind", "prompt", "completion", "answer", "privileged_context", "meta"]
META = ["method", "recipe", "recipe_digest", "seed_id", "teacher", "model", "details"]

BITS = st.sampled_from(
    [
        *("<reasoning>", "</reasoning>", "<answer>", "</answer>", "negative", "positive", '"', "{", "}", "```", "json"),
        *("<rationale>", "</rationale>", "<label>", "</label>", "<score>", "</score>", "3", "[1]", " > ", "Ranking: "),
        *(
            "\n",
            "null",
            "42",
            "\u2028",
            "\0",
            "\ud800",
            "🙂",
            '{"buyer": "A", "item": "b", "quantity": 3, "city": "C"}',
        ),
    ]
)


def replies(recipe: Recipe) -> st.SearchStrategy[Answer]:
    """Any text, texts of the pieces that parsers look for, and the recipe's own example with pieces around it."""
    example = str(recipe.example["reply"])
    pieces = st.lists(BITS | st.text(max_size=5), max_size=8).map("".join)
    framed = st.tuples(pieces, pieces).map(lambda parts: parts[0] + example + parts[1])
    texts = st.one_of(st.just(example), st.text(st.characters(codec=None), max_size=60), pieces, framed)
    finish = st.sampled_from(["stop"] * 8 + ["length", "content_filter", "refusal", "tool_calls", "", "else"])
    return st.builds(
        lambda text, reasoning, end: answer({"text": text, "reasoning": reasoning, "finish": end}),
        texts,
        st.just("") | st.text(max_size=10),
        finish,
    )


class Says:
    """An `ask` that draws what it says."""

    def __init__(self, data: st.DataObject, recipe: Recipe) -> None:
        self._data, self._replies = data, replies(recipe)

    async def __call__(self, request: Request, to: str = "teacher", **_: Any) -> Answer:
        canonical(request.messages)
        return self._data.draw(self._replies)


def values(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from values(each)
    else:
        yield value


@pytest.mark.parametrize("name", RECIPES)
@settings(max_examples=60)
@given(data=st.data())
def test_any_reply_is_kept_or_rejected(name: str, data: st.DataObject) -> None:
    recipe = RECIPES[name]
    method = make_labeling(recipe, {"teacher": "scripted"}, [], 1)
    item = Item(0, "0123456789abcdef", dict(recipe.example["row"]), "seeds.jsonl:1")
    outcome = outcome_of(method, item, Says(data, recipe))
    assert outcome.status in {"kept", "rejected"}
    assert bool(outcome.records) is (outcome.status == "kept")
    assert bool(outcome.reason) is (outcome.status == "rejected")
    absent = {name for name in ("answer", "privileged_context") if not getattr(recipe.record, name)}
    columns = [column for column in COLUMNS if column not in absent]
    completions = list(recipe.record.rows().values())
    assert len(outcome.records) in (0, len(completions))
    for record in outcome.records:
        assert list(record) == columns
        assert list(record["meta"]) == META
        assert list(record["completion"][0]) == ["role", *completions[0]]
        assert all(type(value) is str for value in values(record))
    assert encode_outcome(item, outcome).count(b"\n") == 1 + max(len(outcome.records), outcome.status != "kept")


@pytest.mark.parametrize("name", RECIPES)
def test_the_examples_reply_is_kept(name: str) -> None:
    """Or the test above would say nothing about records."""
    recipe = RECIPES[name]

    async def ask(request: Request, to: str = "teacher", **_: Any) -> Answer:
        return answer(str(recipe.example["reply"]))

    item = Item(0, "0123456789abcdef", dict(recipe.example["row"]), "seeds.jsonl:1")
    outcome = outcome_of(make_labeling(recipe, {"teacher": "scripted"}, [], 1), item, ask)
    assert outcome.status == "kept"
    assert orjson.loads(encode_outcome(item, outcome).split(b"\n")[1])["prompt"]

"""What a measure makes of whatever comes back: a value within its bounds, or a reason and the raw reply."""

from __future__ import annotations

import asyncio
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_data.commands.options import Options
from distill_data.commands.score import open_scorer
from distill_data.data.exchange import Answer, Request
from distill_data.data.items import Item, Outcome
from distill_data.errors import SeedError
from distill_data.methods.measures import SILENCE, read_asked, read_pair
from distill_data.methods.score import STRATEGIES
from distill_data.recipes import apply_settings, list_recipes, load_recipe
from tests.methods.panels import FENCE, mark
from tests.methods.scripted import answer, outcome_of

ROW = {"prompt": "Name a river.", "completion": "The Danube."}
ITEM = Item(0, "0" * 16, ROW, "rows.jsonl:1")


def scored(recipe: str, ask: Any, row: dict[str, Any] = ROW, teachers: int = 1, **settings: Any) -> Outcome:
    """What becomes of a row by a shipped recipe with so many teachers."""
    made = apply_settings(load_recipe(recipe, "score"), {key: json.dumps(value) for key, value in settings.items()})
    roles = ["teacher", *(f"teacher-{number}" for number in range(2, teachers + 1))]
    scorer = open_scorer(made, dict.fromkeys(roles[:teachers], "scripted"), Options())
    return outcome_of(scorer.score, ITEM._replace(row=row), ask)


def test_every_strategy_has_a_recipe_and_every_column_is_another_one() -> None:
    recipes = list_recipes("score")
    assert {recipe.strategy for recipe in recipes} == set(STRATEGIES)
    columns = [recipe.settings["column"] for recipe in recipes]
    assert sorted(columns) == sorted(
        ["perplexity", "ifd", "complexity", "quality", "length", "reward", "pass_rate", "embedding"]
    )


# -- x and y -----------------------------------------------------------------------------------------------------------

USER, ASSISTANT = {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}
SYSTEM = {"role": "system", "content": "s"}


@pytest.mark.parametrize(
    ("row", "x"),
    [
        ({"prompt": "q", "completion": "a"}, [USER]),
        ({"prompt": [SYSTEM, USER], "completion": [ASSISTANT]}, [SYSTEM, USER]),
        ({"messages": [SYSTEM, USER, ASSISTANT], "prompt": None}, [SYSTEM, USER]),
        ({"messages": json.dumps([USER, ASSISTANT])}, [USER]),
        ({"prompt": [USER], "chosen": [ASSISTANT], "rejected": [USER]}, [USER]),
        ({"prompt": "q", "responses": ["a", "b"], "scores": [1, 0]}, [USER]),
        ({"instruction": "q", "input": "", "output": "a"}, [USER]),
        ({"question": "q", "answer": "a"}, [USER]),
        (
            {
                "conversations": [
                    {"from": "system", "value": "s"},
                    {"from": "human", "value": "q"},
                    {"from": "gpt", "value": "a"},
                ]
            },
            [SYSTEM, USER],
        ),
        ({"conversations": [USER, ASSISTANT]}, [USER]),
        ({"messages": None, "conversations": None, "instruction": "q", "input": None, "output": "a"}, [USER]),
        ({"prompt": "q", "completion": None, "chosen": "a", "rejected": "b", "messages": None}, [USER]),
        ({"prompt": "q", "completion": "a", "chosen": None, "conversations": []}, [USER]),
        ({"prompt": None, "completion": None, "question": "q", "answer": "a", "text": None}, [USER]),
        ({"prompt": "", "completion": "a"}, [SILENCE]),
        ({"prompt": [], "chosen": "a"}, [SILENCE]),
        ({"instruction": "", "output": "a"}, [SILENCE]),
    ],
)
def test_pairs_are_found_in_every_shape(row: dict[str, Any], x: list[dict[str, str]]) -> None:
    given = read_pair(row)
    assert (list(given.messages), list(given.completion), given.raw) == (x, [ASSISTANT], False)


def test_raw_text_is_a_pair_without_x() -> None:
    assert read_pair({"text": "a", "label": 1}).raw
    assert read_pair({"text": "a", "prompt": None, "completion": None, "messages": None}).raw
    assert read_pair({"text": 5}).text() == "5" and read_pair({"text": 5}).raw
    with pytest.raises(SeedError, match="raw text"):
        read_asked({"text": "a"})


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"prompt": "q"},
        {"output": "a"},
        {"messages": [USER]},
        {"messages": "no chat"},
        {"conversations": [{"from": "human", "value": "q"}]},
        {"conversations": [3]},
        {"prompt": [{"content": "no role"}], "completion": "a"},
        {"prompt": None, "completion": "a"},
        {"text": None},
    ],
)
def test_rows_without_a_pair_are_told(row: dict[str, Any]) -> None:
    with pytest.raises(SeedError):
        read_pair(row)


# -- judges ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("recipe", "texts"), [("complexity", [ROW["prompt"]]), ("quality", list(ROW.values()))])
def test_a_judge_sees_the_texts_in_fences_and_nothing_else_of_the_row(recipe: str, texts: list[str]) -> None:
    seen: list[Request] = []

    async def ask(request: Request, to: str = "teacher") -> Answer:
        seen.append(request)
        return answer(json.dumps({"mark": mark(request), "rationale": "so", "score": 3}))

    outcome = scored(recipe, ask, {**ROW, "secret": "a column that nobody asked about"})
    assert outcome.records[0][recipe] == 3.0
    shown = "\n".join(message["content"] for message in seen[0].messages)
    assert [json.loads(found[1]) for found in FENCE.findall(shown)] == texts
    assert "nobody asked about" not in shown


def test_the_mean_over_several_judges_is_over_those_that_could_be_read() -> None:
    says = {"teacher": 2, "teacher-2": 5, "teacher-3": 9}

    async def ask(request: Request, to: str = "teacher") -> Answer:
        return answer(json.dumps({"mark": mark(request), "rationale": "", "score": says[to]}))

    outcome = scored("quality", ask, teachers=3)
    assert outcome.records[0]["quality"] == 3.5
    assert outcome.tallies == {"unreadable_verdicts": (1, 3)}


def test_without_reasons_a_verdict_is_mark_and_score() -> None:
    async def ask(request: Request, to: str = "teacher") -> Answer:
        assert "rationale" not in request.messages[-1]["content"]
        return answer(json.dumps({"mark": mark(request), "score": 6}))

    assert scored("complexity", ask, rationale=False).records[0]["complexity"] == 6.0


PIECES = (
    '{"mark": "',
    "@mark",
    '", "rationale": "',
    '", "score": ',
    "6",
    "7",
    "3.5",
    '"3"',
    "true",
    "}",
    "null",
    "\u2028",
)


@given(text=st.text(max_size=30) | st.lists(st.sampled_from(PIECES), max_size=9).map("".join), y=st.text(max_size=30))
def test_whatever_a_judge_says_there_is_a_score_from_1_to_6_or_a_reason(text: str, y: str) -> None:
    async def ask(request: Request, to: str = "teacher") -> Answer:
        return answer(text.replace("@mark", mark(request)))

    outcome = scored("quality", ask, {**ROW, "completion": y})
    if outcome.status == "kept":
        assert outcome.records[0]["quality"] in {1.0, 2.0, 3.0, 4.0, 5.0, 6.0}
    else:
        assert outcome.status == "failed" and outcome.reason
        assert outcome.answers or outcome.reason == "empty"


# -- numbers -----------------------------------------------------------------------------------------------------------


@given(logprob=st.floats(-1e6, 0), tokens=st.integers(1, 10_000))
def test_perplexity_is_a_finite_number_of_at_least_1(logprob: float, tokens: int) -> None:
    async def ask(request: Request, to: str = "teacher") -> Answer:
        return answer("")._replace(feature={"of": "likelihood", "tokens": tokens, "logprob": logprob})

    value = scored("perplexity", ask).records[0]["perplexity"]
    assert value == pytest.approx(math.exp(min(-logprob / tokens, 700)), rel=1e-5, abs=1e-6)
    assert 1 <= value < math.inf


@given(vector=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=9))
def test_an_embedding_has_length_1_or_is_none(vector: list[float]) -> None:
    async def ask(request: Request, to: str = "teacher") -> Answer:
        return answer("")._replace(embedding=tuple(vector))

    outcome = scored("embedding", ask)
    if outcome.status == "kept":
        assert math.hypot(*outcome.records[0]["embedding"]) == pytest.approx(1, abs=1e-5)
        assert "-0.0" not in map(str, outcome.records[0]["embedding"])
    else:
        assert outcome.reason == "no-embedding" and not 0 < math.hypot(*vector) < math.inf


def test_a_reply_of_another_kind_gives_no_value() -> None:
    async def ask(request: Request, to: str = "teacher") -> Answer:
        return answer("Certainly!")

    for recipe, reason in (("perplexity", "no-feature"), ("reward", "no-feature"), ("embedding", "no-embedding")):
        outcome = scored(recipe, ask)
        assert (outcome.status, outcome.reason) == ("failed", reason)


def test_the_text_to_embed_is_what_on_names_cut_to_so_many_characters() -> None:
    seen: list[str] = []

    async def ask(request: Request, to: str = "teacher") -> Answer:
        seen.append(request.messages[0]["content"])
        return answer("")._replace(embedding=(1.0,))

    for settings in ({}, {"on": "y"}, {"on": "x+y"}, {"on": "x+y", "characters": 15}, {"on": "note"}):
        scored("embedding", ask, {**ROW, "note": "mine"}, **settings)
    assert seen == ["Name a river.", "The Danube.", "Name a river.\nThe Danube.", "Name a river.\nT", "mine"]


def test_both_requests_of_ifd_are_sent_before_either_is_waited_for() -> None:
    waiting: list[asyncio.Event] = []

    async def ask(request: Request, to: str = "teacher") -> Answer:
        waiting.append(asyncio.Event())
        if len(waiting) == 2:
            waiting[0].set()
        else:
            async with asyncio.timeout(5):
                await waiting[0].wait()
        return answer("")._replace(feature={"of": "likelihood", "tokens": 2, "logprob": -len(waiting)})

    assert scored("ifd", ask).status == "kept"

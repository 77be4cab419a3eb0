"""What a growing recipe lacks, and numbers that cannot work, are said before anything is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from distill_data.commands.check_growth import STRATEGIES, problems_of
from distill_data.commands.work import InRounds
from distill_data.data.exchange import Answer, Ask, Request
from distill_data.data.growth import Growth
from distill_data.data.items import Item, Outcome
from distill_data.data.seeds import make_items, open_seeds, read_rows
from distill_data.errors import SeedError, UsageError
from distill_data.methods import feedback, score, self_knowledge
from distill_data.methods.curation import make_curation
from distill_data.methods.expansion import make_expansion
from distill_data.methods.needs import LISTS, OWN_Y, PARSERS, STAGES
from distill_data.methods.stages import make_stages
from distill_data.recipes import Recipe, Spec, apply_settings, load_recipe, seed_path
from distill_data.recipes.load import read_recipe
from distill_data.recipes.recipe import Stage
from tests.methods.scripted import answer

MAKERS = {"expand": make_expansion, "curate": make_curation}
ALPACA = '[{"instruction": "Name %s rivers of the north.", "output": "%s"}]'


def made(recipe: Recipe, rows: list[dict[str, Any]], answers: bool = True) -> Growth:
    seeds = list(make_items(((f"seeds.jsonl:{n}", row) for n, row in enumerate(rows, 1)), 0))
    return MAKERS[recipe.command](recipe, {"teacher": "scripted"}, seeds, 0, 0, answers=answers)


def grow(growth: Growth, replies: list[str], wanted: int, cap: int = 20) -> tuple[list[Outcome], list[str], InRounds]:
    """What ended, in order, and the last messages that were asked."""
    ended: list[tuple[Item, Outcome]] = []
    asked: list[str] = []

    async def ask(request: Request, to: str = "teacher") -> Answer:
        asked.append(request.messages[-1]["content"])
        return answer(replies[min(len(asked), len(replies)) - 1])

    def ask_for(owner: str) -> Ask:
        return ask

    def refuse(error: Exception) -> None:
        raise error

    work = InRounds(growth, wanted, cap, 0)
    asyncio.run(work.run(ask_for, lambda *end: ended.append(end), 1, lambda: False, refuse))
    return [outcome for _, outcome in sorted(ended, key=lambda end: end[0].ordinal)], asked, work


def test_the_tables_name_strategies() -> None:
    annotating = (feedback.STRATEGIES, self_knowledge.STRATEGIES, score.STRATEGIES)
    known = {name for table in (*STRATEGIES.values(), *annotating) for name in table}
    assert {*STAGES, *PARSERS, *LISTS, *OWN_Y} <= known


# -- seeds and y -------------------------------------------------------------------------------------------------------


def test_expansion_fills_rows_as_curation_does() -> None:
    recipe = apply_settings(load_recipe("alpaca", "expand"), {"human": "1", "round": "20"})
    (draw,) = made(recipe, [{"instruction": "Name a river.", "input": None, "output": "The Elbe."}]).draw()
    assert draw.shown["demonstrations"][0]["input"] == recipe.columns["input"] is not None
    with pytest.raises(SeedError, match=r"seeds\.jsonl:1: .*column output"):
        made(recipe, [{"instruction": "Name a river."}])


def test_kept_candidates_have_the_declared_columns_when_they_are_shown() -> None:
    recipe = apply_settings(load_recipe("alpaca", "expand"), {"human": "1", "round": "20", "rouge": "1"})
    recipe = replace(recipe, settings={**recipe.settings, "human": 0, "machine": 1}, checks=())
    growth = made(recipe, [{"instruction": "Name a river.", "output": "The Elbe."}])
    grow(growth, [ALPACA % ("two", "Elbe and Oder, both long.")], 1)
    (draw,) = growth.draw()
    assert draw.shown["demonstrations"] == [
        {"instruction": "Name two rivers of the north.", "input": "", "output": "Elbe and Oder, both long."}
    ]


@pytest.mark.parametrize("y", ["", ', "output": ""', ', "output": " \\n"'])
def test_an_empty_y_in_x_is_refused_where_nothing_else_writes_it(y: str) -> None:
    recipe = apply_settings(load_recipe("alpaca", "expand"), {"human": "1", "round": "20"})
    recipe = replace(recipe, checks=())
    seeds = [{"instruction": "Name a river.", "output": "The Elbe."}]
    reply = '[{"instruction": "Name two lakes."%s}]' % y  # noqa: UP031
    ended, _, _ = grow(made(recipe, seeds), [reply], 1, cap=1)
    assert [(outcome.status, outcome.reason) for outcome in ended] == [("rejected", "empty-output")]
    ended, _, _ = grow(made(recipe, seeds, answers=False), [reply], 1, cap=1)
    assert [outcome.status for outcome in ended] == ["kept"]


def test_without_an_answer_stage_only_x_gives_fields() -> None:
    recipe = load_recipe("magpie", "curate")
    bare = {name: value for name, value in recipe.example["x"].items() if name != "text"}
    alone = replace(recipe, stages={}, example={**recipe.example, "x": bare})
    assert any("no stage gives a field text" in problem for problem in problems_of(alone))
    assert not list(problems_of(recipe))


# -- stages ------------------------------------------------------------------------------------------------------------

NEEDED = [(recipe, stage) for recipe, stage in (
    ("expand/self-instruct", "classify"), ("expand/self-instruct", "input_first"), ("curate/document-qa", "answer"),
    ("curate/rag", "answer"), ("curate/backtranslate", "score"), ("curate/textbook", "answer"),
    ("curate/recommend", "answer"), ("curate/vision-qa", "answer"), ("curate/dialogue", "user"),
    ("curate/roleplay", "assistant"), ("curate/tools", "calls"), ("curate/agent", "act"),
)]  # fmt: skip


def shipped(name: str, **given: str) -> Recipe:
    command, _, recipe = name.partition("/")
    return apply_settings(load_recipe(recipe, command), given)


def refused(recipe: Recipe, *parts: str) -> None:
    """Both the growth and check-recipe say so."""
    with pytest.raises(UsageError) as caught:
        made(recipe, [])
    for said in (str(caught.value), "\n".join(problems_of(recipe))):
        assert all(part in said for part in (recipe.strategy, *parts)), said
    assert str(recipe.path) in str(caught.value)


@pytest.mark.parametrize(("name", "stage"), NEEDED)
def test_a_stage_that_is_missing_is_named(name: str, stage: str) -> None:
    recipe = shipped(name)
    refused(replace(recipe, stages={k: v for k, v in recipe.stages.items() if k != stage}), f"the stage {stage}")


@pytest.mark.parametrize(
    ("name", "stage", "parser"),
    [
        ("expand/evol-depth", "equal", "choice"),
        ("expand/self-instruct", "classify", "choice"),
        ("curate/tools", "judge", "choice"),
        ("curate/backtranslate", "score", "score"),
        ("curate/topics", "score", "score"),
    ],
)
def test_a_stage_with_the_wrong_parser_is_named(name: str, stage: str, parser: str) -> None:
    recipe = shipped(name)
    refused(
        replace(recipe, stages={**recipe.stages, stage: Stage(Spec("text"))}), f"the parser {parser}", f"stage {stage}"
    )


@pytest.mark.parametrize("columns", [{}, {"candidates": ""}])
def test_recommendation_needs_candidates(columns: Mapping[str, Any]) -> None:
    recipe = shipped("curate/recommend")
    kept = {name: default for name, default in recipe.columns.items() if name != "candidates"}
    refused(replace(recipe, columns={**kept, **columns}, lists=recipe.lists - {"candidates"}), "the column candidates")


@pytest.mark.parametrize(("said", "reason"), [("equal", "no-gain"), ("different", "")])
def test_the_first_label_is_the_parser_s_own(said: str, reason: str) -> None:
    recipe = shipped("expand/evol-depth", round="1", tries="1", depth="1")
    bare = {name: replace(stage, choices=()) for name, stage in recipe.stages.items()}
    growth = made(replace(recipe, stages=bare), [{"instruction": "Describe how a lock on a canal works."}])
    ended, _, _ = grow(growth, ["Describe how a lock lifts two boats at once.", said, "The gates close. It rises."], 1)
    assert [outcome.reason for outcome in ended] == [reason]


@pytest.mark.parametrize(("keep_from", "reasons"), [({}, ["low-score", ""]), ({"keep_from": 4}, [""])])
def test_a_score_below_keep_from_is_refused(tmp_path: Path, keep_from: dict[str, int], reasons: list[str]) -> None:
    text = load_recipe("evol-depth", "expand").path.read_text(encoding="utf-8")
    for old, new in (
        ("block equal", "block score"),
        ("  equal: {parser: {choice: [equal, different]}", "  score: {parser: {score: [1, 5]}"),
        (", choices: [equal, different]}", "}"),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    path = tmp_path / "scored.jinja"
    path.write_text(text, encoding="utf-8", newline="")
    recipe = read_recipe(path, "expand")
    given = {**recipe.settings, "round": 1, "tries": 2, "depth": 1, **keep_from}
    growth = made(replace(recipe, settings=given), [{"instruction": "Describe how a lock on a canal works."}])
    script = [
        *("Describe how a lock lifts two boats at once.", "The gates close. It rises.", "Score: 4"),
        *("Describe how a lock lifts three boats at once.", "The gates close. It falls.", "Score: 5"),
    ]
    ended, _, _ = grow(growth, script, 1)
    assert [outcome.reason for outcome in ended] == reasons
    details = ended[-1].records[0]["meta"]["details"]
    assert '"score":' in details and '"score_completion_tokens":' in details


# -- numbers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "setting", "value", "expected"),
    [
        ("expand/paraphrase", "per_call", 0, "--set per_call=0: must be a whole number of at least 1"),
        ("expand/paraphrase", "round", 0, "--set round=0: must be a whole number of at least 1"),
        ("expand/paraphrase", "round", 2.5, "--set round=2.5: must be a whole number"),
        ("expand/paraphrase", "round", True, "--set round=True: must be a whole number"),
        ("expand/paraphrase", "round", 10**30, "must be a whole number of at least 1 and at most 1000000000"),
        ("expand/paraphrase", "rouge", 1.5, "--set rouge=1.5: must be a number of at least 0 and at most 1"),
        ("expand/paraphrase", "rouge", float("nan"), "--set rouge=nan: must be a number"),
        ("curate/persona", "minhash", 0, "--set minhash=0: must be a number above 0 and at most 1"),
        ("expand/compose", "k", 1, "--set k=1: must be a whole number of at least 2"),
        ("expand/alpaca", "human", -1, "--set human=-1: must be a whole number of at least 0"),
        ("expand/alpaca", "machine", -1, "--set machine=-1"),
        ("expand/alpaca", "human", 0, "--set human=0: must be at least 1 where machine is 0"),
        ("expand/evol-depth", "depth", 0, "--set depth=0"),
        ("expand/evol-depth", "tries", 0, "--set tries=0"),
        ("curate/oss-instruct", "lines", 0, "--set lines=0"),
        ("curate/constraints", "count", 0, "--set count=0"),
        ("curate/rag", "unanswerable", 1.1, "--set unanswerable=1.1"),
        ("curate/rag", "passages", 0, "--set passages=0"),
        ("curate/rag", "passage_words", 0, "--set passage_words=0"),
        ("curate/rag", "passage_overlap", -1, "--set passage_overlap=-1"),
        ("curate/backtranslate", "keep_from", "high", "--set keep_from=high: must be a number"),
        ("curate/dialogue", "fewest", 0, "--set fewest=0"),
        ("curate/roleplay", "most", 0, "--set most=0"),
        ("curate/tools", "k", 0, "--set k=0"),
        ("curate/agent", "steps", 1, "--set steps=1: must be a whole number of at least 2"),
    ],
)
def test_numbers_that_cannot_work(name: str, setting: str, value: object, expected: str) -> None:
    recipe = shipped(name)
    with pytest.raises(UsageError) as caught:
        made(replace(recipe, settings={**recipe.settings, setting: value}), [])
    assert expected in str(caught.value)


# -- what is drawn -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["curate/document-qa", "curate/backtranslate", "curate/document-query"])
def test_passages_count_for_their_document(name: str) -> None:
    text = " ".join(f"Sentence number {n} of this text has some words." for n in range(40))
    growth = made(shipped(name, passage_words="50", passage_overlap="0", per_call="1") if name == "curate/document-qa"
                  else shipped(name, passage_words="50", passage_overlap="0"), [{"text": text}])  # fmt: skip
    drawn = growth.draw()
    assert len({draw.parents for draw in drawn}) > 3
    assert {draw.source for draw in drawn} == {draw.row["document"] for draw in drawn}


@pytest.mark.parametrize(
    ("name", "row", "again"),
    [
        ("expand/paraphrase", {"text": "A fine day."}, False),
        ("curate/persona", {"persona": "A beekeeper."}, False),
        ("curate/oss-instruct", {"code": "a = 1\nb = 2\nc = 3"}, True),
    ],
)
def test_at_temperature_0_nothing_is_drawn_twice(name: str, row: dict[str, Any], again: bool) -> None:
    recipe = shipped(name)
    cold = replace(recipe, sampling={**recipe.sampling, "temperature": 0})
    growth, warm = made(cold, [row]), made(replace(cold, sampling={**cold.sampling, "temperature": 1}), [row])
    first = growth.draw()
    assert first and warm.draw()
    growth_again, warm_again = growth.draw(), warm.draw()
    assert bool(growth_again) is again and warm_again


def test_seeds_that_are_shipped_are_filled() -> None:
    rows = [row for _, row in read_rows(open_seeds(seed_path("@tasks")))]
    growth = made(shipped("expand/evol-depth"), rows[:3])
    assert all("input" in draw.row for draw in growth.draw())


@pytest.mark.parametrize(("temperature", "samples"), [(0, [0, 0]), (0.7, [0, 3])])
def test_at_temperature_0_a_question_has_one_answer(temperature: float, samples: list[int]) -> None:
    recipe = shipped("curate/topics")
    stages = make_stages(replace(recipe, sampling={**recipe.sampling, "temperature": temperature}), 0)
    asked: list[int] = []

    async def ask(request: Request, to: str = "teacher") -> Answer:
        asked.append(request.sample)
        return answer("1. Why does the sky turn red in the evening?")

    for sample in (0, 3):
        asyncio.run(stages.ask(ask, "main", {"topic": "light"}, sample=sample))
    assert asked == samples

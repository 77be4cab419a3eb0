"""`prompts`: which teacher scores a prompt, what only it is told, and that an equal one is there once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_data.data.exchange import Answer, Request
from distill_data.data.items import Outcome, Row
from distill_data.errors import SeedError
from distill_data.formats import COLUMNS
from distill_data.methods.feature import Run, make_feature
from distill_data.methods.given import Annotator
from distill_data.recipes import load_recipe
from tests.methods.knowing import items_of, open_method, open_recipe

X = [{"role": "user", "content": "What is 12 times 12?"}]
ROW = {"prompt": "What is 12 times 12?"}


async def nobody(request: Request, to: str = "teacher") -> Answer:
    raise AssertionError(f"{to} is asked")


def prompts(*rows: Row, names: Sequence[str] = ()) -> list[Outcome]:
    method = open_method("prompts", 0, names=names)

    async def main() -> list[Outcome]:
        return [await method(item, nobody) for item in items_of(*rows)]

    return asyncio.run(main())


def teachers(outcome: Outcome) -> list[str]:
    return [record["teacher_id"] for record in outcome.records]


def test_a_record() -> None:
    [outcome] = prompts({**ROW, "id": "b" * 16, "completion": "144", "teacher_id": "mine"}, names=["toy/a"])
    [record] = outcome.records
    assert list(record) == ["id", "kind", *COLUMNS["prompt"], "meta"]
    assert record["kind"] == "prompt"
    assert (record["prompt"], record["teacher_id"], record["privileged_context"]) == (X, "mine", "")
    assert record["meta"] == {
        "method": "feature",
        "recipe": "prompts",
        "recipe_digest": open_recipe("prompts").digest[:16],
        "seed_id": items_of(ROW)[0].id,
        "teacher": "",
        "model": "",
        "details": json.dumps({"parent": "b" * 16}, separators=(",", ":")),
    }
    assert outcome.arrays == ()


@pytest.mark.parametrize(
    ("row", "names", "found"),
    [
        ({}, [], [""]),
        ({}, ["toy/a"], ["toy/a"]),
        ({}, ["toy/a", "toy/b"], ["toy/a", "toy/b"]),
        ({"teacher_id": "mine"}, [], ["mine"]),
        ({"teacher_id": "mine"}, ["toy/a", "toy/b"], ["mine"]),
        ({"teacher_id": ""}, ["toy/a"], ["toy/a"]),
        ({"teacher_id": None}, ["toy/a"], ["toy/a"]),
        ({"teacher_id": 7}, ["toy/a"], ["7"]),
        ({}, ["toy/a", "toy/a"], ["toy/a"]),
    ],
)
def test_the_row_names_its_teacher_or_the_run_does(row: Row, names: list[str], found: list[str]) -> None:
    [outcome] = prompts({**ROW, **row}, names=names)
    assert teachers(outcome) == found
    assert len({record["id"] for record in outcome.records}) == len(found)


@pytest.mark.parametrize(
    ("told", "context"),
    [
        ("The solution is 144.", "The solution is 144."),
        ("  144\n", "144"),
        ("", ""),
        (None, ""),
        ("{{ x }}", "{{ x }}"),
    ],
)
def test_what_only_the_teacher_is_told(told: str | None, context: str) -> None:
    [outcome] = prompts({**ROW, "privileged_context": told})
    assert outcome.records[0]["privileged_context"] == context


def test_a_recipe_of_ones_own_tells_it_from_other_columns(tmp_path: Path) -> None:
    path = tmp_path / "mine.jinja"
    path.write_text(
        "---\nabout: mine\nstrategy: prompts\ncolumns: {prompt: optional, solution: required}\nrecord: {kind: prompt}\n"
        "---\nThe solution is {{ solution }}.\n"
    )
    recipe = load_recipe(str(path), "feature")
    method = make_feature(recipe, Run(Annotator(recipe, {}, {}), lambda: iter(()), ()))
    outcome = asyncio.run(method(items_of({**ROW, "solution": "144"})[0], nobody))
    assert outcome.records[0]["privileged_context"] == "The solution is 144."


def test_x_is_a_conversation_up_to_its_last_answer() -> None:
    turns = [*X, {"role": "assistant", "content": "144"}]
    again = [*turns, {"role": "user", "content": "And 13 times 13?"}]
    found = [outcome.records[0]["prompt"] for outcome in prompts({"messages": turns}, {"messages": again})]
    assert found == [X, again]
    assert "144" not in json.dumps(prompts({"messages": turns})[0].records)
    with pytest.raises(SeedError, match="x is wanted"):
        prompts({"completion": "144"})


def test_an_equal_prompt_is_there_once_for_each_teacher() -> None:
    rows = [
        ROW,
        {**ROW, "note": "again"},
        {"messages": X},
        {**ROW, "teacher_id": "toy/a"},
        {**ROW, "privileged_context": "144"},
        {**ROW, "teacher_id": "toy/c"},
        {"prompt": "What is 13 times 13?"},
    ]
    outcomes = prompts(*rows, names=["toy/a", "toy/b"])
    both = ["toy/a", "toy/b"]
    assert [teachers(outcome) for outcome in outcomes] == [both, [], [], [], both, ["toy/c"], both]
    assert [outcome.reason for outcome in outcomes] == ["", *["duplicate"] * 3, "", "", ""]
    assert outcomes[1].detail == "the same prompt for the same teacher was there"
    ids = [record["id"] for outcome in outcomes for record in outcome.records]
    assert len(ids) == len(set(ids)) == 7


def test_only_some_teachers_of_a_row_may_be_new() -> None:
    first, second = prompts({**ROW, "teacher_id": "toy/a"}, ROW, names=["toy/a", "toy/b"])
    assert (teachers(first), teachers(second)) == (["toy/a"], ["toy/b"])


ROWS = st.lists(
    st.fixed_dictionaries(
        {"prompt": st.sampled_from(["x", "y"])},
        optional={
            "teacher_id": st.sampled_from(["", "a", "b"]) | st.none(),
            "privileged_context": st.sampled_from(["", " ", "c"]) | st.text(max_size=4),
        },
    ),
    max_size=8,
)


@settings(max_examples=60, deadline=None)
@given(ROWS, st.sampled_from([[], ["a"], ["b", "a"]]))
def test_any_rows_give_each_prompt_context_and_teacher_once(rows: list[dict[str, Any]], names: list[str]) -> None:
    wanted = {
        (row["prompt"], (row.get("privileged_context") or "").strip(), name)
        for row in rows
        for name in ([row["teacher_id"]] if row.get("teacher_id") else names or [""])
    }
    made = [record for outcome in prompts(*rows, names=names) for record in outcome.records]
    found = [(each["prompt"][0]["content"], each["privileged_context"], each["teacher_id"]) for each in made]
    assert sorted(found) == sorted(wanted)

"""Rows of one seed are one group: by what records of every method say, and by their text where they say nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from distill_data.errors import SeedError
from distill_data.quality.groups import group_of, make_group

GOLDEN = Path(__file__).parents[1] / "golden"
OF_ITSELF = {"expand/alpaca", "expand/self-instruct", "expand/boundary", "expand/compose", "curate/tools"}
"""Recipes that show several seeds at once."""
GROWN = sorted(path.parent for path in GOLDEN.glob("*/*/growth.json"))


def records(folder: Path) -> list[dict[str, Any]]:
    lines = [line for path in sorted(folder.glob("records*.jsonl")) for line in path.read_bytes().splitlines()]
    return [json.loads(line) for line in lines]


def record(seed_id: str = "item", **details: Any) -> dict[str, Any]:
    return {"id": "1", "prompt": [], "meta": {"seed_id": seed_id, "details": json.dumps(details)}}


@pytest.mark.parametrize("folder", GROWN, ids=lambda folder: str(folder.relative_to(GOLDEN)))
def test_grown_rows_of_every_recipe(folder: Path) -> None:
    assert len(GROWN) > 20
    name = str(folder.relative_to(GOLDEN))
    for row in records(folder):
        details = json.loads(row["meta"]["details"])
        if name in OF_ITSELF or not details.get("source"):
            assert len(details["parents"]) > 1
            assert group_of(row) == row["meta"]["seed_id"]
        else:
            assert group_of(row) == details["source"] != row["meta"]["seed_id"]


def test_an_evolved_line_goes_back_to_its_seed() -> None:
    rows = records(GOLDEN / "expand" / "evol-breadth")
    deep = next(row for row in rows if len(json.loads(row["meta"]["details"])["parents"]) > 1)
    assert group_of(deep) == json.loads(deep["meta"]["details"])["parents"][-1]


@pytest.mark.parametrize("name", ["label/answer", "feedback/compare", "self-knowledge/star", "feature/topk"])
def test_rows_of_other_methods_are_of_their_seed(name: str) -> None:
    rows = records(GOLDEN / name)
    assert rows
    assert [group_of(row) for row in rows] == [row["meta"]["seed_id"] for row in rows]


@pytest.mark.parametrize(
    "details",
    [
        {},
        {"parents": []},
        {"parents": "a", "source": "a"},
        {"parents": ["a"]},
        {"parents": ["a"], "source": 3},
        {"parents": ["a"], "source": ""},
        {"parents": ["a", "b"], "source": "a"},
        {"parents": ["b", "a"], "source": "a"},
    ],
)
def test_without_a_root_a_row_is_of_its_item(details: dict[str, Any]) -> None:
    assert group_of(record(**details)) == "item"


@pytest.mark.parametrize(
    "details", ['{"parents"', '["parents"]', '"parents"', 3, None, {"parents": ["a"], "source": "a"}]
)
def test_details_that_are_none_are_passed_over(details: Any) -> None:
    assert group_of({"meta": {"seed_id": "item", "details": details}}) == "item"


@pytest.mark.parametrize("meta", [{}, {"seed_id": ""}, {"seed_id": 7}, "text", None, []])
def test_rows_from_elsewhere_are_of_what_is_asked(meta: Any) -> None:
    rows: list[dict[str, Any]] = [
        {"instruction": "Say  HELLO ", "output": "a"},
        {"prompt": "say hello", "completion": "b"},
        {"messages": [{"role": "user", "content": "Ｓay\nhello"}, {"role": "assistant", "content": "c"}]},
        {"conversations": [{"from": "human", "value": "say hello"}, {"from": "gpt", "value": "d"}]},
    ]
    assert {group_of({**row, "meta": meta}) for row in rows} == {"say hello"}


def test_a_row_without_a_group_says_what_to_do() -> None:
    with pytest.raises(SeedError, match=r"there are: n\. Name the column .* with --by"):
        group_of({"n": 1})


def test_a_column_is_taken_as_it_is_and_x_folded() -> None:
    row = {"text": "A  b", "topic": "A  b", **record("item")}
    del row["prompt"]
    assert [make_group(by)(row) for by in ("topic", "x", "meta.seed_id", "")] == ["A  b", "a b", "item", "item"]
    with pytest.raises(SeedError, match="no column 'gone'"):
        make_group("gone")(row)

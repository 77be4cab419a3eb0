"""The envelope of a record: its id, its columns in order, and its facts as JSON text."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_data.formats import COLUMNS, Source, make_record, make_row
from distill_data.recipes.declare import RECORD_KINDS

SOURCE = Source("feedback", "rate", "d" * 64, "0" * 16, "student", "mine", "mine-1", 2, "0-2")
PROMPT = [{"role": "user", "content": "Why?"}]
SAID = {"role": "assistant", "content": "Because."}


def test_a_row_has_the_columns_in_the_order_given() -> None:
    columns = {"prompt": PROMPT, "chosen": [SAID], "rejected": [SAID], "chosen_score": 1.0, "rejected_score": 0.5}
    row = make_row("preference", SOURCE, columns, {"b": 1, "a": [2]})
    assert list(row) == ["id", "kind", *columns, "meta"] and row["kind"] == "preference"
    assert {name: row[name] for name in columns} == columns
    assert row["meta"] == {
        "method": "feedback",
        "recipe": "rate",
        "recipe_digest": "d" * 16,
        "seed_id": "0" * 16,
        "teacher": "mine",
        "model": "mine-1",
        "details": '{"a":[2],"b":1}',
    }


@given(st.dictionaries(st.text(), st.integers(-9, 9) | st.text()), st.text(), st.none() | st.text())
def test_a_row_of_prompt_and_completion_is_what_make_record_makes(
    details: dict[str, Any], part: str, answer: str | None
) -> None:
    source = SOURCE._replace(part=part)
    columns = {"prompt": PROMPT, "completion": [SAID]} | ({} if answer is None else {"answer": answer})
    row, record = make_row("sft", source, columns, details), make_record("sft", PROMPT, SAID, source, details, answer)
    assert row == record and list(row) == list(record)
    assert json.loads(row["meta"]["details"]) == details


def id_of(**changes: Any) -> str:
    return str(make_row("ranked", SOURCE._replace(**changes), {}, {})["id"])


@pytest.mark.parametrize("name", ["method", "recipe", "seed_id", "role", "sample", "part"])
def test_the_id_is_over_what_a_row_is_of(name: str) -> None:
    assert id_of(**{name: 3 if name == "sample" else "other"}) != id_of()


@pytest.mark.parametrize("name", ["teacher", "model", "recipe_digest"])
def test_the_id_survives_another_model_and_prompt(name: str) -> None:
    assert id_of(**{name: "other"}) == id_of()


def test_every_kind_with_columns_is_a_kind_that_recipes_may_name() -> None:
    assert set(COLUMNS) <= set(RECORD_KINDS)
    assert all(names[0] in ("prompt", "anchor") and len(set(names)) == len(names) for names in COLUMNS.values())

"""The tasks: following each plan gives the gold answer, and an answer is compared as it should be."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_data.errors import ParseError, SeedError
from distill_data.tools import TOOLS, Call, Task, answer_of, follow, read_calls, read_task, solved
from tests.tools import SPECS, TASKS, rows_of


@pytest.mark.parametrize("task", TASKS, ids=[task.answer for task in TASKS])
def test_following_the_plan_gives_the_gold_answer(task: Task) -> None:
    calls, results = follow(task.plan)
    assert answer_of(results[-1]) == task.answer
    assert solved(task.answer, task.answer)
    assert 2 <= len(calls) <= 4
    as_written = [{"name": call.name, "arguments": call.arguments} for call in calls]
    assert read_calls(as_written, task.specs) == calls


@pytest.mark.parametrize("task", TASKS, ids=[task.answer for task in TASKS])
def test_a_task_needs_several_calls_and_offers_more_than_it_needs(task: Task) -> None:
    needed = {call.name for call in task.plan}
    assert needed < {spec.name for spec in task.specs}
    assert "#" in json.dumps([call.arguments for call in task.plan])
    assert task.answer == "true" or task.answer not in task.task


def test_the_tasks_use_every_function() -> None:
    assert len(TASKS) == 22
    assert {call.name for task in TASKS for call in task.plan} == set(TOOLS)


def test_a_reference_is_a_value_alone_and_words_within_a_text() -> None:
    plan = [
        Call("summarize_numbers", {"values": [1, 2, 6]}),
        Call("lookup_country_capital", {"country": "Peru"}),
        Call("sort_numbers", {"values": ["#1.mean", 2, "#1.maximum"]}),
        Call("calculate", {"expression": "#1.mean * (#1.count + 1)"}),
        Call("text_replace", {"text": "#2, not #9x", "old": "not", "new": "#2"}),
    ]
    with pytest.raises(ParseError, match="speaks of #9"):
        follow(plan)
    calls, results = follow(plan[:4])
    assert calls[2].arguments == {"values": [3, 2, 6]}
    assert calls[3].arguments == {"expression": "3 * (3 + 1)"}
    assert results[1:] == ['"Lima"', "[2,3,6]", "12"]


@pytest.mark.parametrize("reference", ["#1", "#2.mean", "#1.mean"])
def test_a_reference_to_nothing_fails(reference: str) -> None:
    with pytest.raises(ParseError, match=r"^execution-failed: the plan speaks of "):
        follow([Call("calculate", {"expression": reference})])


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        ("355,259.20", "355259.2"),
        (" 13. ", "13"),
        ("**6.88**", "6.88"),
        ("１６０", "160"),
        ("True", "true"),
        ("2024-03-18.", "2024-03-18"),
        ("[91.44, 80, 76.2]", "[91.44,80,76.2]"),
        ("we fly to oslo and then to lima", "We fly to Oslo and then to Lima."),
    ],
)
def test_the_same_answer_written_otherwise(answer: str, gold: str) -> None:
    assert solved(answer, gold)


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        ("131", "13"),
        ("12 or 13", "13"),
        ("1,3", "13"),
        ("nan", "13"),
        ("9" * 400, "13"),
        ("", "13"),
        ("2024-03-19", "2024-03-18"),
        ("false", "true"),
        ("[80,91.44,76.2]", "[91.44,80,76.2]"),
    ],
)
def test_another_answer(answer: str, gold: str) -> None:
    assert not solved(answer, gold)


@given(st.text(), st.sampled_from([task.answer for task in TASKS]))
def test_any_answer_is_judged(answer: str, gold: str) -> None:
    assert isinstance(solved(answer, gold), bool)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"task": " "}, "needs the text 'task'"),
        ({"tools": "["}, "not-json"),
        ({"tools": '["calculate", 3]'}, "list of names"),
        ({"tools": "[]"}, "list of names"),
        ({"tools": '["word_count"]'}, "not among the task's tools"),
        ({"plan": "[]"}, "list of objects"),
        ({"plan": '[{"name": "calculate"}]'}, "list of objects"),
        ({"plan": '[{"name": "fly", "arguments": {}}]'}, "'fly' is not specified"),
    ],
)
def test_a_row_that_is_no_task_is_named_with_its_line(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(SeedError, match=r"^t\.jsonl:3: ") as caught:
        read_task({**rows_of("tool_tasks")[0], **changes}, SPECS, "t.jsonl:3")
    assert why in str(caught.value)

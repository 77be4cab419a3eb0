"""Contracts of trainers: what each reads, and one example of everything that it doesn't."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from distill_data.errors import UsageError
from distill_data.formats import COLUMNS, CONTRACTS, TRAINERS, faults

ASKED = [{"role": "user", "content": "Which is larger, 9.8 or 9.11?"}]
GOOD, BAD = [{"role": "assistant", "content": "9.8"}], [{"role": "assistant", "content": "9.11"}]
PAIR = {"prompt": ASKED, "chosen": GOOD, "rejected": BAD}
UNPAIRED = {"prompt": ASKED, "completion": GOOD, "label": True}
RANKED = {"prompt": ASKED, "responses": ["9.8", "9.11"], "scores": [2.0, 1.0]}
STEPS = {"prompt": "Which is larger?", "completions": ["0.8 is above 0.11.", "So 9.11."], "labels": [True, False]}
CALL = {"role": "assistant", "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": {}}}]}
SCHEMA = {"type": "function", "function": {"name": "f"}}


@pytest.mark.parametrize(
    ("trainer", "record"),
    [
        ("sft", {"prompt": ASKED, "completion": GOOD, "id": 7, "other": None}),
        ("sft", {"prompt": "9.8 is", "completion": " larger"}),
        ("sft", {"messages": [*ASKED, *GOOD]}),
        ("sft", {"text": "9.8 is larger"}),
        ("sft", {"prompt": ASKED, "completion": [CALL], "tools": [SCHEMA]}),
        ("sft", {"prompt": ASKED, "completion": [CALL], "tools": "[]"}),
        ("sft", {"prompt": [{"role": "user", "content": [{"type": "image"}]}], "completion": GOOD}),
        ("dpo", PAIR),
        ("dpo", {"chosen": [*ASKED, *GOOD], "rejected": [*ASKED, *BAD]}),
        ("kto", UNPAIRED),
        ("kto", PAIR),
        ("reward", {**PAIR, "margin": 0.5}),
        ("reward", {"chosen": GOOD, "rejected": BAD}),
        ("grpo", {"prompt": ASKED, "solution": 3}),
        ("rrhf", {**RANKED, "scores": [1.0, 2.0]}),
        ("pro", {**RANKED, "scores": [1.0, 1.0]}),
        ("stepwise", STEPS),
    ],
)
def test_what_a_trainer_reads(trainer: str, record: dict[str, Any]) -> None:
    assert faults(record, trainer) == []


@pytest.mark.parametrize(
    ("trainer", "record", "wrong"),
    [
        ("sft", {"prompt": ASKED}, ["completion: is missing"]),
        ("sft", {}, ["prompt: is missing", "completion: is missing"]),
        ("sft", {"prompt": ASKED, "completion": None}, ["completion: must be a list of messages, and is null"]),
        ("sft", {"prompt": [], "completion": GOOD}, ["prompt: must be a list of messages, and is an empty list"]),
        ("sft", {"prompt": ASKED, "completion": "9.8"}, ["completion: is a text, where prompt is a list"]),
        ("sft", {"prompt": ASKED, "completion": ["9.8"]}, ["completion: message 0 must be an object, and is a text"]),
        (
            "sft",
            {"prompt": [{"from": "human", "value": "Why?"}], "completion": GOOD},
            ["prompt: message 0 has the role None; there are system, user, assistant, tool"],
        ),
        (
            "sft",
            {"prompt": ASKED, "completion": [{"role": "assistant", "content": None}]},
            ["completion: message 0 has a content that must be a text, and is null"],
        ),
        (
            "sft",
            {"prompt": ASKED, "completion": [{"role": "assistant", "content": ["9.8"]}]},
            ["completion: message 0 has a content part without a type"],
        ),
        (
            "sft",
            {"prompt": [*ASKED, {"role": "system", "content": "Be brief."}], "completion": GOOD},
            ["prompt: ends with a system message, and an answer follows a user, a tool or an assistant"],
        ),
        (
            "sft",
            {"prompt": ASKED, "completion": GOOD, "tools": "{"},
            ["tools: must be a list of schemas or JSON text of one, and is a text that is no JSON"],
        ),
        (
            "sft",
            {"prompt": ASKED, "completion": GOOD, "tools": [SCHEMA, "f"]},
            ["tools: must be a list of schemas, and its element 1 is a text"],
        ),
        ("dpo", UNPAIRED, ["chosen: is missing", "rejected: is missing"]),
        (
            "dpo",
            {**PAIR, "prompt": "Which?"},
            [f"{name}: is a list, where prompt is a text" for name in ("chosen", "rejected")],
        ),
        (
            "dpo",
            {"chosen": GOOD, "rejected": BAD},
            ["rejected: must begin as chosen does: without a column prompt, what they share is the prompt"],
        ),
        ("kto", {**UNPAIRED, "label": 1}, ["label: must be true or false, and is a whole number"]),
        ("kto", {**UNPAIRED, "label": "True"}, ["label: must be true or false, and is a text"]),
        ("reward", {**PAIR, "margin": 1}, ["margin: must be a float, and is a whole number"]),
        ("reward", {**PAIR, "margin": float("nan")}, ["margin: must be a float, and is nan"]),
        ("rrhf", {**RANKED, "scores": [2.0]}, ["scores: has 1 elements, where responses has 2"]),
        (
            "rrhf",
            {**RANKED, "scores": [2, 1.0]},
            ["scores: must be a list of floats, and its element 0 is a whole number"],
        ),
        (
            "rrhf",
            {**RANKED, "responses": ["9.8"], "scores": [1.0]},
            ["responses: must be a list of at least 2 texts, and has 1"],
        ),
        (
            "pro",
            {**RANKED, "scores": [1.0, 2.0]},
            ["scores: must go from the best to the worst, and its element 1 is above the one before"],
        ),
        ("stepwise", {**STEPS, "prompt": ASKED}, ["prompt: must be a text, and is a list"]),
        ("stepwise", {**STEPS, "labels": [True]}, ["labels: has 1 elements, where completions has 2"]),
        (
            "stepwise",
            {**STEPS, "labels": [True, 0]},
            ["labels: must be a list of true or false, and its element 1 is a whole number"],
        ),
    ],
)
def test_what_a_trainer_does_not_read_is_named(trainer: str, record: dict[str, Any], wrong: list[str]) -> None:
    assert faults(record, trainer) == wrong


@pytest.mark.parametrize("column", ["prompts", "completions", "trainer_state", "log_extra", "log_metric"])
def test_grpo_has_no_use_for_columns_that_its_reward_functions_are_given_anyway(column: str) -> None:
    (fault,) = faults({"prompt": ASKED, column: ["a"]}, "grpo")
    assert fault.startswith(f"{column}: GRPO hands every column")


def test_a_trainer_without_a_contract() -> None:
    with pytest.raises(UsageError, match="no contract of a trainer 'ppo'; there are sft, dpo, kto"):
        faults(PAIR, "ppo")


def test_every_kind_has_trainers_and_they_have_contracts() -> None:
    assert set(TRAINERS) == set(COLUMNS)
    assert {trainer for trainers in TRAINERS.values() for trainer in trainers} == set(CONTRACTS)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["role", "content", "type", "tool_calls", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)
NAMES = sorted(
    {name for contract in CONTRACTS.values() for form in contract.forms for name in form.columns} | {"tools"}
)


@settings(suppress_health_check=[HealthCheck.too_slow])  # the first text of a process loads the tables of Unicode
@given(st.dictionaries(st.sampled_from(NAMES), ANYTHING), st.sampled_from(sorted(CONTRACTS)))
def test_any_record_has_faults_or_none_and_each_names_a_column(record: dict[str, Any], trainer: str) -> None:
    for fault in faults(record, trainer):
        assert fault.partition(": ")[0] in NAMES and fault.partition(": ")[2]


GIVEN: dict[str, dict[str, Any]] = {
    "sft": UNPAIRED,
    "dpo": PAIR,
    "kto": UNPAIRED,
    "reward": PAIR,
    "grpo": {"prompt": ASKED},
    "rrhf": RANKED,
}


@pytest.mark.parametrize("trainer", CONTRACTS)
def test_every_column_of_every_contract_is_checked(trainer: str) -> None:
    record = {**GIVEN, "pro": RANKED, "stepwise": STEPS}[trainer]
    for name in CONTRACTS[trainer].forms[0].columns:
        without = {key: value for key, value in record.items() if key != name}
        assert faults(without, trainer) or (trainer, name) == ("reward", "prompt"), "whole conversations have no prompt"
        assert [fault.partition(": ")[0] for fault in faults({**record, name: None}, trainer)] == [name]

"""Conversations, retrieval pairs, calls and acting: whatever a teacher says, candidates end as records or rejects."""

from __future__ import annotations

import asyncio
import json
import zlib
from collections import Counter
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_data.commands.work import InRounds
from distill_data.data.exchange import Answer, Ask, Request
from distill_data.data.items import Item, Outcome, Row, canonical
from distill_data.data.seeds import make_items, open_seeds, read_rows
from distill_data.engine.outcomes import encode_outcome
from distill_data.errors import SeedError, UsageError
from distill_data.formats.turns import turns_of
from distill_data.methods.curation import make_curation
from distill_data.recipes import apply_settings, load_recipe
from distill_data.recipes.shipped import seed_path
from tests.methods.scripted import answer

SEEDS = {
    "dialogue": "@topics",
    "roleplay": "@roles",
    "document-query": "@documents",
    "tools": "@tools",
    "agent": "@tool_tasks",
    "magpie": "@topics",
}
Say = Callable[[Request, str], str]


def items_of(name: str, rows: int = 4) -> list[Item]:
    return list(make_items(read_rows(open_seeds(seed_path(SEEDS[name]))), 0))[:rows]


def grow(
    name: str, say: Say, rows: int = 1, cap: int = 4, *, seeds: list[Item] | None = None, answers: bool = True,
    width: int = 1, **changed: str,
) -> list[tuple[Item, Outcome]]:  # fmt: skip
    """What became of every candidate, in order."""
    recipe = apply_settings(load_recipe(name, "curate"), {"round": "2", **changed})
    growth = make_curation(recipe, {"teacher": "t"}, seeds or items_of(name), 0, 1, answers=answers)
    ended: list[tuple[Item, Outcome]] = []

    async def ask(request: Request, to: str = "teacher") -> Answer:
        canonical(request.messages)
        await asyncio.sleep(0)
        said = say(request, request.messages[-1]["content"])
        return said if isinstance(said, Answer) else answer(said)

    def ask_for(owner: str) -> Ask:
        return ask

    def halt(error: Exception) -> None:
        raise error

    work = InRounds(growth, rows, cap, 0)
    asyncio.run(work.run(ask_for, lambda *end: ended.append(end), width, lambda: False, halt))
    return sorted(ended, key=lambda end: end[0].ordinal)


def records_of(ended: list[tuple[Item, Outcome]]) -> list[dict[str, Any]]:
    lines = [line for item, outcome in ended for line in encode_outcome(item, outcome).split(b"\n")[1:] if line]
    return [found for line in lines if "prompt" in (found := orjson.loads(line))]


def reasons_of(ended: list[tuple[Item, Outcome]]) -> list[str]:
    return [outcome.reason for _, outcome in ended]


# -- any text ----------------------------------------------------------------------------------------------------------

PIECES = st.sampled_from(
    [
        *(
            "TASK_DONE",
            "met",
            "not met",
            "1. ",
            "2. ",
            "\n",
            "```json\n",
            "```",
            "[",
            "]",
            "{",
            "}",
            ",",
            '"',
            "96",
            "#1",
        ),
        *("\u2028", "\0", "\ud800", "🙂", "null", "how many words does it take here?", "绿茶的茶叶采下以后很快加热"),
        '{"query": "sea mud in a salt marsh", "hard_negative": "one two three four five six seven eight nine ten"}',
        '{"query": 3, "hard_negative": null}',
        '[{"name": "calculate", "arguments": {"expression": "1/0"}}]',
        '[{"name": "word_count", "arguments": {"text": "a b"}}]',
        '[{"name": 1}]',
        '{"thought": "t", "call": {"name": "calculate", "arguments": {"expression": "2**3"}}}',
        '{"thought": "t", "call": {"name": "add_days", "arguments": {"date": "2024-02-12", "days": 21}}}',
        '{"thought": "t", "call": []}',
        '{"thought": "t", "answer": [96]}',
        '{"thought": 0, "answer": ""}',
    ]
)
TEXTS = st.one_of(PIECES, st.lists(PIECES | st.text(max_size=4), max_size=6).map("".join), st.text(max_size=40))
ENDS = st.sampled_from(["stop"] * 9 + ["length", "content_filter", "tool_calls", "odd"])


@pytest.mark.parametrize("name", SEEDS)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_text_ends_in_records_or_rejects(name: str, data: st.DataObject) -> None:
    def say(request: Request, last: str) -> Any:
        return answer({"text": data.draw(TEXTS), "finish": data.draw(ENDS)})

    ended = grow(name, say, rows=2, cap=3)
    assert ended
    for item, outcome in ended:
        assert outcome.status in {"kept", "rejected"}
        assert bool(outcome.reason) is (outcome.status == "rejected")
        assert encode_outcome(item, outcome)
    shapes = {tuple(record) for record in records_of(ended)}
    assert len(shapes) <= 1


# -- dialogue and roleplay ---------------------------------------------------------------------------------------------


def talker() -> Say:
    """Says something new each time, of the words of its own count."""
    count = iter(range(10_000))
    return lambda request, last: " ".join(f"w{next(count)}" for _ in range(8)) + "."


@pytest.mark.parametrize("name", ["dialogue", "roleplay"])
def test_a_conversation_takes_turns_and_ends_with_the_assistant(name: str) -> None:
    (record,) = records_of(grow(name, talker(), rows=1))
    roles = [turn["role"] for turn in record["prompt"] + record["completion"]]
    roles = roles[1:] if roles[0] == "system" else roles
    assert roles == ["user", "assistant"] * (len(roles) // 2)
    assert (roles[0], roles[-1]) == ("user", "assistant")


def test_rounds_are_drawn_between_fewest_and_most_by_the_candidate_alone() -> None:
    def rounds(width: int) -> list[int]:
        said = {}

        def say(request: Request, last: str) -> str:
            key = canonical(request.messages) + b"%d" % request.sample
            return said.setdefault(
                key, " ".join(f"{orjson.dumps(last)[:9].hex()}{zlib.crc32(key)}{i}" for i in range(9))
            )

        ended = grow("dialogue", say, rows=8, cap=40, width=width, round="4")
        return [json.loads(record["meta"]["details"])["rounds"] for record in records_of(ended)]

    found = rounds(1)
    assert found == rounds(8)
    assert set(found) <= {3, 4, 5, 6, 7}
    assert len(set(found)) > 1


def test_who_repeats_itself_is_rejected() -> None:
    def say(request: Request, last: str) -> str:
        return (
            "It is always the same answer."
            if request.messages[0]["role"] == "system"
            else "What is it that I ask here?"
        )

    assert reasons_of(grow("dialogue", say, cap=2))[0] == "repeated-turn"


def test_the_user_ends_a_roleplay() -> None:
    def say(request: Request, last: str) -> str:
        if "Give your next instruction" in last:
            return "TASK_DONE"
        return "Count the hives first." if "first instruction" in last else "There are twelve hives, as you told me."

    (record,) = records_of(grow("roleplay", say))
    assert [turn["role"] for turn in record["prompt"]] == ["system", "user"]
    assert json.loads(record["meta"]["details"])["ended"] == "done"


@pytest.mark.parametrize(("fewest", "most"), [("4", "3"), ("0", "3")])
def test_rounds_that_cannot_be_are_a_usage_error(fewest: str, most: str) -> None:
    with pytest.raises(UsageError, match="fewest"):
        grow("dialogue", talker(), fewest=fewest, most=most)


# -- without answers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["dialogue", "roleplay", "tools", "agent"])
def test_without_answers_only_prompts_are_written(name: str) -> None:
    def say(request: Request, last: str) -> str:
        return "1. Which day is it in three weeks?" if name == "tools" else "Say which day it is in three weeks."

    (record,) = records_of(grow(name, say, answers=False))
    assert record["kind"] == "prompt"
    assert "completion" not in record
    assert record["prompt"][-1]["role"] == "user"


# -- document-query ----------------------------------------------------------------------------------------------------

NEGATIVE = "Roads are built of stone and tar and need to be mended again every few years or so."


def pair(query: str, negative: str = NEGATIVE) -> Say:
    return lambda request, last: json.dumps({"query": query, "hard_negative": negative})


def passages(*texts: str) -> list[Item]:
    rows: list[tuple[str, Row]] = [(f"d:{line}", {"text": text}) for line, text in enumerate(texts, 1)]
    return list(make_items(rows, 0))


def test_a_query_counts_where_it_leads_back() -> None:
    seeds = passages("Frogs dig themselves in until it rains.", "Trams need rails and a wire above them.")
    ended = grow("document-query", pair("what do frogs do until it rains"), rows=2, cap=8, seeds=seeds, round="8")
    (record,) = records_of(ended)
    assert record["completion"][0]["content"].startswith("Frogs")
    documents = json.loads(record["documents"])
    assert [document["relevant"] for document in documents] == [True, False]
    assert Counter(reasons_of(ended)) == {"": 1, "duplicate": 3, "round-trip": 4}


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (pair("zebra quagga"), "round-trip"),
        (
            pair("frogs and rain", "Frogs dig themselves in, deep in the ground, until it rains again."),
            "negative-is-passage",
        ),
        (pair("frogs and rain", "Frogs dig."), "too-short"),
    ],
)
def test_a_pair_that_teaches_nothing(said: Say, reason: str) -> None:
    seeds = passages("Frogs dig themselves in deep in the ground until it rains again.")
    assert reasons_of(grow("document-query", said, cap=1, round="1", seeds=seeds)) == [reason]


# -- tools -------------------------------------------------------------------------------------------------------------


def caller(calls: Any, verdict: str = "met") -> Say:
    def say(request: Request, last: str) -> str:
        if "numbered list" in last:
            return "1. How many words does 'as quiet as the sea' have?"
        if "Which calls" in last:
            return json.dumps(calls)
        return verdict if "not met" in last else "It has five words."

    return say


COUNT = {"name": "word_count", "arguments": {"text": "as quiet as the sea"}}


@pytest.mark.parametrize(
    ("calls", "reason"),
    [
        ([{"name": "word_count", "arguments": {"text": 5}}], "wrong-arguments"),
        ([{"name": "count_words", "arguments": {"text": "a"}}], "unknown-function"),
        ([{"name": "calculate", "arguments": {"expression": "1/0"}}], "execution-failed"),
        ([], "no-calls"),
        ({"calls": [COUNT]}, "bad-calls"),
    ],
)
def test_calls_that_fail_are_rejected_with_their_reason(calls: Any, reason: str) -> None:
    by_name = {item.row["name"]: item for item in items_of("tools", 99)}
    seeds = [by_name["word_count"], by_name["calculate"]]
    ended = grow("tools", caller(calls), cap=1, seeds=seeds, k="2", per_call="2")
    assert reasons_of(ended)[0] == reason


def test_calls_are_run_and_written_as_trainers_read_them() -> None:
    by_name = {item.row["name"]: item for item in items_of("tools", 99)}
    (record,) = records_of(grow("tools", caller([COUNT]), seeds=[by_name["word_count"]], k="1"))
    made, result, final = record["completion"]
    assert turns_of([made], "completion")[0]["tool_calls"][0]["function"] == COUNT
    assert (result["role"], result["content"]) == ("tool", "5")
    assert final["content"] == "It has five words."
    assert [tool["function"]["name"] for tool in json.loads(record["tools"])] == ["word_count"]


def test_a_judge_has_the_last_word() -> None:
    by_name = {item.row["name"]: item for item in items_of("tools", 99)}
    ended = grow("tools", caller([COUNT], "not met"), cap=1, seeds=[by_name["word_count"]], k="1")
    assert reasons_of(ended)[0] == "query-not-met"


def test_functions_that_are_not_ours_are_called_and_not_run() -> None:
    schema = '{"type": "object", "properties": {"room": {"type": "string"}}, "required": ["room"]}'
    row = {"name": "light_on", "description": "Turn on the light.", "parameters": schema}
    seeds = list(make_items([("m:1", row)], 0))
    calls = [{"name": "light_on", "arguments": {"room": "kitchen"}}]
    (record,) = records_of(grow("tools", caller(calls), seeds=seeds, k="1"))
    (made,) = record["completion"]
    assert made["tool_calls"][0]["function"]["name"] == "light_on"
    assert json.loads(record["meta"]["details"])["executed"] is False


def test_too_few_functions_and_equal_names_are_seed_errors() -> None:
    with pytest.raises(SeedError, match="there are 2"):
        grow("tools", caller([]), seeds=items_of("tools", 2))
    row = items_of("tools", 1)[0].row
    with pytest.raises(SeedError, match="two functions"):
        grow("tools", caller([]), seeds=list(make_items([("m:1", row), ("m:2", {**row})], 0)), k="1")


# -- agent -------------------------------------------------------------------------------------------------------------

LEFT = {"thought": "The first loan.", "call": {"name": "add_days", "arguments": {"date": "2024-02-12", "days": 35}}}


def actor(*actions: Any) -> Say:
    """The plan, then one action after the other, the last one again and again."""

    def say(request: Request, last: str) -> str:
        if "Answer with the plan alone" in last:
            return "Add both loans to the date."
        done = last.count("\nResult: ")
        return json.dumps(actions[min(done, len(actions) - 1)])

    return say


@pytest.mark.parametrize(
    ("actions", "reason"),
    [
        ([LEFT, {"thought": "t", "answer": "2024-03-18"}], ""),
        ([LEFT, {"thought": "t", "answer": "2024-03-19"}], "wrong-answer"),
        ([{"thought": "t", "answer": "2024-03-18"}], "no-calls"),
        ([LEFT], "too-many-steps"),
        ([{"thought": "t"}], "bad-action"),
        ([{"thought": "t", "call": LEFT["call"], "answer": "2024-03-18"}], "bad-action"),
        ([{"thought": "t", "answer": " "}], "bad-action"),
        ([{"thought": "t", "call": {"name": "add_days", "arguments": {"date": "today"}}}], "wrong-arguments"),
        ([{"thought": "t", "call": {"name": "shell", "arguments": {}}}], "unknown-function"),
        (
            [{"thought": "t", "call": {"name": "add_days", "arguments": {"date": "2023-02-30", "days": 1}}}],
            "execution-failed",
        ),
    ],
)
def test_acting_ends_in_the_tasks_answer_or_with_a_reason(actions: list[Any], reason: str) -> None:
    task = [item for item in items_of("agent", 99) if item.row["task"].startswith("A library book")]
    ended = grow("agent", actor(*actions), cap=1, seeds=task, round="1")
    assert reasons_of(ended)[0] == reason
    for record in records_of(ended):
        assert record["answer"] == task[0].row["answer"]
        assert [turn["role"] for turn in record["completion"]] == ["assistant", "tool", "assistant"]
        assert record["completion"][0]["content"].startswith("Add both loans")


def test_acting_never_shows_the_answer() -> None:
    asked: list[bytes] = []
    task = [item for item in items_of("agent", 99) if item.row["answer"] == "2024-03-18"]

    def say(request: Request, last: str) -> str:
        asked.append(canonical(request.messages))
        return actor(LEFT, {"thought": "t", "answer": "x"})(request, last)

    grow("agent", say, cap=1, seeds=task, round="1", steps="2")
    assert asked
    assert b"2024-03-18" not in asked[0]


# -- magpie ------------------------------------------------------------------------------------------------------------


def test_the_user_is_completed_raw_and_answered_by_chat() -> None:
    asked: list[Request] = []

    def say(request: Request, last: str) -> str:
        asked.append(request)
        return "How long does green tea steep?" if request.kind == "complete" else "Two minutes at 80 degrees."

    (record,) = records_of(grow("magpie", say, round="1"))
    raw, chat = asked
    assert raw.kind == "complete"
    assert raw.messages[0]["content"].startswith("<|im_start|>system\n")
    assert raw.messages[0]["content"].endswith("<|im_end|>\n<|im_start|>user\n")
    assert "\n" in raw.sampling["stop"]
    assert "\n" not in chat.sampling["stop"]
    assert chat.messages == record["prompt"] == [{"role": "user", "content": "How long does green tea steep?"}]


def test_a_chat_template_needs_a_header() -> None:
    with pytest.raises(UsageError, match="header"):
        grow("magpie", talker(), header=" ")

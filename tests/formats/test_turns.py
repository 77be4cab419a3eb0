"""Rows of every shape as chat turns."""

from __future__ import annotations

from typing import Any

import pytest

from distill_data.errors import SeedError
from distill_data.formats.checks import read_json
from distill_data.formats.turns import Given, chat_of, flat, kind_of, pair_of, prompt_of, split_thought, tools_of

USER = {"role": "user", "content": "Which is larger, 9.8 or 9.11?"}
GOOD = {"role": "assistant", "content": "9.8"}
BAD = {"role": "assistant", "content": "9.11"}
CALL = {
    "role": "assistant",
    "content": "",
    "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": {"a": [1]}}}],
}
CLOSED = {**CALL, "tool_calls": [{**CALL["tool_calls"][0], "function": {"name": "f", "arguments": '{"a":[1]}'}}]}
RESULT = {"role": "tool", "tool_call_id": "c1", "name": "f", "content": "2"}


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        ({"kind": "critique", "prompt": [USER], "completion": [GOOD]}, "critique"),
        ({"kind": "logits", "text": "9.8"}, "text"),
        ({"kind": "a column of another meaning", "prompt": "a", "completion": "b"}, "sft"),
        ({"kind": ["no text"], "text": "a"}, "text"),
        ({"prompt": "a", "chosen": "b", "rejected": "c"}, "preference"),
        ({"prompt": "a", "responses": ["b", "c"], "scores": [1, 0]}, "ranked"),
        ({"query": "a", "responses": ["b", "c"], "scores": [1, 0]}, "ranked"),
        ({"prompt": "a", "completions": ["b"], "labels": [True]}, "steps"),
        ({"prompt": "a", "completion": "b", "label": False}, "unpaired"),
        ({"messages": [USER, GOOD]}, "sft"),
        ({"conversations": []}, "sft"),
        ({"instruction": "a", "input": "", "output": "b"}, "sft"),
        ({"question": "a", "answer": "b"}, "sft"),
        ({"problem": "a", "solution": "b"}, "sft"),
        ({"prompt": "a", "response": "b"}, "sft"),
        ({"anchor": "a", "positive": "b", "text": "c"}, "triple"),
        ({"prompt": "a"}, "prompt"),
        ({"x": 1}, ""),
    ],
)
def test_kinds(row: dict[str, Any], kind: str) -> None:
    assert kind_of(row) == kind


@pytest.mark.parametrize(
    ("row", "prompt", "completion"),
    [
        ({"prompt": [USER], "completion": [GOOD]}, [USER], [GOOD]),
        ({"prompt": USER["content"], "completion": "9.8"}, [USER], [GOOD]),
        ({"messages": [USER, BAD, USER, GOOD]}, [USER, BAD, USER], [GOOD]),
        ({"messages": [USER, CLOSED, RESULT]}, [USER], [CALL, RESULT]),
        ({"messages": [{**USER, "name": None}, {**CLOSED, "content": None}]}, [USER], [CALL]),
        (
            {"messages": [{"role": "developer", "content": "Be brief."}, USER, GOOD]},
            [{"role": "system", "content": "Be brief."}, USER],
            [GOOD],
        ),
        (
            {
                "system": "Be brief.",
                "conversations": [
                    {"from": "human", "value": USER["content"]},
                    {"from": "function_call", "value": '<think>\nHm.\n</think>\n\n{"name":"f","arguments":{"a":[1]}}'},
                    {"from": "observation", "value": "2"},
                    {"from": "gpt", "value": "9.8"},
                ],
            },
            [
                {"role": "system", "content": "Be brief."},
                USER,
                {
                    "role": "assistant",
                    "content": "Hm.",
                    "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": {"a": [1]}}}],
                },
                {"role": "tool", "content": "2"},
            ],
            [GOOD],
        ),
        (
            {"instruction": "Which is larger,", "input": "9.8 or 9.11?", "output": "9.8", "history": [["Hi", "Yes?"]]},
            [
                {"role": "user", "content": "Hi"},
                {"role": "assistant", "content": "Yes?"},
                {"role": "user", "content": "Which is larger,\n9.8 or 9.11?"},
            ],
            [GOOD],
        ),
        ({"question": USER["content"], "answer": "9.8"}, [USER], [GOOD]),
        ({"prompt": [USER], "responses": ["9.11", "9.8"], "scores": [0, 1]}, [USER], [GOOD]),
        (
            {
                "prompt": [{"role": "system", "content": "Hm"}, {"role": "user", "content": [{"type": "image"}]}],
                "answer": "9.8",
            },
            [
                {"role": "system", "content": [{"type": "text", "text": "Hm"}]},
                {"role": "user", "content": [{"type": "image"}]},
            ],
            [GOOD],
        ),
    ],
)
def test_prompt_and_completion(row: dict[str, Any], prompt: list[Any], completion: list[Any]) -> None:
    assert tuple(chat_of(row)) == (prompt, completion)
    assert prompt_of(row) == prompt


def test_messages_that_need_no_change_are_not_copied() -> None:
    row = {"prompt": [USER], "completion": [GOOD]}
    chat = chat_of(row)
    assert chat.prompt is row["prompt"] and chat.completion is row["completion"]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"prompt": [USER]}, "no answer in this row; there are: prompt"),
        ({"completion": [GOOD], "answer": "9.8"}, "no prompt in this row; there are: completion, answer"),
        ({"prompt": [], "completion": "a"}, "column prompt must be a text or a list of messages, and is an empty list"),
        ({"prompt": None, "completion": "a"}, "and is null"),
        ({"prompt": "a", "completion": 7}, "column completion must be a text or a list of messages, and is a whole n"),
        ({"messages": [USER]}, "no message of this conversation is an assistant's"),
        ({"messages": ["Hi"]}, "message 0 of messages must be an object, and is a text"),
        (
            {"messages": [{"role": "narrator", "content": ""}]},
            "message 0 of messages has the role 'narrator'; there are",
        ),
        ({"messages": [{"role": ["user"], "content": ""}]}, r"has the role \['user'\]"),
        ({"conversations": [{"from": "alien", "value": ""}]}, "message 0 of conversations is from 'alien'; there are"),
        ({"conversations": [{"from": "gpt", "value": None}]}, "must have a text as its value, and has null"),
        ({"conversations": [{"from": "function_call", "value": "f()"}]}, "a call without the name of a function"),
        ({"messages": [USER, {"role": "assistant", "tool_calls": "f()"}]}, "must have a list of calls, and has a text"),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"function": {}}]}]},
            "call without the name of a function",
        ),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}]},
            "the arguments of f are no JSON: '{'",
        ),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "[1]"}}]}]},
            "the arguments of f are a list, no object",
        ),
        ({"instruction": "a", "output": "b", "history": ["c"]}, "column history must be a list of pairs"),
        ({"prompt": "a", "responses": ["b"], "scores": [1]}, "lists of the same length, of two or more"),
        ({"prompt": "a", "responses": ["b", "c"], "scores": [1, None]}, "responses must be texts, and scores numbers"),
    ],
)
def test_what_is_no_chat_is_named(row: dict[str, Any], says: str) -> None:
    with pytest.raises(SeedError, match=says):
        chat_of(row)


def test_pairs() -> None:
    told = {"prompt": [USER], "chosen": [GOOD], "rejected": [BAD], "chosen_score": 9.0, "rejected_score": 2.5}
    assert pair_of(Given(told, "preference")) == ([USER], [GOOD], [BAD], 6.5)
    silent = {"prompt": USER["content"], "chosen": "9.8", "rejected": "9.11"}
    assert pair_of(Given(silent, "preference")) == ([USER], [GOOD], [BAD], None)
    ranked = {"prompt": [USER], "responses": ["9.9", "9.11", "9.8"], "scores": [0.5, 0, 1]}
    assert pair_of(Given(ranked, "ranked")) == ([USER], [GOOD], [BAD], 1.0)
    assert pair_of(Given({**ranked, "scores": [1, 1, 1]}, "ranked")) is None


@pytest.mark.parametrize("prompt", [{}, {"prompt": "a title, no prompt"}])
def test_whole_conversations_are_cut_where_they_part(prompt: dict[str, Any]) -> None:
    row = {**prompt, "chosen": [USER, GOOD], "rejected": [USER, BAD], "score_chosen": 2, "score_rejected": 1}
    assert pair_of(Given(row, "preference")) == ([USER], [GOOD], [BAD], 1.0)
    with pytest.raises(SeedError, match="no prompt in common"):
        pair_of(Given({**row, "rejected": [{**USER, "content": "?"}, BAD]}, "preference"))
    with pytest.raises(SeedError, match="no prompt in common"):
        pair_of(Given({**row, "rejected": [USER, GOOD]}, "preference"))


def test_tools_are_objects() -> None:
    bare, wrapped = {"name": "f"}, {"type": "function", "function": {"name": "f"}}
    assert tools_of({"tools": '[{"name":"f"}]'}) == tools_of({"tools": [bare]}) == tools_of({"tools": [wrapped]})
    assert tools_of({"tools": [bare]}) == [wrapped]
    assert tools_of({}) == tools_of({"tools": None}) == tools_of({"tools": ""}) == tools_of({"tools": "[]"}) == []
    for wrong in ("{", '{"name":"f"}', ["f"], 7):
        with pytest.raises(SeedError, match="must be a list of functions"):
            tools_of({"tools": wrong})


def test_content_as_one_text() -> None:
    assert flat([{"type": "image"}, {"type": "text", "text": "What?"}]) == "<image>What?"
    for wrong in ([{"type": "audio"}], None, 7, ["What?"]):
        with pytest.raises(SeedError, match="no text and no image"):
            flat(wrong)


def test_thoughts_are_split_at_the_tags_that_begin_a_text() -> None:
    assert split_thought("<think>\nHm.\n</think>\n\n9.8") == ("Hm.", "9.8")
    assert split_thought("9.8 <think>Hm.</think>") == ("", "9.8 <think>Hm.</think>")
    assert split_thought("<think>Hm.") == ("", "<think>Hm.")


def test_a_conversation_that_other_columns_answer_is_all_prompt() -> None:
    chat = [USER, BAD, {"role": "user", "content": "Sure?"}]
    row = {"messages": chat, "chosen": "9.8", "rejected": "9.11"}
    assert pair_of(Given(row, "preference")) == (chat, [GOOD], [{"role": "assistant", "content": "9.11"}], None)
    assert prompt_of({"messages": chat}) == chat
    with pytest.raises(SeedError, match="messages ends with an answer, and other columns"):
        pair_of(Given({**row, "messages": chat[:2]}, "preference"))


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "a title", "prompt_id": "p", "messages": [USER, GOOD]},
        {"prompt": None, "completion": None, "messages": [USER, GOOD]},
    ],
)
def test_a_conversation_counts_where_no_prompt_is_answered(row: dict[str, Any]) -> None:
    assert chat_of(row) == ([USER], [GOOD])


def test_what_stands_beside_a_prompt_as_text_comes_before_it() -> None:
    before = [{"role": "system", "content": "Be."}, {"role": "user", "content": "Hi"}]
    row = {"system_prompt": "Be.", "history": [["Hi", "Yes?"]], "prompt": USER["content"], "response": "9.8"}
    assert chat_of(row) == ([*before, {"role": "assistant", "content": "Yes?"}, USER], [GOOD])


def test_the_call_of_an_older_row_is_a_call() -> None:
    called = {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": '{"a":[1]}'}}
    (message,) = chat_of({"messages": [USER, called]}).completion
    assert message["tool_calls"] == [{"type": "function", "function": {"name": "f", "arguments": {"a": [1]}}}]
    assert "function_call" not in message


def test_what_a_prompt_is_applied_to_is_asked_too() -> None:
    row = {"prompt": "Translate.", "input": "Hallo", "output": "Hello"}
    assert chat_of(row).prompt == [{"role": "user", "content": "Translate.\nHallo"}]


@pytest.mark.parametrize("number", [-9999999999999999999, -(1 << 63) - 1, 1 << 64])
def test_an_integer_in_json_text_is_never_a_float(number: int) -> None:
    with pytest.raises(SeedError, match="more than 64 bits"):
        read_json(f'{{"a": {number}}}')
    assert read_json(f'{{"a": "{number}", "b": 1.5}}')["a"] == str(number)

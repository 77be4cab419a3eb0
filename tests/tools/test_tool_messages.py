"""Calls and results as messages: ids that belong together, one type in every row, the forms that trainers take."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from distill_data.formats.turns import turns_of
from distill_data.tools import Call, Step, call_message, completion, tools_column
from tests.tools import BY_NAME, SPECS

LEAP = Call("is_leap_year", {"year": 2024})
COUNT = Call("word_count", {"text": "é “two”\u2028"})
CHAT = completion([Step([LEAP, COUNT], ["true", "2"], "First both."), Step([COUNT], ["2"])], "Yes, and 2.")


def test_a_whole_chat_in_the_order_it_happened() -> None:
    roles = [message["role"] for message in CHAT]
    assert roles == ["assistant", "tool", "tool", "assistant", "tool", "assistant"]
    assert CHAT[0] == {
        "role": "assistant",
        "content": "First both.",
        "tool_calls": [
            {
                "id": "call00000",
                "type": "function",
                "function": {"name": "is_leap_year", "arguments": '{"year":2024}'},
            },
            {
                "id": "call00001",
                "type": "function",
                "function": {"name": "word_count", "arguments": '{"text":"é “two”\u2028"}'},
            },
        ],
    }
    assert CHAT[2] == {"role": "tool", "tool_call_id": "call00001", "name": "word_count", "content": "2"}
    assert CHAT[-1] == {"role": "assistant", "content": "Yes, and 2."}


def test_every_result_follows_its_call_and_ids_are_nine_letters_and_digits() -> None:
    called = [call["id"] for message in CHAT for call in message.get("tool_calls", [])]
    answered = [message["tool_call_id"] for message in CHAT if message["role"] == "tool"]
    assert called == answered == ["call00000", "call00001", "call00002"]
    assert all(len(name) == 9 and name.isalnum() for name in called)


def test_calls_without_results_are_a_completion_of_one_message() -> None:
    assert completion([Step([LEAP], [])]) == [call_message([LEAP])]


def test_results_that_are_not_one_for_each_call_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="shorter"):
        completion([Step([LEAP, COUNT], ["true"])])


def test_the_tools_column_is_text_of_the_shape_that_trainers_decode() -> None:
    column = tools_column([BY_NAME["word_count"], BY_NAME["is_leap_year"]])
    functions = json.loads(column)
    assert [entry["type"] for entry in functions] == ["function", "function"]
    assert functions[1]["function"] == {
        "name": "is_leap_year",
        "description": BY_NAME["is_leap_year"].description,
        "parameters": BY_NAME["is_leap_year"].parameters,
    }


TEMPLATE = """
{%- for entry in tools %}<tool>{{ entry.function.name }}</tool>{% endfor %}
{%- for message in messages %}<{{ message.role }}>{{ message.content }}
{%- for call in message.tool_calls %}<call>{{ call.function.name }}
{%- for key, value in call.function.arguments | items %} {{ key }}={{ value }}{% endfor %}</call>{% endfor %}
{%- if message.tool_call_id %} ({{ message.tool_call_id }}){% endif %}
{%- endfor %}"""


def test_a_template_that_walks_through_arguments_renders_the_chat() -> None:
    from jinja2 import Environment

    template = Environment(autoescape=False).from_string(TEMPLATE)
    shown = template.render(
        tools=json.loads(tools_column(SPECS[:1])),
        messages=turns_of(completion([Step([LEAP], ["true"])], "Yes."), "completion"),
    )
    assert shown == (
        "<tool>calculate</tool><assistant><call>is_leap_year year=2024</call><tool>true (call00000)<assistant>Yes."
    )


@pytest.mark.datasets
def test_datasets_reads_rows_whose_arguments_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    import datasets

    chats: list[list[dict[str, Any]]] = [CHAT, [call_message([LEAP])], completion([Step([COUNT], ["2"])], "Two.")]
    rows = [
        {"prompt": [{"role": "user", "content": "q"}], "completion": chat, "tools": tools_column(SPECS[:2])}
        for chat in chats
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    loaded = datasets.load_dataset("json", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache"))
    for row, expected in zip(loaded, chats, strict=True):
        given = [{key: value for key, value in message.items() if value is not None} for message in row["completion"]]
        assert given == expected
        assert [entry["type"] for entry in json.loads(row["tools"])] == ["function", "function"]

"""Rows for Parquet and Arrow: verl's prompts with a ground truth, and records as they are. Knows no file.

A column of a table has one type. What varies from row to row, the arguments of calls and the tools, is JSON text.
"""

from __future__ import annotations

from typing import Any

import orjson

from distill_data.data.columns import text_of
from distill_data.data.exchange import Message
from distill_data.data.items import Row
from distill_data.errors import SeedError
from distill_data.formats.trl import images_of
from distill_data.formats.turns import Given, chat_of, flat, prompt_of, tools_of

JSON_KEYS = ("tools", "arguments", "details")
"""Keys whose values are JSON text in a table, wherever they stand."""


def record(given: Given) -> list[Row]:
    """The row as it is, but for the pointer to its arrays, which lie beside the dataset that it comes from."""
    return [{key: as_text(key, value) for key, value in given.row.items() if key != "features"}]


def as_text(key: str, value: Any) -> Any:
    """A value with JSON text wherever an object would have other keys in another row. Raises SeedError."""
    if key in JSON_KEYS and value is not None:
        return _json_text(key, value)
    if isinstance(value, dict):
        return {name: as_text(name, each) for name, each in value.items()}
    if isinstance(value, list) and value and not isinstance(value[0], str):
        return [as_text("", each) for each in value]
    return value


def _json_text(key: str, value: Any) -> str:
    if not isinstance(value, str):
        return orjson.dumps(value).decode()
    try:
        orjson.loads(value)
    except orjson.JSONDecodeError:
        raise SeedError(f"{key} must be JSON or text of it, and is the text {value[:60]!r}") from None
    return value


def verl(given: Given) -> list[Row]:
    """data_source, prompt, ability, reward_model with the ground truth, and extra_info.

    The ground truth is the row's answer; without one, what the completion's last message says. verl configures tools
    elsewhere, so here they are JSON text in extra_info.
    """
    row = given.row
    prompt = [_spoken(message) for message in prompt_of(row)]
    answer = row["answer"] if row.get("answer") is not None else row.get("solution")
    truth = text_of(_last(row) if answer is None else answer)
    meta = row.get("meta")
    made_by = meta.get("recipe") if isinstance(meta, dict) else None
    images = images_of(row).get("images")
    found = {} if images is None else {"images": [{"image": image} for image in images]}
    more = {"tools": orjson.dumps(tools_of(row)).decode()} if "tools" in row else {}
    return [
        {
            "data_source": str(row.get("data_source") or made_by or "distill-data"),
            "prompt": prompt,
            "ability": str(row.get("ability") or "general"),
            "reward_model": {"style": "rule", "ground_truth": truth},
            **found,
            "extra_info": {"split": "train", "index": given.ordinal, "id": str(row.get("id", "")), **more},
        }
    ]


def _last(row: Row) -> Message:
    """The message that answers: behind calls and results the last one."""
    last = chat_of(row).completion[-1]
    if last["role"] != "assistant":
        raise SeedError(f"this row ends with a message of {last['role']}, and there is no answer to compare with")
    return last


def _spoken(message: dict[str, Any]) -> dict[str, str]:
    if message.get("tool_calls") or message["role"] == "tool":
        raise SeedError("verl's prompts are read for role and content, and this one has calls")
    return {"role": message["role"], "content": flat(message["content"])}

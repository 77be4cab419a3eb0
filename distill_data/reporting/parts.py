"""A row in the order in which a person reads it: the messages and long texts, then short values, then where it is from.

Knows every shape that a row of a dataset can have, and no page and no terminal.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

HEAD = ("id", "kind")
SHORT = 80
"""Characters of a text that stands among the values."""
VECTOR = 12
"""Numbers of a list of which only some are shown."""


class Part(NamedTuple):
    """A text of a row."""

    column: str
    role: str
    """Of a message; else empty."""
    text: str


class Parts(NamedTuple):
    """A row taken apart."""

    id: str
    kind: str
    texts: tuple[Part, ...]
    values: tuple[tuple[str, str], ...]
    """Columns that are short."""
    meta: tuple[tuple[str, str], ...]
    """Where it is from, by the column meta; what is JSON text there is set out."""


def parts_of(row: Mapping[str, Any]) -> Parts:
    """Any row; nothing in it is left out, but most of the numbers of a vector."""
    texts: list[Part] = []
    values: list[tuple[str, str]] = []
    meta: list[tuple[str, str]] = []
    for column, value in row.items():
        if column in HEAD and isinstance(value, str):
            continue
        if column == "meta" and isinstance(value, Mapping):
            meta += [(str(key), set_out(each)) for key, each in value.items()]
        elif found := list(_texts(column, value)):
            texts += found
        else:
            values.append((column, short_value(value)))
    head = {name: row[name] for name in HEAD if isinstance(row.get(name), str)}
    return Parts(head.get("id", ""), head.get("kind", ""), tuple(texts), tuple(values), tuple(meta))


def row_of_reject(reject: Mapping[str, Any]) -> dict[str, Any]:
    """The row that was rejected, or the seed of an item, which a run keeps as JSON text."""
    row = reject.get("row", reject.get("seed"))
    if isinstance(row, str):
        with suppress(ValueError, RecursionError):
            row = json.loads(row)
    return dict(row) if isinstance(row, Mapping) else {"seed": row} if row else {}


def detail_of(reject: Mapping[str, Any]) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Why a row was rejected: as a text, or as names and values where the detail is an object, or JSON text of one."""
    detail = reject.get("detail")
    if isinstance(detail, str) and detail.startswith("{"):
        with suppress(ValueError, RecursionError):
            detail = json.loads(detail)
    if isinstance(detail, Mapping):
        return "", tuple((str(name), short_value(value)) for name, value in detail.items())
    return ("" if detail is None else short_value(detail)), ()


def said(message: Mapping[str, Any]) -> str:
    """All that a message says: reasoning, content, calls, each where it is there."""
    reasoning, content = message.get("reasoning_content"), message.get("content", message.get("value"))
    rest = {
        key: each
        for key, each in message.items()
        if key not in ("role", "from", "content", "value", "reasoning_content") and each not in (None, "", [])
    }
    pieces = [f"(reasoning) {reasoning}" if reasoning else "", _content(content), _json(rest) if rest else ""]
    return "\n\n".join(filter(None, pieces))


def set_out(value: Any) -> str:
    """A value as text; JSON text is read and indented."""
    read = value
    if isinstance(value, str) and value.startswith(("{", "[")):
        with suppress(ValueError, RecursionError):
            read = json.loads(value)
    return json.dumps(read, ensure_ascii=False, indent=2) if isinstance(read, dict | list) else short_value(read)


def short_value(value: Any) -> str:
    """A value on one line; of a vector the first numbers."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and len(value) > VECTOR and all(isinstance(each, int | float) for each in value):
        return f"{_json(value[:3])[:-1]}, … {len(value):,} numbers]"
    return _json(value)


def _texts(column: str, value: Any) -> Iterator[Part]:
    """The texts of a column, none where it holds something short."""
    match value:
        case str() if len(value) > SHORT or "\n" in value:
            yield Part(column, "", value)
        case str() if column in ("text", "instruction", "input", "output", "question", "response", "solution"):
            yield Part(column, "", value)
        case [{"role": _} | {"from": _}, *_]:
            for message in value:
                yield _message(column, message)
        case [str(), *_] if any(len(each) > SHORT // 2 for each in value if isinstance(each, str)) or len(value) < 9:
            for index, each in enumerate(value, 1):
                yield Part(f"{column} {index}" if len(value) > 1 else column, "", short_value(each))
        case [[{"role": _}, *_], *_]:
            for index, chat in enumerate(value, 1):
                yield from _texts(f"{column} {index}", chat)


def _message(column: str, message: Any) -> Part:
    if not isinstance(message, Mapping):
        return Part(column, "", short_value(message))
    return Part(column, str(message.get("role", message.get("from", ""))), said(message))


def _content(content: Any) -> str:
    """The content of a message, which may come in parts."""
    if isinstance(content, str) or content is None:
        return content or ""
    if isinstance(content, Sequence):
        return "\n".join(
            str(each["text"]) if isinstance(each, Mapping) and "text" in each else _json(each) for each in content
        )
    return _json(content)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)

"""What a row says, by column: any column as text, and x and y in every shape that datasets have. Knows no file.

`x` is what is asked and `y` what is answered. They are found by the columns that are there and not null, as rows of
several shapes in one table have the columns of all:

| row | x | y |
|---|---|---|
| prompt and completion, chosen, responses or completions | prompt | completion, chosen, the first response, all steps |
| messages, or conversations (ShareGPT) | all before the last assistant's turn | the last assistant's turn |
| instruction (with input), question, query, problem | these | output, response, answer, solution |
| anchor and positive | anchor | positive |
| text alone | text | text |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from distill_data.data.items import Row, canonical
from distill_data.errors import SeedError

_ASKED = ("prompt", "instruction", "question", "query", "problem", "anchor", "text")
_ANSWERED = ("completion", "chosen", "responses", "completions", "output", "response", "answer", "solution", "positive")
_CHATS = ("messages", "conversations")
_ASSISTANTS = ("assistant", "gpt")

TextOf = Callable[[Row], str]
"""A row's text in some column. Raises SeedError, without the place, where the row has none."""


def text_of(value: Any) -> str:
    """A value as one text: messages and lists joined by a line break, an object as JSON, nothing as "".

    Of a message it is the content; of content in parts, the texts among them.
    """
    match value:
        case str():
            return value
        case None:
            return ""
        case list():
            return "\n".join(filter(None, map(text_of, value)))
        case {"role": _, "content": content}:
            return text_of(content)
        case {"from": _, "value": str(said)}:
            return said
        case {"type": "text", "text": str(text)}:
            return text
        case {"type": "image" | "image_url" | "audio" | "video"}:
            return ""
        case _:
            return canonical(value).decode()


def x_of(row: Row) -> str:
    """What is asked; of null, "". Raises SeedError where no column is known to be it."""
    for name in _CHATS:
        if row.get(name) is not None and row.get("prompt") is None:
            return text_of(_split(row[name])[0])
    for name in _ASKED:
        if row.get(name) is not None:
            given = [row[name], row.get("input")] if name == "instruction" else row[name]
            return text_of(given)
    return _null("what is asked (x)", row, (*_ASKED, *_CHATS))


def y_of(row: Row) -> str:
    """What is answered; of several, the first; of null, "". Raises SeedError where no column is known to be it."""
    for name in _CHATS:
        if row.get(name) is not None and row.get("completion") is None:
            return text_of(_split(row[name])[1])
    for name in _ANSWERED:
        if row.get(name) is not None:
            value = row[name]
            return text_of(value[:1] if name == "responses" and isinstance(value, list) else value)
    if "text" in row:
        return text_of(row["text"])
    return _null("what is answered (y)", row, (*_ANSWERED, *_CHATS))


def value_at(row: Row, name: str) -> Any:
    """A column's value; `meta.seed_id` goes into an object. Raises SeedError where there is none."""
    if name in row:
        return row[name]
    value: Any = row
    for part in name.split("."):
        if not isinstance(value, Mapping) or part not in value:
            raise SeedError(f"there is no column {name!r}; there are: {', '.join(row)}")
        value = value[part]
    return value


def number_at(row: Row, name: str) -> float:
    """A column's number. Raises SeedError where there is none."""
    value = value_at(row, name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SeedError(f"the column {name!r} holds no number, but {str(value)[:50]!r}")
    return float(value)


def make_text(on: str) -> TextOf:
    """A row's text: `x`, `y`, a column's name, or several joined by `+`, such as `x+y`.

    A column that is called x or y is that column. Raises SeedError for a name that is empty.
    """
    names = on.split("+")
    if not all(names):
        raise SeedError(f"{on!r} names no column; a name, x or y is wanted, or several with + between")
    parts = [partial(_named, name) for name in names]
    if len(parts) == 1:
        return parts[0]
    return lambda row: "\n".join(part(row) for part in parts)


def _named(name: str, row: Row) -> str:
    if name in _ROLES and name not in row:
        return _ROLES[name](row)
    return text_of(value_at(row, name))


_ROLES: Mapping[str, TextOf] = {"x": x_of, "y": y_of}


def _split(messages: Any) -> tuple[list[Any], list[Any]]:
    """A chat before and from the last turn of an assistant."""
    if not isinstance(messages, list):
        return [], []
    for at in range(len(messages) - 1, -1, -1):
        message = messages[at]
        if isinstance(message, Mapping) and (message.get("role") or message.get("from")) in _ASSISTANTS:
            return messages[:at], messages[at : at + 1]
    return messages, []


def _null(what: str, row: Row, names: Sequence[str]) -> str:
    """Nothing, where one of these columns is there. Raises SeedError where none is."""
    if row.keys().isdisjoint(names):
        wanted = f"one of {', '.join(names)} is wanted"
        raise SeedError(f"no column is known to hold {what}: {wanted}; there are: {', '.join(row)}")
    return ""

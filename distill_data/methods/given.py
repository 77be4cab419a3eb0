"""Rows whose y is given: what of them is scored, and the records that this becomes. Knows no kind of knowledge.

A row has x and y in `prompt` and `completion`, each chat messages or text; or a conversation in `messages`, also as the
JSON text that CSV needs, whose last turn is y; or raw text in `text`, all of which is y. Messages are made alike: their
content is text, unless it holds more than text; what is empty is left out; arguments of calls are JSON text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from distill_data.data.exchange import Answer, Message, Request
from distill_data.data.items import Item, Record, Row, canonical
from distill_data.errors import SeedError
from distill_data.formats import Source, make_row
from distill_data.recipes import Recipe

COLUMNS = ("prompt", "completion", "messages", "text")
"""The columns of a row that are read here."""
_SHAPES = "prompt and completion, or messages, or text"


class Given(NamedTuple):
    """x and y of one row."""

    messages: tuple[Message, ...]
    """x; empty where y is raw text."""
    completion: tuple[Message, ...]
    raw: bool

    def columns(self) -> dict[str, Any]:
        """The record's own columns."""
        if self.raw:
            return {"text": self.completion[0]["content"]}
        return {"prompt": list(self.messages), "completion": list(self.completion)}

    def text(self) -> str:
        """y as one text."""
        return "\n\n".join(filter(None, (_text(message.get("content")) for message in self.completion)))


def read_given(row: Row) -> Given:
    """x and y. Raises SeedError, without file and line, where the row does not have them."""
    if row.get("completion") is not None and _is_there(row, "prompt"):
        return Given(_messages(row, "prompt", "user"), _messages(row, "completion", "assistant"), raw=False)
    if _is_there(row, "messages"):
        turns = _messages(row, "messages", "user")
        if len(turns) < 2 or turns[-1]["role"] != "assistant":
            raise SeedError(
                "the column messages must end with an assistant's turn, which is y, after at least one other"
            )
        return Given(turns[:-1], turns[-1:], raw=False)
    if isinstance(row.get("text"), str):
        return Given((), ({"role": "assistant", "content": row["text"]},), raw=True)
    if row.get("completion") is not None and "prompt" in row:
        raise SeedError("the column prompt is empty; raw text without x stands in a column `text`")
    raise SeedError(f"x and y are wanted: {_SHAPES}; this row's columns are: {', '.join(map(str, row)) or 'none'}")


def read_prompt(row: Row) -> tuple[Message, ...]:
    """x alone: `prompt`, or `messages` up to the last turn where that is an assistant's. Raises SeedError."""
    if _is_there(row, "prompt"):
        return _messages(row, "prompt", "user")
    if _is_there(row, "messages"):
        turns = _messages(row, "messages", "user")
        x = turns[:-1] if turns[-1]["role"] == "assistant" else turns
        if x:
            return x
    raise SeedError(f"x is wanted: prompt, or messages; this row's columns are: {', '.join(map(str, row)) or 'none'}")


def _is_there(row: Row, column: str) -> bool:
    return row.get(column) not in (None, "", [])


def _messages(row: Row, column: str, role: str) -> tuple[Message, ...]:
    """A column's chat messages; text is one message of that role."""
    value = row[column]
    if isinstance(value, str) and column == "messages":
        value = _spelled_out(value)
    if isinstance(value, str):
        return ({"role": role, "content": value},)
    if not isinstance(value, list) or not all(map(_is_message, value)):
        either = "" if column == "messages" else "a text or "
        raise SeedError(f"the column {column} must hold {either}a list of chat messages, each with a role and content")
    return tuple(map(_alike, value)) or ({"role": role, "content": ""},)


def _spelled_out(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def _is_message(value: Any) -> bool:
    calls = value.get("tool_calls") if isinstance(value, Mapping) else None
    return (
        isinstance(value, Mapping)
        and isinstance(value.get("role"), str)
        and isinstance(value.get("content", ""), (str, list, type(None)))
        and ("content" in value or "tool_calls" in value)
        and (calls is None or (isinstance(calls, list) and all(isinstance(call, Mapping) for call in calls)))
    )


def _alike(message: Mapping[str, Any]) -> Message:
    """The message as every record has it: readers take the types of a column from its first rows."""
    made: Message = {"role": message["role"], "content": _plain(message.get("content"))}
    made |= {key: message[key] for key in ("name", "reasoning_content", "tool_call_id") if message.get(key)}
    if message.get("tool_calls"):
        made["tool_calls"] = [_with_text(call) for call in message["tool_calls"]]
    return made


def _plain(content: Any) -> Any:
    """Content parts as one text, where they hold nothing but text."""
    parts = content if isinstance(content, list) else []
    texts = all(isinstance(part, Mapping) and part.get("type") == "text" for part in parts)
    return _text(content) if texts else content


def _with_text(call: Mapping[str, Any]) -> dict[str, Any]:
    function = call.get("function")
    if not isinstance(function, Mapping) or isinstance(function.get("arguments"), str):
        return dict(call)
    return {**call, "function": {**function, "arguments": canonical(function.get("arguments", {})).decode()}}


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "".join(str(part.get("text") or "") for part in content if isinstance(part, Mapping))
    return content or ""


@dataclass(frozen=True, slots=True)
class Annotator:
    """What all strategies of `feature` share: a recipe made ready to run."""

    recipe: Recipe
    teachers: Mapping[str, str]
    """Role to the model's name."""
    tokenizers: Mapping[str, Mapping[str, Any]]
    """Role to its tokenizer's fingerprint, where that is known."""

    def request(self, given: Given, feature: Mapping[str, Any]) -> Request:
        """φ of the given y."""
        return Request(list(given.messages), kind="score", completion=given.completion, feature=feature)

    def tokenizer(self, role: str) -> dict[str, Any]:
        """The fingerprint; empty where it is not known. In one order, also where it comes from a run's own notes."""
        return dict(sorted((self.tokenizers.get(role) or {}).items()))

    def vocab_size(self, role: str) -> int:
        """Ids that the model has; 0 where it is not known."""
        return int(self.tokenizer(role).get("vocab_size") or 0)

    def most_ids(self) -> int:
        """Ids of the teacher that has the most: models under one tokenizer may be padded to other sizes."""
        return max(map(self.vocab_size, self.teachers), default=0)

    def described(self, role: str, of: str, tokens: int, **more: Any) -> dict[str, Any]:
        """The column `features`. The side file is named when it is written."""
        tokenizer = self.tokenizer(next(iter(self.teachers)) if role == ALL else role)
        if tokenizer and role == ALL:
            tokenizer["vocab_size"] = self.most_ids()
        return {"file": "", "tokens": tokens, **({"tokenizer": tokenizer} if tokenizer else {}), "kind": of, **more}

    def record(
        self, item: Item, answer: Answer | None, columns: Mapping[str, Any], details: Mapping[str, Any],
        *, role: str = "teacher", sample: int = 0, part: str = "",
    ) -> Record:  # fmt: skip
        """One row of the recipe's kind. The names of several teachers whose knowledge is averaged stand in one."""
        recipe = self.recipe
        names = " + ".join(self.teachers.values()) if role == ALL else self.teachers.get(role, "")
        source = Source(
            recipe.command,
            recipe.name,
            recipe.digest,
            item.id,
            role,
            names,
            answer.model if answer else "",
            sample,
            part,
        )
        parent = item.row.get("id")
        lineage = {"parent": parent} if isinstance(parent, str) else {}
        return make_row(recipe.record.kind, source, columns, {**details, **lineage})


ALL = "teachers"
"""The role of a record that all teachers gave together."""


def rejection_of(answers: Sequence[Answer]) -> tuple[str, str]:
    """Why the first of them that has no arrays has none; two empty texts where all have some."""
    for answer in answers:
        feature = answer.feature or {"rejected": "no-feature", "detail": "the reply holds no arrays"}
        if reason := feature.get("rejected"):
            return str(reason), str(feature.get("detail", ""))
    return "", ""

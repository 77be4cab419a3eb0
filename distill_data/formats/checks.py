"""What may stand in a column: checks of single values, and relations between columns. Knows no consumer and no file.

A check says what is wrong with a value as the rest of a sentence, `must be a text, and is null`, and nothing where it
is right. A relation is looked at only where every column is right by itself.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

import orjson

from distill_data.data.items import Record
from distill_data.data.seeds import exact_integer
from distill_data.errors import SeedError

ROLES = ("system", "user", "assistant", "tool")

LONG = re.compile(r"\d{19}")

Check = Callable[[Any], str]
"""What is wrong with a value, as the rest of a sentence; nothing where it is right."""
Relation = Callable[[Record], Iterator[tuple[str, str]]]
"""(column, what is wrong) between columns. Looked at only where every column is right by itself."""


# -- values ------------------------------------------------------------------------------------------------------------


def kind_of_value(value: Any) -> str:
    """A JSON value's kind in words: `a text`, `an empty list`, `nan`."""
    if value is None:
        return "null"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    names = {bool: "true or false", int: "a whole number", float: "a float", str: "a text", dict: "an object"}
    return names.get(type(value), f"a {type(value).__name__}")


def is_(name: str, right: Callable[[Any], bool]) -> Check:
    """The check that a value is `name`."""
    return lambda value: "" if right(value) else f"must be {name}, and is {kind_of_value(value)}"


def list_of(name: str, right: Callable[[Any], bool], least: int = 1) -> Check:
    """The check that a value is a list of at least `least` elements that are right."""

    def check(value: Any) -> str:
        if not isinstance(value, list):
            return f"must be a list of {name}, and is {kind_of_value(value)}"
        if len(value) < least:
            return f"must be a list of at least {least} {name}, and has {len(value)}"
        wrong = next((at for at, each in enumerate(value) if not right(each)), None)
        if wrong is None:
            return ""
        return f"must be a list of {name}, and its element {wrong} is {kind_of_value(value[wrong])}"

    return check


def each_of(name: str, check: Check) -> Check:
    """The check that a value is a list whose elements, called `name`, all pass another check."""

    def checked(value: Any) -> str:
        if not isinstance(value, list) or not value:
            return f"must be a list of {name}s, and is {kind_of_value(value)}"
        for at, each in enumerate(value):
            fault = check(each)
            if fault:
                return f"{name} {at} {fault}"
        return ""

    return checked


def keys(**checks: Check) -> Check:
    """The check that a value is an object whose keys pass; further keys are as they like."""

    def check(value: Any) -> str:
        if not isinstance(value, dict):
            return f"must be an object, and is {kind_of_value(value)}"
        for key, right in checks.items():
            fault = right(value[key]) if key in value else "is missing"
            if fault:
                return f"has a key {key} that {fault}"
        return ""

    return check


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_real(value: Any) -> bool:
    return type(value) is float and math.isfinite(value)


TEXT = is_("a text", _is_text)
BOOL = is_("true or false", lambda value: type(value) is bool)
REAL = is_("a float", _is_real)
WHOLE = is_("a whole number", lambda value: type(value) is int)
TEXTS = list_of("texts", _is_text)
SEVERAL_TEXTS = list_of("texts", _is_text, 2)
REALS = list_of("floats", _is_real)
BOOLS = list_of("true or false", lambda each: type(each) is bool)
IMAGES = is_("a list of paths or images", lambda value: isinstance(value, list) and all(value))


# -- messages ----------------------------------------------------------------------------------------------------------


def message(value: Any) -> str:
    """A chat message: a role, and a content as text or parts; content may be absent beside calls."""
    if not isinstance(value, dict):
        return f"must be an object, and is {kind_of_value(value)}"
    if value.get("role") not in ROLES:
        return f"has the role {value.get('role')!r}; there are {', '.join(ROLES)}"
    calls, content = value.get("tool_calls"), value.get("content")
    fault = _calls(calls) if calls else ""
    if fault:
        return f"has a {fault}"
    if isinstance(content, str) or (content is None and calls):
        return ""
    if isinstance(content, list) and content:
        parts = all(isinstance(part, dict) and isinstance(part.get("type"), str) for part in content)
        return "" if parts else "has a content part without a type"
    return f"has a content that must be a text, and is {kind_of_value(content)}"


def _call(value: Any) -> str:
    function = value.get("function") if isinstance(value, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        return "must be an object with a function that has a name"
    arguments = function.get("arguments")
    return "" if isinstance(arguments, dict | str) else f"has arguments that are {kind_of_value(arguments)}"


_calls = each_of("call", _call)
messages = each_of("message", message)


def turns(value: Any) -> str:
    """Text or messages."""
    return "" if isinstance(value, str) else messages(value)


def prompt(value: Any) -> str:
    """Text or messages that an assistant can go on from."""
    fault = turns(value)
    if fault or isinstance(value, str) or value[-1]["role"] != "system":
        return fault
    return "ends with a system message, and an answer follows a user, a tool or an assistant"


def asked(value: Any) -> str:
    """Messages that an assistant can go on from."""
    return messages(value) or prompt(value)


def tools(value: Any) -> str:
    """A list of JSON schemas, or JSON text of one."""
    if isinstance(value, str):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            return "must be a list of schemas or JSON text of one, and is a text that is no JSON"
    return list_of("schemas", lambda each: isinstance(each, dict), 0)(value)


def read_json(text: str) -> Any:
    """The value of JSON text. Raises ValueError, and SeedError where an integer would become a float."""
    value = orjson.loads(text)
    if LONG.search(text):
        try:
            json.loads(text, parse_int=exact_integer)
        except (ValueError, RecursionError) as error:
            raise SeedError(str(error)) from None
    return value


# -- between columns ---------------------------------------------------------------------------------------------------


def same_form(first: str, *others: str) -> Relation:
    """All texts, or all messages: trainers join them."""

    def relation(record: Record) -> Iterator[tuple[str, str]]:
        for name in others:
            if isinstance(record[name], str) is not isinstance(record[first], str):
                yield name, f"is {kind_of_value(record[name])}, where {first} is {kind_of_value(record[first])}"

    return relation


def as_long(first: str, second: str) -> Relation:
    """Two lists of the same length."""

    def relation(record: Record) -> Iterator[tuple[str, str]]:
        if len(record[first]) != len(record[second]):
            yield second, f"has {len(record[second])} elements, where {first} has {len(record[first])}"

    return relation


def begin_alike(first: str, second: str) -> Relation:
    """What both begin with is the prompt where there is no column of it."""

    def relation(record: Record) -> Iterator[tuple[str, str]]:
        if record[first][:1] != record[second][:1]:
            yield second, f"must begin as {first} does: without a column prompt, what they share is the prompt"

    return relation


def falls(name: str) -> Relation:
    """Numbers from the highest to the lowest."""

    def relation(record: Record) -> Iterator[tuple[str, str]]:
        rise = next((at for at in range(1, len(record[name])) if record[name][at] > record[name][at - 1]), 0)
        if rise:
            yield name, f"must go from the best to the worst, and its element {rise} is above the one before"

    return relation


def opened(*names: str) -> Relation:
    """Arguments of calls are objects: most chat templates quote a text a second time, or stop."""
    return _arguments(dict, "text, and chat templates want an object", names)


def closed(*names: str) -> Relation:
    """Arguments of calls are JSON text."""
    return _arguments(str, "an object, and JSON text is wanted", names)


def _arguments(kind: type, otherwise: str, names: tuple[str, ...]) -> Relation:
    def right(message: Any) -> bool:
        return all(isinstance(call["function"]["arguments"], kind) for call in message["tool_calls"] or ())

    def relation(record: Record) -> Iterator[tuple[str, str]]:
        for name in names:
            said = record.get(name)
            for at, each in enumerate(said if isinstance(said, list) else ()):
                if "tool_calls" in each and not right(each):
                    yield name, f"message {at} has a call whose arguments are {otherwise}"
                    break

    return relation


def images_fit(*names: str, parts: bool = False) -> Relation:
    """As many places for an image in the chats as there are images.

    A place is `<image>` in a text; or with `parts` a part of a message, and then a chat without any is right too.
    """

    def relation(record: Record) -> Iterator[tuple[str, str]]:
        images = record.get("images")
        if isinstance(images, list):
            places = sum(_places(record.get(name), parts) for name in names)
            if places != len(images) and not (parts and not places):
                yield "images", f"has {len(images)}, and the chat has {places} places for them"

    return relation


def _places(value: Any, parts: bool) -> int:
    match value:
        case str():
            return 0 if parts else value.count("<image>")
        case list():
            return sum(_places(each, parts) for each in value)
        case {"type": "image"}:
            return int(parts)
        case {"content": said} | {"value": said} | {"text": said}:
            return _places(said, parts)
    return 0

"""Contracts: the columns that trainers want, and what may stand in them, as data.

After TRL 1.16, except `stepwise` (TRL up to 1.13, Axolotl) and the list-wise losses `rrhf` and `pro`, which TRL has
not: their repositories call the same columns by other names. Columns that a contract does not name are the trainer's
to ignore. Knows no files, and not how a record came to be.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import orjson

from distill_data.data.items import Record
from distill_data.errors import UsageError

ROLES = ("system", "user", "assistant", "tool")

Check = Callable[[Any], str]
"""What is wrong with a value, as the rest of a sentence; nothing where it is right."""
Relation = Callable[[Record], Iterator[tuple[str, str]]]
"""(column, what is wrong) between columns. Looked at only where every column is right by itself."""
EMPTY: Mapping[str, Any] = MappingProxyType({})


class Form(NamedTuple):
    """One set of columns that a trainer reads."""

    columns: Mapping[str, Check]
    relations: tuple[Relation, ...] = ()


class Contract(NamedTuple):
    """What a trainer reads."""

    forms: tuple[Form, ...]
    """Of these the first whose columns are all there counts, else the very first."""
    optional: Mapping[str, Check] = EMPTY
    """Columns that are read where they are there."""
    barred: Mapping[str, str] = EMPTY
    """Columns that may not be there, with the reason."""


# -- values ------------------------------------------------------------------------------------------------------------


def _is(name: str, right: Callable[[Any], bool]) -> Check:
    return lambda value: "" if right(value) else f"must be {name}, and is {_kind(value)}"


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    names = {bool: "true or false", int: "a whole number", float: "a float", str: "a text", dict: "an object"}
    return names.get(type(value), f"a {type(value).__name__}")


def _is_real(value: Any) -> bool:
    return type(value) is float and math.isfinite(value)


def _list_of(name: str, right: Callable[[Any], bool], least: int = 1) -> Check:
    def check(value: Any) -> str:
        if not isinstance(value, list):
            return f"must be a list of {name}, and is {_kind(value)}"
        if len(value) < least:
            return f"must be a list of at least {least} {name}, and has {len(value)}"
        wrong = next((at for at, each in enumerate(value) if not right(each)), None)
        return "" if wrong is None else f"must be a list of {name}, and its element {wrong} is {_kind(value[wrong])}"

    return check


def _messages(value: Any) -> str:
    if not isinstance(value, list) or not value:
        return f"must be a list of messages, and is {_kind(value)}"
    for at, message in enumerate(value):
        fault = _message(message)
        if fault:
            return f"message {at} {fault}"
    return ""


def _message(message: Any) -> str:
    if not isinstance(message, Mapping):
        return f"must be an object, and is {_kind(message)}"
    if message.get("role") not in ROLES:
        return f"has the role {message.get('role')!r}; there are {', '.join(ROLES)}"
    content = message.get("content")
    if content is None and message.get("tool_calls"):
        return ""
    if isinstance(content, list) and content:
        parts = all(isinstance(part, Mapping) and isinstance(part.get("type"), str) for part in content)
        return "" if parts else "has a content part without a type"
    return "" if isinstance(content, str) else f"has a content that must be a text, and is {_kind(content)}"


def _turns(value: Any) -> str:
    """Text or messages."""
    return "" if isinstance(value, str) else _messages(value)


def _prompt(value: Any) -> str:
    """Text or messages that an assistant can go on from."""
    fault = _turns(value)
    if fault or isinstance(value, str) or value[-1]["role"] != "system":
        return fault
    return "ends with a system message, and an answer follows a user, a tool or an assistant"


def _tools(value: Any) -> str:
    """A list of JSON schemas, or JSON text of one."""
    if isinstance(value, str):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            return "must be a list of schemas or JSON text of one, and is a text that is no JSON"
    return _list_of("schemas", lambda each: isinstance(each, Mapping), 0)(value)


TEXT = _is("a text", lambda value: isinstance(value, str))
BOOL = _is("true or false", lambda value: type(value) is bool)
REAL = _is("a float", _is_real)
TEXTS = _list_of("texts", lambda each: isinstance(each, str))
SEVERAL_TEXTS = _list_of("texts", lambda each: isinstance(each, str), 2)
REALS = _list_of("floats", _is_real)
BOOLS = _list_of("true or false", lambda each: type(each) is bool)


# -- between columns ---------------------------------------------------------------------------------------------------


def _same_form(first: str, *others: str) -> Relation:
    """All texts, or all messages: trainers join them."""

    def relation(record: Record) -> Iterator[tuple[str, str]]:
        for name in others:
            if isinstance(record[name], str) is not isinstance(record[first], str):
                yield name, f"is {_kind(record[name])}, where {first} is {_kind(record[first])}"

    return relation


def _as_long(first: str, second: str) -> Relation:
    def relation(record: Record) -> Iterator[tuple[str, str]]:
        if len(record[first]) != len(record[second]):
            yield second, f"has {len(record[second])} elements, where {first} has {len(record[first])}"

    return relation


def _begin_alike(first: str, second: str) -> Relation:
    """What both begin with is the prompt where there is no column of it."""

    def relation(record: Record) -> Iterator[tuple[str, str]]:
        if record[first][:1] != record[second][:1]:
            yield second, f"must begin as {first} does: without a column prompt, what they share is the prompt"

    return relation


def _falls(name: str) -> Relation:
    def relation(record: Record) -> Iterator[tuple[str, str]]:
        rise = next((at for at in range(1, len(record[name])) if record[name][at] > record[name][at - 1]), 0)
        if rise:
            yield name, f"must go from the best to the worst, and its element {rise} is above the one before"

    return relation


# -- trainers ----------------------------------------------------------------------------------------------------------

PROMPT_COMPLETION = Form({"prompt": _prompt, "completion": _turns}, (_same_form("prompt", "completion"),))
PREFERENCE = Form(
    {"prompt": _prompt, "chosen": _turns, "rejected": _turns}, (_same_form("prompt", "chosen", "rejected"),)
)
WHOLE = Form({"chosen": _turns, "rejected": _turns}, (_same_form("chosen", "rejected"),))
IMPLICIT = WHOLE._replace(relations=(*WHOLE.relations, _begin_alike("chosen", "rejected")))
UNPAIRED = Form({**PROMPT_COMPLETION.columns, "label": BOOL}, PROMPT_COMPLETION.relations)
RANKED = Form({"prompt": _prompt, "responses": SEVERAL_TEXTS, "scores": REALS}, (_as_long("responses", "scores"),))
STEPS = Form({"prompt": TEXT, "completions": TEXTS, "labels": BOOLS}, (_as_long("completions", "labels"),))
TOOLS: Mapping[str, Check] = {"tools": _tools}
TAKEN = "GRPO hands every column to the reward functions by its name, and this name is its own"

CONTRACTS: dict[str, Contract] = {
    "sft": Contract((PROMPT_COMPLETION, Form({"messages": _messages}), Form({"text": TEXT})), TOOLS),
    "dpo": Contract((PREFERENCE, IMPLICIT), TOOLS),
    "kto": Contract((UNPAIRED, PREFERENCE, IMPLICIT), TOOLS),
    "reward": Contract((PREFERENCE, WHOLE), {**TOOLS, "margin": REAL}),
    "grpo": Contract((Form({"prompt": _prompt}),), TOOLS, {"prompts": TAKEN, "completions": TAKEN}),
    "rrhf": Contract((RANKED,)),
    "pro": Contract((RANKED._replace(relations=(*RANKED.relations, _falls("scores"))),)),
    "stepwise": Contract((STEPS,)),
}
"""Trainer to what it reads."""
TRAINERS: dict[str, tuple[str, ...]] = {
    "sft": ("sft", "grpo"),
    "preference": ("dpo", "kto", "reward", "grpo"),
    "unpaired": ("kto", "grpo"),
    "ranked": ("rrhf", "pro", "grpo"),
    "steps": ("stepwise",),
    "critique": ("sft", "grpo"),
    "logits": ("sft", "grpo"),
    "hidden": ("sft", "grpo"),
    "attention": ("sft", "grpo"),
    "relations": ("sft", "grpo"),
    "triple": (),
    "prompt": ("grpo",),
}
"""Kind of record to the trainers that read its file as it is; side files are left aside, and raw text is no chat."""


def faults(record: Record, trainer: str) -> list[str]:
    """What keeps a trainer from reading a record, each as `column: reason`; empty where nothing does.

    Raises UsageError for a trainer without a contract.
    """
    if trainer not in CONTRACTS:
        raise UsageError(f"there is no contract of a trainer {trainer!r}; there are {', '.join(CONTRACTS)}.")
    contract = CONTRACTS[trainer]
    form = next((form for form in contract.forms if form.columns.keys() <= record.keys()), contract.forms[0])
    found = [f"{name}: {reason}" for name, reason in contract.barred.items() if name in record]
    for name, check in (*form.columns.items(), *contract.optional.items()):
        fault = check(record[name]) if name in record else "is missing" if name in form.columns else ""
        if fault:
            found.append(f"{name}: {fault}")
    if not found:
        found = [f"{name}: {reason}" for relation in form.relations for name, reason in relation(record)]
    return found

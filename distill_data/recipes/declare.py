"""What the keys of the front matter mean: a checked `Recipe` from a `Field` and a compiled body.

`KEYS` is the list of them. Knows no files, and not which parsers, checks, verifiers or strategies exist: a recipe names
them, `check-recipe` and the methods look them up.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from distill_data.recipes.frontmatter import Field
from distill_data.recipes.nearest import hint
from distill_data.recipes.recipe import REQUIRED, Demonstrations, Recipe, RecordShape, Spec, Stage
from distill_data.recipes.sampling import SAMPLING, read_sampling
from distill_data.recipes.tags import ROLES
from distill_data.recipes.template import Body

RECORD_KINDS = (
    *("sft", "preference", "unpaired", "ranked", "steps", "critique"),
    *("logits", "hidden", "attention", "relations", "triple", "prompt"),
)
NOT_PARSED = frozenset(RECORD_KINDS[6:])
"""Kinds whose rows hold nothing that a parser gives."""
NEEDED = ("about", "columns", "sampling", "parser", "record")
NEEDED_BY_COMMAND = {"feature": ("about", "columns", "record"), "score": ("about", "settings")}
"""Where y is given nothing need be sampled and parsed; where rows are scored they are the records."""
EXAMPLE = ("row", "reply", "x")
COMPLETION = ("content", "reasoning_content", "tool_calls")
PICKS = ("fixed", "random", "nearest")
RESERVED = frozenset({"row", "demonstrations", "range", "loop"})
"""What the template language or `Recipe.render` defines."""
REFERENCE = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)")
"""`$labels` stands for the setting `labels`."""


def declared(front: Field, body: Body, name: str, command: str, path: Path, digest: str) -> Recipe:
    """Checks the whole front matter. Raises RecipeError at the first thing that's wrong, with its line."""
    entries = front.entries(KEYS, required=NEEDED_BY_COMMAND.get(command, NEEDED))
    settings = _settings(entries["settings"]) if "settings" in entries else {}
    values: dict[str, Any] = {}
    for key, read in KEYS.items():
        if key in entries:
            entry = entries[key]
            values[key] = read(entry if key in LITERAL else Field(_resolved(entry, settings), entry.path, entry.places))
    if command not in NEEDED_BY_COMMAND:
        if "max_tokens" not in values["sampling"]:
            raise entries["sampling"].error("lacks max_tokens; every request carries a token limit")
        if "example" in entries:
            entries["example"].entries(EXAMPLE, required=("row", "reply"))
    columns = values.get("columns", {})
    for column in columns:
        if column in settings:
            raise entries["columns"][column].error(
                "is also the name of a setting; a template could not tell them apart"
            )
    demonstrations = values.get("demonstrations")
    for key, column in (
        ("gold", values.get("gold")),
        ("gold_by", values.get("gold_by")),
        ("demonstrations", demonstrations and demonstrations.by),
    ):
        if column and column not in columns:
            raise entries[key].error(f"{column} is not among the columns{hint(column, columns)}")
    for stage in values.get("stages", {}):
        if stage not in body.blocks:
            raise entries["stages"][stage].error(f"there is no block {stage}{hint(stage, body.blocks)}")
    for column in values.get("combine", {}):
        if column not in columns:
            raise entries["combine"][column].error(f"{column} is not among the columns{hint(column, columns)}")
    _check_draw(entries, values, settings)
    _check_blocks(entries, values.get("record", ABSENT["record"]), body)
    return Recipe(
        name=name,
        command=command,
        path=path,
        digest=digest,
        lists=frozenset(column for column in columns if entries["columns"][column].value == "list"),
        blocks=frozenset(body.blocks),
        front=front,
        body=body,
        **{**ABSENT, **values},
    )


def _check_draw(entries: dict[str, Field], values: dict[str, Any], settings: dict[str, Any]) -> None:
    for index, name in enumerate(values.get("draw", ())):
        if name not in settings:
            raise entries["draw"][index].error(f"there is no setting {name}{hint(name, settings)}")
        if not entries["settings"][name].elements():
            raise entries["settings"][name].error("must have at least one entry, because one is drawn")


def _check_blocks(entries: dict[str, Field], record: RecordShape, body: Body) -> None:
    """The blocks that the record stores as prompts."""
    for part in record.parts:
        if f"student_{part}" not in body.blocks:
            raise entries["record"]["parts"][part].error(f"needs the block student_{part}, which is its prompt")
    if record.privileged_context and "student" not in body.blocks:
        raise entries["record"]["privileged_context"].error("needs the block student, which leaves it out")


def references(front: Field) -> frozenset[str]:
    """The settings that the front matter refers to as `$name`."""
    entries = front.entries()
    return frozenset(name for key, entry in entries.items() if key not in LITERAL for name in _references(entry.value))


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, str) and (match := REFERENCE.fullmatch(value)):
        yield match[1]
    elif isinstance(value, (list, dict)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _references(inner)


def _resolved(entry: Field, settings: dict[str, Any]) -> Any:
    """The entry's value, each `$name` in it replaced by that setting's value."""
    value = entry.value
    if isinstance(value, dict):
        return {key: _resolved(entry[key], settings) for key in value}
    if isinstance(value, list):
        return [_resolved(entry[index], settings) for index in range(len(value))]
    if isinstance(value, str) and (match := REFERENCE.fullmatch(value)):
        if match[1] not in settings:
            raise entry.error(f"there is no setting {match[1]}{hint(match[1], settings)}")
        return settings[match[1]]
    return value


# -- one reader per key ------------------------------------------------------------------------------------------------


def _name(entry: Field) -> str:
    """A name that a template can write."""
    name = str(entry.path[-1])
    if not name.isidentifier() or name.startswith("_"):
        raise entry.error("is no name: letters, digits and _ only, starting with a letter")
    if name in RESERVED:
        raise entry.error("is a name that templates use for something else")
    return name


def _settings(entry: Field) -> dict[str, Any]:
    for key, setting in entry.entries().items():
        _name(setting)
        if key in SAMPLING or key == "samples":
            raise setting.error("is the name of a sampling parameter, which --set means")
        if setting.value is None:
            raise setting.error("has no value")
    return dict(entry.value)


def _columns(entry: Field) -> dict[str, Any]:
    return {_name(column): _default(column) for column in entry.entries().values()}


def _default(column: Field) -> Any:
    if column.value in ("required", "list"):
        return REQUIRED
    if column.value == "optional":
        return ""
    if not isinstance(column.value, dict):
        raise column.error("must be required, optional, list or {default: VALUE}")
    default = column.entries(("default",), required=("default",))["default"]
    if default.value is None:
        raise default.error('must not be empty; write {default: ""} for empty text')
    return default.value


def _strategy(entry: Field) -> str:
    strategy = entry.text()
    if not re.fullmatch(r"[a-z][a-z0-9_-]*", strategy):
        raise entry.error(f'"{strategy}" is not the name of a strategy')
    return strategy


def _choices(entry: Field) -> tuple[str, ...]:
    if isinstance(entry.value, dict):
        choices = tuple(entry.entries())
    else:
        choices = tuple(choice.text() for choice in entry.elements())
    if not choices or "" in choices or len(set(choices)) < len(choices):
        raise entry.error("must be different texts, at least one, none of them empty")
    return choices


def _schema(entry: Field) -> dict[str, Any]:
    entry.entries()
    return dict(entry.value)


def _spec(entry: Field) -> Spec:
    if isinstance(entry.value, str):
        return Spec(entry.value)
    entries = entry.entries()
    if len(entries) != 1:
        raise entry.error("must be one name, or one {name: arguments}")
    return next(Spec(name, argument.value) for name, argument in entries.items())


def _demonstrations(entry: Field) -> Demonstrations:
    entries = entry.entries(("from", "pick", "k", "by"), required=("from", "k"))
    pick = entries["pick"].text() if "pick" in entries else "fixed"
    by = entries["by"].text() if "by" in entries else ""
    if pick not in PICKS:
        raise entries["pick"].error(f'"{pick}" is not a way to pick{hint(pick, PICKS)}')
    if pick == "nearest" and not by:
        raise entry.error("picks the nearest, so it needs the key by: the column to compare")
    return Demonstrations(entries["from"].text(), pick, entries["k"].integer(0), by)  # type: ignore[arg-type]


def _record(entry: Field) -> RecordShape:
    entries = entry.entries(("kind", "completion", "parts", "answer", "privileged_context"), required=("kind",))
    kind = entries["kind"].text()
    if kind not in RECORD_KINDS:
        raise entries["kind"].error(f'"{kind}" is not a kind of record{hint(kind, RECORD_KINDS)}')
    if kind in NOT_PARSED:
        if "completion" in entries or "parts" in entries:
            raise entry.error(f"of the kind {kind} takes neither completion nor parts: nothing is parsed")
    elif ("completion" in entries) is ("parts" in entries):
        raise entry.error("needs one of the keys completion and parts")
    completion = _completion(entries["completion"]) if "completion" in entries else {}
    parts = _parts(entries["parts"]) if "parts" in entries else {}
    answer = entries["answer"].text() if "answer" in entries else ""
    if parts and not answer:
        raise entry.error("has parts, so it needs the key answer: the field that votes and verifiers compare")
    role = entries["privileged_context"].text() if "privileged_context" in entries else ""
    if role and role not in ROLES:
        raise entries["privileged_context"].error(f'"{role}" is not the role of a message{hint(role, ROLES)}')
    return RecordShape(kind, completion, answer, parts, role)


def _completion(entry: Field) -> dict[str, str]:
    return {key: value.text() for key, value in entry.entries(COMPLETION, required=("content",)).items()}


def _parts(entry: Field) -> dict[str, dict[str, str]]:
    parts = {_name(part): _completion(part) for part in entry.entries().values()}
    if not parts:
        raise entry.error("must have at least one part")
    if len({tuple(completion) for completion in parts.values()}) > 1:
        raise entry.error("must all have the same keys in the same order, as every record of a file does")
    return parts


def _draw(entry: Field) -> tuple[str, ...]:
    return tuple(name.text() for name in entry.elements())


def _stage(entry: Field) -> Stage:
    entries = entry.entries(("parser", "checks", "sampling", "choices"), required=("parser",))
    sampling = entries["sampling"].entries(SAMPLING) if "sampling" in entries else {}
    return Stage(
        _spec(entries["parser"]),
        _checks(entries["checks"]) if "checks" in entries else (),
        {key: SAMPLING[key](value) for key, value in sampling.items()},
        _choices(entries["choices"]) if "choices" in entries else (),
    )


def _checks(entry: Field) -> tuple[Spec, ...]:
    return tuple(_spec(check) for check in entry.elements())


def _combine(entry: Field) -> dict[str, tuple[Any, ...]]:
    found = {column: tuple(value.value for value in values.elements()) for column, values in entry.entries().items()}
    for column, values in found.items():
        if not values:
            raise entry.entries()[column].error("must be a list with at least one value")
    return found


def _example(entry: Field) -> dict[str, Any]:
    entries = entry.entries(EXAMPLE, required=("row",))
    entries["row"].entries()
    if "x" in entries:
        entries["x"].entries()
    if "reply" in entries:
        entries["reply"].text()
    return dict(entry.value)


KEYS: dict[str, Callable[[Field], Any]] = {
    "about": Field.text,
    "paper": Field.text,
    "strategy": _strategy,
    "columns": _columns,
    "settings": _settings,
    "draw": _draw,
    "samples": lambda entry: entry.integer(1),
    "choices": _choices,
    "schema": _schema,
    "parser": _spec,
    "checks": _checks,
    "verifier": _spec,
    "sampling": read_sampling,
    "demonstrations": _demonstrations,
    "gold": Field.text,
    "gold_by": Field.text,
    "record": _record,
    "stages": lambda entry: {name: _stage(stage) for name, stage in entry.entries().items()},
    "writes": Field.text,
    "combine": _combine,
    "example": _example,
}
"""Every key of the front matter, with what reads it."""
LITERAL = frozenset(
    {"about", "paper", "strategy", "columns", "settings", "draw", "gold", "gold_by", "record", "writes", "example"}
)
"""Keys in which `$name` is just text."""
ABSENT: dict[str, Any] = {
    "paper": "",
    "columns": {},
    "record": RecordShape("", {}, ""),
    "sampling": {},
    "parser": Spec("text"),
    "strategy": "single",
    "settings": {},
    "draw": (),
    "samples": 1,
    "choices": (),
    "schema": None,
    "checks": (),
    "verifier": None,
    "demonstrations": None,
    "stages": {},
    "writes": "instruction",
    "combine": {},
    "gold": "",
    "gold_by": "",
    "example": {},
}
"""What a recipe means that leaves a key out."""

"""JSON schemas, compiled once. Knows no recipe and no reply.

A schema is its author's, and trusted so far: alternatives within alternatives can take long on a text that was made for
it. What it cannot do is to leave this machine, for only references into itself are allowed, nor search a text by a
pattern for longer than a second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, cast

from distill_data.data.items import canonical
from distill_data.errors import ParseError, UsageError
from distill_data.parsing.arguments import shown
from distill_data.parsing.patterns import TooSlow, make_find
from distill_data.parsing.strict_json import identity, read_json

SchemaCheck = Callable[[Any], str | None]
"""A value from `read_json` to None, or to the path of the first fault and what it is."""

DRAFT202012_URI = "https://json-schema.org/draft/2020-12/schema"
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
_PROBES: tuple[Any, ...] = (None, True, 0, "", [], {}, [0], {"": 0})


def make_schema_check(what: str, schema: Any) -> SchemaCheck:
    """Compile a schema of draft 3 or later, 2020-12 where `$schema` is absent. Raises UsageError for a broken one."""
    plain = _plain(what, schema)
    _local_only(what, plain)
    validator = _validator(what, plain)
    _follow_references(what, plain, validator)

    def check(value: Any) -> str | None:
        try:
            fault = next(validator.iter_errors(value), None)
        except RecursionError:
            return "$: nested deeper than the schema can be followed"
        except (TooSlow, UsageError) as error:  # of a pattern
            return f"$: {error}"[:300]
        return None if fault is None else f"{fault.json_path}: {fault.message}"[:300]

    return check


def _plain(what: str, schema: Any) -> dict[str, Any]:
    try:
        plain = read_json(canonical(schema).decode())
    except (TypeError, ParseError) as error:
        raise UsageError(f"{what}: the schema is no JSON: {error}.") from None
    if not isinstance(plain, dict) or plain != schema:
        raise UsageError(f"{what} needs a JSON schema, a mapping of JSON values, but the recipe gives {shown(schema)}.")
    return plain


def _local_only(what: str, schema: dict[str, Any]) -> None:
    for node in _mappings(schema):
        for name in _REFERENCES:
            target = node.get(name)
            if isinstance(target, str) and not target.startswith("#"):
                raise UsageError(f"{what}: {name} {shown(target)} leaves the schema; only '#…' is allowed.")
        if "unevaluatedProperties" in node and any("patternProperties" in each for each in _mappings(schema)):
            raise UsageError(f"{what}: unevaluatedProperties beside patternProperties is not supported; leave one out.")
        if node is not schema and isinstance(node.get("$id"), str):
            raise UsageError(f"{what}: $id is allowed at the top of a schema only.")


def _mappings(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _mappings(inner)


def _validator(what: str, schema: dict[str, Any]) -> Any:
    from jsonschema import SchemaError, validators
    from referencing import Registry
    from referencing.jsonschema import specification_with

    dialect = schema.get("$schema", DRAFT202012_URI)
    draft: Any = (
        validators.validator_for({"$schema": dialect}, default=cast(Any, None)) if isinstance(dialect, str) else None
    )
    if draft is None:
        raise UsageError(f"{what}: $schema {shown(dialect)} is unknown.")
    try:
        draft.check_schema(schema)
    except SchemaError as error:
        raise UsageError(f"{what}: the schema is broken at {error.json_path}: {error.message[:200]}.") from None
    resource = specification_with(dialect).create_resource(schema)
    registry = Registry().with_resource(resource.id() or "", resource)
    extend: Any = validators.extend
    keywords = {
        "uniqueItems": _unique_items,
        "pattern": _pattern,
        "patternProperties": _pattern_properties,
        "additionalProperties": partial(_additional_properties, draft.VALIDATORS["additionalProperties"]),
    }
    return extend(draft, keywords)(schema, registry=registry)


def _follow_references(what: str, schema: dict[str, Any], validator: Any) -> None:
    """Tries every reference on small values, so that one which points nowhere or to itself is found here."""
    from referencing.exceptions import Unresolvable

    for node in _mappings(schema):
        for name in _REFERENCES:
            if not isinstance(node.get(name), str):
                continue
            try:
                for probe in _PROBES:
                    validator.evolve(schema={name: node[name]}).is_valid(probe)
            except Unresolvable:
                raise UsageError(f"{what}: {name} {shown(node[name])} points nowhere.") from None
            except RecursionError:
                raise UsageError(f"{what}: {name} {shown(node[name])} leads back to itself without an end.") from None


def _unique_items(validator: Any, wanted: Any, value: Any, schema: Mapping[str, Any]) -> Iterator[Any]:
    """In linear time, where the library compares each with each: 8,000 objects took it 49 s."""
    from jsonschema import ValidationError

    if wanted and isinstance(value, list) and len({identity(entry) for entry in value}) < len(value):
        yield ValidationError("two entries are equal")


def _pattern(validator: Any, pattern: Any, value: Any, schema: Mapping[str, Any]) -> Iterator[Any]:
    """With a limit on time, which the library's own has not. So are the next two."""
    from jsonschema import ValidationError

    if isinstance(value, str) and not make_find(pattern)(value):
        yield ValidationError(f"{shown(value)} does not match {shown(pattern)}")


def _pattern_properties(validator: Any, wanted: Any, value: Any, schema: Mapping[str, Any]) -> Iterator[Any]:
    for pattern, inner in wanted.items() if isinstance(value, dict) else ():
        for name, entry in value.items():
            if make_find(pattern)(name):
                yield from validator.descend(entry, inner, path=name, schema_path=pattern)


def _additional_properties(
    original: Any, validator: Any, wanted: Any, value: Any, schema: Mapping[str, Any]
) -> Iterator[Any]:
    """The library's own, on what no pattern names."""
    if isinstance(value, dict):
        finds = list(map(make_find, schema.get("patternProperties", ())))
        rest = {name: entry for name, entry in value.items() if not any(find(name) for find in finds)}
        yield from original(validator, wanted, rest, {k: v for k, v in schema.items() if k != "patternProperties"})

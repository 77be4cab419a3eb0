"""JSON as it is written in a model's reply, read strictly. Knows no schema.

What is refused: duplicate keys, NaN and Infinity, whole numbers beyond 64 bits, more than 64 levels, lone surrogates.
So every value that comes out of here can be written again as the same JSON.
"""

from __future__ import annotations

import json
import math
from collections.abc import Hashable, Iterable
from typing import Any

from distill_data.data.items import canonical
from distill_data.errors import ParseError
from distill_data.parsing.fences import fenced_blocks

MAX_DEPTH = 64
"""Lists and objects within each other."""


def read_json(text: str) -> Any:
    """The value of a text that is one JSON document. Raises ParseError("not-json", why)."""
    try:
        value = json.loads(
            text.strip(" \t\r\n\ufeff"),
            object_pairs_hook=_distinct,
            parse_constant=_no_constant,
            parse_float=_finite,
        )
        canonical(value)
    except json.JSONDecodeError as error:
        raise ParseError("not-json", f"{error.msg} at character {error.pos}") from None
    except RecursionError:
        raise ParseError("not-json", "nested too deep") from None
    except (ValueError, TypeError) as error:
        raise ParseError("not-json", str(error)) from None
    if _deeper_than(value, MAX_DEPTH):
        raise ParseError("not-json", f"more than {MAX_DEPTH} levels deep")
    return value


def read_document(text: str) -> Any:
    """The value of a reply that is one JSON document, or whose only fenced block is. Raises ParseError("not-json")."""
    try:
        return read_json(text)
    except ParseError:
        blocks = fenced_blocks(text)
        # Broken JSON may hold a fenced block inside one of its strings: that block is not the reply's value.
        if not blocks or text.lstrip()[:1] in ("{", "["):
            raise
    if len(blocks) > 1:
        raise ParseError("not-json", f"{len(blocks)} fenced blocks; which one is meant is unknown")
    if not blocks[0].closed:
        raise ParseError("not-json", "the fenced block is not closed")
    return read_json(blocks[0].code)


def identity(value: Any) -> Hashable:
    """Equal exactly for equal JSON values: key order is ignored, 1 is 1.0, and true is not 1."""
    if isinstance(value, list):
        return ("list", tuple(identity(entry) for entry in value))
    if isinstance(value, dict):
        return ("object", frozenset((key, identity(entry)) for key, entry in value.items()))
    return ("bool", value) if isinstance(value, bool) else ("plain", value)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object has the same key twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _finite(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise ValueError("a number is too large")
    return value


def _deeper_than(value: Any, limit: int) -> bool:
    level = _containers([value])
    for _ in range(limit):
        level = _containers(
            inner for outer in level for inner in (outer if isinstance(outer, list) else outer.values())
        )
    return bool(level)


def _containers(values: Iterable[Any]) -> list[Any]:
    return [value for value in values if isinstance(value, (list, dict))]

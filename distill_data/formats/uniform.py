"""Whether the rows of a file are of one shape: readers infer a table's types from the first rows, and fail later.

Knows no target. Null fits everything, an absent key of a message too; the inside of JSON schemas and of a call's
arguments may vary, since readers keep these as JSON.
"""

from __future__ import annotations

from typing import Any

from distill_data.data.items import Row
from distill_data.formats.checks import kind_of_value

FREE = ("arguments", "tools", "parameters")
"""Keys whose values may have another shape inside in every row."""


class Shape:
    """The columns of the first row, and the kind of every value so far, at each place of a row."""

    __slots__ = ("_columns", "_root")

    def __init__(self) -> None:
        self._columns: frozenset[str] = frozenset()
        self._root: _Node = _Node(dict)

    def differs(self, row: Row) -> tuple[str, str]:
        """A place, such as `prompt.content`, and how it is unlike the rows before; two empty texts where none is."""
        if not self._columns:
            self._columns = frozenset(row)
        if row.keys() != self._columns:
            more = sorted(row.keys() - self._columns)
            if more:
                return more[0], "is not a column of the first row, and all rows must have the same ones"
            return min(self._columns - row.keys()), "is missing, and the first row has it"
        for name, value in row.items():
            fault = _fit(self._root, name, value)
            if fault is not None:
                return fault
        return "", ""


class _Node:
    __slots__ = ("children", "kind")

    def __init__(self, kind: type | None) -> None:
        self.kind = kind
        self.children: dict[str, _Node] = {}


def _fit(node: _Node, name: str, value: Any) -> tuple[str, str] | None:
    """Where below a node a value is of another kind than the first one there, and how; the first decides."""
    kind, own = type(value), node.children.get(name)
    if own is None:
        own = node.children[name] = _Node(None)
    if own.kind is not kind:
        if value is None:
            return None
        if own.kind is not None:
            return name, f"is {kind_of_value(value)}, where a row before has {_NAMES.get(own.kind, 'another kind')}"
        own.kind = kind
    if kind is str or name in FREE:
        return None
    if kind is list:
        for each in value:
            if (fault := _fit(own, "", each)) is not None:
                return name + fault[0], fault[1]
    elif kind is dict:
        for key, each in value.items():
            if (fault := _fit(own, key, each)) is not None:
                return f"{name}.{fault[0]}", fault[1]
    return None


_NAMES = {
    str: "a text",
    int: "a whole number",
    float: "a float",
    bool: "true or false",
    list: "a list",
    dict: "an object",
}

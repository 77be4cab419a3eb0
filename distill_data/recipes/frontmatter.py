"""The YAML at the head of a recipe: read strictly, so that what an author sees is what we read.

The only module that imports YAML. It knows values and the lines they stand on, but not what any key means (`declare`
does). Stricter than `yaml.safe_load`: no anchors, aliases, tags, merge keys or repeated keys, and no plain word that
YAML reads as something else than it looks like (`no`, `1:30`, `010`, `2024-05-01`, `.inf`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from distill_data.errors import RecipeError
from distill_data.recipes.nearest import hint

Steps = tuple[str | int, ...]
"""The way to a value: `("settings", "labels", "positive")`."""
FENCE = "---"
INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,15})")
NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
KINDS = {
    str: "text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    list: "a list",
    dict: "a mapping",
}


@dataclass(frozen=True, slots=True)
class Field:
    """A value that knows where it stands, so that whoever refuses it can say so."""

    value: Any
    path: Steps = ()
    places: Mapping[Steps, str] = field(default_factory=dict)
    """`file:line` of every value; a value that came from elsewhere stands where the one around it does."""

    def error(self, problem: str) -> RecipeError:
        place = next(
            self.places[self.path[:end]] for end in range(len(self.path), -1, -1) if self.path[:end] in self.places
        )
        name = ".".join(map(str, self.path))
        return RecipeError(f"{place}: {name}: {problem}" if name else f"{place}: {problem}")

    def __getitem__(self, key: str | int) -> Field:
        return Field(self.value[key], (*self.path, key), self.places)

    def text(self) -> str:
        return str(self.of(str))

    def flag(self) -> bool:
        return bool(self.of(bool))

    def integer(self, least: int | None = None) -> int:
        value = int(self.of(int))
        if least is not None and value < least:
            raise self.error(f"is {value}, but must be at least {least}")
        return value

    def number(self, least: float | None = None, most: float | None = None) -> int | float:
        value: int | float = self.of(int, float)
        if (least is not None and value < least) or (most is not None and value > most):
            bounds = f"at least {least}" if most is None else f"from {least} to {most}"
            raise self.error(f"is {value}, but must be {bounds}")
        return value

    def elements(self) -> list[Field]:
        return [self[index] for index in range(len(self.of(list)))]

    def entries(self, known: Collection[str] | None = None, required: tuple[str, ...] = ()) -> dict[str, Field]:
        """What a mapping holds. With `known`, any other key is an error; `required` ones must be there."""
        entries = {key: self[key] for key in self.of(dict)}
        for key, entry in entries.items():
            if known is not None and key not in known:
                raise entry.error(f"unknown key{hint(key, known)}")
        for key in required:
            if key not in entries:
                raise self.error(f"lacks the key {key}")
        return entries

    def of(self, *kinds: type) -> Any:
        if type(self.value) in kinds:
            return self.value
        remedy = "; put it in quotes" if str in kinds and not isinstance(self.value, (list, dict, type(None))) else ""
        raise self.error(f"must be {KINDS[kinds[-1]]}, but is {shown(self.value)}{remedy}")


def shown(value: Any) -> str:
    """A value in a message, on a line of its own length."""
    if value is None:
        return "empty"
    if isinstance(value, (list, dict)):
        return KINDS[type(value)]
    if isinstance(value, str):
        return f'the text "{value[:60]}"'
    return str(value).lower()


def split(text: str, place: str) -> tuple[str, str, int]:
    """Front matter, body, and the line that the body starts on. Raises RecipeError where there is no front matter."""
    lines = text.split("\n")
    if lines[0].rstrip() != FENCE:
        raise RecipeError(f"{place}:1: a recipe starts with a line {FENCE}, then its front matter")
    for number, line in enumerate(lines[1:], start=2):
        if line.rstrip() == FENCE:
            return "\n".join(lines[1 : number - 1]), "\n".join(lines[number:]), number + 1
    raise RecipeError(f"{place}:1: the front matter has no end; a line {FENCE} must follow it")


def read(text: str, place: str) -> Field:
    """The front matter of a file. It stands below the opening fence, so its first line is line 2."""
    return _load(text, place, first_line=2)


def read_value(text: str, place: str) -> Any:
    """One value, as written on a command line. Raises RecipeError."""
    return _load(text, place, first_line=0).value


class _Loader(yaml.SafeLoader):
    """Refuses anchors, aliases and tags before anything is built from them."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) or getattr(event, "tag", None):
            problem = "anchors (&), aliases (*) and tags (!) are not allowed"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)
        return super().compose_node(parent, index)


def _load(text: str, place: str, first_line: int) -> Field:
    """`first_line` 0: the text has no lines worth naming."""

    def where(mark: Any) -> str:
        return f"{place}:{mark.line + first_line}" if first_line and mark is not None else place

    try:
        loader = _Loader(text)
        try:
            tree = loader.get_single_node()
        finally:
            loader.dispose()
        places: dict[Steps, str] = {}
        value = _value(tree, (), places, where) if tree is not None else None
    except yaml.MarkedYAMLError as error:
        what = " ".join(filter(None, (error.context, error.problem)))
        raise RecipeError(f"{where(error.problem_mark or error.context_mark)}: not valid YAML: {what}") from None
    except yaml.YAMLError as error:
        raise RecipeError(f"{place}: not valid YAML: {error}") from None
    except RecursionError:
        raise RecipeError(f"{place}: nested too deeply") from None
    return Field(value, (), {(): where(tree.start_mark if tree is not None else None), **places})


def _value(node: yaml.Node, path: Steps, places: dict[Steps, str], where: Callable[[Any], str]) -> Any:
    """JSON values of a node, and their places."""
    places[path] = where(node.start_mark)
    here = Field(None, path, places)
    if isinstance(node, yaml.ScalarNode):
        return _scalar(node, here)
    if isinstance(node, yaml.SequenceNode):
        return [_value(child, (*path, index), places, where) for index, child in enumerate(node.value)]
    entries: dict[str, Any] = {}
    for key_node, child in node.value:
        key = _scalar(key_node, Field(None, path, {path: where(key_node.start_mark)}))
        if not isinstance(key, str):
            raise Field(None, path, {path: where(key_node.start_mark)}).error(
                f"the key {shown(key)} must stand in quotes"
            )
        if key in entries:
            raise Field(None, (*path, key), {path: where(key_node.start_mark)}).error("stands here twice")
        entries[key] = _value(child, (*path, key), places, where)
    return entries


def _scalar(node: yaml.Node, here: Field) -> str | bool | int | float | None:
    """Text, unless it looks like what it is: true, false, null, 12, -0.5, 1e-6."""
    if not isinstance(node, yaml.ScalarNode):
        raise here.error("a key must be text")
    written, kind = node.value, node.tag.removeprefix("tag:yaml.org,2002:")
    if kind == "null":
        return None
    if kind == "bool" and written.lower() in ("true", "false"):
        return bool(written.lower() == "true")
    if kind == "bool":
        read_as = "true" if written.lower() in ("yes", "on") else "false"
        raise here.error(f'{written} is read as {read_as}; write "{written}" in quotes for the word, or {read_as}')
    if kind == "int" and INTEGER.fullmatch(written) and len(written) < 20 and abs(int(written)) < 1 << 53:
        return int(written)
    if kind == "float" or (kind == "str" and node.style is None and NUMBER.fullmatch(written)):
        kind = "float"
        if NUMBER.fullmatch(written) and math.isfinite(float(written)):
            return float(written)
    if kind != "str":
        raise here.error(
            f'{written[:60]} is read as {kind}, which recipes lack; write "{written[:60]}" in quotes for the text'
        )
    return str(written)

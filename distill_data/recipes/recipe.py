"""Recipe: all that a recipe file says, as one value. Knows nothing about files, YAML or which strategies exist."""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final, Literal

from distill_data.data.exchange import Message
from distill_data.errors import SeedError
from distill_data.recipes.frontmatter import Field
from distill_data.recipes.template import Body


class _Default(enum.Enum):
    REQUIRED = "required"


REQUIRED: Final = _Default.REQUIRED
"""Stands where a column's default would, for a column that every row must have."""


@dataclass(frozen=True, slots=True)
class Spec:
    """A parser, check or verifier: `{words: {max: 400}}` is Spec("words", {"max": 400}), `text` is Spec("text")."""

    name: str
    args: Any = None


@dataclass(frozen=True, slots=True)
class Stage:
    """How a block that is asked after `main` is read: `answer`, `judge` and so on."""

    parser: Spec
    checks: tuple[Spec, ...] = ()
    sampling: Mapping[str, Any] = field(default_factory=dict)
    """Over the recipe's own sampling."""
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Demonstrations:
    """Which solved examples a prompt shows."""

    source: str
    """`seeds`, or a seed file: a path or `@name`."""
    pick: Literal["fixed", "random", "nearest"]
    k: int
    """How many; 0 is none."""
    by: str
    """The column that `nearest` compares; may be empty otherwise."""


@dataclass(frozen=True, slots=True)
class RecordShape:
    """What a kept answer becomes."""

    kind: str
    completion: Mapping[str, str]
    """Message key to parsed field: `{"content": "answer", "reasoning_content": "reasoning"}`. Empty where the record
    has parts."""
    answer: str
    """The parsed field that becomes the column `answer`; empty means no such column."""
    parts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Part to its own completion, where one answer makes several records. The prompt of the part `label` is the block
    `student_label`."""
    privileged_context: str = ""
    """The role whose messages the teacher saw and the student doesn't: they become the column `privileged_context`;
    empty means no such column."""

    def rows(self) -> Mapping[str, Mapping[str, str]]:
        """Part to completion: one record each. A record without parts is the part ""."""
        return self.parts or {"": self.completion}


@dataclass(frozen=True, slots=True)
class Recipe:
    """One recipe, validated, with every `$name` replaced by its setting. Made by `load_recipe` and `apply_settings`."""

    name: str
    command: str
    path: Path
    digest: str
    """SHA-256 of the file's bytes, in hex."""
    about: str
    paper: str
    strategy: str
    columns: Mapping[str, Any]
    """Declared seed column to its default, or REQUIRED."""
    lists: frozenset[str]
    """The columns that hold a list of texts, or JSON text of one."""
    sampling: Mapping[str, Any]
    """As in `Request.sampling`; always has `max_tokens` where anything is sampled."""
    settings: Mapping[str, Any]
    """Named values that `--set` may change."""
    draw: tuple[str, ...]
    """The settings that are lists of which each item draws one entry."""
    samples: int
    choices: tuple[str, ...]
    """The closed set of answers; empty if there is none."""
    schema: Mapping[str, Any] | None
    parser: Spec
    checks: tuple[Spec, ...]
    verifier: Spec | None
    gold: str
    """The column with the right answer, where a seed has one; may be empty."""
    gold_by: str
    """The column by which agreement with gold is broken down; may be empty."""
    demonstrations: Demonstrations | None
    record: RecordShape
    stages: Mapping[str, Stage]
    """Block to how its reply is read, for methods that ask more than once."""
    writes: str
    """The column of x that a reply of plain text or each element of a list is."""
    combine: Mapping[str, tuple[Any, ...]]
    """Column to the values that it is combined with every seed in, where the seed has none of its own."""
    example: Mapping[str, Any]
    """`{"row": {…}, "reply": "…"}`, or empty."""
    blocks: frozenset[str]
    front: Field = field(repr=False, compare=False)
    """The front matter as written, `--set` included."""
    body: Body = field(repr=False, compare=False)

    def fill(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The row with defaults where a declared column is missing or null, and lists read from JSON text; other
        columns are kept.

        Raises SeedError for a required column, and for a list that is none. The caller adds file and line, which this
        doesn't know.
        """
        filled = dict(row)
        for column, default in self.columns.items():
            if filled.get(column) is None:
                if default is REQUIRED:
                    if column in row:
                        raise SeedError(f"the recipe {self.name} needs the column {column}, which is null here")
                    has = ", ".join(map(str, row)) or "none"
                    raise SeedError(f"the recipe {self.name} needs the column {column}; this row's columns are: {has}")
                filled[column] = default
        for column in self.lists:
            filled[column] = texts = _texts(filled[column])
            if not texts:
                raise SeedError(
                    f"the recipe {self.name} needs a list of texts in the column {column}, or JSON text of one: "
                    "at least one text, and none of them blank"
                )
        return filled

    def drawn(self, rng: Random) -> dict[str, Any]:
        """One entry of each setting in `draw`, by its name, for `render`."""
        return {name: rng.choice(self.settings[name]) for name in self.draw}

    def render(self, block: str, row: Mapping[str, Any], **extra: Any) -> list[Message]:
        """The chat messages of one block for one row.

        The template sees the declared columns, the settings, the whole row as `row`, and `extra`. Of these
        `demonstrations` (a list of rows) is empty unless given, and a setting in `draw` is its first entry unless the
        item's own, from `drawn`, is given. Raises RecipeError and SeedError.
        """
        filled = self.fill(row)
        known = {"demonstrations": (), **self.settings}
        for name in self.draw:
            known[name] = self.settings[name][0]
        for column in self.columns:
            known[column] = filled[column]
        known["row"] = filled
        known.update(extra)
        return self.body.render(block, known)


def _texts(value: Any) -> list[str]:
    """A list of texts, also where it comes as JSON text; empty for anything else."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return []
    good = isinstance(value, list) and all(isinstance(entry, str) and entry.strip() for entry in value)
    return list(value) if good else []

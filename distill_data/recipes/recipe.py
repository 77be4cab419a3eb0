"""Recipe: all that a recipe file says, as one value. Knows nothing about files, YAML or which strategies exist."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
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
    """Message key to parsed field: `{"content": "answer", "reasoning_content": "reasoning"}`."""
    answer: str
    """The parsed field that becomes the column `answer`; empty means no such column."""


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
    sampling: Mapping[str, Any]
    """As in `Request.sampling`; always has `max_tokens`."""
    settings: Mapping[str, Any]
    """Named values that `--set` may change."""
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
    example: Mapping[str, Any]
    """`{"row": {…}, "reply": "…"}`, or empty."""
    blocks: frozenset[str]
    front: Field = field(repr=False, compare=False)
    """The front matter as written, `--set` included."""
    body: Body = field(repr=False, compare=False)

    def fill(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The row with defaults where a declared column is missing or null; other columns are kept.

        Raises SeedError for a required column. The caller adds file and line, which this doesn't know.
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
        return filled

    def render(self, block: str, row: Mapping[str, Any], **extra: Any) -> list[Message]:
        """The chat messages of one block for one row.

        The template sees the declared columns, the settings, the whole row as `row`, and `extra`, of which
        `demonstrations` (a list of rows) is empty unless given. Raises RecipeError and SeedError.
        """
        filled = self.fill(row)
        columns = {column: filled[column] for column in self.columns}
        return self.body.render(block, {"demonstrations": (), **self.settings, **columns, "row": filled, **extra})

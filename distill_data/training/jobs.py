"""What a maker of a trainer is given: the student, the rows, the settings. Knows no objective and imports no torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill_data.data.items import Row

if TYPE_CHECKING:
    from distill_data.data.arrays import Array

Arrays = Callable[[Row], "Mapping[str, Array]"]
"""The arrays of a row of `feature`. Raises UsageError where it has none, DamageError where they cannot be read."""


def no_arrays(row: Row) -> Mapping[str, Array]:
    """Of rows without side files."""
    return {}


@dataclass(frozen=True, slots=True)
class Loop:
    """How long, how fast and in which order a student is trained."""

    epochs: float = 3.0
    steps: int = 0
    """Where it is not 0, as many steps of the optimizer, whatever the epochs."""
    batch: int = 8
    """Rows of one step, but for `accumulate`."""
    accumulate: int = 1
    """Batches of one step: their gradients are added up."""
    learning_rate: float = 0.0
    """0 is what the objective has by default."""
    max_length: int = 1024
    """Tokens of prompt and answer together; what is longer is cut at the end, and counted."""
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Student:
    """A model that is trained, with its tokenizer."""

    model: Any
    tokenizer: Any
    device: str
    """`cpu`, `cuda` or `mps`."""
    context: int
    """Most tokens that it takes."""
    fresh: bool
    """Whether its weights are random, and have been trained by nobody."""


@dataclass(frozen=True, slots=True)
class Job:
    """One training."""

    student: Student
    rows: Sequence[Row]
    """What is learned from, each as it stands in its file."""
    held: Sequence[Row]
    """What the loss is also measured on, and nothing is learned from; may be empty."""
    settings: Mapping[str, Any]
    """Those of the objective."""
    loop: Loop
    folder: Path
    """Where checkpoints go."""
    arrays: Arrays = no_arrays
    held_arrays: Arrays = no_arrays
    """Of the rows that are held out."""
    teacher: Any = None
    """The model that `-t` names, in evaluation mode, where the objective asks one: a `teachers.loading.Loaded`."""
    reward: Any = None
    """What scores answers, where the objective asks for it."""
    left_out: Counter[str] = field(default_factory=Counter)
    """How many rows nothing is learned from, by why; a maker of a trainer counts them."""
    place: Callable[[Row], str] = lambda row: f"the row {row.get('id', '')}".rstrip()
    """Where one of these rows stands, such as `rows.jsonl:7`, for messages."""

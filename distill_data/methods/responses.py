"""Response and Judged: what students answered, and what the annotation says of it. Knows neither prompts nor files.

Methods in which the student writes y end in a `Judged`; `methods.kinds` makes records of any kind from it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from distill_data.data.exchange import Ask, Message
from distill_data.data.items import Item

NOTHING: Mapping[str, Any] = MappingProxyType({})


class Response(NamedTuple):
    """One y, with what the annotation says of it."""

    role: str
    """Who wrote it: `student`, `student-2`, `teacher`; the name of the column where the seeds bring it."""
    sample: int
    model: str
    """As the server says; empty where nobody was asked."""
    completion: Message
    """The assistant's turn, as a student would be trained on it."""
    text: str
    """What verifiers and votes compare, and judges are shown."""
    score: float | None = None
    """Higher is better; None where there is no verdict, which is never a score."""
    good: bool = False
    """Whether it becomes a row of the kind sft."""
    details: Mapping[str, Any] = NOTHING
    """Facts for the record: rationale, ratings, tokens."""


class Made(NamedTuple):
    """A row that does not follow from scores: a repair, a critique, a solution with a label for each step."""

    columns: Mapping[str, Any]
    """The record's columns after `kind`, in the order in which the kind has them."""
    source: Response
    part: str = ""
    details: Mapping[str, Any] = NOTHING


class Judged(NamedTuple):
    """An item's answers, annotated."""

    prompt: list[Message]
    """What the student is shown in training."""
    responses: tuple[Response, ...]
    """In the order in which they were asked."""
    made: Mapping[str, tuple[Made, ...]] = NOTHING
    """Kind to rows that take the place of those made from the responses."""
    details: Mapping[str, Any] = NOTHING
    """Facts for every record of the item."""
    dropped: Mapping[str, int] = NOTHING
    """Samples that don't count, by reason."""
    raw: tuple[str, ...] = ()
    """Raw texts, for the rejects, where no row comes of it."""
    reason: str = ""
    """Why no row follows from the responses, if none does. The item is rejected unless rows in `made` are wanted."""
    detail: str = ""
    tallies: Mapping[str, tuple[int, int]] = NOTHING
    """Name to (how often, of how many): summed over the run for the manifest. Counted for rejected items too."""
    agrees: bool | None = None
    """Whether the answer equals the seed's gold; None where there is none."""


Annotate = Callable[[Item, Ask], Awaitable[Judged]]
"""What a strategy is. Raises AnswerFailed where a model refuses for good."""

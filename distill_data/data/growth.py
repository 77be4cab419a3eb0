"""Draw, Draft and Growth: how methods that write x themselves are grown in rounds. Knows neither prompts nor teachers.

A growth is a function of seeds, recipe, random seed and answers: what it draws depends on the pool as it stood when the
round began, and what it admits is decided in the order of the candidates, never in that of the answers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from distill_data.data.exchange import Ask
from distill_data.data.items import Item, Outcome, Row


class Draw(NamedTuple):
    """What one proposal is made from: a combination, a parent, demonstrations."""

    row: Row
    """What the template sees as `row`, and as its columns."""
    sample: int = 0
    """How often the same was drawn before."""
    shown: Mapping[str, Any] = MappingProxyType({})
    """More variables for the template, such as `demonstrations`."""
    parents: tuple[str, ...] = ()
    """Ids of the seeds and candidates that it comes from."""
    source: str = ""
    """The seed that it is counted under, for coverage."""
    depth: int = 0
    """How many times it was evolved before."""


class Draft(NamedTuple):
    """One candidate: an x that a teacher wrote, not yet decided on."""

    draw: Draw
    x: Row
    reason: str = ""
    """Why it doesn't count, where that is known already."""
    detail: str = ""
    answers: tuple[str, ...] = ()
    """Raw texts that it was read from."""
    notes: Mapping[str, Any] = MappingProxyType({})
    """Facts for the record's details."""


class Growth(Protocol):
    """A method with a pool. The engine calls it in this order, round after round."""

    def draw(self) -> Sequence[Draw]:
        """The proposals of the next round; none where there is nothing left to draw."""

    def propose(self, item: Item, draw: Draw, ask: Ask, /) -> Awaitable[list[Draft]]:
        """The candidates that come of one drawing. Raises AnswerFailed."""

    def admit(self, item: Item, draft: Draft, /) -> Draft:
        """The draft, with a reason where it may not stand beside what the pool holds."""

    def answer(self, item: Item, draft: Draft, ask: Ask, /) -> Awaitable[Outcome]:
        """What becomes of an admitted draft: y, checked, as a record. Raises AnswerFailed."""

    def settle(self, item: Item, draft: Draft, kept: bool, /) -> None:
        """A candidate was decided on: let the pool grow by it, or its parent return."""

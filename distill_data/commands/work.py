"""What a pass goes over: every seed row by a method, or rounds of candidates by a growth. Knows no teacher."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Protocol

from distill_data.commands.grouping import group
from distill_data.commands.plan import Seeds
from distill_data.data.exchange import Ask
from distill_data.data.growth import Growth
from distill_data.data.items import Item, Outcome
from distill_data.engine.growing import Grower, Grown
from distill_data.engine.schedule import Method, run_items
from distill_data.errors import DistillError, SeedError

AskFor = Callable[[str], Ask]
Finish = Callable[[Item, Outcome], None]
Halt = Callable[[DistillError], None]


class Work(Protocol):
    """One pass, made anew for each."""

    @property
    def items(self) -> int:
        """How many there are; in rounds, how many have begun."""

    @property
    def target(self) -> int | None:
        """How many to keep, where the work ends with that."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the manifest's result says about the work."""

    @property
    def ended(self) -> str:
        """Why there were no more items, for a person."""

    def pilot(self, first: int) -> Work:
        """The same work cut to so many items from its start; in rounds, to the rounds that it takes to look at so many.
        All that it asks the whole work asks too."""

    async def run(self, ask_for: AskFor, finish: Finish, width: int, stopping: Callable[[], bool], halt: Halt) -> None:
        """Take every item to its outcome. What is wrong with the seeds, and that memory runs out, goes to
        `halt`."""


@dataclass(frozen=True, slots=True)
class OverSeeds:
    """A method over every seed row, or over those of a shard."""

    seeds: Seeds
    method: Method
    target: int | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    ended: str = "every seed had its turn"
    first: int | None = None
    """How many to take, where not all."""

    @property
    def items(self) -> int:
        return self.seeds.own_rows if self.first is None else min(self.first, self.seeds.own_rows)

    def pilot(self, first: int) -> OverSeeds:
        return replace(self, first=first)

    async def run(self, ask_for: AskFor, finish: Finish, width: int, stopping: Callable[[], bool], halt: Halt) -> None:
        def items() -> Iterator[Item]:
            try:
                items = islice(self.seeds.own_items(), self.items)  # the file may have grown since it was surveyed
                yield from group(items, self.seeds.leading) if self.seeds.leading else items
            except SeedError as error:
                halt(error)

        await run_items(items(), self.method, ask_for, finish, width, stopping, halt)


@dataclass(frozen=True, slots=True)
class InRounds:
    """A growth, until enough candidates are kept."""

    growth: Growth
    target: int
    cap: int
    """How many candidates to look at, at most."""
    seed: int
    told: Mapping[str, Any] = field(default_factory=dict)
    """Facts that are known before."""
    grown: Grown = field(default_factory=Grown)

    @property
    def items(self) -> int:
        return self.grown.candidates

    def pilot(self, first: int) -> InRounds:
        return replace(self, cap=min(first, self.cap))

    @property
    def facts(self) -> Mapping[str, Any]:
        kept = self.grown.coverage
        return {
            **self.told,
            "rows": self.target,
            "coverage": {"sources": len(kept), "kept": dict(sorted(kept.items()))},
        }

    @property
    def ended(self) -> str:
        if self.grown.dry:
            return "nothing is left to draw from; more seeds would give more"
        return f"no more than {self.cap} candidates are looked at; raise --max-candidates to go on"

    async def run(self, ask_for: AskFor, finish: Finish, width: int, stopping: Callable[[], bool], halt: Halt) -> None:
        grower = Grower(
            self.growth, self.target, self.cap, self.seed, ask_for, finish, width, stopping, halt, self.grown
        )
        await grower.run()

"""`--pilot K`: the first items of a run, asked as the run asks them, and a forecast of the rest. Knows no method.

What the items needed is counted beside the engine, on its way in and out: a run without a pilot pays nothing for it.
An answer that two items share counts for both, and what was asked in vain is not foreseen.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from distill_data.commands.forecast import CONFIDENCE, Range, Unit, extrapolate, mean
from distill_data.commands.work import AskFor
from distill_data.data.exchange import Answer, Ask, Reply, Request, Wanted, always
from distill_data.data.items import Item, Outcome
from distill_data.engine.ask import Seat
from distill_data.teachers.prices import cost_of
from distill_data.teachers.protocol import Profile, Teacher

QUANTITIES = ("requests", "prompt_tokens", "completion_tokens", "cached_tokens", "cost")


@dataclass(slots=True)
class Stopwatch:
    """How long requests take on the wire, and how many were there at once."""

    seconds: list[float] = field(default_factory=list)
    in_flight: int = 0
    peak: int = 0


@dataclass(slots=True)
class Timed:
    """A teacher, under a stopwatch."""

    identity: Mapping[str, str]
    teacher: Teacher
    watch: Stopwatch

    def lower(self, request: Request) -> dict[str, Any]:
        return self.teacher.lower(request)

    async def send(self, body: bytes) -> Reply:
        watch, began = self.watch, time.monotonic()
        watch.in_flight += 1
        watch.peak = max(watch.peak, watch.in_flight)
        try:
            return await self.teacher.send(body)
        finally:
            watch.in_flight -= 1
            watch.seconds.append(time.monotonic() - began)

    async def aclose(self) -> None:
        await self.teacher.aclose()


@dataclass(slots=True)
class Meter:
    """What each item needed, bought now or on disk before."""

    seats: Mapping[str, Seat]
    whole: int
    """How much there is to do: items, or rows to keep."""
    by_kept: bool
    """Whether it is rows to keep."""
    units: dict[str, Unit] = field(default_factory=dict)
    roles: dict[str, Unit] = field(default_factory=dict)
    """What each role was asked in all."""
    watch: Stopwatch = field(default_factory=Stopwatch)
    ended: Counter[str] = field(default_factory=Counter)

    def time(self, seats: Mapping[str, Seat]) -> dict[str, Seat]:
        def timed(seat: Seat) -> Seat:
            return replace(seat, teacher=Timed(seat.teacher.identity, seat.teacher, self.watch))

        return {role: timed(seat) for role, seat in seats.items()}

    def count(self, ask_for: AskFor) -> AskFor:
        """The same `ask`s, counted."""

        def counted(owner: str) -> Ask:
            ask = ask_for(owner)

            async def ask_and_count(request: Request, to: str = "teacher", *, wanted: Wanted = always) -> Answer:
                answer = await ask(request, to, wanted=wanted)
                usage = (answer.prompt_tokens, answer.completion_tokens, answer.cached_tokens)
                cost = cost_of(self.seats[to].price, usage)
                for unit in (self.units.setdefault(owner, Unit()), self.roles.setdefault(to, Unit())):
                    unit.requests += 1
                    unit.prompt_tokens += answer.prompt_tokens
                    unit.completion_tokens += answer.completion_tokens
                    unit.cached_tokens += answer.cached_tokens
                    unit.cost += cost or 0.0
                return answer

            return ask_and_count

        return counted

    def finish(self, item: Item, outcome: Outcome) -> None:
        """An item that ended, of which the answers count."""
        if outcome.status == "pending":
            return
        self.ended[outcome.status] += 1
        unit = self.units.setdefault(item.id, Unit())
        unit.weight += float(outcome.status == "kept" or not self.by_kept)

    def forecast(self, owned: Mapping[int, int], profiles: Mapping[str, Profile]) -> dict[str, Any] | None:
        """For the whole run and for what is left of it; None where nothing came of the first items.

        `owned` says which items had answers on disk before; they are taken to be done.
        """
        units = [unit for unit in self.units.values() if self.by_kept or unit.weight]
        done = sum(unit.weight for unit in units)
        if not done:
            return None
        left = max(0.0, self.whole - done)
        begun = 0 if self.by_kept else len(owned.keys() - {0, *(int(name, 16) for name in self.units)})
        known = all(seat.price is not None for seat in self.seats.values())
        parts: dict[str, dict[str, Any]] = {"whole": {}, "rest": {}}
        for name in QUANTITIES:
            values = [float(getattr(unit, name)) for unit in units]
            weights = [unit.weight for unit in units]
            ranges = {
                "whole": extrapolate(values, weights, left).plus(sum(values)),
                "rest": extrapolate(values, weights, max(0.0, left - begun)),
            }
            for part, found in ranges.items():
                parts[part][name] = found.to_json() if known or name != "cost" else None
                if name == "requests":
                    parts[part]["seconds"] = self._seconds(found, profiles)
        return {
            "unit": "rows" if self.by_kept else "items",
            "of": self.whole,
            "done": round(done),
            "confidence": CONFIDENCE,
            "in_flight": self.watch.peak,
            **parts,
        }

    def _seconds(self, requests: Range, profiles: Mapping[str, Profile]) -> dict[str, float | None] | None:
        """At as many requests in flight as there were, and no faster than `rpm` and `tpm` allow."""
        asked = sum(unit.requests for unit in self.roles.values())
        if not self.watch.seconds or not asked:
            return None
        least = 0.0
        for role, unit in self.roles.items():
            tokens, limits = unit.prompt_tokens + unit.completion_tokens, profiles[role]
            minutes = max(unit.requests / (limits.rpm or math.inf), tokens / (limits.tpm or math.inf))
            least = max(least, 60 * minutes * requests.expected / asked)
        slot = 1 / self.watch.peak
        return requests.times(mean(self.watch.seconds)).times(Range(slot, slot, slot)).at_least(least).to_json()

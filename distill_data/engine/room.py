"""How many requests one endpoint may have at once: a search that doubles, growth in small steps, and trials.

Slower answers have two causes: requests wait for each other, or the work itself is slower. Only less at once tells
them apart: where that loses no answers a second they waited, and it stays so; else the limit goes back to where it was.
Does not know who waits, paces, nor what a refusal is.
"""

from __future__ import annotations

from typing import NamedTuple

START = 10
"""Requests in flight that a run begins with."""
USED = 0.8
"""Part of the limit that must have been in use for it to grow."""
STEP = 0.2
"""The least growth of the limit, so that a small one grows at all."""
SLOWER, WAITING, CLEARLY = 1.25, 1.6, 3.0
"""Latency, in that of requests which did not wait for each other, from which on the limit grows no more; from which on
less is tried; and the same while the limit still doubles, which takes in long and short rounds."""
PAYS = 1.1
"""Growth of the rate of answers that makes the higher of two limits the better one."""
PATIENCE, MORE = 50, 1.5
"""Rounds without growth because of the latency, after which more is tried, and how much more."""
ENOUGH, TELLING = 100, 300
"""Answers that a round takes at the least, once the search is over; and one whose rate is compared."""
FAULTY = 0.1
"""Failures, as a part of a round's answers, from which on it brings no growth."""
TICK = 0.001
"""Seconds, the shortest round."""


class Round(NamedTuple):
    """What came of one limit."""

    size: float
    rate: float
    """Answers a second."""
    latency: float
    """Seconds that one took."""


class Room:
    """The limit of one endpoint, at most `ceiling`. Belongs to one limiter, which tells what happens and when."""

    def __init__(self, ceiling: int, insisted: bool, now: float) -> None:
        self.ceiling = ceiling
        self.limit = min(START, ceiling)
        """Requests that may be in flight. To read only."""
        self.proven = 0.0
        """The most that was used up and brought no cut; 0.0 before that."""
        self.searching = True
        self.peak = 0
        """The most in flight in this round."""
        self._insisted = insisted  # nothing is tried: only refusals keep the limit below the ceiling
        self._size = float(self.limit)  # the limit, with its fraction
        self._latency = 0.0  # where requests did not wait for each other
        self._before: Round | None = None  # the other side of a trial
        self._draining = False  # what is in flight still tells of the limit before
        self._suspect = False  # this round shows whether the last one was slow by chance
        self._held = 0  # rounds without growth because of the latency
        self.begin_round(now, 0)

    def begin_round(self, now: float, in_flight: int) -> None:
        self._began = now
        self._answers = self._failures = 0
        self._seconds = 0.0
        self.peak = in_flight

    def succeed(self, now: float, seconds: float, in_flight: int) -> None:
        """An answer that took so long."""
        self._answers += 1
        self._seconds += seconds
        least = 0 if self._draining else TELLING if self._suspect or self._before else 0 if self.searching else ENOUGH
        if self._answers >= max(least, self.limit):
            self._end_round(now, in_flight)

    def falter(self) -> None:
        """A failure that load may or may not have caused."""
        self._failures += 1

    def is_used(self) -> bool:
        return self.peak >= USED * self.limit

    def cut(self, size: float, now: float, in_flight: int) -> None:
        """No more than this, by a refusal: the search is over, and a trial shows nothing any more."""
        self.searching = False
        self._turn(min(self._size, size))
        self.begin_round(now, in_flight)

    def resume(self, size: float, searching: bool, now: float, in_flight: int) -> None:
        """Go on from here, and double again where what was cut for was no answer to the load."""
        self.searching = searching
        self._turn(max(size, self.proven) if searching else size)
        self.begin_round(now, in_flight)

    def restore(self, size: float, now: float, in_flight: int) -> None:
        """After an outage: go on where it began, at this size at the least."""
        self._turn(max(size, self._size, self.proven))
        self.begin_round(now, in_flight)

    def accept(self) -> None:
        """What was cut stays so after an outage as well."""
        self.proven = min(self.proven, self._size)

    def creep(self, part: float) -> None:
        """Grow by this part, unless answers are slow by now or something is being tried."""
        if self.is_used() and not (self._held or self._before or self._suspect):
            self.proven = self._size
            self._set(self._size + max(STEP, self._size * part))

    def _end_round(self, now: float, in_flight: int) -> None:
        seconds = max(now - self._began, TICK)
        seen = Round(self._size, self._answers / seconds, self._seconds / self._answers)
        used, sound = self.is_used(), self._failures < FAULTY * self._answers
        self.begin_round(now, in_flight)
        if self._draining:
            self._draining = in_flight > self.limit
        elif self._before is not None:
            self._choose(self._before, seen)
        elif used and sound:
            self._judge(seen)

    def _judge(self, seen: Round) -> None:
        """Go on growing, stay, or try less or more."""
        self.proven = self._size
        if not self._latency or self.searching:
            self._latency = min(self._latency or seen.latency, seen.latency)
        elif seen.latency < self._latency:
            self._latency = (self._latency + seen.latency) / 2
        slower = seen.latency / self._latency if self._latency and not self._insisted else 1.0
        suspect, self._suspect = self._suspect, False
        if slower > (CLEARLY if self.searching and self.limit < self.ceiling else WAITING) and self.limit > START:
            if suspect:
                self._try(seen, max(START, self._size / 2))
            self._suspect = not suspect
        elif slower > SLOWER and not self.searching:
            self._held += 1
            if self._held >= PATIENCE:
                self._try(seen, MORE * self._size)
        else:
            self._held = 0
            if self.searching:
                self.searching = self.limit < self.ceiling
                self._set(2 * self.limit)

    def _try(self, seen: Round, size: float) -> None:
        self._set(size)
        self._before, self._draining = (seen, True) if self._size != seen.size else (None, False)
        self._held = 0

    def _choose(self, *rounds: Round) -> None:
        """Keep the higher of two limits where it brings more answers, and search on from there."""
        low, high = sorted(rounds)
        self.searching = high.rate > PAYS * low.rate
        if self.searching:
            self._turn(high.size)
            self._latency = high.latency
        else:
            self._turn(max(low.size, min(high.size, SLOWER * low.rate * self._latency)))

    def _turn(self, size: float) -> None:
        self._before, self._draining, self._suspect, self._held = None, False, False, 0
        self._set(size)

    def _set(self, size: float) -> None:
        self._size = min(max(size, 1.0), self.ceiling)
        self.limit = int(self._size)

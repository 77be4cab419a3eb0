"""How many requests one endpoint gets at once and per minute: adaptive concurrency, two buckets and a gate.

Concurrency starts low, doubles while all goes well, is cut when the server pushes back and then grows in small steps
(additive increase, multiplicative decrease). A bucket each paces requests and tokens; the gate holds everybody
back for a while when the server says so. Does not know requests, replies, retries nor money.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping

from distill_data.engine.retry import LONGEST_WAIT, reset_after

START = 10
"""Requests in flight that a run begins with."""
SHARE = 0.8
"""Part of the limit that must have been in use for it to grow, and what a cut leaves of it."""
STEP = 0.05
"""Growth a round, once a cut has shown where the edge is."""
COOLDOWN = 1.0
"""Seconds after a cut in which the limit neither falls nor grows, at the least."""
IN_A_ROW = 3
"""Refusals without a success between them that are no accident."""
TOLERATED = 0.15
"""Part of the recent outcomes that may be refusals before they count as one. Beyond an edge that is real,
refusals come thick: a refused slot is free again at once, so the next request runs into the same wall."""
RECENT = 1 / 50
"""Weight of the newest outcome in that part."""
SHORTEST_GATE = 0.5
TICK = 0.001
"""Seconds, the shortest timer: rounding must not make a loop out of one that is a hair early."""


class _Bucket:
    """Fills continuously and holds a second's worth, or the largest amount that was ever wanted of it."""

    __slots__ = ("capacity", "level", "rate", "stamp")

    def __init__(self, per_minute: float, now: float) -> None:
        self.rate = per_minute / 60
        self.capacity = self.level = max(self.rate, 1.0)
        self.stamp = now

    def delay(self, amount: float, now: float) -> float:
        """Seconds until `amount` can be taken; 0.0 for now."""
        self.capacity = max(self.capacity, amount)
        self.level = min(self.capacity, self.level + (now - self.stamp) * self.rate)
        self.stamp = now
        return max(0.0, (amount - self.level) / self.rate)

    def put(self, amount: float) -> None:
        """Give back, or charge where negative; the level may fall below zero."""
        self.level += amount


class Limiter:
    """The way in to one endpoint. Belongs to one event loop; first come, first served.

    `ceiling` bounds the requests in flight; `rpm` and `tpm`, positive, the requests and tokens a minute.
    Every `enter` that returned is followed by one `leave`, with at most one of `succeeded`, `refused` and `faltered`
    before it.
    """

    def __init__(
        self,
        ceiling: int,
        rpm: float | None = None,
        tpm: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limit = min(START, ceiling)
        """Requests that may be in flight now. To read only."""
        self.in_flight = 0
        """Requests that are. To read only; after a cut more than the limit for a while."""
        self.ceiling = ceiling
        self._clock = clock
        self._requests = _Bucket(rpm, clock()) if rpm else None
        self._tokens = _Bucket(tpm, clock()) if tpm else None
        self._paced = bool(rpm or tpm)
        self._waiting: deque[tuple[asyncio.Future[None], int]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._error: BaseException | None = None
        self._gate = self._cooling = 0.0  # times on the clock; 0.0 where there is nothing to wait for
        self._searching = True  # no cut yet: the limit doubles
        self._successes = self._peak = 0  # of this round
        self._row = 0  # refusals since the last success
        self._refusals = 0.0  # part of the recent outcomes

    async def enter(self, tokens: int) -> None:
        """Wait for a slot, for the gate and for the buckets; `tokens` is the request's estimate.

        Raises what `close` was given.
        """
        if self._error is not None:
            raise self._error.with_traceback(None)
        if not self._waiting and self.in_flight < self.limit and self._delay(tokens) == 0.0:
            self._take(tokens)
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((turn, tokens))
        self._wake()
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled() and turn.exception() is None:
                self._put(1, tokens)
                self.in_flight -= 1
            self._wake(early=True)
            raise

    def charge(self, requests: int) -> None:
        """Count requests more under a slot that was entered; whoever comes next waits for them."""
        if requests and self._requests is not None:
            self._requests.put(-requests)

    def leave(self) -> None:
        """Free the slot for the next in line."""
        self.in_flight -= 1
        if self._waiting:
            self._wake()

    def succeeded(self, headers: Mapping[str, str]) -> None:
        """A success, with the reply's headers: a round of them, as many as the limit, lets it grow."""
        self._row = 0
        if self._refusals:
            self._refusals *= 1 - RECENT
        if headers:
            wait = reset_after(headers)
            if 0.0 < wait <= LONGEST_WAIT:  # a longer one will come as a refusal, which can say so
                self._shut(wait)
        if self._cooling:
            if self._clock() < self._cooling:
                self._begin_round()
                return
            self._cooling = 0.0
        self._successes += 1
        if self._successes >= self.limit:
            self._grow()

    def refused(self, wait: float) -> None:
        """A refusal for the load we make, with the seconds the server asks to wait.

        Single ones among many successes change nothing. Many cut the limit, once a cooldown; several in a row also
        shut the gate.
        """
        self._row += 1
        self._refusals += (1 - self._refusals) * RECENT
        if self._row >= IN_A_ROW:
            self._shut(max(wait, SHORTEST_GATE))
        elif self._refusals <= TOLERATED:
            return
        self._searching = False
        now = self._clock()
        if now >= self._cooling:
            self.limit = max(1, int(self.limit * SHARE))
            self._cooling = now + max(wait, COOLDOWN)
            self._begin_round()

    def faltered(self) -> None:
        """A failure that load may or may not have caused: this round brings no growth."""
        self._begin_round()

    def correct(self, estimated: int, actual: int) -> None:
        """Settle the tokens a request really took against the estimate that it entered with."""
        if self._tokens is not None:
            self._tokens.put(estimated - actual)
            if estimated > actual and self._waiting:
                self._wake(early=True)

    def close(self, error: BaseException) -> None:
        """Let nobody in any more: everyone who waits and everyone who comes gets `error`. The first close counts."""
        self._error = self._error or error
        self._cancel_timer()
        while self._waiting:
            turn, _ = self._waiting.popleft()
            if not turn.done():
                turn.set_exception(self._error)

    def _delay(self, tokens: int) -> float:
        """Seconds until the gate and both buckets let a request of this size pass."""
        if not self._paced:
            return 0.0
        now = self._clock()
        if self._gate <= now:
            self._gate = 0.0
            self._paced = self._requests is not None or self._tokens is not None
        wait = max(0.0, self._gate - now)
        if self._requests is not None:
            wait = max(wait, self._requests.delay(1, now))
        if self._tokens is not None:
            wait = max(wait, self._tokens.delay(tokens, now))
        return wait

    def _take(self, tokens: int) -> None:
        self.in_flight += 1
        if self.in_flight > self._peak:
            self._peak = self.in_flight
        if self._requests is not None or self._tokens is not None:
            self._put(-1, -tokens)

    def _put(self, requests: int, tokens: int) -> None:
        if self._requests is not None:
            self._requests.put(requests)
        if self._tokens is not None:
            self._tokens.put(tokens)

    def _shut(self, wait: float) -> None:
        self._gate = max(self._gate, self._clock() + wait)
        self._paced = True

    def _begin_round(self) -> None:
        self._successes = 0
        self._peak = self.in_flight

    def _grow(self) -> None:
        """End a round: more room if this one was nearly used up."""
        if self.limit < self.ceiling and self._peak >= SHARE * self.limit:
            more = self.limit if self._searching else max(1, int(self.limit * STEP))
            self.limit = min(self.ceiling, self.limit + more)
        self._begin_round()

    def _wake(self, early: bool = False) -> None:
        """Let in as many as may pass, in order; where only time is missing, come back then.

        `early` drops a timer that may be too late, because the first in line or the buckets have changed.
        """
        if early:
            self._cancel_timer()
        while self._waiting:
            turn, tokens = self._waiting[0]
            if turn.done():  # cancelled
                self._waiting.popleft()
                continue
            if self.in_flight >= self.limit:
                return
            delay = self._delay(tokens)
            if delay > 0.0:
                if self._timer is None:
                    loop = asyncio.get_running_loop()
                    self._timer = loop.call_later(max(delay, TICK), self._wake, True)
                return
            self._waiting.popleft()
            self._take(tokens)
            turn.set_result(None)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

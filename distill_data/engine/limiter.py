"""How many requests one endpoint gets at once and per minute: adaptive concurrency, buckets and a gate.

    room        the limit: it doubles until something is refused or requests only wait for each other
    refusals    cut what was full: the limit to what the server holds, or else the pace to what it answered
    creep       what was used up grows a little each window that brought no cut
    gate        shut for all while the server asks for patience; while it is down, one request at a time looks

A limit alone cannot meet a server that allows so many requests a minute: a slot too many is refused, free again at
once, and refused again. So refusals set a pace too. Does not know requests, replies, retries nor money.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping

from distill_data.engine.flow import OUTCOMES, Bucket, Window
from distill_data.engine.retry import LONGEST_WAIT, reset_after
from distill_data.engine.room import USED, Room

BELOW = 0.98
"""What a cut leaves of the rate at which successes came."""
CREEP, FASTER, FASTEST = 0.005, 1.1, 0.05
"""Growth in the first window after a cut has shown where the edge is; each quiet window brings more of it."""
SPACE = 1.25
"""The pace, in rates of success, that merely spaces requests which would come in bursts."""
BURST = 0.2
"""Seconds' worth that a pace lets pass at once."""
LESS = 0.7
"""Part of what is in flight that is clearly less."""
IN_A_ROW, IN_PART = 3, 0.2
"""Failures without a success between them that are no accident, and as a part of the limit: where requests are sent in
waves, their refusals come before their answers."""
DOWN = 10
"""Failures without a success, and no fewer than the limit, after which the server is taken to be down."""
OUTAGE = 2.0
"""Seconds of failures only, after which they say nothing about how much the server takes."""
SHORTEST_GATE = 0.5
TICK = 0.001
"""Seconds, the shortest timer: rounding must not make a loop out of one that is a hair early."""


class Limiter:
    """The way in to one endpoint. Belongs to one event loop; first come, first served.

    `ceiling` bounds the requests in flight, and where the user `insisted` on it only refusals keep the limit below it;
    `rpm` and `tpm`, positive, are the requests and tokens a minute.
    Every `enter` that returned is followed by one `leave`, with at most one of `succeeded`, `refused` and `faltered`
    before it.
    """

    def __init__(
        self,
        ceiling: int,
        rpm: float | None = None,
        tpm: float | None = None,
        insisted: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.in_flight = 0
        """Requests that are in flight. To read only; after a cut more than the limit for a while."""
        self.room = Room(ceiling, insisted, clock())
        self.recovered = asyncio.Event()
        """Set, and replaced by another, when an outage ends, and when nobody is let in any more."""
        self._clock = clock
        now = clock()
        self._requests = Bucket(rpm / 60, now) if rpm else None
        self._tokens = Bucket(tpm / 60, now) if tpm else None
        self._pace: Bucket | None = None  # requests a second, learned from refusals
        self._spacing = True  # the pace was never cut: it only spaces, and keeps above the rate of successes
        self._paced = bool(rpm or tpm)
        self._waiting: deque[tuple[asyncio.Future[None], int]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._error: BaseException | None = None
        self._gate = 0.0  # a time on the clock; 0.0 where there is nothing to wait for
        self._row = self._refusals = 0  # failures, and refusals among them, since the last success
        self._first = self._last = 0.0  # times of the first and the last of these
        self._down = self._ever_succeeded = False
        self._window = Window(now)
        self._aside = 0  # the limit, while less is tested
        self._creep = CREEP

    @property
    def limit(self) -> int:
        """Requests that may be in flight now."""
        return self.room.limit

    @property
    def ceiling(self) -> int:
        """The most that the limit may become."""
        return self.room.ceiling

    async def enter(self, tokens: int) -> float:
        """Wait for a slot, for the gate and for the buckets; `tokens` is the request's estimate. The time then.

        Raises what `close` was given.
        """
        if self._error is not None:
            raise self._error.with_traceback(None)
        if not self._waiting and self.in_flight < (1 if self._down else self.room.limit) and self._delay(tokens) == 0.0:
            self._take(tokens)
            return self._clock()
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((turn, tokens))
        self._wake()
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled() and turn.exception() is None:
                self.put(1, tokens)
                self.in_flight -= 1
            self._wake(early=True)
            raise
        return self._clock()

    def charge(self, requests: int) -> None:
        """Count requests more under a slot that was entered; whoever comes next waits for them."""
        if requests and self._requests is not None:
            self._requests.put(-requests)

    def leave(self) -> None:
        """Free the slot for the next in line."""
        self.in_flight -= 1
        if self._waiting:
            self._wake()

    def succeeded(self, headers: Mapping[str, str], entered: float) -> None:
        """A success, with the reply's headers, of a request that entered at this time."""
        if self._row:
            self._end_row()
        self._ever_succeeded = True
        self._window.succeed()
        if headers:
            wait = reset_after(headers)
            if 0.0 < wait <= LONGEST_WAIT:  # a longer one will come as a refusal, which can say so
                self._shut(wait)
        now = self._clock()
        self.room.succeed(now, now - entered, self.in_flight)
        if self._window.answered >= OUTCOMES and not self.room.searching and self._window.ended(now):
            self._end_window(now)

    def refused(self, wait: float, entered: float) -> None:
        """A refusal for the load we make, with the seconds the server asks to wait, of a request that entered then.

        As many as chance would bring change nothing. More cut the limit or the pace, once a window; several in a row
        also shut the gate.
        """
        now = self._fail()
        self._refusals += 1
        many = self._window.refuse(entered, self.room.searching)
        if self._window.tested and self._refusals < DOWN:
            return
        row = self._refusals >= max(IN_A_ROW, IN_PART * self.limit)
        if row and (many or self.room.searching or self._window.cut):
            self._shut(max(wait, SHORTEST_GATE))
            self.room.cut(self.in_flight - 1, now, self.in_flight)  # at once: what remains is what the server took
        elif not many:
            return
        if self._window.ended(now):
            self._end_window(now)
        if not self._window.cut:
            self._cut(now, wait)

    def faltered(self) -> None:
        """A failure that load may or may not have caused: where there are several, this round brings no growth.

        Where nothing but failures comes, one request at a time goes and looks.
        """
        self._fail()
        self.room.falter()
        if self._ever_succeeded and self._row >= max(DOWN, self.limit):
            self._down = True
            self._shut(SHORTEST_GATE)

    def correct(self, estimated: int, actual: int) -> None:
        """Settle the tokens a request really took against the estimate that it entered with."""
        if self._tokens is not None:
            self._tokens.put(estimated - actual)
            if estimated > actual and self._waiting:
                self._wake(early=True)

    def close(self, error: BaseException) -> None:
        """Let nobody in any more: everyone who waits and everyone who comes gets `error`. The first close counts."""
        self._error = self._error or error
        self.recovered.set()
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
            self._paced = bool(self._requests or self._tokens or self._pace)
        wait = max(0.0, self._gate - now)
        for bucket, amount in ((self._requests, 1), (self._tokens, tokens), (self._pace, 1)):
            if bucket is not None:
                wait = max(wait, bucket.delay(amount, now))
        return wait

    def _take(self, tokens: int) -> None:
        self.in_flight += 1
        if self.in_flight > self.room.peak:
            self.room.peak = self.in_flight
        if self._paced:
            self.put(-1, -tokens)

    def put(self, requests: int, tokens: int) -> None:
        """Give back what `enter` took of the buckets for a request that is not sent; take it where negative."""
        for bucket, amount in ((self._requests, requests), (self._tokens, tokens), (self._pace, requests)):
            if bucket is not None:
                bucket.put(amount)

    def _shut(self, wait: float) -> None:
        self._gate = max(self._gate, self._clock() + wait)
        self._paced = True

    def _fail(self) -> float:
        """Count a failure. The time."""
        self._last = now = self._clock()
        if not self._row:
            self._first = now
        self._row += 1
        return now

    def _end_row(self) -> None:
        """A success after failures. After an outage all goes on where it was; else a limit that was cut stays so."""
        if self._last - self._first >= OUTAGE:
            now = self._clock()
            self.room.restore(self._aside if self._window.tested else 0, now, self.in_flight)
            self._window = Window(now)
            self.recovered.set()
            self.recovered = asyncio.Event()
        elif self._refusals >= IN_A_ROW:
            self.room.accept()
        self._row = self._refusals = 0
        if self._down:
            self._down = False
            self._wake(early=True)

    def _cut(self, now: float, wait: float) -> None:
        """Less of what was full: if the limit was not, or cutting that was no help, it was the pace."""
        if self._window.is_futile(now) and self.in_flight > 1:
            self._aside = self.room.limit
            self.room.cut(LESS * self.in_flight, now, self.in_flight)
            self._window.begin_test(now)
            return
        self._creep = CREEP
        rate = self._window.rate(now)
        full = self.in_flight >= self.limit > 1
        self.room.cut(self.in_flight - 1 if full else self.limit, now, self.in_flight)
        if self._pace is not None and rate and (not full or self._window.cut_before):
            self._pace.change(min(BELOW * rate, self._pace.rate))
            self._spacing = False
        if self._pace is None and rate:
            self._pace = Bucket(SPACE * rate, now, BURST)
            self._paced = True
        self._window.begin_after_cut(now, wait)

    def _end_window(self, now: float) -> None:
        """A little more of what was used up, if nothing had to be cut."""
        if self._window.tested:
            went_on = self._window.end_test(now)
            self.room.resume(self._aside, went_on, now, self.in_flight)
            if went_on:
                self._pace, self._spacing = None, True
            return
        quiet = not self._window.cut
        rate = self._window.begin(now)
        if quiet:
            if self._pace is not None and self._spacing:
                self._pace.change(max(self._pace.rate, SPACE * rate))
            if self._pace is not None and not self._spacing and rate >= USED * self._pace.rate:
                self._pace.change(self._pace.rate * (1 + self._creep))
            else:
                self.room.creep(self._creep)
            self._creep = min(FASTEST, FASTER * self._creep)

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
            if self.in_flight >= (1 if self._down else self.room.limit):
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

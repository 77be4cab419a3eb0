"""How many requests one endpoint gets at once and per minute: adaptive concurrency, buckets and a gate.

    search      the limit doubles each round, until something is refused or doubling no longer pays
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

START = 10
"""Requests in flight that a run begins with."""
USED = 0.8
"""Part of the limit or of the pace that must have been in use for it to grow."""
PAYS, PAYS_WELL, PAYS_CLEARLY = 1.1, 1.3, 1.6
"""Growth of the rate of successes by which a doubling paid; by which requests did not yet wait for each other to speak
of; and from which on one round is enough to tell."""
SLOWER, SLACK = 1.2, 1.05
"""What a doubling may add to the latency that counts as not waiting, and how much more than that is borne."""
BELOW = 0.98
"""What a cut leaves of the rate at which successes came."""
CREEP, FASTER, FASTEST = 0.005, 1.1, 0.05
"""Growth in the first window after a cut has shown where the edge is; each quiet window brings more of it."""
STEP = 0.2
"""The least growth of the limit, so that a small one grows at all."""
SPACE = 1.25
"""The pace, in rates of success, that merely spaces requests which would come in bursts."""
BURST = 0.2
"""Seconds' worth that a pace lets pass at once."""
IN_A_ROW = 3
"""Failures without a success between them that are no accident."""
DOWN = 10
"""Failures without a success, and no fewer than the limit, after which the server is taken to be down."""
OUTAGE = 2.0
"""Seconds of failures only, after which they say nothing about how much the server takes."""
SHORTEST_GATE = 0.5
TICK = 0.001
"""Seconds, the shortest timer: rounding must not make a loop out of one that is a hair early."""


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
        self._room = float(self.limit)  # the limit, with its fraction
        self._proven = 0.0  # room that was fully used and brought no cut; 0.0 before the first success
        self._row = self._refusals = 0  # failures, and refusals among them, since the last success
        self._first = self._last = 0.0  # times of the first and the last of these
        self._down = False
        self._searching = True
        self._successes = self._peak = 0  # of this round
        self._seconds = 0.0  # that its successes took
        self._round = now  # its beginning
        self._doubtful = False  # this round is the second at its limit, as the first did not pay clearly
        self._rate = self._latency = 0.0  # at the last limit that paid; where requests did not wait for each other
        self._knee = self._least = 0.0  # seconds that a request may take for the limit to grow; the limit found by it
        self._window = Window(now)
        self._creep = CREEP

    async def enter(self, tokens: int) -> float:
        """Wait for a slot, for the gate and for the buckets; `tokens` is the request's estimate. The time then.

        Raises what `close` was given.
        """
        if self._error is not None:
            raise self._error.with_traceback(None)
        if not self._waiting and self.in_flight < (1 if self._down else self.limit) and self._delay(tokens) == 0.0:
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
        self._window.succeed()
        if headers:
            wait = reset_after(headers)
            if 0.0 < wait <= LONGEST_WAIT:  # a longer one will come as a refusal, which can say so
                self._shut(wait)
        self._successes += 1
        if self._searching:
            self._seconds += self._clock() - entered
            if self._successes >= self.limit:
                self._end_round()
        elif self._window.answered >= OUTCOMES and self._window.ended(now := self._clock()):
            self._end_window(now)

    def refused(self, wait: float) -> None:
        """A refusal for the load we make, with the seconds the server asks to wait.

        As many as chance would bring change nothing. More cut the limit or the pace, once a window; several in a row
        also shut the gate.
        """
        now = self._fail()
        self._refusals += 1
        many = self._window.refuse(self._searching)
        if self._refusals >= IN_A_ROW and (many or self._searching):
            self._shut(max(wait, SHORTEST_GATE))
            self._set_room(min(self._room, self.in_flight - 1))  # at once: what remains is what the server took
        elif not many:
            return
        if self._window.ended(now):
            self._end_window(now)
        if not self._window.cut:
            self._cut(now, wait)

    def faltered(self) -> None:
        """A failure that load may or may not have caused: this round brings no growth.

        Where nothing but failures comes, one request at a time goes and looks.
        """
        self._fail()
        self._begin_round()
        if self._proven and self._row >= max(DOWN, self.limit):
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
        if self.in_flight > self._peak:
            self._peak = self.in_flight
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
            self._set_room(max(self._room, self._proven))
            self._window = Window(self._clock())
            self.recovered.set()
            self.recovered = asyncio.Event()
        elif self._refusals >= IN_A_ROW:
            self._proven = min(self._proven, self._room)
        self._proven = max(self._proven, 1.0)
        self._row = self._refusals = 0
        if self._down:
            self._down = False
            self._wake(early=True)

    def _set_room(self, room: float) -> None:
        self._room = min(max(room, 1.0), self.ceiling)
        self.limit = int(self._room)

    def _begin_round(self) -> None:
        self._successes = 0
        self._seconds = 0.0
        self._round = self._clock()
        self._peak = self.in_flight

    def _end_round(self) -> None:
        """Of the search, after as many successes as the limit: twice the room if this was used up and paid."""
        if self._peak >= USED * self.limit:
            self._proven = self._room
            rate = self._successes / max(self._clock() - self._round, TICK)
            if self.limit >= self.ceiling:
                self._searching = False
            elif rate < PAYS_CLEARLY * self._rate and not self._doubtful:
                self._doubtful = True
            elif rate < PAYS * self._rate:
                self._settle(rate)
            else:
                if rate >= PAYS_WELL * self._rate:
                    latency = self._seconds / self._successes
                    self._latency = min(latency, SLOWER * self._latency or latency)
                self._rate, self._doubtful = rate, False
                self._set_room(2 * self.limit)
        self._begin_round()

    def _settle(self, rate: float) -> None:
        """More at once no longer brings more answers, they only wait for each other: go back to where that begins."""
        self._searching = False
        self._knee = SLACK * self._latency
        self._least = max(START, rate * self._knee)
        self._set_room(self._least)
        self._proven = self._room
        self._window = Window(self._clock())

    def _cut(self, now: float, wait: float) -> None:
        """Less of what was full: if the limit was not, or cutting that was no help, it was the pace."""
        self._searching = False
        self._creep = CREEP
        rate = self._window.rate(now)
        full = self.in_flight >= self.limit > 1
        if full:
            self._set_room(min(self._room, self.in_flight - 1))
        if self._pace is not None and rate and (not full or self._window.cut_before):
            self._pace.change(min(BELOW * rate, self._pace.rate))
            self._spacing = False
        if self._pace is None and rate:
            self._pace = Bucket(SPACE * rate, now, BURST)
            self._paced = True
        self._window.begin_after_cut(now, wait)
        self._begin_round()

    def _end_window(self, now: float) -> None:
        """A little more of what was used up, if nothing had to be cut."""
        quiet = not self._window.cut
        rate = self._window.begin(now)
        if quiet:
            if self._pace is not None and self._spacing:
                self._pace.change(max(self._pace.rate, SPACE * rate))
            if self._pace is not None and not self._spacing and rate >= USED * self._pace.rate:
                self._pace.change(self._pace.rate * (1 + self._creep))
            elif self._peak >= USED * self.limit:
                self._proven = self._room
                room = self._room + max(STEP, self._room * self._creep)
                self._set_room(max(self._least, min(room, self._knee * rate)) if self._knee else room)
            self._creep = min(FASTEST, FASTER * self._creep)
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
            if self.in_flight >= (1 if self._down else self.limit):
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

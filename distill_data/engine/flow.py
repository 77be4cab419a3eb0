"""What a limiter measures and paces with: a bucket that fills at a rate, and a window over what came back of late.

Neither knows who waits or what is asked.
"""

from __future__ import annotations

SECONDS, OUTCOMES = 1.0, 20
"""What a window takes at the least."""
TOLERATED, WHILE_SEARCHING = 0.025, 0.2
"""Part of the recent outcomes that may be refusals before something is cut. Two close together are more; while the
limit still doubles, several in a row tell sooner."""
RECENT = 1 / 50
"""Weight of the newest outcome in that part."""
NOISE, ROUGHLY = 0.3, 2.5
"""Refusals that no cut changes, up to this part, are borne; chance brings so many times as many together."""
FORGETS = 0.995
"""What each window leaves of them, so that they are tested again some day."""
MEMORY = 1000
"""Outcomes from which on older ones count half."""
FELL, ALIKE, DOUBTS = 0.8, 0.4, 4
"""A test is worth while where the rate fell so far, refusals after cuts are so frequent beside others, and so many."""
SHOWS, SOON = 6, 20.0
"""Refusals that a test expects if they are noise, of which half are proof; and the most seconds that it may take."""


class Bucket:
    """Fills continuously and holds `burst` seconds' worth, or the largest amount that was ever wanted of it."""

    __slots__ = ("burst", "capacity", "level", "rate", "stamp")

    def __init__(self, rate: float, now: float, burst: float = 1.0) -> None:
        self.rate = rate
        self.burst = burst
        self.capacity = self.level = max(rate * burst, 1.0)
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

    def change(self, rate: float) -> None:
        """Fill at another rate from now on."""
        self.rate = rate
        self.capacity = max(rate * self.burst, 1.0)


class Share:
    """Part of the outcomes that were refusals."""

    __slots__ = ("outcomes", "refused")

    def __init__(self) -> None:
        self.outcomes = self.refused = 0.0

    def add(self, outcomes: int, refused: int) -> None:
        if self.outcomes > MEMORY:
            self.outcomes, self.refused = self.outcomes / 2, self.refused / 2
        self.outcomes += outcomes
        self.refused += refused

    def part(self) -> float:
        return self.refused / self.outcomes if self.outcomes else 0.0


class Window:
    """Counts successes and refusals until there are enough of them for a rate, then begins anew.

    Some servers refuse now and then whatever our load is. Where refusals come right after a cut as they do else, a test
    with clearly less tells: if they go on, they are noise.
    """

    def __init__(self, now: float) -> None:
        self.answered = self.refused = 0
        self.cut = self.cut_before = False
        """Whether this window began with a cut, and whether the one before it did."""
        self.noise = 0.0
        """Part of the outcomes that is refused whatever our load."""
        self.tested = 0.0
        """The part of refusals that this window tests, 0.0 in others."""
        self._began, self._least, self._enough = now, SECONDS, OUTCOMES
        self._cut_at = 0.0
        self._before = (0, 0.0)
        self._share = 0.0  # of refusals of late
        self._all, self._calm = Share(), Share()  # of all windows, and of those that began with a cut
        self._best = 0.0  # rate since the last test

    def succeed(self) -> None:
        self.answered += 1
        if self._share:
            self._share *= 1 - RECENT

    def refuse(self, entered: float, searching: bool) -> bool:
        """Count a refusal, unless its request entered before the last cut. Whether there are too many of late."""
        if entered >= self._cut_at:
            self.refused += 1
            self._share += (1 - self._share) * RECENT
        return self._share > (WHILE_SEARCHING if searching else TOLERATED) + ROUGHLY * self.noise

    def ended(self, now: float) -> bool:
        """Whether there is enough in it."""
        enough = self._enough / 2 if self.tested and not self.refused else self._enough
        return self.answered + self.refused >= enough and now - self._began >= self._least

    def rate(self, now: float) -> float:
        """Requests a second that were let pass, noise included, over the window before as well; 0.0 where that is too
        little time to tell."""
        seconds = now - self._began + self._before[1]
        if seconds < SECONDS:
            return 0.0
        return (self.answered + self._before[0]) / seconds / (1 - self.noise)

    def is_futile(self, now: float) -> bool:
        """Whether cuts seem to change nothing, and a test would soon tell."""
        part, rate = self._calm.part(), self.rate(now)
        alike = part >= max(ALIKE * self._all.part(), 1.5 * self.noise)
        soon = SOON * part * rate >= SHOWS or rate < FELL / 2 * self._best
        return alike and soon and self._calm.refused >= DOUBTS and rate < FELL * self._best

    def begin_test(self, now: float) -> None:
        """Measure anew, with clearly less, until it shows whether refusals go on."""
        self.tested = min(self._calm.part(), self._all.part())
        self._all, self._calm = Share(), Share()
        self.begin_after_cut(now, SECONDS)
        self._enough = max(OUTCOMES, int(SHOWS / self.tested))

    def end_test(self, now: float) -> bool:
        """Whether refusals went on, and so are noise."""
        part = self.refused / (self.answered + self.refused)
        went_on = self.refused >= SHOWS / 2 and part <= NOISE
        if went_on:
            self.noise = part
        self.begin(now)
        self.tested = self._best = 0.0
        self._before, self.cut_before = (0, 0.0), False  # which tell of less than there may be
        return went_on

    def begin_after_cut(self, now: float, wait: float) -> None:
        """Measure anew, for at least the seconds that the server asked to wait."""
        self._learn()
        self.cut, self._cut_at = True, now
        self._before = (0, 0.0)
        self._begin(now, max(SECONDS, wait))
        self._share = 0.0

    def begin(self, now: float) -> float:
        """Begin anew after the end. Gives successes a second of the one that ended."""
        self._learn()
        if not self.tested:
            self._best = max(self._best, self.rate(now))
        self.cut_before, self.cut = self.cut, False
        self._before = (self.answered, now - self._began)
        rate = self.answered / (now - self._began)
        self._begin(now, SECONDS)
        return rate

    def _learn(self) -> None:
        for share in (self._all, self._calm) if self.cut else (self._all,):
            share.add(self.answered + self.refused, self.refused)
        self.noise *= FORGETS

    def _begin(self, now: float, least: float) -> None:
        self.answered = self.refused = 0
        self._began, self._least, self._enough = now, least, OUTCOMES

"""What a limiter measures and paces with: a bucket that fills at a rate, and a window over what came back of late.

Neither knows who waits or what is asked.
"""

from __future__ import annotations

SECONDS, OUTCOMES = 1.0, 20
"""What a window takes at the least."""
TOLERATED, WHILE_SEARCHING = 0.015, 0.2
"""Part of the recent outcomes that may be refusals before something is cut. One in fifty is more; where the limit still
doubles, several in a row tell sooner."""
RECENT = 1 / 50
"""Weight of the newest outcome in that part."""
NOISE, ROUGHLY = 0.1, 2.5
"""Refusals that go on after a cut, up to this part, are no answer to our load and are borne; chance brings so many
times as many together."""
LEARNED = 0.5
"""Weight of the newest measurement of these."""


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


class Window:
    """Counts successes and refusals until there are enough of them for a rate, then begins anew.

    Refusals that the load does not explain are told from those that it does by what a cut changes.
    """

    __slots__ = ("_before", "_began", "_least", "_noise", "_share", "answered", "cut", "cut_before", "refused")

    def __init__(self, now: float) -> None:
        self.answered = self.refused = 0
        self.cut = self.cut_before = False
        """Whether this window began with a cut, and whether the one before it did."""
        self._began, self._least = now, SECONDS
        self._before = (0, 0.0)
        self._share = self._noise = 0.0

    def succeed(self) -> None:
        self.answered += 1
        if self._share:
            self._share *= 1 - RECENT

    def refuse(self, searching: bool) -> bool:
        """Count a refusal. Whether there are too many of late."""
        self.refused += 1
        self._share += (1 - self._share) * RECENT
        return self._share > (WHILE_SEARCHING if searching else TOLERATED) + ROUGHLY * self._noise

    def ended(self, now: float) -> bool:
        """Whether there is enough in it."""
        return self.answered + self.refused >= OUTCOMES and now - self._began >= self._least

    def rate(self, now: float) -> float:
        """Successes a second, over the window before as well; 0.0 where that is too little time to tell."""
        seconds = now - self._began + self._before[1]
        return (self.answered + self._before[0]) / seconds if seconds >= SECONDS else 0.0

    def begin_after_cut(self, now: float, wait: float) -> None:
        """Measure anew, for at least the seconds that the server asked to wait."""
        self.cut = True
        self._before = (0, 0.0)
        self._begin(now, max(SECONDS, wait))
        self._share = 0.0

    def begin(self, now: float) -> float:
        """Begin anew after the end. Gives successes a second of the one that ended."""
        borne = max(0.0, self.refused - self.refused**0.5) / (self.answered + self.refused)
        if not self.cut:
            self._noise = min(self._noise, borne)
        elif borne <= NOISE:
            self._noise += LEARNED * (borne - self._noise)
        self.cut_before, self.cut = self.cut, False
        self._before = (self.answered, now - self._began)
        rate = self.answered / (now - self._began)
        self._begin(now, SECONDS)
        return rate

    def _begin(self, now: float, least: float) -> None:
        self.answered = self.refused = 0
        self._began, self._least = now, least

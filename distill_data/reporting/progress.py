"""How a run is going, while it goes: one line that is rewritten on a terminal, a line now and then elsewhere.

Knows nothing about the engine, which fills in `Progress` and calls.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TextIO

ON_A_TERMINAL, ELSEWHERE = 0.2, 10.0
"""Seconds from one line to the next."""
WINDOW = 30.0
"""Seconds over which the rate is measured, so that answers found on disk at the start are soon forgotten."""
CLEAR = "\r\x1b[K"


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run stands."""

    items: int | None
    """How many there will be; None while that is unknown."""
    kept: int
    rejected: int
    failed: int
    active: int
    """Items being worked on."""
    bought: int
    """Requests that were paid for by this process."""
    reused: int
    """Requests whose answers were on disk."""
    prompt_tokens: int
    completion_tokens: int
    cost: float | None
    """USD; None where a price is unknown."""
    seconds: float
    """Since this process began to work on the run."""
    limit: int
    """Requests that may be in flight now."""
    target: int | None = None
    """How many are to be kept, where the run ends with that."""
    cost_in_doubt: float | None = 0.0
    """USD of the cost that may not have been billed."""
    waiting: str = ""
    """What is waited for, in words."""

    @property
    def done(self) -> int:
        return self.kept + self.rejected + self.failed


@contextmanager
def make_progress(
    stream: TextIO, tty: bool, quiet: bool, clock: Callable[[], float] = time.monotonic
) -> Iterator[Callable[[Progress], None]]:
    """A function to be called with every news, as often as one likes; it writes seldom. At the end the line is cleared.

    A stream that nobody reads any more is left alone: it must not end a run that costs money.
    """
    every = ON_A_TERMINAL if tty else ELSEWHERE
    last = clock() - (every if tty else 0)
    past: deque[tuple[float, int]] = deque()
    broken, shown = quiet, False

    def write(text: str) -> None:
        nonlocal broken, shown
        shown = True
        try:
            stream.write(text)
            stream.flush()
        except OSError:
            broken = True

    def report(progress: Progress) -> None:
        nonlocal last
        if broken or (now := clock()) - last < every:
            return
        last = now
        past.append((progress.seconds, progress.done))
        while len(past) > 2 and past[-1][0] - past[0][0] > WINDOW:
            past.popleft()
        line = progress_line(progress, _rate(past))
        write(f"{CLEAR}{line[: _width(stream) - 1]}" if tty else f"{line}\n")

    try:
        yield report
    finally:
        if tty and shown and not broken:
            write(CLEAR)


def progress_line(progress: Progress, rate: float) -> str:
    """One line: items and how they ended, items a second, tokens, money, time left."""
    of = "" if progress.items is None else f" of {progress.items:,}"
    to_keep = "" if progress.target is None else f" of {progress.target:,}"
    parts = [
        f"{progress.done:,}{of} items: {progress.kept:,}{to_keep} kept",
        f"{progress.rejected:,} rejected",
        f"{progress.failed:,} failed",
        f"{rate:.1f}/s",
        f"{progress.prompt_tokens + progress.completion_tokens:,} tokens",
        "cost unknown" if progress.cost is None else f"${progress.cost:.2f}",
        *([f"${progress.cost_in_doubt:.2f} of it in doubt"] if progress.cost_in_doubt else []),
    ]
    if progress.target is not None and progress.kept:
        share = progress.kept / progress.done
        more = round((progress.target - progress.kept) / share)
        parts.append(f"{100 * share:.0f} % accepted, about {more:,} more candidates")
    if progress.items is not None and rate > 0:
        parts.append(f"{_clock_time((progress.items - progress.done) / rate)} left")
    return ", ".join([*parts, *filter(None, [progress.waiting])])


def _rate(past: deque[tuple[float, int]]) -> float:
    """Items a second between the first and the last of these moments; with one moment, since the start."""
    (since, before), (until, after) = past[0] if len(past) > 1 else (0.0, 0), past[-1]
    return (after - before) / (until - since) if until > since else 0.0


def _clock_time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _width(stream: TextIO) -> int:
    with suppress(OSError):  # a stream without a descriptor, or one that is no terminal after all
        return os.get_terminal_size(stream.fileno()).columns or 80
    return 80

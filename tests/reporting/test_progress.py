"""Progress: seldom, in one line, and never the end of a run."""

from __future__ import annotations

import io
import os
from contextlib import suppress
from dataclasses import replace

from distill_data.reporting import Progress, make_progress
from distill_data.reporting.progress import CLEAR, progress_line

START = Progress(2000, 0, 0, 0, 64, 0, 0, 0, 0, 0.0, 0.0, 64)


class Clock:
    """A clock that is set by hand."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def written(tty: bool, *, quiet: bool = False, step: float = 0.01, steps: int = 3000) -> str:
    """What is written of a run of 30 seconds with news every 10 ms."""
    stream, clock = io.StringIO(), Clock()
    with make_progress(stream, tty, quiet, clock) as report:
        for number in range(steps):
            clock.now = 100 + number * step
            report(replace(START, kept=number // 2, seconds=number * step))
    return stream.getvalue()


def test_a_terminal_gets_one_line_five_times_a_second() -> None:
    text = written(tty=True)
    assert "\n" not in text
    assert 140 <= text.count(CLEAR) <= 151
    assert text.startswith(CLEAR)
    assert text.endswith(CLEAR), "the line is cleared at the end"


def test_elsewhere_there_is_a_line_every_ten_seconds() -> None:
    lines = written(tty=False).split("\n")
    assert lines[-1] == ""
    assert len(lines) == 3
    assert lines[0].startswith("500 of 2,000 items: 500 kept, ")
    assert "\x1b" not in lines[0]


def test_no_news_no_line() -> None:
    assert written(tty=True, steps=0) == ""


def test_quiet_is_quiet() -> None:
    assert written(tty=True, quiet=True) == written(tty=False, quiet=True) == ""


def test_a_line_fits_the_terminal() -> None:
    assert max(len(part.split(CLEAR)[0]) for part in written(tty=True).split(CLEAR)) < 80


def test_what_the_line_says() -> None:
    now = replace(START, kept=1000, rejected=20, failed=3, prompt_tokens=1200, completion_tokens=34, cost=1.5)
    assert progress_line(now, 10.0) == (
        "1,023 of 2,000 items: 1,000 kept, 20 rejected, 3 failed, 10.0/s, 1,234 tokens, $1.50, 1:38 left"
    )
    assert progress_line(replace(now, items=None, cost=None), 10.0) == (
        "1,023 items: 1,000 kept, 20 rejected, 3 failed, 10.0/s, 1,234 tokens, cost unknown"
    )
    assert progress_line(now, 0.1).endswith(", 2:42:50 left")
    assert "left" not in progress_line(now, 0.0)


def test_the_rate_forgets_what_was_found_on_disk() -> None:
    stream, clock = io.StringIO(), Clock()
    with make_progress(stream, True, False, clock) as report:
        for second in range(100):
            clock.now = 100.0 + second
            report(replace(START, kept=1000 + second, seconds=second + 1.0))
    assert " 1.0/s, " in stream.getvalue().split(CLEAR)[-2]


def test_a_reader_who_goes_away_does_not_end_the_run() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    stream, clock = os.fdopen(writer, "w"), Clock()
    with make_progress(stream, True, False, clock) as report:
        for _ in range(10):
            clock.now += 1
            report(START)
    with suppress(BrokenPipeError):
        stream.close()

"""One time limit for many requests at once, watched by one timer. Knows nothing about requests.

A timer for each, as `asyncio.timeout` has it, costs a twentieth of what a request costs.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any

SLACK = 1.0
"""Seconds that a limit may be overrun by; for a short limit a tenth of it."""


class Deadlines:
    """`with deadlines:` raises TimeoutError where its body takes longer than `seconds`, in any number of tasks.

    They all have the same limit, so who came first is due first.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._due: dict[asyncio.Task[Any], tuple[float, int]] = {}  # with the cancellations there were before
        self._expired: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> None:
        loop = asyncio.get_running_loop()
        task = _task_of(loop)
        self._due[task] = loop.time() + self._seconds, task.cancelling()
        if self._timer is None:
            self._watch(loop)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        task = _task_of(asyncio.get_running_loop())
        _, before = self._due.pop(task)
        if task in self._expired:
            self._expired.remove(task)
            if task.uncancel() <= before and kind is asyncio.CancelledError:
                raise TimeoutError from error

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = loop.call_later(min(SLACK, self._seconds / 10), self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Cancel what is overdue; look again while there is anything."""
        now = loop.time()
        for task, (due, _) in self._due.items():
            if due > now:
                break
            if task not in self._expired:
                self._expired.add(task)
                task.cancel()
        self._timer = None
        if self._due:
            self._watch(loop)


def _task_of(loop: asyncio.AbstractEventLoop) -> asyncio.Task[Any]:
    task = asyncio.current_task(loop)
    if task is None:
        raise RuntimeError("a deadline needs a task that it can end")
    return task

"""An event loop whose clock jumps to the next timer, so that minutes cost nothing."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

from distill_data.engine.limiter import Limiter

T = TypeVar("T")


class _Jump(selectors.SelectSelector):
    """Never sleeps: a wait for a timer moves the clock instead."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "everybody waits and no timer is set"
        self.now += timeout
        return super().select(0)


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.jump = _Jump()
        super().__init__(self.jump)

    def time(self) -> float:
        return self.jump.now


def run(main: Coroutine[Any, Any, T]) -> T:
    """What the coroutine returns; the clock begins at 0."""
    with asyncio.Runner(loop_factory=_Loop) as runner:
        return runner.run(main)


def now() -> float:
    return asyncio.get_running_loop().time()


def limiter(ceiling: int, rpm: float | None = None, tpm: float | None = None, insisted: bool = False) -> Limiter:
    return Limiter(ceiling, rpm, tpm, insisted, clock=asyncio.get_running_loop().time)

"""Running items: in seed order, a bounded number at a time, each to an outcome. Knows no teacher and no file."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from time import monotonic
from typing import TypeVar

from distill_data.data.exchange import Ask
from distill_data.data.items import Item, Outcome, failed
from distill_data.engine.ask import Parked
from distill_data.engine.send import Stopped
from distill_data.errors import AnswerFailed, DistillError, OutOfMemory, RecipeError, SeedError, VerifierFailed

T = TypeVar("T")
Method = Callable[[Item, Ask], Awaitable[Outcome]]
PENDING = Outcome("pending")
TURN = 0.02
"""Seconds of work after which the loop is to have its turn: where all answers are on disk items wait for nobody, and
meanwhile no signal would be heard, no reply read, and time limits would end requests that were answered long ago."""


async def run_items(
    items: Iterator[Item],
    method: Method,
    ask_for: Callable[[str], Ask],
    finish: Callable[[Item, Outcome], None],
    width: int,
    stopping: Callable[[], bool],
    halt: Callable[[DistillError], None],
) -> None:
    """Take every item through the method, `width` of them at once, and hand each outcome to `finish`.

    An error that is neither the teacher's refusal of this item nor a stop is the run's: it ends all of them. Where
    memory runs out, `halt` is told, so that what is in flight still lands.
    """
    is_late = make_turns()

    async def work() -> None:
        for item in items:
            try:
                finish(item, await settle(item, method, ask_for))
            except MemoryError:
                halt(OutOfMemory(item.where))
            if is_late():
                await asyncio.sleep(0)
            if stopping():
                return

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(width):
                group.create_task(work())
    except BaseExceptionGroup as errors:
        raise _first(errors) from errors


async def run_all(
    calls: Sequence[Callable[[], Awaitable[T]]],
    width: int,
    stopping: Callable[[], bool],
    halt: Callable[[DistillError], None],
) -> list[T | None]:
    """The results in the order of the calls, `width` of them at work; None where one is parked or stopped.

    Also where memory runs out, of which `halt` is told.
    """
    results: list[T | None] = [None] * len(calls)
    numbers, is_late = iter(range(len(calls))), make_turns()

    async def work() -> None:
        for number in numbers:
            try:
                with suppress(Parked, Stopped):
                    results[number] = await calls[number]()
            except MemoryError:
                halt(OutOfMemory(f"item {number + 1} of {len(calls)} in this round"))
            if is_late():
                await asyncio.sleep(0)
            if stopping():
                return

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(width, len(calls))):
                group.create_task(work())
    except BaseExceptionGroup as errors:
        raise _first(errors) from errors
    return results


def make_turns() -> Callable[[], bool]:
    """A function that tells whether the loop should have its turn. All who ask share it: once one is late, so are the
    others until the loop has had it."""
    loop, ends, told = asyncio.get_running_loop(), monotonic() + TURN, False

    def begin() -> None:
        nonlocal ends, told
        ends, told = monotonic() + TURN, False

    def is_late() -> bool:
        nonlocal told
        if monotonic() < ends:
            return False
        if not told:
            told = True
            loop.call_soon(begin)
        return True

    return is_late


def _first(group: BaseExceptionGroup) -> BaseException:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


async def settle(item: Item, method: Method, ask_for: Callable[[str], Ask]) -> Outcome:
    """One item's outcome."""
    try:
        return await method(item, ask_for(item.id))
    except AnswerFailed as error:
        return failed(error.reason, error.detail)
    except VerifierFailed as error:
        return failed("verifier-error", error.detail)
    except (RecipeError, SeedError) as error:
        return failed("unusable-row", f"{item.where}: {error}")
    except (Parked, Stopped):
        return PENDING

"""Asking for several samples at once, and for no more of them than a decision needs. Knows no vote and no prompt."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from distill_data.data.exchange import Answer, Ask, Request, Wanted, always

T = TypeVar("T")
Sample = Callable[[Ask], Awaitable[T]]
"""Asks for one sample, by the `ask` that it is given."""


async def ask_until(ask: Ask, samples: Sequence[Sample[T]], decided: Callable[[Sequence[T]], bool]) -> list[T]:
    """The results in the order given: all of them, or as many from the first on as it takes to decide.

    Once they decide, samples that wait for their turn are not sent; those on their way are waited for. So what is
    returned decides by the same prefix, whichever samples were on disk and whichever were faster. `decided` must hold
    for every longer sequence too. Where nothing is decided, the first error in the order given is raised.
    """
    over = False

    async def ask_while_open(request: Request, to: str = "teacher", *, wanted: Wanted = always) -> Answer:
        return await ask(request, to, wanted=lambda: not over and wanted())

    tasks: list[asyncio.Future[T]] = []
    try:
        for sample in samples:
            tasks.append(asyncio.ensure_future(sample(ask_while_open)))
            await asyncio.sleep(0)  # what is on disk is there now, and may decide
            if over := decided(_begun_well(tasks)):
                break
        for task in tasks:
            if over:
                break
            await asyncio.wait([task])
            over = decided(_begun_well(tasks))
        ended: list[Any] = await asyncio.gather(*tasks, return_exceptions=True)
    except asyncio.CancelledError:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
    found = _begun_well(tasks)
    if len(found) < len(ended) and not over:
        raise ended[len(found)]
    return found


def _begun_well(tasks: Sequence[asyncio.Future[T]]) -> list[T]:
    """The results of the first tasks that have ended without an error, up to one that hasn't."""
    found: list[T] = []
    for task in tasks:
        if not task.done() or task.cancelled() or task.exception() is not None:
            break
        found.append(task.result())
    return found

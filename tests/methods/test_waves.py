"""Samples until something is decided: by the same prefix whatever is faster, and what still waits is never sent."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from distill_data.data.exchange import Answer, Request, Unwanted, Wanted, always
from distill_data.errors import AnswerFailed
from distill_data.methods.waves import ask_until

COUNT = 6


class Desk:
    """An `ask` with so many slots, whose answers take as long as their place in an order."""

    def __init__(self, slots: int, order: Sequence[int], on_disk: frozenset[int] = frozenset()) -> None:
        self.slots, self.order, self.on_disk = asyncio.Semaphore(slots), order, on_disk
        self.sent: list[int] = []
        self.landed: list[int] = []
        self.cancelled: list[int] = []

    async def __call__(self, request: Request, to: str = "teacher", *, wanted: Wanted = always) -> Answer:
        number = request.sample
        if number not in self.on_disk:
            async with self.slots:
                if not wanted():
                    raise Unwanted
                self.sent.append(number)
                try:
                    await asyncio.sleep(0.001 * self.order[number])
                except asyncio.CancelledError:
                    self.cancelled.append(number)
                    raise
                self.landed.append(number)
        return Answer(f"answer {number}", "", "stop", "m", 1, 1)


async def polled(desk: Any, decided: Callable[[Sequence[str]], bool], count: int = COUNT) -> list[str]:
    def sample(number: int) -> Any:
        async def one(ask: Any) -> str:
            return str((await ask(Request([], sample=number))).text)

        return one

    return await ask_until(desk, [sample(number) for number in range(count)], decided)


def texts(count: int) -> list[str]:
    return [f"answer {number}" for number in range(count)]


@pytest.mark.parametrize("order", [*itertools.islice(itertools.permutations(range(COUNT)), 0, 720, 103)], ids=str)
@pytest.mark.parametrize("slots", [1, 3, COUNT])
def test_the_prefix_decides_whatever_is_faster(slots: int, order: Sequence[int]) -> None:
    async def main() -> None:
        desk = Desk(slots, order)
        found = await polled(desk, lambda said: len(said) >= 3)
        assert found[:3] == texts(3)
        assert sorted(desk.landed) == sorted(desk.sent), "what was on its way is waited for"
        assert len(desk.sent) < 3 + slots + max(0, 3 - slots) + 1
        assert not desk.cancelled

    asyncio.run(main())


def test_one_at_a_time_not_one_too_many_is_sent() -> None:
    async def main() -> None:
        desk = Desk(1, range(COUNT))
        await polled(desk, lambda said: len(said) >= 3)
        assert desk.sent in ([0, 1, 2], [0, 1, 2, 3])  # the slot may be free a moment before the decision

    asyncio.run(main())


def test_what_is_on_disk_may_decide_before_anything_is_sent() -> None:
    async def main() -> None:
        desk = Desk(COUNT, range(COUNT), on_disk=frozenset({0, 1, 2, 5}))
        assert await polled(desk, lambda said: len(said) >= 3) == texts(3)
        assert desk.sent == []
        assert await polled(desk, lambda said: False) == texts(COUNT)
        assert desk.sent == [3, 4]

    asyncio.run(main())


def test_an_error_before_the_decision_is_raised_and_one_after_it_is_not() -> None:
    class Failing(Desk):
        async def __call__(self, request: Request, to: str = "teacher", *, wanted: Wanted = always) -> Answer:
            if request.sample in (2, 4):
                await asyncio.sleep(0.001 * request.sample)
                raise AnswerFailed(f"no-{request.sample}")
            return await super().__call__(request, to, wanted=wanted)

    async def main() -> None:
        assert (await polled(Failing(COUNT, [5] * COUNT), lambda said: len(said) >= 2))[:2] == texts(2)
        desk = Failing(COUNT, [5] * COUNT)
        with pytest.raises(AnswerFailed, match="no-2"):
            await polled(desk, lambda said: len(said) >= 3)
        assert desk.landed == [0, 1, 3, 5], "the others are paid and waited for"

    asyncio.run(main())


def test_who_is_cancelled_leaves_nothing_behind() -> None:
    async def main() -> None:
        desk = Desk(2, [1000] * COUNT)
        work = asyncio.ensure_future(polled(desk, lambda said: False))
        await asyncio.sleep(0.01)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        assert desk.cancelled == [0, 1]
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(main())

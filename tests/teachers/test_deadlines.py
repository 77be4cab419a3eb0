"""Many time limits with one timer: who is late is ended and nobody else, and whoever cancels is obeyed."""

from __future__ import annotations

import asyncio

import pytest

from distill_data.teachers.deadlines import Deadlines

LIMIT = 0.1


async def work(deadlines: Deadlines, seconds: float) -> str:
    with deadlines:
        await asyncio.sleep(seconds)
    return "done"


def test_those_in_time_pass_and_those_who_are_late_are_ended() -> None:
    async def main() -> None:
        deadlines = Deadlines(LIMIT)
        began = asyncio.get_running_loop().time()
        tasks = [asyncio.ensure_future(work(deadlines, seconds)) for seconds in (0.0, 9.0, 0.01, 9.0)]
        first, late, second, later = await asyncio.gather(*tasks, return_exceptions=True)
        assert (first, second) == ("done", "done")
        assert isinstance(late, TimeoutError) and isinstance(later, TimeoutError)
        assert LIMIT <= asyncio.get_running_loop().time() - began < 5 * LIMIT

    asyncio.run(main())


def test_a_task_that_was_late_can_go_on_and_be_late_again() -> None:
    async def main() -> None:
        deadlines = Deadlines(LIMIT)
        for _ in range(2):
            with pytest.raises(TimeoutError):
                await work(deadlines, 9.0)
        task = asyncio.current_task()
        assert task is not None and task.cancelling() == 0
        assert await work(deadlines, 0.0) == "done"

    asyncio.run(main())


@pytest.mark.parametrize("too_late", [False, True])
def test_a_cancellation_from_elsewhere_is_no_timeout(too_late: bool) -> None:
    async def main() -> None:
        deadlines = Deadlines(LIMIT)
        ending: list[asyncio.Task[str]] = []

        async def other() -> str:
            with deadlines:
                try:
                    await asyncio.sleep(9.0)
                finally:
                    if too_late:  # while the deadline's own cancellation is on its way
                        ending[0].cancel()
            return "done"

        ending.append(asyncio.ensure_future(other()))
        await asyncio.sleep(0)
        if not too_late:
            ending[0].cancel()
        with pytest.raises(asyncio.CancelledError):
            await ending[0]

    asyncio.run(main())


def test_the_body_s_own_error_passes_even_where_it_is_late() -> None:
    async def main() -> None:
        deadlines = Deadlines(LIMIT)
        with pytest.raises(KeyError), deadlines:
            try:
                await asyncio.sleep(9.0)
            except asyncio.CancelledError:
                raise KeyError from None
        task = asyncio.current_task()
        assert task is not None and task.cancelling() == 0

    asyncio.run(main())


def test_the_timer_rests_when_nobody_works() -> None:
    async def main() -> None:
        deadlines = Deadlines(LIMIT)
        await work(deadlines, 0.0)
        await asyncio.sleep(LIMIT / 2)
        assert deadlines._timer is None
        with pytest.raises(TimeoutError):
            await work(deadlines, 9.0)

    asyncio.run(main())


def test_outside_of_a_task_there_is_nothing_to_end() -> None:
    async def main() -> None:
        caught: list[BaseException] = []

        def call() -> None:
            try:
                with Deadlines(LIMIT):
                    pass
            except RuntimeError as error:
                caught.append(error)

        asyncio.get_running_loop().call_soon(call)
        await asyncio.sleep(0.01)
        assert len(caught) == 1

    asyncio.run(main())

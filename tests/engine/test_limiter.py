"""The limiter in virtual time: a loop whose clock jumps to the next timer, so that minutes cost nothing."""

from __future__ import annotations

import asyncio
import gc
import itertools
import random
import selectors
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_data.engine.limiter import START, Limiter
from distill_data.engine.retry import LONGEST_WAIT

T = TypeVar("T")
PLAIN: dict[str, str] = {}


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
    with asyncio.Runner(loop_factory=_Loop) as runner:
        return runner.run(main)


def now() -> float:
    return asyncio.get_running_loop().time()


def limiter(ceiling: int, rpm: float | None = None, tpm: float | None = None) -> Limiter:
    return Limiter(ceiling, rpm, tpm, clock=asyncio.get_running_loop().time)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def passes_at_once(made: Limiter, tokens: int = 1) -> bool:
    """Whether `enter` returns without waiting, driven by hand so that no loop is needed."""
    entering = made.enter(tokens)
    try:
        entering.send(None)
    except StopIteration:
        return True
    entering.close()
    return False


def fill(made: Limiter) -> None:
    while made.in_flight < made.limit:
        assert passes_at_once(made)


def round_of_successes(made: Limiter) -> None:
    fill(made)
    for _ in range(made.limit):
        made.succeeded(PLAIN)


def limits(made: Limiter, rounds: int) -> list[int]:
    found = []
    for _ in range(rounds):
        round_of_successes(made)
        found.append(made.limit)
    return found


def refuse(made: Limiter, times: int, wait: float = 0.0) -> None:
    for _ in range(times):
        made.refused(wait)


# Growth and cuts, on a clock that stands still unless it is moved


def test_it_starts_low_and_doubles_up_to_the_ceiling() -> None:
    made = Limiter(64, clock=Clock())
    assert made.limit == START
    assert limits(made, 5) == [20, 40, 64, 64, 64]
    assert Limiter(3).limit == 3


def test_it_does_not_grow_where_the_room_is_not_used() -> None:
    made = Limiter(64, clock=Clock())
    for _ in range(7):
        assert passes_at_once(made)
    for _ in range(100):
        made.succeeded(PLAIN)
    assert made.limit == START
    assert passes_at_once(made)
    for _ in range(10):
        made.succeeded(PLAIN)
    assert made.limit == 2 * START


def test_a_cut_takes_a_fifth_and_then_it_grows_in_small_steps() -> None:
    clock = Clock()
    made = Limiter(1000, clock=clock)
    assert limits(made, 4)[-1] == 160
    refuse(made, 3, 2.0)
    assert made.limit == 128
    made.in_flight = 0
    refuse(made, 50, 2.0)
    clock.now += 1.9
    refuse(made, 1)
    assert made.limit == 128, "one cut a cooldown"
    for _ in range(1000):
        made.succeeded(PLAIN)
    assert made.limit == 128, "no growth in the cooldown"
    clock.now += 5
    assert limits(made, 3) == [134, 140, 147]


def test_repeated_cuts_end_at_one_from_where_it_grows_by_one() -> None:
    clock = Clock()
    made = Limiter(10, clock=clock)
    seen = []
    for _ in range(9):
        refuse(made, 3)
        seen.append(made.limit)
        clock.now += 1.5
    assert seen == [8, 6, 4, 3, 2, 1, 1, 1, 1]
    clock.now += 1
    assert limits(made, 3) == [2, 3, 4]


def test_lone_refusals_neither_cut_nor_shut_the_gate() -> None:
    made = Limiter(64, clock=Clock())
    for _ in range(200):
        refuse(made, 1, 30.0)
        for _ in range(12):
            made.succeeded(PLAIN)
    assert made.limit >= START
    made.in_flight = 0
    assert passes_at_once(made)


def test_many_refusals_cut_though_no_three_stand_together() -> None:
    made = Limiter(64, clock=Clock())
    for _ in range(30):
        refuse(made, 2)
        made.succeeded(PLAIN)
    assert made.limit == 8
    assert passes_at_once(made), "the gate stays open"


def test_a_failure_ends_the_round_without_growth() -> None:
    made = Limiter(64, clock=Clock())
    fill(made)
    for _ in range(20):
        for _ in range(9):
            made.succeeded(PLAIN)
        made.faltered()
    assert made.limit == START
    for _ in range(10):
        made.succeeded(PLAIN)
    assert made.limit == 20, "it still doubles"


# The gate


@pytest.mark.parametrize(("wait", "shut"), [(0.0, 0.5), (0.2, 0.5), (7.0, 7.0)])
def test_three_refusals_in_a_row_shut_the_gate_for_all(wait: float, shut: float) -> None:
    clock = Clock()
    made = Limiter(64, clock=clock)
    refuse(made, 2, wait)
    assert passes_at_once(made)
    refuse(made, 1, wait)

    async def enters_at() -> float:
        made._clock = asyncio.get_running_loop().time
        made._gate -= 100.0
        await made.enter(1)
        return now()

    assert run(enters_at()) == pytest.approx(shut, abs=0.002)


@pytest.mark.parametrize(
    ("headers", "shut"),
    [
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1m2s"}, 62.0),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "20ms"}, 0.02),
        ({"x-ratelimit-remaining-tokens": "1", "x-ratelimit-reset-tokens": "20s"}, 0.0),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "soon"}, 0.0),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": f"{LONGEST_WAIT + 1}"}, 0.0),
        ({"x-ratelimit-remaining-tokens": "0"}, 0.0),
    ],
)
def test_a_used_up_limit_shuts_the_gate_until_its_reset(headers: dict[str, str], shut: float) -> None:
    async def enters_at() -> float:
        made = limiter(64)
        await made.enter(1)
        made.succeeded(headers)
        made.leave()
        await made.enter(1)
        return now()

    assert run(enters_at()) == pytest.approx(shut, abs=0.002)


# Order, cancellation, closing


def test_first_come_first_served() -> None:
    async def main() -> list[int]:
        made, order = limiter(3), []

        async def one(number: int) -> None:
            await made.enter(1)
            order.append(number)
            await asyncio.sleep(1 + number % 5)
            made.leave()

        async with asyncio.TaskGroup() as group:
            for number in range(50):
                group.create_task(one(number))
        return order

    assert run(main()) == list(range(50))


def test_a_large_request_is_not_overtaken_by_small_ones() -> None:
    async def main() -> list[tuple[str, float]]:
        made, order = limiter(10, tpm=6000), []

        async def one(name: str, tokens: int) -> None:
            await made.enter(tokens)
            order.append((name, round(now(), 1)))

        async with asyncio.TaskGroup() as group:
            for name, tokens in (("first", 50), ("large", 1000), ("small", 10)):
                group.create_task(one(name, tokens))
        return order

    assert run(main()) == [("first", 0.0), ("large", 9.5), ("small", 9.6)]


@pytest.mark.parametrize("paces", [{}, {"rpm": 1200.0}, {"rpm": 3000.0, "tpm": 600_000.0}])
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_random_cancelling_leaks_no_slot(paces: dict[str, float], seed: int) -> None:
    chance = random.Random(seed)

    async def main() -> None:
        made = limiter(4, **paces)
        inside = 0

        async def one() -> None:
            nonlocal inside
            await made.enter(chance.randrange(1, 400))
            inside += 1
            try:
                assert made.in_flight >= inside
                await asyncio.sleep(chance.choice((0, 0.01, 0.1)))
                if chance.random() < 0.2:
                    made.refused(chance.random())
            finally:
                inside -= 1
                made.leave()

        tasks = []
        for _ in range(60):
            tasks.append(asyncio.create_task(one()))
            if chance.random() < 0.5:
                chance.choice(tasks).cancel()
            await asyncio.sleep(chance.choice((0, 0, 0.02)))
            assert made.in_flight <= 4
        await asyncio.wait(tasks)
        assert (made.in_flight, inside) == (0, 0)
        async with asyncio.timeout(10):
            await asyncio.gather(*(made.enter(1) for _ in range(made.limit)))
        assert made._timer is None
        assert not made._waiting

    run(main())


def test_cancelled_in_the_moment_of_its_turn_hands_the_slot_on() -> None:
    async def main() -> None:
        made = limiter(1, rpm=60.0)
        await made.enter(1)
        waiting = [asyncio.create_task(made.enter(1)) for _ in range(2)]
        await asyncio.sleep(5)
        made.leave()  # gives the turn to the first, who has not run yet
        assert made.in_flight == 1
        waiting[0].cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert waiting[0].cancelled()
        assert made.in_flight == 1
        await waiting[1]
        assert now() == 5, "neither slot nor request was used up"

    run(main())


def test_a_cancelled_first_in_line_holds_nobody_back() -> None:
    async def main() -> float:
        made = limiter(5, tpm=600)
        await made.enter(10)
        large = asyncio.create_task(made.enter(6000))
        small = asyncio.create_task(made.enter(10))
        await asyncio.sleep(0.5)
        large.cancel()
        await small
        return now()

    assert run(main()) == pytest.approx(1.0, abs=0.002)


def test_closing_reaches_everyone_and_leaves_no_timer() -> None:
    async def main() -> None:
        made = limiter(1, rpm=1.0)
        await made.enter(1)
        made.leave()
        waiting = [asyncio.create_task(made.enter(1)) for _ in range(3)]
        await asyncio.sleep(0)
        assert made._timer is not None
        made.close(ConnectionError("stopped"))
        assert made._timer is None
        waiting[2].cancel()
        ended = await asyncio.gather(*waiting, return_exceptions=True)
        assert [str(error) for error in ended[:2]] == ["stopped", "stopped"]
        assert isinstance(ended[2], asyncio.CancelledError)
        made.close(ValueError("too late"))
        with pytest.raises(ConnectionError, match="stopped"):
            await made.enter(1)
        assert made.in_flight == 0

    complaints: list[Any] = []

    async def listened() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        await main()
        gc.collect()

    run(listened())
    assert complaints == []


# Buckets


def test_requests_are_paced_after_a_second_s_worth() -> None:
    async def main() -> list[float]:
        made, times = limiter(1000, rpm=600.0), []
        made.limit = 1000
        for _ in range(30):
            await made.enter(1)
            times.append(now())
        return times

    times = run(main())
    assert times[9] == 0.0
    assert times[10] == pytest.approx(0.1, abs=0.002)
    assert times[29] == pytest.approx(2.0, abs=0.02)


def test_the_machine_s_own_clock_paces_as_well() -> None:
    async def main() -> float:
        made = Limiter(200, rpm=6000.0)
        made.limit = 200
        start = time.monotonic()
        for _ in range(120):
            await made.enter(1)
        return time.monotonic() - start

    assert 0.19 <= asyncio.run(main()) <= 2


def test_tokens_are_settled_against_the_estimate() -> None:
    async def main() -> list[float]:
        made, times = limiter(10, tpm=60_000.0), []

        async def enter(tokens: int) -> None:
            await made.enter(tokens)
            times.append(round(now(), 2))

        await enter(1000)
        waiting = asyncio.create_task(enter(800))
        await asyncio.sleep(0.1)
        made.correct(1000, 300)
        await waiting  # 100 came in, 700 came back
        made.correct(800, 2800)
        await enter(1000)  # 2,000 owed and 1,000 wanted
        made.correct(0, -(10**9))
        await enter(1000)
        await enter(500)  # what comes back never makes a stock of more than a second
        return times

    assert run(main()) == [0.0, 0.1, 3.1, 3.1, 3.6]


# Whole servers


async def work(made: Limiter, rows: int, serve: Callable[[], Awaitable[float | None]]) -> dict[str, int]:
    """Ask for every row until it is answered; `serve` gives None for an answer, else the seconds to wait."""
    counts = {"answered": 0, "refused": 0, "tries": 0}

    async def row() -> None:
        for tries in itertools.count(1):
            await made.enter(1)
            wait = await serve()
            if wait is None:
                made.succeeded(PLAIN)
                made.leave()
                counts["answered"] += 1
                counts["tries"] = max(counts["tries"], tries)
                return
            counts["refused"] += 1
            made.refused(wait)
            made.leave()
            await asyncio.sleep(wait)

    await asyncio.gather(*(row() for _ in range(rows)))
    return counts


def test_it_settles_near_the_slots_of_a_server() -> None:
    slots, busy, seen = 24, 0, []

    async def main() -> dict[str, int]:
        made = limiter(200)

        async def serve() -> float | None:
            nonlocal busy
            seen.append((now(), made.limit))
            await asyncio.sleep(0.001)
            if busy >= slots:
                return 1.0
            busy += 1
            await asyncio.sleep(2)
            busy -= 1
            return None

        counts = await work(made, 3000, serve)
        counts["seconds"] = int(now())
        return counts

    counts = run(main())
    later = [limit for at, limit in seen if 60 < at < counts["seconds"] - 10]
    assert max(later) <= slots + 3
    assert sum(later) / len(later) >= 0.75 * slots
    assert counts["refused"] <= 0.1 * counts["answered"]
    assert counts["seconds"] <= 1.5 * 3000 * 2 / slots


@pytest.mark.parametrize("told", [True, False])
def test_a_server_with_a_hard_rate_is_obeyed(told: bool) -> None:
    rate, level, stamp = 20.0, 20.0, 0.0

    async def main() -> dict[str, int]:
        made = limiter(100, rpm=rate * 60 if told else None)

        async def serve() -> float | None:
            nonlocal level, stamp
            level, stamp = min(rate, level + (now() - stamp) * rate), now()
            if level < 0.999:
                await asyncio.sleep(0.001)
                return 1.0
            level -= 1
            await asyncio.sleep(0.5)
            return None

        counts = await work(made, 1200, serve)
        counts["seconds"] = int(now())
        return counts

    counts = run(main())
    if told:
        assert counts["refused"] == 0
        assert counts["seconds"] <= 1.1 * 1200 / rate
    else:
        assert counts["refused"] <= 0.2 * counts["answered"]
        assert counts["tries"] <= 8
        assert counts["seconds"] <= 1.1 * 1200 / rate


def test_a_server_that_refuses_one_in_twenty_at_random_stalls_nothing() -> None:
    chance = random.Random(1)

    async def main() -> float:
        made = limiter(64)

        async def serve() -> float | None:
            await asyncio.sleep(0.05)
            return 1.0 if chance.random() < 0.05 else None

        assert (await work(made, 4000, serve))["answered"] == 4000
        assert made.limit >= 40, "and 3.1 s would be the time without any refusal"
        return now()

    assert run(main()) <= 3 * 4000 * 0.05 / 64

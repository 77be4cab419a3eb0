"""The limiter in virtual time, one rule at a time. Against whole servers it is tried in test_limiter_servers."""

from __future__ import annotations

import asyncio
import gc
import random
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_data.engine.limiter import Limiter
from distill_data.engine.retry import LONGEST_WAIT
from distill_data.engine.room import START

from .virtual_time import limiter, now, run

PLAIN: dict[str, str] = {}


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
        made.succeeded(PLAIN, made._clock())


def limits(made: Limiter, rounds: int) -> list[int]:
    found = []
    for _ in range(rounds):
        round_of_successes(made)
        found.append(made.limit)
    return found


def refuse(made: Limiter, times: int, wait: float = 0.0) -> None:
    for _ in range(times):
        made.refused(wait, made._clock())


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
        made.succeeded(PLAIN, made._clock())
    assert made.limit == START
    assert passes_at_once(made)
    for _ in range(10):
        made.succeeded(PLAIN, made._clock())
    assert made.limit == 2 * START


def test_refusals_take_away_what_the_server_did_not_hold_and_then_it_creeps() -> None:
    clock = Clock()
    made = Limiter(1000, clock=clock)
    clock.now += 0.4
    assert limits(made, 1) == [2 * START]
    fill(made)
    for _ in range(7):  # the other thirteen are being answered
        made.refused(2.0, made._clock())
        made.leave()
    assert made.limit == 13
    made.refused(2.0, made._clock())
    for _ in range(30):
        made.succeeded(PLAIN, made._clock())
    assert made.limit == 12, "no growth in the window of the cut"
    made._gate = 0.0
    seen = []
    for _ in range(24):
        clock.now += 5.0
        fill(made)
        for _ in range(30):
            made.succeeded(PLAIN, made._clock())
        made.in_flight = 0
        seen.append(made.limit)
    assert seen[0] == 12
    assert seen[-1] in range(14, 20), "a little more each quiet window"
    assert seen == sorted(seen)


def test_what_is_given_back_does_not_use_up_the_pace() -> None:
    clock = Clock()
    made = Limiter(1000, clock=clock)
    clock.now += 2.0
    round_of_successes(made)
    for _ in range(8):
        made.refused(2.0, made._clock())
        made.leave()
    made.in_flight, clock.now = 0, clock.now + 60.0

    def pass_through(back: int) -> int:
        """How many of a thousand are let in, where so much of each is given back."""
        for count in range(1000):
            if made._delay(1):
                return count
            assert passes_at_once(made)
            made.put(back, 0)
            made.leave()
        return 1000

    assert pass_through(1) == 1000
    assert 0 < pass_through(0) < 1000


def test_a_lone_refusal_changes_nothing_and_a_second_one_soon_takes_one_slot_a_window() -> None:
    clock = Clock()
    made = Limiter(40, clock=clock)
    limits(made, 3)
    made.in_flight = 0
    fill(made)
    for limit in (40, 39, 39, 39):
        refuse(made, 1)
        assert made.limit == limit
        made.succeeded(PLAIN, clock.now)
    made.in_flight = 0
    assert passes_at_once(made), "the gate stays open"


def test_a_failure_ends_the_round_without_growth() -> None:
    made = Limiter(64, clock=Clock())
    fill(made)
    for _ in range(20):
        for _ in range(9):
            made.succeeded(PLAIN, made._clock())
        made.faltered()
    assert made.limit == START
    for _ in range(20):
        made.succeeded(PLAIN, made._clock())
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
        made.in_flight = 0
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
        made.succeeded(headers, now())
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
                    made.refused(chance.random(), made._clock())
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
        made.room.limit = 1000
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
        made.room.limit = 200
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

"""The limiter against whole servers in virtual time: what share of a limit it reaches, and what that costs.

Requests are asked again as engine.send does: after the server's wait or a random one, sooner when an outage ends.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field

import pytest

from distill_data.engine.limiter import Limiter
from distill_data.engine.retry import TRIES, backoff

from .virtual_time import limiter, now, run

pytestmark = pytest.mark.slow

RTT = 0.01
"""Seconds until a refusal is back."""
Serve = Callable[[int], Awaitable[None]]
"""What a server does with a request of so many tokens."""
SIZES = (100, 900)


class Refused(Exception):
    def __init__(self, wait: float) -> None:
        self.wait = wait


class Lost(Exception):
    """No answer that the load could explain."""


@dataclass
class Seen:
    """What became of the requests: time, tokens and seconds of each answer; time of each failure; a sample in flight
    every half second."""

    answers: list[tuple[float, int, float]] = field(default_factory=list)
    failures: list[float] = field(default_factory=list)
    in_flight: list[tuple[float, int]] = field(default_factory=list)
    tries: int = 0

    def rate(self, start: float, end: float, tokens: bool = False) -> float:
        """Answers, or their tokens, a second."""
        found = [size if tokens else 1 for at, size, _ in self.answers if start <= at < end]
        return sum(found) / (end - start)

    def refused(self, start: float = 0.0) -> float:
        """Share of the requests that failed, from a time on."""
        failures = sum(at >= start for at in self.failures)
        return failures / (failures + sum(at >= start for at, *_ in self.answers))

    def latency(self, start: float) -> float:
        seconds = [each for at, _, each in self.answers if at >= start]
        return sum(seconds) / len(seconds)

    def flying(self, start: float) -> float:
        counts = [count for at, count in self.in_flight if at >= start]
        return sum(counts) / len(counts)


def ask(
    serve: Serve,
    ceiling: int,
    seconds: float,
    rpm: float | None = None,
    tpm: float | None = None,
    insisted: bool = False,
) -> Seen:
    """Ask without end, twice as many at a time as may be in flight, for so many seconds."""
    chance, seen = random.Random(7), Seen()

    async def item(made: Limiter) -> None:
        while True:
            size = chance.randint(*SIZES)
            for tries in range(1_000):
                began, wait = await made.enter(size), 0.0
                try:
                    await serve(size)
                except Refused as refusal:
                    wait = refusal.wait
                    made.refused(wait, began)
                except Lost:
                    made.faltered()
                else:
                    seen.answers.append((now(), size, now() - began))
                    made.succeeded({}, began)
                    break
                finally:
                    made.leave()
                seen.failures.append(now())
                seen.tries = max(seen.tries, tries + 1)
                with suppress(TimeoutError):
                    async with asyncio.timeout(backoff(tries, wait, chance.random())):
                        await (asyncio.sleep(1e9) if wait else made.recovered.wait())

    async def main() -> None:
        made = limiter(ceiling, rpm, tpm, insisted)
        tasks = [asyncio.create_task(item(made)) for _ in range(2 * ceiling)]
        while now() < seconds:
            seen.in_flight.append((now(), made.in_flight))
            await asyncio.sleep(0.5)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    run(main())
    return seen


def varying(seconds: float, spread: float) -> Callable[[], float]:
    """Latencies of this mean, log-normal."""
    chance = random.Random(1)
    return lambda: seconds * chance.lognormvariate(-(spread**2) / 2, spread)


def hard_rate(rate: float, latency: Callable[[], float], tokens: bool = False) -> Serve:
    """Holds a second's worth of requests, or of tokens; what is more is refused with `retry-after: 1`."""
    level, stamp = rate, 0.0

    async def serve(size: int) -> None:
        nonlocal level, stamp
        await asyncio.sleep(RTT)
        level, stamp = min(rate, level + (now() - stamp) * rate), now()
        amount = size if tokens else 1
        if level < amount:
            raise Refused(1.0)
        level -= amount
        await asyncio.sleep(latency())

    return serve


def minutes(per_minute: int) -> Serve:
    """So many requests in each whole minute; what is more is sent to the next one."""
    taken: dict[int, int] = {}

    async def serve(size: int) -> None:
        await asyncio.sleep(RTT)
        minute = int(now() // 60)
        taken[minute] = taken.get(minute, 0) + 1
        if taken[minute] > per_minute:
            raise Refused((minute + 1) * 60 - now())
        await asyncio.sleep(0.5)

    return serve


def slots(count: int, latency: Callable[[], float], queue: bool = False) -> Serve:
    """So many at once; what is more waits its turn, or is refused."""
    busy, turn = 0, asyncio.Semaphore(count)

    async def serve(size: int) -> None:
        nonlocal busy
        await asyncio.sleep(RTT)
        if queue:
            async with turn:
                await asyncio.sleep(latency())
            return
        if busy >= count:
            raise Refused(1.0)
        busy += 1
        try:
            await asyncio.sleep(latency())
        finally:
            busy -= 1

    return serve


@pytest.mark.parametrize(("rate", "latency", "spread"), [(20.0, 0.5, 0.0), (20.0, 0.5, 0.6), (40.0, 1.0, 0.3)])
def test_a_hard_rate_is_reached_though_nobody_told_it(rate: float, latency: float, spread: float) -> None:
    seen = ask(hard_rate(rate, varying(latency, spread)), ceiling=64, seconds=180)
    assert 0.95 * rate <= seen.rate(20, 180) <= 1.02 * rate
    assert seen.refused() < 0.03, "the search at the start included"
    assert seen.refused(20) < 0.02
    assert seen.tries < TRIES, "no row is lost to it"


def test_a_hard_rate_of_tokens_is_reached_though_nobody_told_it() -> None:
    seen = ask(hard_rate(10_000, varying(0.5, 0.0), tokens=True), ceiling=64, seconds=180)
    assert seen.rate(20, 180, tokens=True) >= 0.95 * 10_000
    assert seen.refused(20) < 0.02
    assert seen.tries < TRIES


@pytest.mark.parametrize(("rpm", "tpm"), [(1200.0, None), (None, 600_000.0)])
def test_a_rate_that_was_told_is_reached_without_a_refusal(rpm: float | None, tpm: float | None) -> None:
    rate = (rpm or tpm or 0.0) / 60
    seen = ask(hard_rate(1.02 * rate, varying(0.5, 0.3), tokens=tpm is not None), 64, 120, rpm, tpm)
    assert seen.rate(5, 120, tokens=tpm is not None) >= 0.97 * rate
    assert not seen.failures


def test_whole_minutes_are_used_up_and_waited_for() -> None:
    seen = ask(minutes(1200), ceiling=64, seconds=240)
    assert len(seen.answers) >= 0.95 * 1200 * 4
    assert seen.refused() < 0.025


@pytest.mark.parametrize(("count", "seconds", "spread"), [(24, 2.0, 0.0), (24, 2.0, 0.6), (4, 0.5, 0.3)])
def test_it_settles_near_the_slots_of_a_server(count: int, seconds: float, spread: float) -> None:
    seen = ask(slots(count, varying(seconds, spread)), ceiling=200, seconds=300)
    assert 0.9 * count <= seen.flying(60) <= count + 1
    assert seen.rate(60, 300) >= 0.95 * count / (seconds + RTT)
    assert seen.refused(60) < 0.02


@pytest.mark.parametrize(("count", "spread", "ceiling"), [(24, 0.0, 64), (24, 0.3, 64), (100, 0.3, 400)])
def test_where_more_at_once_only_wait_for_each_other_it_settles_as_well(
    count: int, spread: float, ceiling: int
) -> None:
    seen = ask(slots(count, varying(0.5, spread), queue=True), ceiling, seconds=70)
    assert 0.95 * count <= seen.flying(40) <= 1.5 * count
    assert seen.latency(40) <= 1.5 * (0.5 + RTT)
    assert seen.rate(40, 70) >= 0.95 * count / (0.5 + RTT)


def batches(seconds: float, half: int) -> Serve:
    """Puts its requests into one batch, which is slower the larger it is: with `half` of them twice as slow."""
    busy = 0

    async def serve(size: int) -> None:
        nonlocal busy
        busy += 1
        left = 1.0
        while left > 0:
            await asyncio.sleep(seconds / 4)
            left -= 0.25 / (1 + busy / half)
        busy -= 1

    return serve


def test_a_server_that_only_slows_down_a_little_is_filled() -> None:
    seen = ask(batches(2.0, 100), ceiling=64, seconds=60)
    assert seen.flying(30) >= 63


@pytest.mark.parametrize("serve", [batches(2.0, 32), slots(24, varying(0.5, 0.3), queue=True)], ids=["batch", "queue"])
def test_a_number_that_the_user_insisted_on_is_reached_whatever_the_latency(serve: Serve) -> None:
    seen = ask(serve, ceiling=256, seconds=60, insisted=True)
    assert seen.flying(50) == 256


@pytest.mark.parametrize("grown", [1.0, 5.0])
def test_long_and_ever_longer_replies_are_not_taken_for_a_queue(grown: float) -> None:
    latency = varying(0.5, 0.8)

    async def serve(size: int) -> None:
        await asyncio.sleep(latency() * min(grown, 1 + now() / 5))

    seen = ask(serve, ceiling=64, seconds=100)
    assert seen.flying(80) >= 0.9 * 64


OUTAGE = (10.0, 15.0)


@pytest.mark.parametrize("wait", [None, 0.0, 1.0], ids=["gone", "refuses", "asks to wait"])
@pytest.mark.parametrize(("ceiling", "latency"), [(64, 0.2), (8, 0.5)])
def test_after_five_seconds_of_outage_it_goes_on_as_before(ceiling: int, latency: float, wait: float | None) -> None:
    async def serve(size: int) -> None:
        await asyncio.sleep(RTT)
        if OUTAGE[0] <= now() < OUTAGE[1]:
            raise Lost if wait is None else Refused(wait)
        await asyncio.sleep(latency)

    seen = ask(serve, ceiling, seconds=25)
    full = ceiling / (latency + RTT)
    assert seen.rate(6, 10) >= 0.95 * full
    assert min(at for at, *_ in seen.answers if at >= OUTAGE[1]) <= OUTAGE[1] + 1.1 + latency + RTT
    assert seen.rate(17, 25) >= 0.95 * full
    assert len(seen.failures) <= 4 * ceiling, "while it is down, one at a time goes and looks"
    assert seen.tries < TRIES


@pytest.mark.parametrize("part", [0.01, 0.05, 0.1])
@pytest.mark.parametrize("failure", [Refused(1.0), Lost()], ids=["refused", "lost"])
def test_failures_at_random_that_no_pace_can_help_slow_nothing_down(part: float, failure: Exception) -> None:
    chance = random.Random(1)

    async def serve(size: int) -> None:
        await asyncio.sleep(0.2)
        if chance.random() < part:
            raise failure

    seen = ask(serve, ceiling=64, seconds=30)
    assert seen.rate(10, 30) >= 0.8 * (1 - part) * 64 / 0.2


def test_a_limit_is_found_behind_refusals_at_random() -> None:
    chance, limited = random.Random(5), hard_rate(40.0, varying(0.5, 0.3))

    async def serve(size: int) -> None:
        if chance.random() < 0.05:
            await asyncio.sleep(RTT)
            raise Refused(1.0)
        await limited(size)

    seen = ask(serve, ceiling=64, seconds=100)
    assert seen.rate(30, 100) >= 0.9 * 40
    assert seen.refused(30) < 0.15

"""Buying against a scripted teacher: what is retried, counted, reserved and stopped. Journal and limiter are real."""

from __future__ import annotations

import asyncio
import dataclasses
import errno
import hashlib
import itertools
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest

from distill_data.data.exchange import Answer, Blob, Lost, Reply, Request, Unwanted
from distill_data.engine import appender
from distill_data.engine.ask import Call, Seat, Tally
from distill_data.engine.blobs import Blobs
from distill_data.engine.budget import Budget
from distill_data.engine.journal import Doubt, Journal
from distill_data.engine.limiter import Limiter
from distill_data.engine.segments import owner_of
from distill_data.engine.send import SAME_REFUSAL_LIMIT, WEB_PAGE_LIMIT, Sender, Stopped
from distill_data.errors import AnswerFailed, BudgetError, DiskError, TeacherError
from distill_data.teachers.prices import Price

OWNER = "00000000000000aa"
PROMPT, COMPLETION = 10, 20
PRICE = Price(1e6, 1e6)
"""Expected of each call; what a good reply reports is 8 and 4, 3 of them cached."""


def good(text: str = "fine", prompt: int = 8, completion: int = 4) -> Reply:
    usage = {"prompt_tokens": prompt, "completion_tokens": completion, "prompt_tokens_details": {"cached_tokens": 3}}
    choice = {"index": 0, "message": {"content": text}, "finish_reason": "stop"}
    return Reply(200, {}, orjson.dumps({"choices": [choice], "usage": usage}))


def error(status: int, code: str = "", **headers: str) -> Reply:
    return Reply(status, headers, orjson.dumps({"error": {"message": "it said so", "code": code}}))


@dataclasses.dataclass
class Scripted:
    """Says what is queued, and the last of it for ever; `gate` holds replies back while it is not set."""

    script: list[Reply | Lost]
    identity: Mapping[str, str] = dataclasses.field(default_factory=dict)
    bodies: list[bytes] = dataclasses.field(default_factory=list)
    gate: asyncio.Event | None = None
    flying: int = 0
    most: int = 0

    def lower(self, request: Request) -> dict[str, Any]:
        raise AssertionError("the sender gets bodies")

    async def send(self, body: bytes) -> Reply:
        self.bodies.append(body)
        said = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        self.flying += 1
        self.most = max(self.most, self.flying)
        try:
            await (self.gate.wait() if self.gate is not None else asyncio.sleep(0))
        finally:
            self.flying -= 1
        if isinstance(said, Lost):
            raise said
        return said

    async def aclose(self) -> None: ...


@dataclasses.dataclass
class Shop:
    """A sender with all that belongs to it."""

    teacher: Scripted
    seat: Seat
    journal: Journal
    sender: Sender

    async def buy(self, number: int = 0) -> Answer:
        return await self.sender.send(self.call(number))

    def call(self, number: int) -> Call:
        key = hashlib.sha256(str(number).encode()).hexdigest()
        return Call(key, OWNER, "teacher", self.seat, b"{}", PROMPT, COMPLETION)

    async def buy_all(self, count: int) -> list[Answer | BaseException]:
        return await asyncio.gather(*(self.buy(number) for number in range(count)), return_exceptions=True)


Open = Callable[..., Shop]


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Open]:
    journals: list[Journal] = []

    def make(
        *script: Reply | Lost,
        budget: Budget | None = None,
        width: int = 8,
        price: Price | None = PRICE,
        draw: float = 0.0,
    ) -> Shop:
        journals.append(Journal(tmp_path / "journal"))
        journals[-1].prepare()
        teacher = Scripted(list(script))
        seat = Seat("model", teacher, Limiter(width), price)
        sender = Sender([seat], journals[-1], budget or Budget(), Tally(), draw=lambda: draw)
        return Shop(teacher, seat, journals[-1], sender)

    yield make
    for each in journals:
        each.close()


def doubt_on_disk(made: Shop) -> Doubt:
    """What the next process will take to be in doubt."""
    made.journal.close()
    again = Journal(made.journal.directory)
    again.close()
    return again.totals.doubt


def settled(made: Shop, *, tokens: int, doubt: int) -> None:
    """Nothing is reserved or in flight any more, and budget, process and disk agree about the doubt."""
    budget = made.sender.budget
    assert (budget.tokens, budget.reserved_tokens, made.seat.limiter.in_flight) == (tokens, 0, 0)
    assert budget.cost == pytest.approx(tokens)
    assert budget.reserved_cost == pytest.approx(0.0)
    expected = Doubt(doubt, doubt * PROMPT, doubt * COMPLETION)
    assert made.journal.totals.doubt == expected
    assert doubt_on_disk(made) == expected


def test_an_answer_is_on_disk_and_counted_when_it_is_returned(shop: Open) -> None:
    made = shop(good("yes"))

    async def main() -> None:
        answer = await made.buy()
        entry = made.journal.find(made.call(0).key)
        assert entry is not None and owner_of(entry.line) == OWNER
        assert (answer.text, answer.cached_tokens) == ("yes", 3)

    asyncio.run(main())
    tally = made.sender.tally
    assert (tally.bought, tally.retried, tally.prompt_tokens, tally.completion_tokens) == (1, 0, 8, 4)
    assert made.sender.succeeded == {"teacher"}
    settled(made, tokens=12, doubt=0)


@pytest.mark.parametrize(
    ("script", "doubt"),
    [
        ([error(500), error(503)], 0),
        ([error(429)], 0),
        ([error(409), error(425), error(408)], 0),
        ([error(504)], 1),
        ([error(504), error(524)], 2),
        ([Lost("reset", sent=True)], 1),
        ([Lost("refused", sent=False), Lost("refused", sent=False)], 0),
        ([Lost("reset", sent=True), error(500)], 1),
        ([Reply(200, {}, b'{"choices":[{"mess')], 1),
        ([Reply(200, {}, b"<html>"), Reply(200, {}, b'{"choices":[]}')], 2),
        ([Reply(200, {}, b'{"error":{"message":"overloaded"}}')], 1),
        ([error(500)] * 7, 0),
    ],
)
def test_passing_trouble_is_retried_and_what_may_have_been_billed_is_counted(
    shop: Open, script: list[Reply | Lost], doubt: int
) -> None:
    made = shop(*script, good())
    assert asyncio.run(made.buy()).text == "fine"
    assert made.sender.tally.retried == len(script)
    assert len(made.teacher.bodies) == len(script) + 1
    settled(made, tokens=12 + doubt * (PROMPT + COMPLETION), doubt=doubt)


@pytest.mark.parametrize(
    ("reply", "tries", "reason", "doubt"),
    [
        (error(400), 1, "bad-request", 0),
        (error(400, "context_length_exceeded"), 1, "context-length", 0),
        (error(400, "content_filter"), 1, "content-policy", 0),
        (error(500), 8, "server-error", 0),
        (error(504), 3, "timeout", 3),
        (Lost("reset", sent=True), 3, "lost", 3),
        (Reply(200, {}, b"[1"), 3, "not-json", 3),
        (Reply(200, {}, b"\n<html>"), 3, "web-page", 3),
        (Lost("16 MB", sent=True, kind="too-long"), 1, "too-long-reply", 1),
        (Reply(200, {}, b"{}"), 3, "no-choices", 3),
        (Reply(200, {}, b'{"error":{"code":"x"}}'), 3, "error-body", 3),
    ],
)
def test_what_asking_again_does_not_mend_fails_its_item_alone(
    shop: Open, reply: Reply | Lost, tries: int, reason: str, doubt: int
) -> None:
    made = shop(reply)
    with pytest.raises(AnswerFailed) as caught:
        asyncio.run(made.buy())
    assert caught.value.reason == reason
    assert len(made.teacher.bodies) == tries
    assert made.sender.stopping is None
    failure = made.journal.find_failure(made.call(0).key)
    assert failure is not None
    assert orjson.loads(failure.body) == {"reason": reason, "detail": caught.value.detail}
    assert made.journal.find(made.call(0).key) is None
    settled(made, tokens=doubt * (PROMPT + COMPLETION), doubt=doubt)


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (error(429, "insufficient_quota"), "quota"),
        (error(402), "quota"),
        (Reply(200, {}, b'{"error":{"message":"broke","code":"insufficient_quota"}}'), "quota"),
        (error(401), "Check the key"),
        (error(404), "model's name"),
        (error(302, location="https://other"), "Redirects are not followed"),
        (error(429, **{"retry-after": "7200"}), "2 h"),
        (Lost("certificate", sent=False, permanent=True), "SSL_CERT_FILE"),
    ],
)
def test_what_concerns_every_request_stops_the_run_after_one(shop: Open, reply: Reply | Lost, says: str) -> None:
    made = shop(reply, good(), width=1)
    assert [type(end) for end in asyncio.run(made.buy_all(5))] == [Stopped] * 5
    assert len(made.teacher.bodies) == 1
    assert isinstance(made.sender.stopping, TeacherError)
    assert str(made.sender.stopping).startswith("model: ") and says in str(made.sender.stopping)
    settled(made, tokens=0, doubt=0)


def test_a_server_that_never_answered_stops_the_run_after_a_few_tries(shop: Open) -> None:
    made = shop(Lost("refused", sent=False))
    with pytest.raises(Stopped):
        asyncio.run(made.buy())
    assert len(made.teacher.bodies) == 3
    assert "unreachable" not in str(made.sender.stopping) and "No reply: refused" in str(made.sender.stopping)


def test_a_server_that_answered_before_is_given_more_tries(shop: Open) -> None:
    made = shop(good(), Lost("refused", sent=False))

    async def main() -> None:
        await made.buy(0)
        with pytest.raises(Stopped):
            await made.buy(1)

    asyncio.run(main())
    assert len(made.teacher.bodies) == 1 + 8


def test_waits_are_as_long_as_the_server_asks(shop: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    made = shop(error(429, **{"retry-after": "3"}), error(500), error(500), good(), draw=0.5)
    waits: list[float] = []

    async def wait(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(Sender, "_wait", lambda self, seconds, awaken: wait(seconds))
    asyncio.run(made.buy())
    assert waits == [pytest.approx(3 * 1.05), 1.0, 2.0]


# Stopping


def test_a_stop_wakes_those_who_wait_and_lets_what_is_in_flight_land(shop: Open) -> None:
    made = shop(error(503), good(), width=2, draw=1.0 - 1e-9)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        sleeper = asyncio.ensure_future(made.buy(0))
        while not made.sender.tally.retried:
            await asyncio.sleep(0)
        made.teacher.gate = asyncio.Event()
        flying = [asyncio.ensure_future(made.buy(number)) for number in (1, 2)]
        await asyncio.sleep(0)
        waiting = asyncio.ensure_future(made.buy(3))
        await asyncio.sleep(0.01)
        assert (made.teacher.flying, sleeper.done(), waiting.done()) == (2, False, False)
        start = loop.time()
        made.sender.stop(TeacherError("first"))
        made.sender.stop(TeacherError("second"))
        ends = await asyncio.gather(sleeper, waiting, made.buy(4), return_exceptions=True)
        assert [type(end) for end in ends] == [Stopped] * 3
        assert loop.time() - start < 0.5
        made.teacher.gate.set()
        assert [answer.text for answer in await asyncio.gather(*flying)] == ["fine", "fine"]

    asyncio.run(main())
    assert str(made.sender.stopping) == "first"
    assert len(made.teacher.bodies) == 3
    settled(made, tokens=24, doubt=0)


def test_answers_on_their_way_to_a_slow_disk_are_under_way_too(shop: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of four places one is given to the next while its answer is not on disk; so five are paid for by now."""
    made, disk, sync = shop(good(), width=4), threading.Event(), appender.sync_data
    monkeypatch.setattr(appender, "sync_data", lambda fd: sync(fd) if disk.wait(10) else None)

    async def main() -> None:
        buying = [asyncio.ensure_future(made.buy(number)) for number in range(9)]
        while len(made.teacher.bodies) < 5 or made.teacher.flying:
            await asyncio.sleep(0)
        await asyncio.sleep(0.01)
        made.sender.stop(TeacherError("enough"))
        assert made.sender.under_way == len(made.teacher.bodies) == 5
        disk.set()
        await asyncio.gather(*buying, return_exceptions=True)
        assert made.sender.under_way == 0

    asyncio.run(main())
    settled(made, tokens=60, doubt=0)


def test_a_request_that_comes_back_for_more_after_the_stop_is_not_sent_again(shop: Open) -> None:
    made = shop(error(500), good())

    async def main() -> None:
        made.teacher.gate = asyncio.Event()
        asking = asyncio.ensure_future(made.buy())
        while not made.teacher.flying:
            await asyncio.sleep(0)
        made.sender.stop(TeacherError("enough"))
        made.teacher.gate.set()
        with pytest.raises(Stopped):
            await asking

    asyncio.run(main())
    assert len(made.teacher.bodies) == 1
    settled(made, tokens=0, doubt=0)


def test_a_stop_while_the_note_is_written_holds_the_request_back(shop: Open) -> None:
    made = shop(good())

    async def main() -> None:
        asking = [asyncio.ensure_future(made.buy(n)) for n in range(4)]
        await asyncio.sleep(0)
        made.sender.stop(TeacherError("enough"))
        ends = await asyncio.gather(*asking, return_exceptions=True)
        assert [type(end) for end in ends] == [Stopped] * 4

    asyncio.run(main())
    assert made.teacher.bodies == []
    settled(made, tokens=0, doubt=0)
    assert doubt_on_disk(made) == Doubt()


def test_a_request_that_is_cancelled_before_it_left_is_not_in_doubt(shop: Open) -> None:
    made = shop(good())

    async def main() -> None:
        asking = asyncio.ensure_future(made.buy())
        await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    asyncio.run(main())
    assert made.teacher.bodies == []
    assert doubt_on_disk(made) == made.journal.totals.doubt == Doubt()


def test_a_sending_that_is_cancelled_is_in_doubt(shop: Open) -> None:
    made = shop(good())

    async def main() -> None:
        made.teacher.gate = asyncio.Event()
        asking = asyncio.ensure_future(made.buy())
        while not made.teacher.flying:
            await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    asyncio.run(main())
    assert made.seat.limiter.in_flight == 0
    assert made.journal.totals.doubt == Doubt(1, PROMPT, COMPLETION)
    assert doubt_on_disk(made) == Doubt(1, PROMPT, COMPLETION)


def test_an_answer_whose_arrays_are_cancelled_is_in_doubt(shop: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    made, begun = shop(good()._replace(blob=b"arrays")), asyncio.Event()

    async def hang(self: Blobs, data: bytes) -> Blob:
        begun.set()
        await asyncio.sleep(60)
        raise AssertionError

    monkeypatch.setattr(Blobs, "put", hang)

    async def main() -> None:
        asking = asyncio.ensure_future(made.buy())
        await begun.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    asyncio.run(main())
    assert made.journal.totals.doubt == Doubt(1, PROMPT, COMPLETION) == doubt_on_disk(made)


def test_refusals_from_the_first_request_on_stop_the_run(shop: Open) -> None:
    made = shop(error(400), width=1)
    ends = asyncio.run(made.buy_all(SAME_REFUSAL_LIMIT + 10))
    assert [type(end) for end in ends] == [AnswerFailed] * SAME_REFUSAL_LIMIT + [Stopped] * 10
    assert len(made.teacher.bodies) == SAME_REFUSAL_LIMIT
    assert isinstance(made.sender.stopping, TeacherError)
    assert f"first {SAME_REFUSAL_LIMIT} requests all failed (bad-request" in str(made.sender.stopping)


def test_web_pages_from_the_first_request_on_stop_the_run_sooner(shop: Open) -> None:
    made = shop(Reply(200, {}, b"<html>Log in</html>"), width=1)
    made.teacher.identity = {"base_url": "http://portal.example/v1"}
    ends = asyncio.run(made.buy_all(10))
    assert [type(end) for end in ends] == [AnswerFailed] * WEB_PAGE_LIMIT + [Stopped] * (10 - WEB_PAGE_LIMIT)
    assert "model at http://portal.example/v1: the first 3 requests all failed" in str(made.sender.stopping)
    assert "<html>Log in</html>" in str(made.sender.stopping)


def test_a_stale_connection_is_asked_again_at_once_and_is_not_in_doubt(
    shop: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = shop(*[Lost("closed", sent=False, kind="stale")] * 3, good())
    waits: list[float] = []

    async def wait(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(Sender, "_wait", lambda self, seconds, awaken: wait(seconds))
    asyncio.run(made.buy())
    assert len(waits) == 2, "the first time without a wait"
    settled(made, tokens=12, doubt=0)


def test_each_kind_of_trouble_has_its_own_tries(shop: Open) -> None:
    made = shop(good(), *[Lost("refused", sent=False)] * 4, Lost("reset", sent=True), good())

    async def main() -> None:
        await made.buy(0)
        await made.buy(1)

    asyncio.run(main())
    settled(made, tokens=24 + 30, doubt=1)


def test_refusals_after_an_answer_are_the_rows_own(shop: Open) -> None:
    made = shop(good(), error(400), width=1)
    ends = asyncio.run(made.buy_all(2 * SAME_REFUSAL_LIMIT))
    assert [type(end) for end in ends[1:]] == [AnswerFailed] * (2 * SAME_REFUSAL_LIMIT - 1)
    assert made.sender.stopping is None


# The budget


def test_tokens_stop_the_run_before_the_limit_is_passed(shop: Open) -> None:
    made = shop(good(), width=4, budget=Budget(max_tokens=100))
    ends = asyncio.run(made.buy_all(50))
    bought = sum(isinstance(end, Answer) for end in ends)
    assert {type(end) for end in ends} == {Answer, Stopped}
    assert 3 <= bought <= 100 // 12
    assert made.sender.budget.tokens == 12 * bought <= 100
    assert isinstance(made.sender.stopping, BudgetError) and "--max-tokens-total" in str(made.sender.stopping)
    settled(made, tokens=12 * bought, doubt=0)


def test_one_at_a_time_the_budget_is_used_up_to_the_last_reserve(shop: Open) -> None:
    made = shop(good(), width=1, budget=Budget(max_tokens=100))
    ends = asyncio.run(made.buy_all(50))
    assert sum(isinstance(end, Answer) for end in ends) == 6  # 12 each; for a seventh 72 + 30 would pass 100


def test_money_stops_the_run_before_the_limit_is_passed(shop: Open) -> None:
    made = shop(Lost("reset", sent=True), good(), width=1, price=Price(1e6, 2e6), budget=Budget(max_cost=150.0))
    ends = asyncio.run(made.buy_all(20))
    assert isinstance(made.sender.stopping, BudgetError) and "--max-cost" in str(made.sender.stopping)
    # In doubt, 10 + 2 * 20 = 50; then 8 + 2 * 4 = 16 each while a reserve of 50 fits below 150.
    assert sum(isinstance(end, Answer) for end in ends) == 4
    assert made.sender.budget.cost == pytest.approx(50 + 4 * 16)


def test_what_is_spent_and_reserved_passes_the_limit_by_what_was_in_flight_at_most(shop: Open) -> None:
    """Where the server bills more than a request allows, nobody can know before."""
    made = shop(good(prompt=50, completion=50), width=4, budget=Budget(max_tokens=200))
    asyncio.run(made.buy_all(50))
    budget = made.sender.budget
    assert budget.tokens <= 200 + made.teacher.most * (100 - PROMPT - COMPLETION)
    assert budget.reserved_tokens == 0
    assert isinstance(made.sender.stopping, BudgetError)


def test_a_budget_of_an_earlier_process_counts(shop: Open) -> None:
    made = shop(good(), budget=Budget(max_tokens=100, tokens=71))
    with pytest.raises(Stopped):
        asyncio.run(made.buy())
    assert made.teacher.bodies == []
    assert isinstance(made.sender.stopping, BudgetError)


def test_costs_of_unknown_price_are_unknown_and_never_nothing(shop: Open) -> None:
    made = shop(good(), price=None)
    asyncio.run(made.buy())
    assert made.sender.budget.cost is None
    budget = Budget(max_cost=1.0, cost=2.0)
    with pytest.raises(BudgetError, match="--max-cost"):
        budget.reserve(1, None)


# The disk


def break_disk(monkeypatch: pytest.MonkeyPatch, start: bytes, code: int) -> None:
    """From now on lines that start so cannot be written."""
    real = os.write

    def write(fd: int, data: bytes) -> int:
        if bytes(data[: len(start)]) == start:
            raise OSError(code, os.strerror(code))
        return real(fd, data)

    monkeypatch.setattr(os, "write", write)


@pytest.mark.parametrize(
    ("reply", "start", "sendings", "doubt"),
    [
        (good(), b'{"k":', {1, 2}, None),  # paid and lost: the disk can't keep them; one may be on its way meanwhile
        (error(400), b'{"k":', {1, 2, 3}, 0),  # the others may leave before the disk says so
        (good(), b"S ", {0}, 0),
        (error(500), b"E ", {1}, 1),
    ],
)
def test_a_disk_that_fails_stops_the_run_and_never_reaches_a_method(
    shop: Open, monkeypatch: pytest.MonkeyPatch, reply: Reply, start: bytes, sendings: set[int], doubt: int | None
) -> None:
    made = shop(reply, width=1)

    async def main() -> None:
        break_disk(monkeypatch, start, errno.EIO)
        ends = await made.buy_all(3)
        assert [type(end) for end in ends] == [Stopped] * 3

    asyncio.run(main())
    assert isinstance(made.sender.stopping, DiskError) and "Input/output error" in str(made.sender.stopping)
    assert len(made.teacher.bodies) in sendings
    doubt = len(made.teacher.bodies) if doubt is None else doubt
    assert made.seat.limiter.in_flight == 0
    assert doubt_on_disk(made).requests == doubt
    if start != b"E ":
        assert made.journal.totals.doubt.requests == doubt


def test_on_a_disk_that_is_full_what_is_in_flight_lands_and_nothing_more_is_sent(
    shop: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = shop(good(), width=4)
    full = [OSError(errno.ENOSPC, "full")]
    sync = appender.sync_data

    def fail_once(fd: int) -> None:
        if full:
            raise full.pop()
        sync(fd)

    monkeypatch.setattr(appender, "sync_data", fail_once)
    ends = asyncio.run(made.buy_all(30))
    bought = [number for number, end in enumerate(ends) if isinstance(end, Answer)]
    assert len(bought) == len(made.teacher.bodies) < 30
    assert all(made.journal.find(made.call(number).key) for number in bought)
    assert isinstance(made.sender.stopping, DiskError)
    settled(made, tokens=12 * len(bought), doubt=0)


def test_trouble_of_every_kind_leaves_the_sums_right(shop: Open) -> None:
    """Requests sent = answers + known to be unpaid + in doubt, in the process and on disk."""
    kinds = [good(), error(500), Lost("reset", sent=True), error(429), Reply(200, {}, b"{"), good(), error(400)]
    script = [kind for kind, _ in zip(itertools.cycle(kinds), range(210), strict=False)]
    made = shop(good(), *script, good(), width=16)
    ends = asyncio.run(made.buy_all(60))
    answers = sum(isinstance(end, Answer) for end in ends)
    assert {type(end) for end in ends} == {Answer, AnswerFailed}
    assert made.teacher.most > 1
    assert made.sender.stopping is None
    said = [good(), *script][: len(made.teacher.bodies)]
    doubt = sum(isinstance(each, Lost) or each.body == b"{" for each in said)
    assert len(made.journal) == made.sender.tally.bought == answers
    settled(made, tokens=12 * answers + 30 * doubt, doubt=doubt)


def test_what_is_no_longer_wanted_when_its_turn_comes_is_not_sent(shop: Open) -> None:
    """Two slots for eight, of whom the last six are called off while the first two are on their way."""
    made = shop(good(), width=2)
    open_for = {0, 1}

    async def main() -> list[Any]:
        calls = [made.call(n)._replace(wanted=lambda n=n: n in open_for) for n in range(8)]  # type: ignore[misc]
        return await asyncio.gather(*(made.sender.send(call) for call in calls), return_exceptions=True)

    ends = asyncio.run(main())
    assert [type(end) for end in ends] == [Answer, Answer, *[Unwanted] * 6]
    assert len(made.teacher.bodies) == made.sender.tally.bought == 2
    assert made.sender.stopping is None
    settled(made, tokens=24, doubt=0)


def test_who_is_called_off_takes_no_part_of_the_pace(shop: Open) -> None:
    """Half a minute's worth of requests and tokens that are not sent, before one that is."""
    made = shop(good())

    async def main() -> Answer:
        limiter = Limiter(2, rpm=60.0, tpm=60.0 * (PROMPT + COMPLETION))
        seat = dataclasses.replace(made.seat, limiter=limiter)
        calls = [made.call(number)._replace(seat=seat, posts=1 + number % 2) for number in range(31)]
        async with asyncio.timeout(8):
            for call in calls[1:]:
                with pytest.raises(Unwanted):
                    await made.sender.send(call._replace(wanted=lambda: False))
            answer = await made.sender.send(calls[0])
        assert limiter.in_flight == 0
        return answer

    assert asyncio.run(main()).text

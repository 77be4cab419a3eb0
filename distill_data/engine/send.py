"""Buying an answer: limit, reserve, send, judge, make durable. The only retry layer there is.

Knows nothing about items or methods. What a reply means is engine.retry's table; how fast to go is engine.limiter's.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import orjson

from distill_data.data.exchange import Answer, Lost, Reply, Unwanted
from distill_data.engine.ask import Call, Seat, Tally
from distill_data.engine.blobs import Blobs, place_of
from distill_data.engine.budget import Budget
from distill_data.engine.journal import Journal
from distill_data.engine.retry import TRIES, Verdict, backoff, judge, judge_bad_reply, judge_lost
from distill_data.errors import AnswerFailed, BudgetError, DiskError, DistillError, OutOfMemory, TeacherError
from distill_data.teachers import BadReply, read_answer
from distill_data.teachers.prices import cost_of

LANDING = 4
"""One in so many of the requests that may be at the server may be on its way to the disk beside them."""
SAME_REFUSAL_LIMIT = 20
WEB_PAGE_LIMIT = 3
HTTP_ERROR = 500


class Stopped(BaseException):
    """The run is stopping and this request was not sent. Not for methods to catch."""


@dataclass(slots=True)
class Sender:
    """Buys answers for one run."""

    seats: Sequence[Seat]
    journal: Journal
    budget: Budget
    tally: Tally
    stopping: DistillError | None = None
    succeeded: set[str] = field(default_factory=set)
    """Roles whose teacher has answered in this process."""
    failures: Counter[str] = field(default_factory=Counter)
    """Requests that failed before any was answered, by reason: when they all do, the mistake is not in a row."""
    stopped: asyncio.Event = field(default_factory=asyncio.Event)
    settled: asyncio.Event | None = None
    """Made by who waits for a reserve to be given back; set, and taken away, when one is."""
    draw: Callable[[], float] = random.random
    landing: int = 0
    """Answers that gave their place at the server to others and are not yet on disk."""
    blobs: Blobs = field(init=False)

    def __post_init__(self) -> None:
        self.blobs = Blobs(self.journal.blobs)

    @property
    def under_way(self) -> int:
        """Requests at a server, and answers on their way to the disk."""
        return sum(seat.limiter.in_flight for seat in self.seats) + self.landing

    async def send(self, call: Call) -> Answer:
        """The answer, on disk. Raises AnswerFailed where this request is refused for good, Stopped where the run
        ends before it was sent, Unwanted where nobody wants it any more when it could be sent."""
        tries: list[str] = []
        while True:
            try:
                outcome = await self._attempt(call)
            except DiskError as error:
                self.stop(error)
                raise Stopped from None
            except MemoryError:
                self.stop(OutOfMemory(f"{call.seat.name}, item {call.item}"))
                raise Stopped from None
            if isinstance(outcome, Answer):
                return outcome
            verdict = outcome
            tries.append(verdict.reason)
            spent = verdict.action == "retry" and (tries.count(verdict.reason) >= verdict.tries or len(tries) >= TRIES)
            action = verdict.spent if spent else verdict.action
            if action == "stop":
                self.stop(TeacherError(f"{_place(call)}: {verdict.detail}"))
                raise Stopped
            if action == "fail":
                await self._fail(call, verdict)
            self.tally.retried += 1
            # Where the server set no time, the end of an outage is the end of the wait too.
            awaken = self.stopped if verdict.floor else call.seat.limiter.recovered
            if not verdict.at_once or tries.count(verdict.reason) > 1:
                await self._wait(backoff(len(tries) - 1, verdict.floor, self.draw()), awaken)

    async def _attempt(self, call: Call) -> Answer | Verdict:
        """One sending, from the limiter to the journal.

        A reply frees its place at the server at once, unless a quarter of the limit is on its way to the disk already:
        what a crash may cost stays at five quarters of the concurrency, and a disk that hangs is not outrun.
        """
        limiter, expected, inside = call.seat.limiter, call.prompt_tokens + call.completion_tokens, True
        entered = await limiter.enter(expected)
        if call.posts > 1:
            limiter.charge(call.posts - 1)
        try:
            await self._depart(call, expected)
            outcome: Verdict | Answer
            try:
                reply = await call.seat.teacher.send(call.body)
                outcome = weigh(reply)
            except Lost as lost:
                outcome = judge_lost(lost, call.role in self.succeeded)
            except (asyncio.CancelledError, MemoryError):
                self._doubt(call)
                raise
            if isinstance(outcome, Verdict):
                self._settle_unanswered(call, outcome, expected, entered)
                return outcome
            limiter.succeeded(reply.headers, entered)
            self.succeeded.add(call.role)
            if self.landing < limiter.limit // LANDING:
                inside = False
                self.landing += 1
                limiter.leave()
            return await self._keep(call, reply, outcome, expected)
        except Unwanted:
            limiter.charge(1 - call.posts)
            limiter.put(1, 0)
            limiter.correct(expected, 0)
            raise
        finally:
            if inside:
                limiter.leave()
            else:
                self.landing -= 1

    async def _depart(self, call: Call, expected: int) -> None:
        """Reserve, and say that it leaves. Raises Stopped and Unwanted where it must not."""
        while not self._reserve(call, expected):
            self.settled = self.settled or asyncio.Event()
            await self.settled.wait()
        await self.journal.note_sent(call.key, call.prompt_tokens, call.completion_tokens)
        if self.stopping is not None:
            self.journal.note_unpaid(call.key)
            self._settle(expected, call.cost, 0, 0.0)
            raise Stopped

    async def _keep(self, call: Call, reply: Reply, answer: Answer, expected: int) -> Answer:
        """Settle and count an answer, and bring it to the disk. Raises DiskError."""
        usage = (answer.prompt_tokens, answer.completion_tokens, answer.cached_tokens)
        used = answer.prompt_tokens + answer.completion_tokens
        call.seat.limiter.correct(expected, used)
        self._settle(expected, call.cost, used, cost_of(call.seat.price, usage))
        try:
            if reply.blob:
                reply, answer = await self._keep_blob(call, reply, answer)
            await self.journal.commit(call.key, call.owner, usage, reply.body)
        except (DiskError, MemoryError):
            self._doubt(call)
            raise
        self.tally.add(usage, call.role)
        return answer

    async def _keep_blob(self, call: Call, reply: Reply, answer: Answer) -> tuple[Reply, Answer]:
        """Arrays go to the disk before the line that names them. Raises DiskError."""
        try:
            blob = await self.blobs.put(reply.blob)
        except asyncio.CancelledError:  # a line that is queued would land all the same, and there is none yet
            self._doubt(call)
            raise
        body = orjson.loads(reply.body)
        body["feature"]["blob"] = place_of(blob)
        return reply._replace(body=orjson.dumps(body), blob=b""), answer._replace(blob=blob)

    def _reserve(self, call: Call, expected: int) -> bool:
        """Set the most that this may cost aside; False where others may give back what it takes. Raises Stopped where
        nothing may be sent any more, and Unwanted."""
        broken = self.journal.broken or self.blobs.broken
        if broken is not None:
            self.stop(broken)
        if self.stopping is not None:
            raise Stopped
        if not call.wanted():
            raise Unwanted
        try:
            self.budget.reserve(expected, call.cost)
        except BudgetError as error:
            if self.budget.reserved_tokens:
                return False
            self.stop(error)
            raise Stopped from None
        return True

    def _settle_unanswered(self, call: Call, verdict: Verdict, expected: int, entered: float) -> None:
        limiter, cost = call.seat.limiter, call.cost
        if verdict.doubt:
            self._doubt(call)
            self._settle(expected, cost, expected, cost)
        else:
            self.journal.note_unpaid(call.key)
            self._settle(expected, cost, 0, 0.0)
            limiter.correct(expected, 0)
        if verdict.limited:
            limiter.refused(verdict.floor, entered)
        elif verdict.action == "retry" and not verdict.at_once:
            limiter.faltered()

    def _settle(self, reserved: int, reserved_cost: float | None, used: int, cost: float | None) -> None:
        self.budget.settle(reserved, reserved_cost, used, cost)
        if self.settled is not None:
            self.settled.set()
            self.settled = None

    def _doubt(self, call: Call) -> None:
        """A sending that may have been billed and left no answer."""
        self.journal.give_up(call.prompt_tokens, call.completion_tokens)

    async def _fail(self, call: Call, verdict: Verdict) -> None:
        self.failures[verdict.reason] += 1
        many = self.failures.total() >= SAME_REFUSAL_LIMIT or self.failures["web-page"] >= WEB_PAGE_LIMIT
        if many and not self.succeeded:
            self.stop(
                TeacherError(
                    f"{_place(call)}: the first {self.failures.total()} requests all failed ({verdict.reason}: "
                    f"{verdict.detail}), so the mistake is in the recipe, its settings or the address, not in a row."
                )
            )
        try:
            await self.journal.commit_failure(call.key, call.owner, verdict.reason, verdict.detail)
        except DiskError as error:
            self.stop(error)
            raise Stopped from None
        raise AnswerFailed(verdict.reason, verdict.detail)

    async def _wait(self, seconds: float, awaken: asyncio.Event) -> None:
        """Sleep, unless woken before. Raises Stopped where the run stops meanwhile."""
        if self.stopping is None:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await awaken.wait()
        if self.stopping is not None:
            raise Stopped

    def stop(self, error: DistillError) -> None:
        """Send nothing more. What is in flight may land; the first reason is the one that counts."""
        if self.stopping is None:
            self.stopping = error
            self.stopped.set()
            if self.settled is not None:
                self.settled.set()
            for seat in self.seats:
                seat.limiter.close(Stopped())


def _place(call: Call) -> str:
    """Who was asked, and where that is."""
    url = call.seat.teacher.identity.get("base_url", "")
    return f"{call.seat.name} at {url}" if url else call.seat.name


def weigh(reply: Reply) -> Answer | Verdict:
    """What a reply comes to: its answer, or what to do without one."""
    verdict = judge(reply)
    if verdict.action != "accept":
        return verdict
    try:
        return read_answer(reply.body)
    except BadReply as error:
        hidden = judge(reply._replace(status=HTTP_ERROR))  # some gateways put `insufficient_quota` under a 200
        return hidden if hidden.action == "stop" else judge_bad_reply(error.reason, error.detail, reply.body)

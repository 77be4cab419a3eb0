"""The Batch lane: run the method, submit what it lacks, wait, run it again on the answers; until nothing is lacking.

    pass -> files of requests -> batches -> answers in the journal -> pass -> … -> publish

`auto` does one round of batches, and asks online for what is left. Knows no method and no endpoint.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from distill_data.commands.job import Job
from distill_data.commands.lanes import is_batched
from distill_data.commands.loop import signals_to
from distill_data.commands.running import Run, run_live
from distill_data.data.exchange import Answer
from distill_data.engine.ask import Call, Miss, Parked
from distill_data.engine.batch_input import Collector, Refusals, discard_files
from distill_data.engine.batch_jobs import SELDOM, Jobs
from distill_data.engine.batch_output import Ingested, Intake
from distill_data.engine.batches import AWAY, DONE, INTENT, Ledger, Upload
from distill_data.engine.retry import shown
from distill_data.engine.rundir import RunDirectory
from distill_data.engine.send import SAME_REFUSAL_LIMIT, Sender
from distill_data.engine.spill import Spill
from distill_data.errors import AnswerFailed, DiskError, DistillError, DriftError, Interrupted, TeacherError
from distill_data.teachers.batch import Batch, BatchEndpoint
from distill_data.teachers.openai import path_of

LOG = logging.getLogger(__name__)
FEW = 100
"""Requests that `auto` asks online at once: they do not deserve to wait a day."""
IDLE_ROUNDS = 3
"""Rounds of batches without an answer after which no more are submitted."""
BUSY = "token_limit_exceeded"
"""Code of a batch that was not begun because too many are waiting."""


@dataclass(slots=True)
class Lane:
    """One run by batches."""

    job: Job
    directory: RunDirectory
    live: Run
    """The present pass."""
    jobs: Jobs
    spill: Spill | None = None
    """Its outcomes."""
    collector: Collector | None = None
    """What it wrote."""
    refusals: Refusals = field(default_factory=dict)
    found: list[Ingested] = field(default_factory=list)
    """What came of each batch that this process saw the end of."""
    broken: list[tuple[str, str]] = field(default_factory=list)
    """Code and message of those that failed as a whole."""
    intake: Intake = field(init=False)

    def __post_init__(self) -> None:
        self.intake = Intake(self.live.journal, self.live.tally, self.refusals)

    async def run(self) -> DistillError | None:
        """Round after round; why the last pass was not the last one by right, or None."""
        idle, rest = 0, False
        while True:
            if self.jobs.unknown:
                stopped = await _until_signal(self._settle(), self.jobs.ledger)
                if stopped is not None:
                    await self._pass(lambda _: _park)
                    return stopped
            collector = self.collector = self._collector()
            stopped = await self._pass(self._parking(collector))
            if stopped is not None:
                collector.discard()
                return stopped
            self._check_drift(collector)
            uploads = collector.seal() if not self._goes_online(collector, rest) else []
            collector.discard()
            if not uploads and not self.jobs.ledger.open:
                return await self._pass(self._online) if collector.written else collector.short
            before = self._progress()
            stopped = await _until_signal(self._round(uploads), self.jobs.ledger)
            if stopped is not None:
                if self._progress() > before:
                    await self._pass(lambda _: _park)
                return stopped
            idle, rest = 0 if self._progress() > before else idle + 1, not collector.left
            if idle >= IDLE_ROUNDS:
                return self._in_vain()

    def _collector(self) -> Collector:
        tokens = {self.live.seats[role].account: each.enqueued_tokens for role, each in self.job.profiles.items()}
        limits = {account: limit for account, limit in tokens.items() if limit is not None}
        return Collector(self.jobs.ledger, _url_of, self.refusals, limits)

    def _goes_online(self, collector: Collector, rest: bool) -> bool:
        """Whether what was written is to be asked at once: the `rest` that batches left over, or very little."""
        return self.job.options.lane == "auto" and (rest or collector.written < FEW)

    async def _pass(self, policy: Callable[[Sender], Miss]) -> DistillError | None:
        """Run the method over all items."""
        if self.spill is not None:
            self.spill.close()
        self.live = replace(self.live, work=self.job.make_work())
        self.live.tally.reused = 0
        self.live.tally.served.clear()  # each pass reads all answers
        self.spill = Spill(self.directory.spill)
        stopped = await run_live(self.live, self.spill, self.job.recipe.gold_by, self.job.say, policy)
        self.live.tally.reused = max(0, self.live.tally.reused - sum(each.answers for each in self.found))
        return stopped

    def _parking(self, collector: Collector) -> Callable[[Sender], Miss]:
        """Requests to a server go to the collector; others are answered here, and cost nothing."""

        def policy(sender: Sender) -> Miss:
            collector.budget = sender.budget

            async def miss(call: Call) -> Answer:
                return await (collector.park(call) if call.role in self.jobs.endpoints else sender.send(call))

            return miss

        return policy

    def _online(self, sender: Sender) -> Miss:
        """What batches left over is sent; what they were refused for good is not asked again."""

        async def miss(call: Call) -> Answer:
            if call.key in self.refusals:
                raise AnswerFailed(*self.refusals[call.key])
            return await sender.send(call)

        return miss

    def _check_drift(self, collector: Collector) -> None:
        """Raise DriftError where an item asks something new, and what it asked before is being paid for."""
        if not collector.written or self.job.options.accept_drift:
            return
        unused = [owner for key, owner in collector.unasked() if self.live.journal.find(key) is None]
        if unused and (not collector.awaited or not collector.owners.isdisjoint(unused)):
            raise DriftError(
                f"{self.job.output}: the recipe, its settings or the teacher changed since batches were submitted: "
                f"{len(unused)} requests in them would be paid for and not used, and {collector.written} new ones be "
                "sent. Give --accept-drift to go on, another -o to keep both, or undo the change."
            )

    # Rounds

    async def _settle(self) -> None:
        """Know of each batch whether it is there. Raises TeacherError and DiskError."""
        try:
            await self.jobs.settle()
        finally:
            await self._hang_up()

    async def _hang_up(self) -> None:
        for endpoint in self.jobs.endpoints.values():
            await endpoint.aclose()

    async def _round(self, uploads: list[Upload]) -> None:
        """Submit, wait for all that is open, and take in what it brings. Raises TeacherError and DiskError.

        Where not all can be submitted, that may be for want of room: what is open makes some by and by.
        """
        ledger, seen, refused = self.jobs.ledger, len(self.found), None
        if self.broken and uploads:
            await asyncio.sleep(SELDOM)  # too much is waiting at the provider
        self.broken.clear()
        try:
            try:
                for upload in uploads:
                    ledger.add(upload)
                    await self.jobs.submit(ledger.uploads[upload.name])
            except TeacherError as error:
                refused = error
                if self.jobs.away:
                    LOG.warning("%s What was submitted before is waited for.", error)
            await self.jobs.wait(self._tell, self._take)
        finally:
            await self._hang_up()
            for upload in [each for each in ledger.open if each.state == INTENT]:
                ledger.forget(upload)
            begun = {each.name for each in ledger.open}
            for upload in uploads:
                if upload.name not in begun:
                    discard_files(ledger.directory, upload)
        self._check_round(self.found[seen:])
        if refused is not None and not sum(each.progress for each in self.found[seen:]):
            raise refused

    async def _take(self, upload: Upload, batch: Batch) -> None:
        """Bring one batch's answers to the journal, and close it."""
        ledger = self.jobs.ledger
        found = await self.intake.take(ledger.directory, upload)
        found.doubt_missing(upload, batch.completed)
        self.found.append(found)
        ledger.advance(
            upload, DONE, (found.usage[0], found.usage[1], found.usage[2]), status=batch.status,
            answers=found.answers, failed=found.failed, doubt=found.doubt, odd=dict(found.odd),
        )  # fmt: skip
        discard_files(ledger.directory, upload)
        if batch.status == "failed":
            self.broken += batch.errors or [("failed", "and the server does not say why")]

    def _check_round(self, found: list[Ingested]) -> None:
        """Raise TeacherError where another round would go as this one did."""
        for verdict in (each.stop for each in found if each.stop is not None):
            raise TeacherError(verdict.detail)
        for code, message in self.broken:
            said = f"a batch failed as a whole ({shown(code)}: {shown(message)})"
            if self.job.options.lane == "auto":
                LOG.warning("%s; its requests are sent online", said)
            elif code != BUSY:
                raise TeacherError(f"{said}.")
        if not sum(each.answers for each in self.found) and len(self.refusals) >= SAME_REFUSAL_LIMIT:
            reason, detail = next(iter(self.refusals.values()))
            raise TeacherError(
                f"the first {len(self.refusals)} requests were all refused ({reason}: {detail}), so the mistake is in "
                "the recipe or its settings, not in a row."
            )

    def _progress(self) -> int:
        return sum(each.progress for each in self.found)

    def _in_vain(self) -> DistillError:
        why = "Try again later, or finish with --lane online"
        if self.broken:
            why = (
                f"{shown(self.broken[0][1])} Set enqueued_tokens in the model's profile to the provider's limit, "
                "or wait until other batches are done"
            )
        return TeacherError(f"{IDLE_ROUNDS} rounds of batches brought no answer. {why}.")

    def _tell(self, states: Mapping[str, Batch | None]) -> None:
        done = sum(state.completed + state.failed for state in states.values() if state is not None)
        requests = sum(self.jobs.ledger.uploads[name].requests for name in states)
        text = f"{len(states)} batch{'es' * (len(states) > 1)} at the provider: {done:,} of {requests:,} done"
        self.job.say(replace(self.live.progress(), waiting=text))


async def run_batched(job: Job, directory: RunDirectory, live: Run) -> tuple[Run, Spill, DistillError | None]:
    """Run a job by batches: its last pass, the outcomes of that, and why it stopped before its end, or None."""
    endpoints = {role: BatchEndpoint(profile) for role, profile in job.profiles.items() if is_batched(profile)}
    lane = Lane(job, directory, live, Jobs(live.batches, endpoints, job.options.rebuy_lost))
    try:
        stopped = await lane.run()
        assert lane.spill is not None
        return lane.live, lane.spill, stopped
    except BaseException:
        if lane.spill is not None:
            lane.spill.close()
        if lane.collector is not None:
            lane.collector.discard()
        raise
    finally:
        live.batches.close()


async def _park(call: Call) -> Answer:
    raise Parked


def _url_of(body: bytes) -> str:
    return "/v1" + path_of(body)


async def _until_signal(work: Coroutine[Any, Any, None], ledger: Ledger) -> DistillError | None:
    """Let it run to its end, a signal or what stops a run; which of the latter it was."""
    task = asyncio.ensure_future(work)
    heard: list[signal.Signals] = []

    def receive(number: signal.Signals) -> None:
        heard.append(number)
        task.cancel()

    try:
        with signals_to(receive):
            await task
    except asyncio.CancelledError:
        if not heard:
            raise
        away = [upload for upload in ledger.open if upload.state in AWAY]
        there = f" {sum(upload.requests for upload in away)} requests in batches go on at the provider." if away else ""
        return Interrupted(f"Stopped by {heard[0].name}.{there}", heard[0])
    except (TeacherError, DiskError) as error:
        return error
    return None

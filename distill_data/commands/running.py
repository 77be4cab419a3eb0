"""One pass of a method over its items under each policy: live, parked, replayed. Knows no recipe and no file name."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from distill_data.commands.loop import GRACE_SECONDS, signals_to
from distill_data.commands.options import Options
from distill_data.commands.pilot import Meter
from distill_data.commands.spending import Account, Accounts, Spent, add_up, prices_to_json, sum_up
from distill_data.commands.watching import make_watch, served_models
from distill_data.commands.work import Work
from distill_data.data.items import Item, Outcome
from distill_data.engine.ask import Miss, Parking, Seat, Tally, make_ask, make_park, make_refuse
from distill_data.engine.batch_input import find_awaited
from distill_data.engine.batches import Ledger
from distill_data.engine.budget import Budget
from distill_data.engine.journal import Journal
from distill_data.engine.outcomes import encode_outcome
from distill_data.engine.publish import Count
from distill_data.engine.send import Sender
from distill_data.engine.spill import Spill
from distill_data.errors import DiskError, DistillError, Interrupted
from distill_data.reporting import Progress
from distill_data.teachers.prices import Price

LOG = logging.getLogger(__name__)
PROGRESS_SECONDS = 0.2
REPLAY_WIDTH = 1


@dataclass(slots=True)
class Run:
    """What a pass works with, and what it has counted."""

    work: Work
    seats: Mapping[str, Seat]
    journal: Journal
    reuse: Sequence[Journal]
    options: Options
    batches: Ledger
    before: Accounts = field(default_factory=dict)
    """As earlier invocations left them."""
    meter: Meter | None = None
    """Of a pilot."""
    tally: Tally = field(default_factory=Tally)
    count: Count = field(init=False)
    started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.count = Count(self.work.items)

    def pilot(self, first: int) -> Run:
        """The same, cut to its first items, which are metered."""
        grows = self.work.target is not None
        meter = Meter(self.seats, self.work.target or self.work.items, grows)
        return replace(self, work=self.work.pilot(first), seats=meter.time(self.seats), meter=meter)

    @property
    def final(self) -> bool:
        """Whether refusals on disk stand. In rounds they do: what later rounds drew depends on them."""
        return self.work.target is not None and not self.options.retry_failed

    def finish(self, spill: Spill, group_by: str, item: Item, outcome: Outcome) -> None:
        """Set an outcome's lines aside, and count it. Raises DiskError."""
        if outcome.status != "pending":
            spill.put(item.ordinal, encode_outcome(item, outcome))
            self.count.add(outcome, str(item.row.get(group_by, "")) if group_by else "")

    @property
    def prices(self) -> dict[str, Price | None]:
        return {role: seat.price for role, seat in self.seats.items()}

    @property
    def addresses(self) -> set[str]:
        """Of the servers that are asked."""
        return {seat.teacher.identity.get("base_url", "") for seat in self.seats.values()}

    def accounts(self) -> dict[str, Account]:
        """Who is known to have been paid what, over all invocations."""
        return add_up(self.before, self.seats, self.tally.paid)

    def spent(self) -> Spent:
        """Over all invocations, what is in doubt included."""
        return sum_up(self.journal.totals, self.accounts(), self.batches)

    def history(self) -> dict[str, Any]:
        """What happened, as opposed to what came of it."""
        totals = self.journal.totals
        tokens, cost, in_doubt = self.spent()
        return {
            "bought": self.tally.bought,
            "reused": self.tally.reused,
            "retried": self.tally.retried,
            "in_doubt": totals.doubt.requests + self.batches.doubt.requests,
            "bought_in_all": totals.bought,
            "bought_twice": totals.bought_twice,
            "torn_tails": totals.torn_tails,
            "served": served_models(self.tally.served),
            "prompt_tokens": totals.prompt_tokens,
            "completion_tokens": totals.completion_tokens,
            "cached_tokens": totals.cached_tokens,
            "tokens": tokens,
            "cost": cost,
            "cost_in_doubt": in_doubt,
            "prices": prices_to_json(self.prices),
            "seconds": round(time.monotonic() - self.started, 3),
            **self.batches.to_json(),
        }

    def progress(self) -> Progress:
        spent = self.spent()
        return Progress(
            items=self.work.items if self.work.target is None else None,
            target=self.work.target,
            kept=self.count.statuses["kept"],
            rejected=self.count.statuses["rejected"],
            failed=self.count.statuses["failed"],
            active=sum(seat.limiter.in_flight for seat in self.seats.values()),
            bought=self.tally.bought,
            reused=self.tally.reused,
            prompt_tokens=self.tally.prompt_tokens,
            completion_tokens=self.tally.completion_tokens,
            cost=spent.cost,
            cost_in_doubt=spent.in_doubt,
            seconds=time.monotonic() - self.started,
            limit=sum(seat.limiter.limit for seat in self.seats.values()),
        )


async def run_live(
    run: Run,
    spill: Spill,
    group_by: str,
    say: Callable[[Progress], None],
    policy: Callable[[Sender], Miss] = lambda sender: sender.send,
) -> DistillError | None:
    """Ask for all that is missing, or do about it what the policy says; why the run stopped before its end, or None."""
    tokens, cost, _ = run.spent()
    budget = Budget(run.options.max_cost, run.options.max_tokens_total, tokens, cost)
    sender = Sender(list(run.seats.values()), run.journal, budget, run.tally)
    ask_for = make_ask(run.seats, run.journal, run.reuse, policy(sender), run.tally, final=run.final)
    if run.meter is not None:
        ask_for = run.meter.count(ask_for)
    width = 2 * sum(seat.limiter.ceiling for seat in run.seats.values()) or 1  # some methods ask nobody

    def finish(item: Item, outcome: Outcome) -> None:
        try:
            run.finish(spill, group_by, item, outcome)
            if run.meter is not None:
                run.meter.finish(item, outcome)
        except DiskError as error:  # what is in flight still has the journal's reserve to land in
            sender.stop(error)

    work = asyncio.ensure_future(run.work.run(ask_for, finish, width, sender.stopped.is_set, sender.stop))
    ticking = asyncio.ensure_future(_tick(run, say))
    try:
        with _stopped_by_signals(sender, work):
            await work
    except asyncio.CancelledError:
        if sender.stopping is None:
            raise
    finally:
        ticking.cancel()
        run.count.items = run.work.items
        for seat in run.seats.values():
            await seat.teacher.aclose()
        await sender.blobs.aclose()
    say(run.progress())
    return sender.stopping


async def run_parked(run: Run, *, watch: bool, known: Collection[str] | None = None) -> tuple[Parking, int]:
    """Run the method with sending off: what it would send, and how many items drifted.

    An item has drifted where it would send something while answers that it owns on disk go unused. So removed seeds,
    a stricter stop rule or fewer samples are no drift, and a new prompt is. Nor are more samples, or a role that is not
    among the `known` ones, unless these are None: what waits for their answers was not looked at. What works in rounds
    drifts as a whole.
    """
    parking, drifted = Parking(awaited=find_awaited(run.batches)), 0
    ask_for = make_ask(
        run.seats, run.journal, run.reuse, make_park(parking), run.tally, watch=watch, known=known, final=run.final
    )

    def finish(item: Item, outcome: Outcome) -> None:
        nonlocal drifted
        if outcome.status != "pending":
            run.count.add(outcome)
        if run.work.target is not None:
            return
        used = run.tally.used.pop(item.id, 0)
        if watch and item.id in parking.owners and run.journal.owned.get(int(item.id, 16), 0) > used:
            drifted += 1
        parking.owners.discard(item.id)

    await run.work.run(ask_for, finish, REPLAY_WIDTH, lambda: False, _raise)
    run.count.items = run.work.items
    if watch and run.work.target is not None and parking.keys:
        used = run.tally.used
        drifted = sum(count > used[f"{owner:016x}"] for owner, count in run.journal.owned.items() if owner)
    return parking, drifted


async def rehearse(run: Run) -> None:
    """Run the method on the first item with sending off: what no teacher can be asked shows before a file is there.

    Raises UsageError for a request that its teacher cannot express.
    """
    ask_for = make_ask(run.seats, run.journal, run.reuse, make_park(Parking()), run.tally)
    await run.work.pilot(1).run(ask_for, lambda item, outcome: None, REPLAY_WIDTH, lambda: True, _raise)


async def run_replay(run: Run, spill: Spill, group_by: str) -> None:
    """Run the method on answers that are there. Raises MissingAnswer where one is not."""
    ask_for = make_ask(run.seats, run.journal, run.reuse, make_refuse([run.journal]), run.tally)
    await run.work.run(ask_for, partial(run.finish, spill, group_by), REPLAY_WIDTH, lambda: False, _raise)
    run.count.items = run.work.items


def _raise(error: DistillError) -> None:
    raise error


async def _tick(run: Run, say: Callable[[Progress], None]) -> None:
    watch = make_watch(time.monotonic(), run.seats)
    while True:
        await asyncio.sleep(PROGRESS_SECONDS)
        progress = run.progress()
        watch(progress, time.monotonic())
        say(progress)


@contextlib.contextmanager
def _stopped_by_signals(sender: Sender, work: asyncio.Future[None]) -> Iterator[None]:
    """The first signal stops sending and lets what is in flight land; a second one, or the grace's end, lets it go."""
    timers: list[asyncio.TimerHandle] = []

    def receive(number: signal.Signals) -> None:
        if timers:
            work.cancel()
            return
        sender.stop(Interrupted(f"Stopped by {number.name}.", number))
        if sender.under_way:
            LOG.warning(
                "stopping: %d requests in flight may still land, for %.0f s; a second signal leaves them in doubt",
                sender.under_way,
                GRACE_SECONDS[number],
            )
        timers.append(asyncio.get_running_loop().call_later(GRACE_SECONDS[number], work.cancel))

    try:
        with signals_to(receive):
            yield
    finally:
        for timer in timers:
            timer.cancel()

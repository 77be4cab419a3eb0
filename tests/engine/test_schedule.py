"""How an item that cannot be finished ends, and what others may do while items are worked on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
import uvloop

from distill_data.data.items import Item, Outcome, kept
from distill_data.engine import schedule
from distill_data.engine.schedule import run_all, run_items, settle
from distill_data.errors import AnswerFailed, SeedError, UsageError, VerifierFailed

ITEM = Item(0, "0123456789abcdef", {}, "seeds.jsonl:1")


def settled(error: Exception) -> Outcome:
    async def method(item: Item, ask: Any) -> Outcome:
        raise error

    return asyncio.run(settle(ITEM, method, lambda item_id: None))  # type: ignore[arg-type, return-value]


@pytest.mark.parametrize(
    ("error", "reason", "detail"),
    [
        (VerifierFailed("my:check raised KeyError: 'a'"), "verifier-error", "my:check raised KeyError: 'a'"),
        (AnswerFailed("refused", "too long"), "refused", "too long"),
        (SeedError("no column"), "unusable-row", "seeds.jsonl:1: no column"),
    ],
)
def test_an_item_ends_as_failed(error: Exception, reason: str, detail: str) -> None:
    outcome = settled(error)
    assert (outcome.status, outcome.reason, outcome.detail) == ("failed", reason, detail)


def busy(seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


@pytest.mark.parametrize("make_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_the_loop_has_its_turn_where_items_wait_for_nobody(
    make_loop: Callable[[], asyncio.AbstractEventLoop], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or no signal would be heard, and replies be taken for late ones."""
    monkeypatch.setattr(schedule, "TURN", 0.002)
    turns = []

    async def method(item: Item, ask: Any) -> Outcome:
        busy(0.0005)
        return kept()

    async def watch() -> None:
        while True:
            await asyncio.sleep(0)
            turns.append(1)

    async def main() -> None:
        watching = asyncio.ensure_future(watch())
        items = (Item(number, "0" * 16, {}, "") for number in range(400))
        ended: list[int] = []
        await run_items(items, method, ask_for, lambda item, _: ended.append(item.ordinal), 10, bool, ended.append)
        assert ended == list(range(400))
        assert len(turns) > 5
        turns.clear()
        done = await run_all([lambda: method(ITEM, None)] * 400, 10, bool, ended.append)
        assert len(done) == 400
        assert len(turns) > 5
        watching.cancel()

    def ask_for(item: str) -> Any:
        return None

    with asyncio.Runner(loop_factory=make_loop) as runner:
        runner.run(main())


def test_other_errors_are_the_runs() -> None:
    with pytest.raises(UsageError):
        settled(UsageError("a broken pattern"))

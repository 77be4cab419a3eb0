"""How an item that cannot be finished ends."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from distill_data.data.items import Item, Outcome
from distill_data.engine.schedule import settle
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


def test_other_errors_are_the_runs() -> None:
    with pytest.raises(UsageError):
        settled(UsageError("a broken pattern"))

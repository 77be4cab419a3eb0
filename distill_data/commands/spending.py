"""What a run has spent over all its invocations, by the journal's totals and the prices. Knows no request.

The journal does not tell who was paid for an answer. So each invocation that ends leaves in `run.json` what each model
was paid and its price, whatever its role was; what no such note covers, because a process was killed, is counted at the
dearest price that the run has seen. So is what is in doubt. What batches brought is told by their ledger, and costs a
part of the price. A sum is never too low.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from distill_data.engine.ask import Seat
from distill_data.engine.batches import Ledger
from distill_data.engine.journal import Totals, Usage
from distill_data.errors import UsageError
from distill_data.teachers.prices import BATCH, Price, add_costs, cost_of, dearest


class Account(NamedTuple):
    """One model that was asked, or is to be."""

    price: Price | None
    usage: Usage = (0, 0, 0)
    """Tokens of its answers, as far as it is known whose they are; without those of batches."""


Accounts = Mapping[str, Account]
"""By `Seat.account`."""


class Spent(NamedTuple):
    """Over all invocations, what is in doubt included."""

    tokens: int
    cost: float | None
    """USD; None where a price is unknown."""
    in_doubt: float | None
    """The part of it that may not have been billed."""


def sum_up(totals: Totals, accounts: Accounts, batches: Ledger) -> Spent:
    """Tokens and money."""
    most, late, batched = dearest([each.price for each in accounts.values()]), batches.doubt, batches.bought.usage
    paid = {name: each.usage for name, each in accounts.items()}
    known = [sum(usage[part] for usage in (*paid.values(), *batched.values())) for part in range(3)]
    whole = (totals.prompt_tokens, totals.completion_tokens, totals.cached_tokens)
    prompt, completion, cached = (max(0, all_of - some) for all_of, some in zip(whole, known, strict=True))
    in_doubt = add_costs(
        cost_of(most, (totals.doubt.prompt_tokens, totals.doubt.completion_tokens, 0)),
        cost_of(most, (late.prompt_tokens, late.completion_tokens, 0), BATCH),
    )
    cost = add_costs(cost_of(most, (prompt, completion, cached)), in_doubt)
    for part, share in ((1.0, paid), (BATCH, batched)):
        for name, usage in share.items():
            price = accounts[name].price if name in accounts else most
            cost = add_costs(cost, cost_of(price, usage, part))
    doubted = sum(each.prompt_tokens + each.completion_tokens for each in (totals.doubt, late))
    return Spent(totals.prompt_tokens + totals.completion_tokens + doubted, cost, in_doubt)


def add_up(before: Accounts, seats: Mapping[str, Seat], paid: Mapping[str, Usage]) -> dict[str, Account]:
    """The accounts after an invocation that `paid` each role this much. A model that is asked again has the price that
    it has now; the dearest, where it has two."""
    prices: dict[str, list[Price | None]] = {}
    usages = {name: each.usage for name, each in before.items()}
    for role, seat in seats.items():
        prices.setdefault(seat.account, []).append(seat.price)
        pairs = zip(usages.get(seat.account, (0, 0, 0)), paid.get(role, (0, 0, 0)), strict=True)
        prompt, completion, cached = (one + other for one, other in pairs)
        usages[seat.account] = prompt, completion, cached
    return {
        name: Account(dearest(prices[name]) if name in prices else before[name].price, usage)
        for name, usage in usages.items()
    }


def check_cap(max_cost: float | None, accounts: Accounts) -> None:
    """Raise UsageError for a cap on what cannot be counted."""
    unknown = [name for name, each in accounts.items() if each.price is None]
    if max_cost is not None and unknown:
        raise UsageError(
            f"--max-cost: this run has asked {unknown[0]} before, whose price is unknown, so its cost is too. Limit "
            "--max-tokens-total instead, or give another -o with --reuse of this run."
        )


def prices_to_json(prices: Mapping[str, Price | None]) -> dict[str, Any]:
    """For `run.json` and the manifest; null where a price is unknown."""
    return {name: price and price._asdict() for name, price in prices.items()}


def accounts_to_json(accounts: Accounts) -> dict[str, Any]:
    """For `run.json`."""
    prices = prices_to_json({name: each.price for name, each in accounts.items()})
    return {name: {"price": prices[name], "usage": list(each.usage)} for name, each in accounts.items()}


def read_prices(stored: Mapping[str, Any]) -> dict[str, Price | None]:
    """The prices that `run.json` keeps, by role; unknown where an older version wrote it."""
    kept: Mapping[str, Any] = stored.get("prices", {})
    return {role: Price(**kept[role]) if kept.get(role) else None for role in stored.get("teachers", {})}


def read_accounts(stored: Mapping[str, Any]) -> dict[str, Account]:
    """The accounts that `run.json` keeps."""
    return {
        name: Account(Price(**each["price"]) if each["price"] else None, tuple(each["usage"]))
        for name, each in stored.get("accounts", {}).items()
    }

"""What a run has spent over all its invocations, by the journal's totals and the prices. Knows no request.

The journal does not tell who was paid for an answer. Where several models with different prices are asked, each
invocation that ends leaves in `run.json` what each of them was paid; what no such note covers, because a process was
killed, is counted at the dearest price. So is what is in doubt. What batches brought is told by their ledger, and costs
a part of the price. A sum is never too low.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from distill_data.engine.batches import Ledger
from distill_data.engine.journal import Totals, Usage
from distill_data.teachers.prices import BATCH, Price, add_costs, cost_of, dearest

Paid = Mapping[str, Usage]
"""Role to the tokens of its answers."""


class Spent(NamedTuple):
    """Over all invocations, what is in doubt included."""

    tokens: int
    cost: float | None
    """USD; None where a price is unknown."""
    in_doubt: float | None
    """The part of it that may not have been billed."""


def sum_up(totals: Totals, prices: Mapping[str, Price | None], paid: Paid, batches: Ledger) -> Spent:
    """Tokens and money. `paid` is known to have gone to whom, online; so is what came in batches; the rest goes at the
    dearest price."""
    most, late, batched = dearest([*prices.values()]), batches.doubt, batches.bought.usage
    known = [sum(usage[part] for usage in (*paid.values(), *batched.values())) for part in range(3)]
    whole = (totals.prompt_tokens, totals.completion_tokens, totals.cached_tokens)
    prompt, completion, cached = (max(0, all_of - some) for all_of, some in zip(whole, known, strict=True))
    in_doubt = add_costs(
        cost_of(most, (totals.doubt.prompt_tokens, totals.doubt.completion_tokens, 0)),
        cost_of(most, (late.prompt_tokens, late.completion_tokens, 0), BATCH),
    )
    cost = add_costs(cost_of(most, (prompt, completion, cached)), in_doubt)
    for part, share in ((1.0, paid), (BATCH, batched)):
        for role, usage in share.items():
            cost = add_costs(cost, cost_of(prices.get(role, most), usage, part))
    doubted = sum(each.prompt_tokens + each.completion_tokens for each in (totals.doubt, late))
    return Spent(totals.prompt_tokens + totals.completion_tokens + doubted, cost, in_doubt)


def join(one: Paid, other: Paid) -> dict[str, Usage]:
    """What each was paid in both."""
    nothing = (0, 0, 0)
    roles = dict.fromkeys([*one, *other])
    pairs = {role: (one.get(role, nothing), other.get(role, nothing)) for role in roles}
    return {role: (a[0] + b[0], a[1] + b[1], a[2] + b[2]) for role, (a, b) in pairs.items()}


def prices_to_json(prices: Mapping[str, Price | None]) -> dict[str, Any]:
    """For `run.json` and the manifest; null where a price is unknown."""
    return {role: price and price._asdict() for role, price in prices.items()}


def read_prices(stored: Mapping[str, Any]) -> dict[str, Price | None]:
    """The prices that `run.json` keeps; unknown where an older version wrote it."""
    kept: Mapping[str, Any] = stored.get("prices", {})
    return {role: Price(**kept[role]) if kept.get(role) else None for role in stored.get("teachers", {})}


def read_paid(stored: Mapping[str, Any]) -> dict[str, Usage]:
    """What `run.json` keeps of who was paid."""
    return {role: (prompt, completion, cached) for role, (prompt, completion, cached) in stored.get("paid", {}).items()}

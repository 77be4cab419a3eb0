"""What tokens cost. Knows no teacher, no budget and no request."""

from __future__ import annotations

from typing import NamedTuple

BATCH = 0.5
"""Part of the price that a batch endpoint takes."""


class Price(NamedTuple):
    """USD per million tokens."""

    prompt: float
    completion: float
    cached: float | None = None
    """Of prompt tokens that the provider had in its cache; None where nobody says, and then they cost as others do."""
    source: str = "user"
    """Who says so: `user`, `free`, or a price table with its version."""


FREE = Price(0.0, 0.0, source="free")


def cost_of(price: Price | None, usage: tuple[int, int, int], factor: float = 1.0) -> float | None:
    """USD for prompt, completion and, among those of the prompt, cached tokens; None, which is unknown, without a
    price. `factor` is the part of the price that is paid, such as `BATCH`."""
    if price is None:
        return None
    prompt, completion, cached = usage
    saved = 0.0 if price.cached is None else min(cached, prompt) * (price.prompt - price.cached)
    return (prompt * price.prompt + completion * price.completion - saved) * factor / 1e6


def add_costs(one: float | None, other: float | None) -> float | None:
    """The sum of two amounts; None, which is unknown and stays so, where one of them is."""
    return None if one is None or other is None else one + other


def dearest(prices: list[Price | None]) -> Price | None:
    """No less than each of these; None where one is unknown."""
    known = [price for price in prices if price is not None]
    if len(known) < len(prices) or not known:
        return None if prices else FREE
    if len(set(known)) == 1:
        return known[0]
    cached = max(price.prompt if price.cached is None else price.cached for price in known)
    return Price(max(price.prompt for price in known), max(price.completion for price in known), cached, "dearest")

"""What tokens cost, and that what is unknown is never nothing."""

from __future__ import annotations

import pytest

from distill_data.teachers.prices import BATCH, FREE, Price, add_costs, cost_of, dearest

PRICE = Price(2.0, 10.0, 0.5)


@pytest.mark.parametrize(
    ("price", "usage", "cost"),
    [
        (PRICE, (500_000, 100_000, 0), 2.0),
        (PRICE, (500_000, 100_000, 400_000), 0.2 + 0.2 + 1.0),
        (PRICE, (500_000, 100_000, 500_000), 0.25 + 1.0),
        (PRICE, (500_000, 0, 600_000), 0.25),  # a server that says more is cached than it was sent
        (Price(2.0, 10.0), (500_000, 100_000, 400_000), 2.0),
        (FREE, (500_000, 100_000, 0), 0.0),
    ],
)
def test_cached_tokens_cost_what_they_cost(price: Price, usage: tuple[int, int, int], cost: float) -> None:
    assert cost_of(price, usage) == pytest.approx(cost)
    assert cost_of(price, usage, BATCH) == pytest.approx(cost / 2)


def test_costs_are_unknown_once_a_price_is() -> None:
    assert cost_of(None, (0, 0, 0)) is None
    assert add_costs(1.0, 2.0) == 3.0
    assert add_costs(1.0, None) is None
    assert add_costs(None, 1.0) is None


def test_the_dearest_is_no_less_than_any() -> None:
    other = Price(1.0, 20.0)
    found = dearest([PRICE, other])
    for usage in [(10, 0, 0), (10, 0, 10), (0, 10, 0), (10, 10, 5)]:
        amounts = [cost_of(price, usage) for price in (found, PRICE, other)]
        assert amounts[0] is not None and amounts[0] >= max(filter(None, amounts))
    assert dearest([PRICE, PRICE]) == PRICE
    assert dearest([PRICE, None]) is None
    assert dearest([]) == FREE

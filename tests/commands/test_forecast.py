"""Forecasts from the first items: right where all are alike, and as often within the interval as it says."""

from __future__ import annotations

import random

import pytest

from distill_data.commands.forecast import Range, extrapolate, mean


def test_what_is_always_the_same_is_foreseen_exactly() -> None:
    assert extrapolate([3.0] * 10, [1.0] * 10, 90) == Range(270.0, 270.0, 270.0)
    assert extrapolate([3.0] * 10, [1.0] * 10, 0) == Range(0.0, 0.0, 0.0)


def test_of_one_item_there_is_no_interval() -> None:
    assert extrapolate([3.0], [1.0], 9) == Range(27.0, None, None)
    assert mean([3.0]) == Range(3.0, None, None)


def test_the_smallest_interval_is_that_of_the_textbook() -> None:
    """Two values, 1 and 3: mean 2, deviation √2, Student's t for one degree 6.3138; R² s²/n + R s² for R = 2."""
    spread = 6.3138 * (4 * 2 / 2 + 2 * 2) ** 0.5
    assert extrapolate([1.0, 3.0], [1.0, 1.0], 2).high == pytest.approx(4 + spread)
    assert mean([1.0, 3.0]).high == pytest.approx(2 + 6.3138)


@pytest.mark.parametrize("shown", [4, 20])
def test_nine_of_ten_intervals_hold_the_truth(shown: int) -> None:
    rng, held = random.Random(3), 0
    for _ in range(400):
        values = [rng.gauss(100, 30) for _ in range(shown + 80)]
        found = extrapolate(values[:shown], [1.0] * shown, 80)
        assert found.low is not None and found.high is not None
        held += found.low <= sum(values[shown:]) <= found.high
    assert 0.86 < held / 400 < 0.94


def test_nine_of_ten_intervals_hold_where_some_candidates_fall() -> None:
    rng, held = random.Random(4), 0
    for _ in range(400):
        seen = [(rng.gauss(100, 30), float(rng.random() < 0.6)) for _ in range(50)]
        found = extrapolate([value for value, _ in seen], [kept for _, kept in seen], 100)
        assert found.low is not None and found.high is not None
        needed = total = 0.0
        while needed < 100:
            total, needed = total + rng.gauss(100, 30), needed + (rng.random() < 0.6)
        held += found.low <= total <= found.high
    assert 0.84 < held / 400 < 0.95

"""Intervals: they hold the true value as often as they say, and pairing makes them narrower where it should."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from distill_data.errors import UsageError
from distill_data.quality.bootstrap import Column, interval, ratio, require_numpy, resample, share_above


def column(values: np.ndarray) -> Column:
    return Column(values.tolist(), [1.0] * len(values))


def test_a_ratio_of_sums_is_no_mean_of_ratios() -> None:
    assert ratio(Column([1.0, 8.0], [1.0, 2.0])) == 3.0
    assert ratio(Column([1.0, 0.0, 1.0, 1.0], [1.0] * 4)) == 0.75


def test_resamples_are_those_of_all_draws_where_these_can_be_counted() -> None:
    # of two rows worth 0 and 1 a quarter of the resamples has the mean 0, half 0.5, a quarter 1
    (drawn,) = resample([Column([0.0, 1.0], [1.0, 1.0])])
    assert len(drawn) == 10_000
    shares = [(drawn == value).mean() for value in (0.0, 0.5, 1.0)]
    assert shares == pytest.approx([0.25, 0.5, 0.25], abs=0.02)
    assert interval(drawn) == (0.0, 1.0)
    assert share_above(drawn, 0.5) == pytest.approx(0.25, abs=0.02)


def test_the_same_seed_gives_the_same_draws_and_columns_share_them() -> None:
    values = np.arange(7.0)
    one, other = resample([column(values), column(10 - values)], seed=3, resamples=500)
    assert np.allclose(one + other, 10)
    (again,) = resample([column(values)], seed=3, resamples=500)
    assert (again == one).all()
    assert (resample([column(values)], seed=4, resamples=500)[0] != one).any()


def test_the_interval_of_a_share_covers_it_about_95_times_of_100() -> None:
    rng = np.random.default_rng(0)
    hits = []
    for trial in range(300):
        low, high = interval(resample([column(rng.binomial(1, 0.7, 100))], seed=trial, resamples=300)[0])
        hits.append(low <= 0.7 <= high)
    # the standard error of the share of hits is 1.3 points, and percentile intervals are a little too narrow
    assert 0.90 <= np.mean(hits) <= 0.98


def test_the_interval_is_as_wide_as_that_of_the_normal_approximation() -> None:
    values = np.random.default_rng(1).normal(5, 2, 400)
    low, high = interval(resample([column(values)])[0])
    error = values.std() / 20
    assert (low, high) == pytest.approx((values.mean() - 1.96 * error, values.mean() + 1.96 * error), abs=0.02)


def test_a_paired_interval_is_narrower_where_scores_go_together() -> None:
    rng = np.random.default_rng(2)
    hard = rng.normal(0, 1, 200)  # rows are hard or easy for both
    one, other = column(hard + rng.normal(0.1, 0.2, 200)), column(hard + rng.normal(0, 0.2, 200))
    paired = np.subtract(*resample([one, other], resamples=2000))
    apart = resample([one], seed=1, resamples=2000)[0] - resample([other], seed=2, resamples=2000)[0]
    widths = [high - low for low, high in (interval(paired), interval(apart))]
    assert widths[0] < widths[1] / 3
    assert share_above(paired) > 0.99 and 0.1 < share_above(apart) < 0.99


def test_a_large_task_is_drawn_in_parts_and_stays_the_statistic() -> None:
    values = np.random.default_rng(3).random(30_000)
    (drawn,) = resample([column(values)], resamples=150)  # more cells than are held at a time
    assert drawn.mean() == pytest.approx(values.mean(), abs=0.001)


def test_without_numpy_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(UsageError, match=r"distill-data\[features\]"):
        require_numpy()

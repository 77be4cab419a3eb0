"""A judge in both orders against one order, on pairs of which people said which is better. With the embedded model."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.human_pairs import compare
from tests.human_ratings import SOURCES, fetch, pairs, read_rated

pytestmark = [pytest.mark.local, pytest.mark.timeout(400)]
PAIRS = 12


def test_both_orders_show_a_bias_that_one_order_hides(tmp_path: Path) -> None:
    rated = read_rated(fetch(tmp_path))
    assert len(rated) == 23_703
    assert {each.source for each in rated} == set(SOURCES)
    chosen = pairs(rated, PAIRS)
    found = compare(chosen, tmp_path, "local/smollm2", soft=True)
    assert found.pairs == found.understood == PAIRS
    assert 0 < found.flips <= PAIRS, "a model of this size prefers a place"
    assert found.right <= found.decided <= PAIRS
    assert 0 <= found.once <= 1
    print(f"flips {found.flips} of {PAIRS}; one order {found.once:.2f}, both orders {found.both:.2f}")

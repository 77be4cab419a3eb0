"""Agreement beyond chance: known tables, and what holds for any ratings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_data.errors import UsageError
from distill_data.quality.agreement import cohen_kappa, krippendorff_alpha

PAIRS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30)


def test_kappa_of_a_table_done_by_hand() -> None:
    one = ["yes"] * 25 + ["no"] * 25
    other = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    assert cohen_kappa(one, other) == pytest.approx(0.4)  # 0.7 seen, 0.5 by chance


def test_weights_count_near_labels_as_nearer() -> None:
    one, near, far = [0, 1, 2, 3] * 5, [1, 2, 3, 3] * 5, [3, 3, 0, 0] * 5
    for weights in ("linear", "quadratic"):
        assert cohen_kappa(one, near, weights) > cohen_kappa(one, far, weights)
    assert cohen_kappa(one, near, "quadratic") > cohen_kappa(one, near)
    with pytest.raises(UsageError, match="There is no weighting 'cubic'"):
        cohen_kappa(one, near, "cubic")


@given(PAIRS)
def test_kappa_is_symmetric_and_at_most_one(pairs: list[tuple[int, int]]) -> None:
    one, other = [a for a, _ in pairs], [b for _, b in pairs]
    for weights in ("", "linear", "quadratic"):
        assert cohen_kappa(one, one, weights) == 1.0
        assert cohen_kappa(one, other, weights) == pytest.approx(cohen_kappa(other, one, weights))
        assert cohen_kappa(one, other, weights) <= 1.0


@pytest.mark.parametrize("pair", [([], []), ([1], [1, 2])])
def test_kappa_of_nothing_or_of_unequal_numbers(pair: tuple[list[int], list[int]]) -> None:
    with pytest.raises(ValueError, match="the same things"):
        cohen_kappa(*pair)


def test_alpha_of_a_table_done_by_hand() -> None:
    # 4 units of 2 ratings: one of them differs. Seen 2 of 8, expected 2·5·3 of 8·7: 1 - 7·2/30.
    units = [["a", "a"], ["a", "a"], ["b", "b"], ["a", "b"]]
    assert krippendorff_alpha(units) == pytest.approx(1 - 7 * 2 / 30)
    assert krippendorff_alpha([*units, ["b", None], [None, None]]) == pytest.approx(1 - 7 * 2 / 30)


def test_alpha_at_its_ends() -> None:
    assert krippendorff_alpha([["a", "a", None], ["b", "b", "b"]]) == 1.0
    assert krippendorff_alpha([["a", "a"]]) == krippendorff_alpha([]) == 1.0
    assert krippendorff_alpha([["a", "b"], ["b", "a"]]) < 0


@given(st.lists(st.lists(st.sampled_from(["a", "b", None]), max_size=4), max_size=10))
def test_alpha_of_any_ratings_is_at_most_one(units: list[list[str | None]]) -> None:
    assert krippendorff_alpha(units) <= 1.0

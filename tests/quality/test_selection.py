"""Strategies of selection: known choices, and what holds for any numbers."""

from __future__ import annotations

import math
import random
from array import array
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_data.quality import selection
from distill_data.quality.likeness import is_vector, likeness_of_texts, likeness_of_vectors
from distill_data.quality.similarity import make_nearest
from distill_data.quality.words import words

SCORES = st.lists(st.floats(-5, 5), min_size=1, max_size=30)
TEXTS = st.lists(st.text("ab cd雨", max_size=12), min_size=1, max_size=12)


def ties(count: int) -> list[int]:
    return list(range(count))


@given(SCORES, st.integers(1, 40))
def test_top_keeps_the_highest(scores: list[float], budget: int) -> None:
    kept = selection.top(scores, ties(len(scores)), budget).kept
    assert len(kept) == min(budget, len(scores))
    assert sorted((scores[each] for each in kept), reverse=True) == sorted(scores, reverse=True)[:budget]


def test_equal_scores_are_drawn_by_ties_and_not_by_place() -> None:
    assert selection.top([1, 1, 1, 2], [30, 10, 20, 99], 2).kept == {3, 1}
    found = selection.top([3, 1, 2], ties(3), 1)
    assert [found.reason(each) for each in (1, 2)] == [("not-selected", "rank 3 of 3"), ("not-selected", "rank 2 of 3")]


def test_ifd_above_one_is_dropped_before_the_top() -> None:
    found = selection.ifd([0.5, 1.2, 0.9, 1.0], ties(4), 2)
    assert found.kept == {2, 3}
    assert found.reason(1) == ("ifd-above-1", "1.2")
    assert found.reason(0) == ("not-selected", "rank 3 of 3")


def test_a_band_takes_the_middle_first() -> None:
    found = selection.band([0.1, 0.2, 0.45, 0.6, 0.8, 0.9], ties(6), 2, 0.2, 0.8)
    assert found.kept == {2, 3}
    assert found.reason(0) == ("outside-band", "0.1")
    assert selection.band([0.1, 0.2, 0.45, 0.6, 0.8, 0.9], ties(6), 9, 0.2, 0.8).kept == {1, 2, 3, 4}


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(-3, 3)), min_size=1, max_size=40), st.integers(1, 50))
def test_balance_gives_each_group_the_same_while_it_lasts(rows: list[tuple[int, int]], budget: int) -> None:
    names = list(dict.fromkeys(group for group, _ in rows))
    groups, scores = [names.index(group) for group, _ in rows], [float(score) for _, score in rows]
    kept = selection.balance(groups, scores, ties(len(rows)), budget).kept
    assert len(kept) == min(budget, len(rows))
    sizes, taken = Counter(groups), Counter(groups[each] for each in kept)
    most = max(taken.values())
    assert all(taken[group] >= min(most - 1, size) for group, size in sizes.items())
    for each in kept:  # the best of its group
        better = [other for other, group in enumerate(groups) if group == groups[each] and scores[other] > scores[each]]
        assert set(better) <= kept


def test_balance_passes_on_what_a_small_group_lacks() -> None:
    groups = [0] * 10 + [1] * 2 + [2] * 10
    kept = selection.balance(groups, [float(each) for each in range(22)], ties(22), 12).kept
    assert Counter(groups[each] for each in kept) == {0: 5, 1: 2, 2: 5}


def test_deita_passes_over_what_is_like_a_better_row() -> None:
    vectors = array("f", [1, 0, 0.99, 0.1, 0, 1, 0.7, 0.7])
    found = selection.deita([9, 8, 1, 2], ties(4), 3, likeness_of_vectors(vectors, 2), 0.9)
    assert found.kept == {0, 2, 3}
    assert found.reason(1) == ("too-alike", "similarity 0.995")
    assert (
        selection.deita([9, 8, 1, 2], ties(4), 1, likeness_of_vectors(vectors, 2), 0.9).reason(2)[0] == "not-selected"
    )


@given(TEXTS, st.integers(1, 12))
@settings(deadline=None)
def test_deita_is_the_greedy_loop_of_its_paper(texts: list[str], budget: int) -> None:
    likeness = likeness_of_texts(texts)
    scores = [float(len(text)) for text in texts]
    taken: list[int] = []
    for each in selection.ranked(scores, ties(len(texts))):
        if len(taken) < budget and all(likeness.to(other)[each] < 0.9 for other in taken):
            taken.append(each)
    assert selection.deita(scores, ties(len(texts)), budget, likeness, 0.9).kept == set(taken)


def test_equal_rows_are_alike_at_a_cosine_of_one() -> None:
    """Rounding leaves them somewhat below."""
    draw = random.Random(1)
    texts = [" ".join(draw.choices("abcdefghij", k=40)) for _ in range(30)]
    vectors = array("f", (number for _ in range(30) for number in [draw.gauss(0, 1) for _ in range(64)] * 2))
    for likeness in (likeness_of_texts([text for text in texts for _ in range(2)]), likeness_of_vectors(vectors, 64)):
        assert selection.deita([1.0] * 60, ties(60), 60, likeness, 1.0).kept == set(range(0, 60, 2))


def test_k_centre_covers_every_cluster_before_any_twice() -> None:
    rng = random.Random(1)
    numbers = array("f")
    for row in range(60):
        centre = [10.0 if axis == row % 6 else 0.0 for axis in range(6)]
        numbers.extend(value + rng.gauss(0, 0.3) for value in centre)
    kept = selection.k_centre(likeness_of_vectors(numbers, 6), 6).kept
    assert {row % 6 for row in kept} == set(range(6))


@given(st.lists(st.lists(st.integers(-3, 3), min_size=3, max_size=3), min_size=1, max_size=15), st.integers(1, 20))
@settings(deadline=None)
def test_k_centre_takes_the_farthest_each_time(vectors: list[list[int]], budget: int) -> None:
    likeness = likeness_of_vectors(array("f", [float(each) for vector in vectors for each in vector]), 3)
    found = selection.k_centre(likeness, budget)
    assert len(found.kept) == min(budget, len(vectors))
    taken = [likeness.middle()]
    while len(taken) < min(budget, len(vectors)):
        left = [each for each in range(len(vectors)) if each not in taken]
        taken.append(min(left, key=lambda each: max(likeness.to(other)[each] for other in taken)))
    assert found.kept == set(taken)


@given(TEXTS)
@settings(deadline=None)
def test_likeness_of_texts_is_that_of_the_index_and_whole_with_itself(texts: list[str]) -> None:
    likeness, nearest = likeness_of_texts(texts), make_nearest(texts)
    for row, text in enumerate(texts):
        cosines = likeness.to(row)
        assert cosines[row] == pytest.approx(1, abs=1e-6)
        assert all(-1e-6 <= cosine <= 1 + 1e-6 for cosine in cosines)
        if words(text):  # without any the index tells nothing apart
            assert cosines[nearest(text, 1)[0]] == pytest.approx(1, abs=1e-6)
    assert 0 <= likeness.middle() < len(texts)


def test_texts_without_words_and_vectors_of_zeros_are_alike_and_like_no_other() -> None:
    assert likeness_of_texts(["", "!?", "rain"]).to(0).tolist() == pytest.approx([1, 1, 0])
    assert likeness_of_vectors(array("f", [0, 0, 0, 0, 1, 2]), 2).to(0).tolist() == [1, 1, 0]
    assert likeness_of_vectors(array("f", [0, 0, 0, 0, 1, 2]), 2).to(2).tolist() == pytest.approx([0, 0, 1])


def test_large_and_small_vectors_have_their_angles() -> None:
    found = likeness_of_vectors(array("f", [3e38, 0, 1e-38, 1e-38]), 2).to(0).tolist()
    assert found == pytest.approx([1, math.sqrt(0.5)], abs=1e-6)


@pytest.mark.parametrize(
    "value", [None, [], "12", [True], [1, "2"], [math.nan], [math.inf], [1e39], [10**400], [[1.0]]]
)
def test_what_is_no_vector(value: object) -> None:
    assert not is_vector(value)

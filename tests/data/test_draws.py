"""Draws shared out among teachers and merged again, and tokens that are spelt out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_data.commands.check_arrays import check_arrays
from distill_data.data.arrays import (
    decode,
    encode,
    logprobs_of,
    merge_draws,
    narrow,
    quantise,
    share_out,
    spell_out,
    spellings_of,
)

Array = np.ndarray[Any, Any]
PARTS = st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=6).map(lambda each: [part / sum(each) for part in each])


# -- shares ------------------------------------------------------------------------------------------------------------


@given(st.integers(0, 65535), PARTS)
def test_shares_add_up_and_are_off_by_less_than_one(draws: int, weights: list[float]) -> None:
    shares = share_out(draws, weights)
    assert sum(shares) == draws
    for share, weight in zip(shares, weights, strict=True):
        assert share >= 0
        assert abs(share - draws * weight) < 1 + 1e-6


@given(st.integers(0, 65535), PARTS)
def test_who_is_to_have_more_has_no_less(draws: int, weights: list[float]) -> None:
    pairs = sorted(zip(weights, share_out(draws, weights), strict=True))
    assert [share for _, share in pairs] == sorted(share for _, share in pairs)


@pytest.mark.parametrize(
    ("draws", "weights", "shares"),
    [
        (0, [1.0], [0]),
        (50, [1.0], [50]),
        (50, [0.5, 0.5], [25, 25]),
        (5, [0.5, 0.5], [3, 2]),
        (2, [1 / 3, 1 / 3, 1 / 3], [1, 1, 0]),
        (10, [0.19, 0.26, 0.55], [2, 3, 5]),
        (3, [0.1, 0.9], [0, 3]),
        (50, [0.58, 0.42], [29, 21]),
    ],
)
def test_the_largest_remainder_gets_what_is_left(draws: int, weights: list[float], shares: list[int]) -> None:
    assert share_out(draws, weights) == shares


# -- draws -------------------------------------------------------------------------------------------------------------

Drawn = list[dict[int, int]]
"""Of each token: ids and how often."""


def arrays_of(drawn: Drawn, chosen: float, vocab: int = 300) -> dict[str, Array]:
    order = [sorted(each.items(), key=lambda pair: (-pair[1], pair[0])) for each in drawn]
    return {
        "tokens": np.arange(len(drawn), dtype=np.int32),
        "chosen": quantise(np.full(len(drawn), np.log(chosen))),
        "counts_per_token": np.array([len(each) for each in drawn], np.uint16),
        "ids": narrow(np.array([number for each in order for number, _ in each], np.int64), vocab),
        "counts": np.array([count for each in order for _, count in each], np.uint16),
    }


@st.composite
def teachers(draw: st.DrawFn) -> list[Drawn]:
    """One to three teachers' draws of the same tokens, each with its own number of them."""
    tokens, made = draw(st.integers(1, 4)), []
    for _ in range(draw(st.integers(1, 3))):
        ids = st.lists(st.integers(0, 12), min_size=(share := draw(st.integers(1, 9))), max_size=share)
        made.append([dict(Counter(draw(ids))) for _ in range(tokens)])
    return made


@settings(deadline=None)
@given(teachers(), st.sampled_from([0, 300, 70000]))
def test_merged_draws_count_what_all_drew(each: list[Drawn], vocab: int) -> None:
    weights = [1 / len(each)] * len(each)
    merged = merge_draws([arrays_of(drawn, 0.5, vocab) for drawn in each], weights, vocab)
    places = np.cumsum(merged["counts_per_token"])[:-1]
    ids, counts = (np.split(merged[name], places) for name in ("ids", "counts"))
    for at in range(len(each[0])):
        wanted = sum((Counter(drawn[at]) for drawn in each), Counter[int]())
        found = list(zip(ids[at].tolist(), counts[at].tolist(), strict=True))
        assert found == sorted(wanted.items(), key=lambda pair: (-pair[1], pair[0]))
    assert merged["tokens"].tolist() == list(range(len(each[0])))
    assert merged["ids"].dtype == (np.uint16 if vocab == 300 else np.int32)
    draws = sum(sum(drawn[0].values()) for drawn in each)
    record = {"features": {"tokens": len(each[0])}}
    assert list(check_arrays(merged, {"of": "sampled", "draws": draws}, record)) == []


@given(st.lists(st.tuples(st.floats(0.01, 1), st.floats(1e-5, 1)), min_size=1, max_size=4))
def test_the_tokens_own_probability_is_the_weighted_mean(pairs: list[tuple[float, float]]) -> None:
    weights = [weight / sum(each for each, _ in pairs) for weight, _ in pairs]
    merged = merge_draws([arrays_of([{1: 2}], chosen) for _, chosen in pairs], weights, 300)
    mean = sum(weight * chosen for weight, (_, chosen) in zip(weights, pairs, strict=True))
    assert logprobs_of(merged["chosen"])[0] == pytest.approx(np.log(mean), abs=1 / 1024)


def test_as_many_draws_as_are_stored() -> None:
    merged = merge_draws([arrays_of([{7: 32768}], 0.5), arrays_of([{7: 32767}], 0.5)], [0.5, 0.5], 300)
    assert (merged["ids"].tolist(), merged["counts"].tolist()) == ([7], [65535])


# -- spellings ---------------------------------------------------------------------------------------------------------


def carried(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """As it comes back from a file."""
    return decode(*encode(arrays))


@given(st.lists(st.binary(max_size=6), min_size=1, max_size=20))
def test_what_is_spelt_out_is_spelt_the_same(tokens: list[bytes]) -> None:
    arrays = spell_out(tokens)
    assert (arrays["spellings"].dtype, arrays["spelling_ends"].dtype) == (np.uint8, np.int32)
    assert spellings_of(carried(arrays)) == tokens


def test_where_tokens_end() -> None:
    arrays = spell_out([b"Bl", b"", b"\xc3", b"ue"])
    assert arrays["spellings"].tobytes() == b"Bl\xc3ue"
    assert arrays["spelling_ends"].tolist() == [2, 2, 3, 5]


def test_real_ids_spell_nothing() -> None:
    assert spellings_of(arrays_of([{1: 2}], 0.5)) is None

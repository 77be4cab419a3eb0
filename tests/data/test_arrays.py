"""Arrays as bytes, fixed-point log-probabilities, packing within its bounds, and averages that keep their mass."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_data.data.arrays import (
    DTYPES,
    FLOOR,
    TopK,
    average_topk,
    decode,
    encode,
    logprobs_of,
    narrow,
    pack_topk,
    quantise,
    topk_of,
)
from distill_data.errors import DamageError, UsageError

SHAPES = st.lists(st.integers(0, 4), max_size=3)
NAMED = st.dictionaries(
    st.text(max_size=8), st.tuples(st.sampled_from(sorted(DTYPES)), SHAPES, st.integers(0, 2**32 - 1)), max_size=4
)


def filled(dtype: str, shape: list[int], seed: int) -> np.ndarray[Any, Any]:
    size = math.prod(shape) * DTYPES[dtype]
    values = np.frombuffer(np.random.default_rng(seed).bytes(size), np.uint8)
    return (values & 1).view(bool).reshape(shape) if dtype == "bool" else values.view(dtype).reshape(shape)


@given(NAMED)
def test_what_is_encoded_is_decoded(described: dict[str, tuple[str, list[int], int]]) -> None:
    arrays = {name: filled(*each) for name, each in described.items()}
    header, blob = encode(arrays)
    found = decode(header, blob)
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        assert found[name].shape == array.shape
        assert found[name].tobytes() == array.tobytes()
        assert not found[name].flags.writeable


def test_bytes_are_little_endian_and_in_c_order() -> None:
    header, blob = encode({"a": np.array([[1, 2], [3, 4]], ">i4").T})
    assert header == {"a": ["int32", [2, 2]]}
    assert np.frombuffer(blob, "<i4").tolist() == [1, 3, 2, 4]


def test_an_unknown_dtype_is_refused() -> None:
    with pytest.raises(TypeError, match="complex64"):
        encode({"a": np.zeros(1, np.complex64)})


@pytest.mark.parametrize(
    ("header", "blob"),
    [
        ({"a": ["int32", [2]]}, b"1234567"),
        ({"a": ["int32", [2]]}, b"123456789"),
        ({}, b"1"),
        ({"a": ["object", [1]]}, b"12345678"),
        ({"a": ["int32", [-1]]}, b""),
        ({"a": ["int32", [True]]}, b"1234"),
        ({"a": ["int32", 1]}, b"1234"),
        ({"a": [["int32"], [1]]}, b"1234"),
        ({"a": "int32"}, b"1234"),
        ({"a": ["int32", [1 << 47, 1 << 47]]}, b"1234"),
    ],
)
def test_a_header_that_does_not_fit_its_bytes_is_damage(header: dict[str, Any], blob: bytes) -> None:
    with pytest.raises(DamageError, match="array"):
        decode(header, blob)


@given(st.floats(-31.99, 0))
def test_a_stored_logprob_is_off_by_half_a_step(logp: float) -> None:
    assert abs(logprobs_of(quantise(np.array([logp])))[0] - logp) <= 1 / 4096 + 1e-6


def test_the_least_logprob_and_rounding_above_zero() -> None:
    assert quantise(np.array([-np.inf, -1000.0, 1e-7, 0.0])).tolist() == [65535, 65535, 0, 0]


# -- realistic distributions -------------------------------------------------------------------------------------------


def zipf(rng: np.random.Generator, tokens: int, vocab: int, exponent: float) -> np.ndarray[Any, Any]:
    """Log-probabilities (tokens, vocab) that fall off as a power of the rank, disturbed, in an order of their own."""
    logits = -exponent * np.log(np.arange(1, vocab + 1)) + rng.gumbel(size=(tokens, vocab)) * 0.5
    logits = rng.permuted(logits, axis=1)
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def topk_arrays(logp: np.ndarray[Any, Any], k: int) -> dict[str, np.ndarray[Any, Any]]:
    """The plain arrays of full distributions; y is the most likely token each time."""
    order = np.argsort(-logp, axis=1, kind="stable")[:, :k]
    top = np.take_along_axis(logp, order, axis=1)
    return {
        "tokens": order[:, 0].astype(np.int32),
        "chosen": quantise(top[:, 0]),
        "ids": narrow(order, logp.shape[1]),
        "logprobs": quantise(top),
        "tail": np.clip(1 - np.exp(top).sum(axis=1), 0, 1).astype(np.float16),
    }


DRAWS = st.tuples(st.integers(0, 2**32 - 1), st.sampled_from([0.5, 1.0, 1.5, 2.0, 4.0]), st.sampled_from([300, 70000]))


@settings(deadline=None, max_examples=12)
@given(DRAWS, st.integers(1, 64))
def test_packing_keeps_its_bounds(drawn: tuple[int, float, int], k: int) -> None:
    seed, exponent, vocab = drawn
    arrays = topk_arrays(zipf(np.random.default_rng(seed), 3, vocab, exponent), k)
    header, blob = encode(pack_topk(arrays, vocab))
    plain, packed = topk_of(arrays), topk_of(decode(header, blob))
    assert np.array_equal(plain.tokens, packed.tokens)
    assert np.array_equal(plain.chosen, packed.chosen)
    for at in range(3):
        kept = packed.ids[at] >= 0
        count = int(kept.sum())
        assert kept[:count].all()
        assert packed.ids[at][:count].tolist() == plain.ids[at][:count].tolist()
        off = np.abs(packed.logprobs[at][:count] - plain.logprobs[at][:count])
        assert off.max(initial=0) <= 1 / 56 + 1e-5
        dropped = plain.logprobs[at][count:]
        assert (dropped < FLOOR).all()
        assert abs(packed.tail[at] - min(plain.tail[at] + np.exp(dropped).sum(), 1)) <= 2**-11
        assert np.exp(packed.logprobs[at]).sum() + packed.tail[at] <= math.exp(1 / 56) + 2e-3


def test_packed_bytes_a_token() -> None:
    """At k = 64 over 49,152 ids: a token takes 120 bytes where tokens are as uncertain as measured on a small model's
    answers, of which a tenth keeps 4 entries or fewer, a quarter 9, half 30 and a quarter all 64."""
    rng = np.random.default_rng(1)
    exponents = np.interp(np.linspace(0, 1, 40), [0, 0.25, 0.5, 0.75, 1], [7.0, 4.1, 2.65, 2.15, 1.5])
    logp = np.concatenate([zipf(rng, 1, 49152, exponent) for exponent in exponents])
    arrays = topk_arrays(logp, 64)
    packed = pack_topk(arrays, 49152)
    assert len(encode(arrays)[1]) / 40 == 264
    assert len(encode(packed)[1]) / 40 <= 120
    assert packed["counts_per_token"].max() == 64
    assert packed["counts_per_token"].min() < 10


def test_ids_beyond_two_bytes_take_three() -> None:
    arrays = topk_arrays(zipf(np.random.default_rng(2), 2, 300, 2.0), 8)
    arrays["ids"] = arrays["ids"].astype(np.int32) + 151_000
    packed = pack_topk(arrays, 151_936)
    assert packed["ids"].dtype == np.uint8
    assert packed["ids"].shape[1] == 3
    assert topk_of(packed).ids[0][0] == arrays["ids"][0][0]


def test_more_entries_than_a_byte_counts() -> None:
    arrays = topk_arrays(np.full((1, 1000), -math.log(1000)), 400)
    packed = pack_topk(arrays, 1000)
    assert packed["counts_per_token"].tolist() == [400]
    assert (topk_of(packed).ids >= 0).sum() == 400


def test_no_token_at_all() -> None:
    arrays = {name: array[:0] for name, array in topk_arrays(zipf(np.random.default_rng(0), 1, 300, 1.0), 4).items()}
    assert topk_of(arrays).ids.shape == (0, 4)
    assert topk_of(pack_topk(arrays, 300)).ids.shape[0] == 0


def test_an_entry_of_no_mass_is_none() -> None:
    arrays = topk_arrays(np.array([[0.0, -np.inf, -np.inf]]), 3)
    found = topk_of(arrays)
    assert found.ids.tolist() == [[0, -1, -1]]
    assert found.logprobs.tolist() == [[0.0, -np.inf, -np.inf]]


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a.pop("tail"),
        lambda a: a.update(tokens=a["tokens"][:-1]),
        lambda a: a.update(logprobs=a["logprobs"][:, :-1]),
        lambda a: a.update(ids=a["ids"].ravel()),
        lambda a: a.update(counts_per_token=np.array([1, 1], np.uint8)),
    ],
)
def test_arrays_that_do_not_belong_together_are_damage(change: Any) -> None:
    arrays = topk_arrays(zipf(np.random.default_rng(0), 2, 300, 1.0), 4)
    change(arrays)
    with pytest.raises(DamageError):
        topk_of(arrays)


# -- averages ----------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1), st.lists(st.floats(0.1, 5), min_size=1, max_size=3), st.integers(1, 30))
def test_an_average_is_the_weighted_sum_of_what_each_kept(seed: int, weights: list[float], k: int) -> None:
    rng = np.random.default_rng(seed)
    full = [zipf(rng, 2, 200, 1.2) for _ in weights]
    tokens = np.array([3, 7], np.int32)  # among one teacher's 20 and not another's, as it falls
    each = [
        topk_of(topk_arrays(logp, 20))._replace(tokens=tokens, chosen=logp[[0, 1], tokens].astype(np.float32))
        for logp in full
    ]
    found = topk_of(average_topk(each, weights, k, vocab_size=200))
    share = np.array(weights) / sum(weights)
    for at in range(2):
        dense = np.zeros(200)
        for part, one in zip(share, each, strict=True):
            dense[one.ids[at]] += part * np.exp(one.logprobs[at].astype(float))
            if tokens[at] not in one.ids[at]:
                dense[tokens[at]] += part * np.exp(float(one.chosen[at]))
        order = np.argsort(-dense, kind="stable")[: min(k, int((dense > 0).sum()))]
        kept = found.ids[at] >= 0
        assert np.allclose(found.logprobs[at][kept], np.log(dense[order]), atol=1 / 2048)
        tail = 1 - dense[order].sum()
        assert abs(found.tail[at] - tail) <= 1e-3
        assert abs(np.exp(found.logprobs[at].astype(float)).sum() + found.tail[at] - 1) <= 2e-3


def test_an_average_of_packed_arrays_and_one_teacher_alone() -> None:
    plain = topk_arrays(zipf(np.random.default_rng(3), 4, 500, 1.5), 16)
    alone = average_topk([topk_of(plain)], [3.0], 16, vocab_size=500)
    assert np.array_equal(alone["ids"], plain["ids"])
    assert np.array_equal(alone["logprobs"], plain["logprobs"])
    assert np.array_equal(alone["chosen"], plain["chosen"])
    packed = topk_of(pack_topk(plain, 500))
    assert topk_of(average_topk([packed, packed], [1, 1], 16)).ids[:, 0].tolist() == plain["ids"][:, 0].tolist()


def test_what_cannot_be_averaged() -> None:
    one = topk_of(topk_arrays(zipf(np.random.default_rng(3), 4, 500, 1.5), 8))
    with pytest.raises(UsageError, match="tokens differ"):
        average_topk([one, one._replace(tokens=one.tokens + 1)], [1, 1], 8)
    for weights in ([1.0], [0.0, 0.0], [1.0, -1.0], [1.0, math.nan]):
        with pytest.raises(UsageError, match="weights"):
            average_topk([one, one], weights, 8)


def test_topk_is_a_tuple_of_arrays() -> None:
    found = topk_of(topk_arrays(zipf(np.random.default_rng(3), 4, 500, 1.5), 8))
    assert isinstance(found, TopK)
    assert [array.dtype.name for array in found] == ["int32", "float32", "int32", "float32", "float32"]

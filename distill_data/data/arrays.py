"""Arrays of a teacher's knowledge: as bytes, as fixed-point numbers, as the k most likely tokens, packed or averaged.

T tokens of y, k entries each. Log-probabilities are natural logarithms, stored as whole steps below 0: 1/2048 nat in 16
bits, 1/28 nat in the 8 bits of the packed layout. Knows neither files nor models.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from distill_data.errors import DamageError, UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[Any]

_WIDTHS = {
    1: ("bool", "uint8", "int8"),
    2: ("uint16", "int16", "float16"),
    4: ("uint32", "int32", "float32"),
    8: ("int64", "float64"),
}
DTYPES: Mapping[str, int] = {name: width for width, names in _WIDTHS.items() for name in names}
"""Names of what an array may hold, with bytes each."""
STEPS = 2048
"""Steps of a stored log-probability in one nat."""
LEAST = 65535
"""The most steps below 0. As an entry of the k it says that there is none: its mass, below 2e-14, is nobody's."""
PACKED_STEPS = 28
FLOOR = math.log(2**-13)
"""Entries less likely than this are not packed; their mass goes to the tail."""
NARROW = 1 << 16
"""Ids of a vocabulary of at most this size take two bytes."""


# -- bytes -------------------------------------------------------------------------------------------------------------


def encode(arrays: Mapping[str, Array]) -> tuple[dict[str, list[Any]], bytes]:
    """Header (name to [dtype, shape]) and the arrays' bytes in its order, little-endian, in C order.

    Raises TypeError for a dtype that is not in DTYPES.
    """
    import numpy as np

    header: dict[str, list[Any]] = {}
    parts = []
    for name, array in arrays.items():
        if array.dtype.name not in DTYPES:
            raise TypeError(f"array {name}: {array.dtype.name} is none of {', '.join(DTYPES)}")
        header[name] = [array.dtype.name, list(array.shape)]
        parts.append(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes())
    return header, b"".join(parts)


def decode(header: Mapping[str, Any], blob: bytes) -> dict[str, Array]:
    """The arrays of a header, as views that cannot be written to. Raises DamageError where bytes and header differ."""
    import numpy as np

    arrays: dict[str, Array] = {}
    at = 0
    for name, described in header.items():
        dtype, shape = _described(name, described)
        size = math.prod(shape)
        if at + size * DTYPES[dtype] > len(blob):
            raise DamageError(f"array {name}: {dtype} {shape} needs more than the {len(blob)} bytes that are there.")
        found = np.frombuffer(blob, np.dtype(dtype).newbyteorder("<"), size, at) if size else np.empty(0, dtype)
        at += size * DTYPES[dtype]
        arrays[name] = (found if sys.byteorder == "little" else found.astype(dtype)).reshape(shape)
        arrays[name].flags.writeable = False
    if at != len(blob):
        raise DamageError(f"arrays {', '.join(header)}: {at} bytes are described, and {len(blob)} are there.")
    return arrays


def _described(name: str, described: Any) -> tuple[str, list[int]]:
    if isinstance(described, Sequence) and not isinstance(described, str) and len(described) == 2:
        dtype, shape = described
        known = isinstance(dtype, str) and dtype in DTYPES and isinstance(shape, list)
        if known and all(type(length) is int and 0 <= length < 1 << 48 for length in shape):
            return dtype, shape
    raise DamageError(f"array {name}: {described!r} is not a dtype with a shape.")


# -- log-probabilities -------------------------------------------------------------------------------------------------


def quantise(logp: Array) -> NDArray[np.uint16]:
    """Log-probabilities as steps of 1/2048 nat below 0: off by at most 1/4096 down to -31.99, and never lower."""
    import numpy as np

    steps = np.rint(np.asarray(logp, np.float64) * -STEPS)
    return np.clip(steps, 0, LEAST).astype(np.uint16)


def logprobs_of(steps: Array) -> NDArray[np.float32]:
    """What `quantise` stored, in nats."""
    import numpy as np

    return np.asarray(steps, np.float32) * np.float32(-1 / STEPS)


# -- the k most likely tokens ------------------------------------------------------------------------------------------


class TopK(NamedTuple):
    """What the teacher held most likely at each token of y."""

    tokens: NDArray[np.int32]
    """(T,) the ids of y."""
    chosen: NDArray[np.float32]
    """(T,) log-probability of y's own tokens."""
    ids: NDArray[np.int32]
    """(T, k) most likely first; -1 where there is no entry."""
    logprobs: NDArray[np.float32]
    """(T, k) in nats; -inf where there is no entry."""
    tail: NDArray[np.float32]
    """(T,) mass outside the k."""


def topk_of(arrays: Mapping[str, Array]) -> TopK:
    """The k most likely tokens from a record's arrays, plain or packed.

    Raises DamageError where arrays are missing or their shapes do not belong together.
    """
    import numpy as np

    missing = [name for name in ("tokens", "chosen", "ids", "logprobs", "tail") if name not in arrays]
    if missing:
        raise DamageError(f"arrays of the k most likely tokens: {', '.join(missing)} not among {', '.join(arrays)}.")
    tokens, chosen, ids, logprobs, tail = (arrays[n] for n in ("tokens", "chosen", "ids", "logprobs", "tail"))
    if "counts_per_token" in arrays:
        wide, nats = _spread(arrays["counts_per_token"], ids, logprobs)
    elif ids.ndim == 2 and ids.shape == logprobs.shape:
        absent = logprobs == LEAST
        wide = np.where(absent, -1, ids.astype(np.int32))
        nats = np.where(absent, np.float32(-np.inf), logprobs_of(logprobs))
    else:
        raise DamageError(f"arrays ids {ids.shape} and logprobs {logprobs.shape}: (T, k) is wanted for both.")
    if not len(tokens) == len(chosen) == len(tail) == len(wide):
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise DamageError(f"arrays of the k most likely tokens do not belong together: {shapes}.")
    return TopK(tokens, logprobs_of(chosen), wide.astype(np.int32), nats.astype(np.float32), tail.astype(np.float32))


def _spread(counts: Array, ids: Array, logprobs: Array) -> tuple[Array, Array]:
    """Entries one after the other, as (T, k) with -1 and -inf where a token has fewer."""
    import numpy as np

    total = int(counts.sum())
    if ids.shape not in ((total,), (total, 3)) or logprobs.shape != (total,):
        shapes = f"ids {ids.shape} and logprobs {logprobs.shape}"
        raise DamageError(f"packed arrays: counts add up to {total}, but there are {shapes}.")
    if ids.ndim == 2:
        ids = ids.astype(np.int32) @ np.array([1, 1 << 8, 1 << 16], np.int32)
    present = np.arange(counts.max(initial=0)) < counts[:, None].astype(np.int64)
    wide = np.full(present.shape, -1, np.int32)
    wide[present] = ids
    nats = np.full(present.shape, -np.inf, np.float32)
    nats[present] = logprobs.astype(np.float32) * np.float32(-1 / PACKED_STEPS)
    return wide, nats


def highest_id(arrays: Mapping[str, Array]) -> int:
    """The highest id of a record's tokens and of its distributions; -1 where there is none."""
    plain = ("tokens", "ids") if "counts" in arrays else ("tokens",)
    found = [arrays[name] for name in plain if name in arrays]
    found += [topk_of(arrays).ids] if "logprobs" in arrays else []
    return max((int(each.max(initial=0)) for each in found), default=-1)


def narrow(ids: Array, vocab_size: int) -> Array:
    """Ids as they are stored plain: uint16 where the vocabulary is known to fit, else int32."""
    import numpy as np

    return ids.astype(np.uint16 if 0 < vocab_size <= NARROW else np.int32)


def pack_topk(arrays: Mapping[str, Array], vocab_size: int) -> dict[str, Array]:
    """The plain arrays in about a third of the bytes: entries from 2^-13 up, log-probabilities within 1/56 nat.

    Entries stand one after the other, `counts_per_token` for each token; ids take two bytes, or three for a vocabulary
    over 65,536 or of unknown size. What is dropped goes to the tail.
    """
    import numpy as np

    found = topk_of(arrays)
    kept = found.logprobs >= FLOOR
    dropped = np.where(kept, 0.0, np.exp(found.logprobs, dtype=np.float64)).sum(axis=1)
    ids = found.ids[kept]
    if not 0 < vocab_size <= NARROW:
        ids = np.stack([ids & 255, ids >> 8 & 255, ids >> 16], axis=1).astype(np.uint8)
    return {
        "tokens": arrays["tokens"],
        "chosen": arrays["chosen"],
        "counts_per_token": kept.sum(axis=1).astype(np.uint8 if found.ids.shape[1] < 256 else np.uint16),
        "ids": ids if ids.ndim == 2 else ids.astype(np.uint16),
        "logprobs": np.rint(found.logprobs[kept] * -PACKED_STEPS).astype(np.uint8),
        "tail": np.minimum(found.tail + dropped, 1).astype(np.float16),
    }


def average_topk(each: Sequence[TopK], weights: Sequence[float], k: int, vocab_size: int = 0) -> dict[str, Array]:
    """The plain arrays of several teachers' mean distribution, of which the k most likely are kept.

    An id outside a teacher's k counts 0 there, y's own token aside, whose probability each teacher says; its mass stays
    in the tail. Weights are relative. Raises UsageError where the teachers were asked about other tokens, or the
    weights are no weights.
    """
    import numpy as np

    if len(weights) != len(each) or not all(math.isfinite(w) and w >= 0 for w in weights) or not sum(weights) > 0:
        raise UsageError(f"weights {list(weights)}: one number from 0 for each of the {len(each)} teachers is wanted.")
    tokens = each[0].tokens
    if not all(np.array_equal(tokens, one.tokens) for one in each):
        raise UsageError("the teachers' tokens differ, so their distributions cannot be averaged.")
    shares = [weight / sum(weights) for weight in weights]
    each = [_with_own(one) for one in each]
    mass = [share * np.exp(one.logprobs, dtype=np.float64) for share, one in zip(shares, each, strict=True)]
    ids, union = _united(np.concatenate([one.ids for one in each], axis=1), np.concatenate(mass, axis=1))
    order = np.argsort(-union, axis=1, kind="stable")[:, :k]
    kept = np.maximum(np.take_along_axis(union, order, axis=1), 0)
    outside = sum(share * one.tail.astype(np.float64) for share, one in zip(shares, each, strict=True))
    chosen = sum(share * np.exp(one.chosen, dtype=np.float64) for share, one in zip(shares, each, strict=True))
    tail = outside + np.maximum(union, 0).sum(axis=1) - kept.sum(axis=1)
    with np.errstate(divide="ignore"):
        return {
            "tokens": tokens,
            "chosen": quantise(np.log(chosen)),
            "ids": narrow(np.maximum(np.take_along_axis(ids, order, axis=1), 0), vocab_size),
            "logprobs": quantise(np.log(kept)),
            "tail": np.clip(tail, 0, 1).astype(np.float16),
        }


def _with_own(found: TopK) -> TopK:
    """With an entry more, for y's own token where it is none of the k."""
    import numpy as np

    listed = (found.ids == found.tokens[:, None]).any(axis=1)
    ids = np.where(listed, -1, found.tokens).astype(np.int32)
    own = np.where(listed, np.float32(-np.inf), found.chosen)
    tail = np.maximum(found.tail - np.exp(own), 0)
    return found._replace(
        ids=np.concatenate([found.ids, ids[:, None]], axis=1),
        logprobs=np.concatenate([found.logprobs, own[:, None]], axis=1),
        tail=tail,
    )


def _united(ids: Array, mass: Array) -> tuple[Array, Array]:
    """Each row's ids ascending, with the sum of their mass at the first of equal ones and -1 at the others."""
    import numpy as np

    order = np.argsort(ids, axis=1, kind="stable")
    ids, mass = np.take_along_axis(ids, order, axis=1), np.take_along_axis(mass, order, axis=1)
    first = np.ones(ids.shape, bool)
    first[:, 1:] = ids[:, 1:] != ids[:, :-1]
    sums = np.bincount(np.cumsum(first.ravel()) - 1, weights=mass.ravel(), minlength=1)
    union = np.full(ids.shape, -1.0)
    union[first] = sums[: int(first.sum())]
    union[ids < 0] = -1
    return ids, union


# -- draws -------------------------------------------------------------------------------------------------------------


def share_out(draws: int, weights: Sequence[float]) -> list[int]:
    """The draws among teachers, by largest remainder, earlier ones first. Weights sum to 1."""
    exact = [draws * weight for weight in weights]
    shares = [int(each) for each in exact]
    order = sorted(range(len(weights)), key=lambda at: (shares[at] - exact[at], at))
    for at in order[: draws - sum(shares)]:
        shares[at] += 1
    return shares


def merge_draws(each: Sequence[Mapping[str, Array]], weights: Sequence[float], vocab_size: int) -> dict[str, Array]:
    """Several teachers' draws of the same tokens together: an estimate of their weighted mean distribution.

    It is unbiased where the draws were shared out by the weights, up to the rounding of `share_out`.
    """
    import numpy as np

    tokens = each[0]["tokens"]
    place = np.concatenate([np.repeat(np.arange(len(tokens)), one["counts_per_token"]) for one in each])
    ids = np.concatenate([one["ids"] for one in each]).astype(np.int64)
    counts = np.concatenate([one["counts"] for one in each]).astype(np.int64)
    pairs, at = np.unique(np.stack([place, ids]), axis=1, return_inverse=True)
    sums = np.bincount(at.ravel(), weights=counts).astype(np.int64)
    order = np.lexsort((pairs[1], -sums, pairs[0]))
    chosen = sum(
        w * np.exp(logprobs_of(one["chosen"]).astype(np.float64)) for w, one in zip(weights, each, strict=True)
    )
    return {
        "tokens": tokens,
        "chosen": quantise(np.log(chosen)),
        "counts_per_token": np.bincount(pairs[0], minlength=len(tokens)).astype(np.uint16),
        "ids": narrow(pairs[1][order], vocab_size),
        "counts": sums[order].astype(np.uint16),
    }


# -- tokens without ids ------------------------------------------------------------------------------------------------


def spell_out(tokens: Sequence[bytes]) -> dict[str, Array]:
    """The bytes of tokens that have no ids, one after the other, and where each one ends. See `spellings_of`."""
    import numpy as np

    return {
        "spellings": np.frombuffer(b"".join(tokens), np.uint8),
        "spelling_ends": np.cumsum([len(token) for token in tokens]).astype(np.int32),
    }


def spellings_of(arrays: Mapping[str, Array]) -> list[bytes] | None:
    """What each number in `tokens` and `ids` spells, where they are the record's own; None where they are real ids."""
    if "spellings" not in arrays:
        return None
    data, ends = arrays["spellings"].tobytes(), arrays["spelling_ends"].tolist()
    return [data[start:end] for start, end in zip([0, *ends][:-1], ends, strict=True)]

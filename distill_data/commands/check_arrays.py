"""What can be wrong with a record's arrays, told from the arrays alone. Knows no files and asks no teacher."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from distill_data.data.arrays import PACKED_STEPS, STEPS, topk_of
from distill_data.data.items import Record

if TYPE_CHECKING:
    from distill_data.data.arrays import Array

Arrays = Mapping[str, "Array"]
Check = Callable[[Arrays, Mapping[str, Any], Record], Iterator[str]]
"""Arrays, φ (empty where the record does not say it) and record, to what is wrong."""

ROUNDING = 2e-3
"""Mass that rounding to steps of 1/2048 nat and to float16 can add."""


def check_arrays(arrays: Arrays, feature: Mapping[str, Any], record: Record) -> Iterator[str]:
    """What is wrong with a record's arrays: shapes, numbers that cannot be, mass over 1, counts that do not add up.

    Raises DamageError where arrays of the k most likely tokens do not belong together.
    """
    known = [check for name, check in CHECKS.items() if name in arrays]
    if not known:
        yield f"has the arrays {', '.join(arrays) or 'none'}, and no kind of knowledge has these"
        return
    tokens = record["features"].get("tokens")
    if "tokens" in arrays:
        found = arrays["tokens"]
        if found.shape != (tokens,):
            yield f"says {tokens} tokens, and has {found.shape[0] if found.ndim else 'one'} in its arrays"
            return
        if len(found) and found.min() < 0:
            yield "has a negative token id"
        yield from _within(found, record, "scored")
    yield from known[0](arrays, feature, record)


def _topk(arrays: Arrays, feature: Mapping[str, Any], record: Record) -> Iterator[str]:
    import numpy as np

    found = topk_of(arrays)
    packed = "counts_per_token" in arrays
    step = 1 / PACKED_STEPS if packed else 1 / STEPS
    absent = found.ids < 0
    with np.errstate(invalid="ignore"):
        rising = (np.diff(found.logprobs, axis=1) > 0).any(axis=1)
    yield from _at(rising, "has log-probabilities that are not sorted")
    ordered = np.sort(np.where(absent, -1 - np.arange(absent.shape[1]), found.ids), axis=1)
    yield from _at((ordered[:, 1:] == ordered[:, :-1]).any(axis=1), "has an id twice")
    if not np.isfinite(found.tail).all() or (found.tail < 0).any() or (found.tail > 1).any():
        yield "has a tail that is no probability"
        return
    mass = np.exp(found.logprobs.astype(np.float64)).sum(axis=1) + found.tail
    most = np.exp(step / 2) - 1 + ROUNDING
    yield from _at(mass > 1 + most, "has more mass than 1")
    yield from _at(mass < 1 - most, "has less mass than 1, its tail included")
    own = found.ids == found.tokens[:, None]
    off = np.abs(np.where(own, found.logprobs - found.chosen[:, None], 0))
    yield from _at((off > step).any(axis=1), "has another log-probability for its own token than among the k")
    wanted = feature.get("k")
    if isinstance(wanted, int) and found.ids.shape[1] > wanted:
        yield f"has {found.ids.shape[1]} entries a token, where {wanted} were asked for"
    yield from _within(found.ids, record, "entry")


def _sampled(arrays: Arrays, feature: Mapping[str, Any], record: Record) -> Iterator[str]:
    import numpy as np

    lacking = [name for name in ("tokens", "chosen", "counts_per_token", "ids") if name not in arrays]
    if lacking:
        yield f"lacks the arrays {', '.join(lacking)}"
        return
    each, counts = arrays["counts_per_token"].astype(np.int64), arrays["counts"].astype(np.int64)
    if each.shape != arrays["tokens"].shape or not each.sum() == len(counts) == len(arrays["ids"]):
        yield f"counts {each.sum()} ids, and has {len(arrays['ids'])} with {len(counts)} counts"
        return
    if (each == 0).any() or (counts == 0).any():
        yield "has a token without a draw, or an id that was never drawn"
        return
    sums = np.add.reduceat(counts, np.cumsum(each) - each) if len(each) else each
    draws = feature.get("draws", int(sums[0]) if len(sums) else 0)
    yield from _at(sums != draws, f"has counts that do not add up to {draws} draws")
    token = np.repeat(np.arange(len(each)), each)
    rising = (np.diff(counts) > 0) & (np.diff(token) == 0)
    if rising.any():
        yield f"token {token[:-1][rising][0]}: has ids that are not sorted by their counts"
    yield from _within(arrays["ids"], record, "drawn")


def _hidden(arrays: Arrays, feature: Mapping[str, Any], record: Record) -> Iterator[str]:
    import numpy as np

    states = arrays["hidden"]
    wanted = 2 if feature.get("pool", "none") != "none" else 3
    if states.ndim not in ((wanted,) if feature else (2, 3)):
        yield f"has hidden states of the shape {states.shape}"
        return
    yield from _layers(states, feature)
    if states.ndim == 3 and states.shape[1] != record["features"].get("tokens"):
        yield f"has hidden states of {states.shape[1]} tokens, and {record['features'].get('tokens')} are scored"
    if not np.isfinite(states).all():
        yield "has hidden states that are not finite"


def _attention(arrays: Arrays, feature: Mapping[str, Any], record: Record) -> Iterator[str]:
    import numpy as np

    maps = arrays["attention"]
    if maps.ndim != 4 or maps.shape[2] != record["features"].get("tokens") or maps.shape[3] < maps.shape[2]:
        yield f"has attention maps of the shape {maps.shape}"
        return
    yield from _layers(maps, feature)
    if not np.isfinite(maps).all() or (maps < 0).any():
        yield "has attention that is negative or not finite"
    elif (maps.astype(np.float64).sum(axis=-1) > 1.01).any():
        yield "has attention of more than 1 in all"


def _similarity(arrays: Arrays, feature: Mapping[str, Any], record: Record) -> Iterator[str]:
    import numpy as np

    rows, batch = arrays["similarity"], record.get("batch") or []
    if rows.shape != (len(batch),):
        yield f"has similarities of the shape {rows.shape}, and its batch has {len(batch)} records"
    elif not np.isfinite(rows).all() or (np.abs(rows) > 1.01).any():
        yield "has similarities outside -1 to 1"


CHECKS: Mapping[str, Check] = {
    "logprobs": _topk,
    "counts": _sampled,
    "hidden": _hidden,
    "attention": _attention,
    "similarity": _similarity,
}
"""The array that tells a kind of knowledge, to what is looked at."""


def _layers(array: Array, feature: Mapping[str, Any]) -> Iterator[str]:
    layers = feature.get("layers")
    if isinstance(layers, list) and len(layers) != len(array):
        yield f"has {len(array)} layers, where {len(layers)} were asked for"


def _within(ids: Array, record: Record, which: str) -> Iterator[str]:
    tokenizer = record["features"].get("tokenizer")
    size = tokenizer.get("vocab_size") if isinstance(tokenizer, Mapping) else 0
    most = int(ids.max(initial=0))
    if type(size) is int and 0 < size <= most:
        yield f"has the {which} id {most}, and the vocabulary has {size}"


def _at(wrong: Any, what: str) -> Iterator[str]:
    """One line for the first of these tokens, if there is any."""
    if wrong.any():
        more = f" (and {int(wrong.sum()) - 1} more tokens)" if wrong.sum() > 1 else ""
        yield f"token {int(wrong.argmax())}: {what}{more}"

"""Bytes per token of the arrays that `feature -r topk` keeps, plain and packed, and what each layout loses.

    python benchmarks/layouts.py              1,000 tokens for each line
    python benchmarks/layouts.py --tokens 500

Distributions are drawn, not a model's: a token's logits are -a log(rank) + 1.5 times a standard normal, with a drawn
evenly from 0.8 to 2.2 (`open`) or from 1.6 to 4 (`sure`), so that some tokens are all but certain and others are not.
How many entries are worth packing depends on that, so the mean entropy is printed. The k most likely entries, quantised
as every record is, go through `pack_topk` and are read back with `topk_of`. Bytes are those of the arrays; a record's
line in the JSONL comes on top.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from distill_data.data.arrays import encode, narrow, pack_topk, quantise, topk_of  # noqa: E402

Arrays = Mapping[str, NDArray[Any]]

VOCABULARIES = (49_152, 151_936)
KEPT = (16, 64, 256)
SLOPES = {"open": (0.8, 2.2), "sure": (1.6, 4.0)}
BATCH = 50
SEED = 4


class Drawn(NamedTuple):
    """The most likely entries of some tokens' distributions, exactly."""

    ids: NDArray[np.int64]
    """(T, k), most likely first."""
    logprobs: NDArray[np.float64]
    """(T, k), in nats."""
    vocabulary: int
    entropy: float
    """Mean over the tokens, in nats."""

    def first(self, k: int) -> Drawn:
        return self._replace(ids=self.ids[:, :k], logprobs=self.logprobs[:, :k])

    @property
    def tail(self) -> NDArray[np.float64]:
        """(T,) mass outside the k."""
        return np.asarray(np.clip(1 - np.exp(self.logprobs).sum(axis=1), 0, 1))


def draw(vocabulary: int, tokens: int, k: int, slope: tuple[float, float]) -> Drawn:
    """Distributions as the head of this file says. Logits are made in batches, since a whole one is large."""
    rng, ids, logprobs, entropy = np.random.default_rng([SEED, vocabulary]), [], [], 0.0
    ranks = np.log(np.arange(1, vocabulary + 1))
    for start in range(0, tokens, BATCH):
        count = min(BATCH, tokens - start)
        slopes = rng.uniform(*slope, (count, 1))
        logits = -slopes * ranks + 1.5 * rng.standard_normal((count, vocabulary))
        logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
        entropy -= float((np.exp(logits) * logits).sum())
        head = np.argpartition(-logits, k, axis=1)[:, :k]
        head = np.take_along_axis(head, np.argsort(-np.take_along_axis(logits, head, axis=1), axis=1), axis=1)
        ids.append(rng.permutation(vocabulary)[head])
        logprobs.append(np.take_along_axis(logits, head, axis=1))
    return Drawn(np.concatenate(ids), np.concatenate(logprobs), vocabulary, entropy / tokens)


def plain(drawn: Drawn) -> dict[str, NDArray[Any]]:
    """The arrays of a record. y's own token is the most likely one: which it is changes no size."""
    return {
        "tokens": narrow(drawn.ids[:, 0], drawn.vocabulary),
        "chosen": quantise(drawn.logprobs[:, 0]),
        "ids": narrow(drawn.ids, drawn.vocabulary),
        "logprobs": quantise(drawn.logprobs),
        "tail": drawn.tail.astype(np.float16),
    }


class Measured(NamedTuple):
    """A layout of some tokens."""

    size: float
    """Bytes per token."""
    entries: float
    """Entries per token that are still there."""
    lost: float
    """Mass per token that no entry says: the tail."""
    error: float
    """The largest difference in nats among the entries that are still there."""


def measure(drawn: Drawn, arrays: Arrays) -> Measured:
    """Read the arrays back and compare. Raises ValueError where an entry has another id than the one stored."""
    _, blob = encode(arrays)
    found = topk_of(arrays)
    width = found.ids.shape[1]
    present = found.ids >= 0
    if not (found.ids == drawn.ids[:, :width])[present].all():
        raise ValueError("an id that was read is not the one that was stored")
    errors = np.abs(found.logprobs.astype(np.float64) - drawn.logprobs[:, :width])[present]
    tokens = len(drawn.ids)
    lost = 1 - np.exp(drawn.logprobs[:, :width], where=present, out=np.zeros(present.shape)).sum() / tokens
    return Measured(len(blob) / tokens, present.sum() / tokens, float(lost), float(errors.max()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=1_000)
    tokens = parser.parse_args().tokens
    print(f"{tokens:,} tokens for each vocabulary and kind of distribution\n")
    print("| kind | vocabulary | k | layout | bytes a token | entries a token | mass lost | largest error, nats |")
    print("|---|---:|---:|---|---:|---:|---:|---:|")
    for kind, slope in SLOPES.items():
        for vocabulary in VOCABULARIES:
            widest = draw(vocabulary, tokens, max(KEPT), slope)
            for k in KEPT:
                drawn = widest.first(k)
                arrays = plain(drawn)
                for layout, each in (("plain", arrays), ("packed", pack_topk(arrays, vocabulary))):
                    m = measure(drawn, each)
                    said = f"{kind}, {widest.entropy:.1f} nats | {vocabulary:,} | {k} | {layout}"
                    print(f"| {said} | {m.size:.0f} | {m.entries:.1f} | {m.lost:.4f} | {m.error:.5f} |")


if __name__ == "__main__":
    main()

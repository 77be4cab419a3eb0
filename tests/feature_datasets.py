"""Datasets with arrays for tests, published by the engine as a run publishes them; the distributions are made up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import orjson

from distill_data.data.arrays import encode, narrow, pack_topk, quantise
from distill_data.data.items import Arrays, Item, Outcome
from distill_data.engine.outcomes import encode_outcome
from distill_data.engine.publish import Count, files_of, publish

Found = dict[str, np.ndarray[Any, Any]]
VOCAB = 300
TOKENIZER = {"name": "toy", "vocab_size": VOCAB, "template": "ab" * 8, "probe": "cd" * 8}
TOPK = {"of": "topk", "k": 8, "temperature": 1.0, "truncate": False, "max_length": 0}
SAMPLED = {"of": "sampled", "draws": 50, "temperature": 1.0, "seed": 0, "truncate": False, "max_length": 0}
HIDDEN = {"of": "hidden", "layers": [0, -1], "pool": "none", "dtype": "float16", "truncate": False, "max_length": 0}
ATTENTION = {"of": "attention", "layers": [-1], "heads": "all", "dtype": "float16", "truncate": False, "max_length": 0}


def distributions(rng: np.random.Generator, tokens: int) -> np.ndarray[Any, Any]:
    """Log-probabilities (tokens, VOCAB) that fall off as a power of the rank."""
    logits = rng.permuted(-2.0 * np.log(np.arange(1, VOCAB + 1)) + rng.gumbel(size=(tokens, VOCAB)), axis=1)
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def topk(seed: int, tokens: int, k: int = 8) -> Found:
    logp = distributions(np.random.default_rng(seed), tokens)
    order = np.argsort(-logp, axis=1, kind="stable")[:, :k]
    top = np.take_along_axis(logp, order, axis=1)
    own = np.arange(tokens) % 20
    return {
        "tokens": own.astype(np.int32),
        "chosen": quantise(logp[np.arange(tokens), own]),
        "ids": narrow(order, VOCAB),
        "logprobs": quantise(top),
        "tail": (1 - np.exp(top).sum(axis=1)).astype(np.float16),
    }


def packed(seed: int, tokens: int) -> Found:
    return pack_topk(topk(seed, tokens), VOCAB)


def sampled(seed: int, tokens: int) -> Found:
    rng = np.random.default_rng(seed)
    logp = distributions(rng, tokens)
    each, ids, counts = [], [], []
    for token in logp:
        drawn = np.bincount(rng.choice(VOCAB, 50, p=np.exp(token) / np.exp(token).sum()), minlength=VOCAB)
        order = np.argsort(-drawn, kind="stable")[: int((drawn > 0).sum())]
        each.append(len(order))
        ids.append(order)
        counts.append(drawn[order])
    return {
        "tokens": np.zeros(tokens, np.int32),
        "chosen": quantise(logp[:, 0]),
        "counts_per_token": np.array(each, np.uint16),
        "ids": np.concatenate(ids).astype(np.uint16),
        "counts": np.concatenate(counts).astype(np.uint16),
    }


def hidden(seed: int, tokens: int) -> Found:
    states = np.random.default_rng(seed).normal(size=(2, tokens, 6))
    return {"tokens": np.zeros(tokens, np.int32), "hidden": states.astype(np.float16)}


def attention(seed: int, tokens: int) -> Found:
    maps = np.random.default_rng(seed).random((1, 2, tokens, tokens + 3))
    maps /= maps.sum(axis=-1, keepdims=True)
    return {"tokens": np.zeros(tokens, np.int32), "attention": maps.astype(np.float16)}


def record(number: int, arrays: Found, feature: dict[str, Any], **columns: Any) -> dict[str, Any]:
    details = {"feature": feature, "layout": "packed" if arrays.get("counts_per_token") is not None else "plain"}
    return {
        "id": f"{number:016x}",
        "kind": "logits",
        "prompt": [{"role": "user", "content": f"question {number}"}],
        "completion": [{"role": "assistant", "content": f"answer {number}"}],
        **columns,
        "features": {"file": "", "tokens": len(arrays["tokens"]), "tokenizer": TOKENIZER, "kind": feature["of"]},
        "meta": {"teacher": "toy", "details": orjson.dumps(details).decode()},
    }


def publish_dataset(output: Path, rows: list[tuple[dict[str, Any], Found]], **result: Any) -> Path:
    """The dataset, its rejects, side files and manifest, as a run leaves them."""
    blobs, count = [], Count(len(rows) + 1)
    for number, (made, arrays) in enumerate(rows):
        outcome = Outcome("kept", (made,), arrays=(Arrays(*encode(arrays)),))
        count.add(outcome)
        blobs.append(encode_outcome(Item(number, made["id"], {}, "seeds.jsonl:1"), outcome))
    lost = Outcome("rejected", (), "too-long", "600 tokens")
    count.add(lost)
    blobs.append(encode_outcome(Item(len(rows), "f" * 16, {"n": 1}, "seeds.jsonl:9"), lost))
    publish(iter(blobs), files_of(output), count, {"teachers": {"teacher": "toy/model"}, **result}, {})
    return output


def make_dataset(folder: Path, rows: int = 5) -> Path:
    """Plain top-k distributions of a few tokens each."""
    made = [topk(number, 3 + number) for number in range(rows)]
    return publish_dataset(folder / "out.jsonl", [(record(n, each, TOPK), each) for n, each in enumerate(made)])

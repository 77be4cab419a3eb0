"""Asking a tiny model without a run around it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from distill_data.data.exchange import Reply
from distill_data.teachers.generating import Prepared, prepare, run
from distill_data.teachers.loading import Loaded
from tests.white_box.tiny import POSITIONS, make_tiny


def open_tiny(folder: Path, **made: int) -> Loaded:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(1)  # so small a model is faster that way, even more so beside other tests
    path = make_tiny(folder, **made)
    model = AutoModelForCausalLM.from_pretrained(path, dtype="float32").eval()
    tokenizer = AutoTokenizer.from_pretrained(path)
    stops = frozenset({tokenizer.eos_token_id})
    return Loaded(model, tokenizer, "cpu", "float32", POSITIONS, model.config.vocab_size, stops, "tiny")


def say(text: str, **sampling: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], **sampling}


def ask(loaded: Loaded, *bodies: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The replies' bodies, all from one batch."""
    rows = [prepare(loaded, body) for body in bodies]
    for row in rows:
        assert isinstance(row, Prepared), row
    replies = run(loaded, [row for row in rows if isinstance(row, Prepared)])
    return [read(reply) for reply in replies]


def read(reply: Prepared | Reply) -> dict[str, Any]:
    assert isinstance(reply, Reply)
    found: dict[str, Any] = orjson.loads(reply.body)
    return found


def text_of(body: Mapping[str, Any]) -> str:
    choice = body["choices"][0]
    found: str = choice["text"] if "text" in choice else choice["message"]["content"]
    return found


def ids_of(body: Mapping[str, Any]) -> list[int]:
    return [entry["id"] for entry in body["choices"][0]["logprobs"]["content"]]

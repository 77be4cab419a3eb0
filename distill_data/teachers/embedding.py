"""A text as one vector: the mean of a model's last states over all of the text's tokens.

Knows a loaded model and the body of a request; nothing about threads, queues and the size of a batch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from distill_data.data.exchange import Reply
from distill_data.teachers import forward
from distill_data.teachers.batching import Proceed, go_on
from distill_data.teachers.loading import Loaded, name_unknown


@dataclass(frozen=True, slots=True)
class Prepared:
    """A text ready to be read."""

    ids: list[int]
    start: int = 0
    group: str = ""
    """Any two texts share a batch."""

    @property
    def length(self) -> int:
        """Tokens that the text takes."""
        return len(self.ids)


def prepare(loaded: Loaded, body: Mapping[str, Any]) -> Prepared | Reply:
    """The text's tokens, with those that the tokenizer puts around any text; or the refusal of it."""
    ids: list[int] = loaded.tokenizer(body["input"][0])["input_ids"]
    if not ids:
        return _refused("the text has no token", "invalid_value")
    if said := name_unknown(loaded, ids):
        return _refused(said, "invalid_value")
    if len(ids) > loaded.context:
        return _refused(f"the text has {len(ids)} tokens, and {loaded.context} are the most", "context_length_exceeded")
    return Prepared(ids)


def run(loaded: Loaded, rows: Sequence[Prepared], proceed: Proceed = go_on) -> list[Reply]:
    """A reply for each text, in their order. What torch and `proceed` raise passes through."""
    import torch

    proceed()
    with torch.inference_mode():
        vectors = forward.mean_states(loaded.model, rows)
    return [_reply(loaded, row, vector) for row, vector in zip(rows, vectors, strict=True)]


def _reply(loaded: Loaded, row: Prepared, vector: list[float]) -> Reply:
    if not all(map(math.isfinite, vector)):
        return _refused("the model gives no finite numbers for this text", "invalid_value")
    found = {
        "object": "list",
        "model": loaded.label,
        "data": [{"object": "embedding", "index": 0, "embedding": vector}],
        "usage": {"prompt_tokens": row.length, "total_tokens": row.length},
    }
    return Reply(200, {}, orjson.dumps(found))


def _refused(message: str, code: str) -> Reply:
    error = {"message": message, "type": "invalid_request_error", "code": code}
    return Reply(400, {"content-type": "application/json"}, orjson.dumps({"error": error}))

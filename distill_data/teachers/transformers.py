"""Models in this process, on transformers and torch: they answer, and show their distributions and states.

`transformers/smollm2`, `transformers/PATH` (a folder or a GGUF file) or `transformers/ORG/NAME`. Knows how a profile
becomes a model and a body a row; what is computed is in `scoring`, `generating` and `embedding`, who shares a batch in
`batching`.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import orjson

from distill_data.data.exchange import Reply, Request
from distill_data.errors import UsageError
from distill_data.teachers import Resolved, embedding, generating, scoring
from distill_data.teachers.batching import Proceed, Steps, Worker
from distill_data.teachers.bodies import make_body
from distill_data.teachers.loading import (
    LANGUAGE,
    REWARD,
    STATES,
    Loaded,
    count_layers,
    identify,
    load,
    read_fingerprint,
)
from distill_data.teachers.protocol import Capabilities, Profile, Teacher

SLOTS = 128
"""Requests that wait at the same time, so that batches of rows of about one length can be cut."""
SCORED = {"cpu": 512, "cuda": 16384, "mps": 4096}
"""Most tokens of a batch that is read, padding included. On a CPU small batches are the fast ones: they stay in its
caches, and 512 tokens took a seventh less CPU time than 4096. A GPU has to be filled."""
GENERATED = {"cpu": 32768, "cuda": 131072, "mps": 32768}
"""Most tokens of a batch that is written, if every answer were as long as it may be."""


async def resolve(profile: Profile, needs: frozenset[str]) -> Resolved:
    """See `distill_data.teachers.resolve`. No weights are loaded; of a GGUF file they are converted, once."""
    return await asyncio.to_thread(_resolve, profile, needs)


def open_teacher(profile: Profile, resolved: Resolved) -> Teacher:
    return TransformersTeacher(profile, resolved)


def slots(profile: Profile, resolved: Resolved) -> int:
    return SLOTS


def _resolve(profile: Profile, needs: frozenset[str]) -> Resolved:
    identity = identify(profile)
    known = {"choice": "grammar", "json_schema": True, "logprobs": True, **profile.capabilities}
    known |= {"seed": True, "vision": False, "scoring": "local", "layers": count_layers(profile)}
    if needs & {"score", "tokenizer"} and not known.get("tokenizer"):
        known["tokenizer"] = read_fingerprint(profile)
    return Resolved(identity, Capabilities(**known))


@dataclass(frozen=True, slots=True)
class _Row:
    """A prepared request, and which module made it and runs it on which model."""

    work: ModuleType
    loaded: Loaded
    prepared: Any
    group: str
    length: int
    budget: int


class TransformersTeacher:
    """One model, loaded by the first `send`; once for each head that it is asked with."""

    def __init__(self, profile: Profile, resolved: Resolved) -> None:
        self.identity: Mapping[str, str] = resolved.identity
        self._profile = profile
        self._layers = resolved.capabilities.layers
        self._loaded: dict[str, Loaded] = {}
        self._refused: UsageError | None = None
        self._worker = Worker(Steps(self._prepare, self._run, self._too_large, _release), "transformers-teacher")

    def lower(self, request: Request) -> dict[str, Any]:
        return make_body(self._profile.name, self._layers, request)

    async def send(self, body: bytes) -> Reply:
        """Answer in the company of what else waits. The timeout does not apply. Raises UsageError where the model
        cannot be loaded or is another than the one that was resolved."""
        return await asyncio.wrap_future(self._worker.submit(body))

    async def aclose(self) -> None:
        """End the batch that runs, which nobody waits for any more, and let the model go."""
        await asyncio.to_thread(self._worker.close)
        if self._loaded:
            self._loaded.clear()
            _release()

    def _model(self, head: str) -> Loaded:
        """The model, which is loaded once, or refused once for all who wait."""
        if self._refused is not None:
            raise self._refused
        if head not in self._loaded:
            try:
                self._loaded[head] = self._load(head)
            except UsageError as error:
                self._refused = error
                raise
        return self._loaded[head]

    def _load(self, head: str) -> Loaded:
        found = identify(self._profile)
        if found != self.identity:
            raise UsageError(
                f"{self._profile.name}: this run was made with another model, version or precision "
                f"({dict(self.identity)}; here is {found}). Bring it back, or write to a new output."
            )
        return load(self._profile, head)

    def _prepare(self, body: bytes) -> _Row | Reply:
        request = orjson.loads(body)
        work, head, budgets = _work_of(request)
        loaded = self._model(head)
        prepared: Any = work.prepare(loaded, request)
        if isinstance(prepared, Reply):
            return prepared
        group = f"{work.__name__} {head} {prepared.group}"
        return _Row(work, loaded, prepared, group, prepared.length, budgets[loaded.device])

    def _run(self, rows: Sequence[_Row], proceed: Proceed) -> list[Reply]:
        replies: list[Reply] = rows[0].work.run(rows[0].loaded, [row.prepared for row in rows], proceed)
        return replies

    def _too_large(self, row: _Row) -> Reply:
        said = f"a row of {row.length} tokens does not fit into the memory of this {row.loaded.device}"
        error = {"message": said, "type": "invalid_request_error", "code": "context_length_exceeded"}
        return Reply(400, {"content-type": "application/json"}, orjson.dumps({"error": error}))


def _work_of(request: Mapping[str, Any]) -> tuple[ModuleType, str, Mapping[str, int]]:
    """Who prepares and runs a body, as what the model is opened for it, and how large its batches are."""
    if "input" in request:
        return embedding, STATES, SCORED
    if "feature" not in request:
        return generating, LANGUAGE, GENERATED
    return scoring, REWARD if request["feature"]["of"] == "reward" else LANGUAGE, SCORED


def _release() -> None:
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()

"""A teacher that knows something of given texts, made up from a hash of who is asked what. Has no model."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from distill_data.data.arrays import decode, encode, narrow, quantise
from distill_data.data.exchange import Answer, Blob, Request
from distill_data.data.items import Arrays, Item, Row, canonical
from distill_data.errors import AnswerFailed
from distill_data.methods.feature import Run, make_feature
from distill_data.methods.given import Annotator
from distill_data.methods.scored import Method
from distill_data.recipes import Recipe, apply_settings, load_recipe
from tests.scoring_server import VOCAB_SIZE
from tests.scoring_server import encode as ids_of

Array = np.ndarray[Any, Any]
TOKENIZER = {"name": "toy", "vocab_size": VOCAB_SIZE, "template": "ab" * 8, "probe": "cd" * 8}
WIDTH = 6
"""Numbers in a hidden state."""


def open_recipe(name: str, **settings: Any) -> Recipe:
    return apply_settings(load_recipe(name, "feature"), {key: json.dumps(value) for key, value in settings.items()})


def open_method(
    name: str, teachers: int = 1, items: Sequence[Item] = (), names: Sequence[str] = (), known: bool = True,
    **settings: Any,
) -> Method:  # fmt: skip
    """A shipped recipe for so many teachers, whose tokenizers are known or not."""
    roles = ["teacher", *(f"teacher-{number}" for number in range(2, teachers + 1))]
    seats = {role: f"toy/{role}" for role in roles[:teachers]}
    annotator = Annotator(open_recipe(name, **settings), seats, dict.fromkeys(seats, TOKENIZER) if known else {})
    return make_feature(annotator.recipe, Run(annotator, lambda: iter(items), names))


def items_of(*rows: Row, seed: int = 0) -> list[Item]:
    return [Item(at, f"{at:016x}", row, f"seeds.jsonl:{at + 1}", seed) for at, row in enumerate(rows)]


def stored(arrays: Arrays) -> dict[str, Array]:
    source = arrays.source
    return decode(arrays.header, source if isinstance(source, bytes) else source.read())


def generator(*about: Any) -> np.random.Generator:
    return np.random.default_rng(int.from_bytes(hashlib.sha256(canonical(about)).digest()[:8]))


def logprobs(to: str, request: Request) -> Array:
    """What the teacher thinks of every token at each token of y, (T, VOCAB_SIZE)."""
    size = len(ids_of(text_of(request))), VOCAB_SIZE
    logits = generator(to, request.messages, request.completion).normal(0, 3, size)
    logits /= (request.feature or {}).get("temperature", 1.0)
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def text_of(request: Request) -> str:
    return "".join(str(message["content"]) for message in request.completion)


@dataclass(slots=True)
class Knowing:
    """An `ask` for requests of kind `score`. Tokens of y are its bytes."""

    folder: Path
    """Where arrays lie."""
    rejects: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """y to reason and detail, where it cannot be scored."""
    refuses: Collection[str] = ()
    """y that is refused for good."""
    endings: Mapping[str, str] = field(default_factory=dict)
    """Role to what its chat template puts behind y."""
    states: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """y to its pooled state, where that is not made up."""
    says: Mapping[str, Any] = field(default_factory=dict)
    """What replies say besides, such as {"clipped": 3}."""
    delays: random.Random | None = None
    asked: list[tuple[str, Request]] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)

    async def __call__(self, request: Request, to: str = "teacher") -> Answer:
        self.asked.append((to, request))
        if self.delays:
            await asyncio.sleep(self.delays.random() / 500)
        assert request.kind == "score" and request.feature is not None
        y, of = text_of(request), request.feature["of"]
        if y in self.refuses:
            raise AnswerFailed("bad-request", y)
        if y in self.rejects:
            reason, detail = self.rejects[y]
            return self._answer(to, request, {"of": of, "tokens": 0, "rejected": reason, "detail": detail}, None)
        request = request._replace(completion=({"role": "assistant", "content": y + self.endings.get(to, "")},))
        tokens = np.array(ids_of(text_of(request)), np.int32)
        arrays = {"tokens": tokens, **getattr(self, f"_{of}")(to, request, tokens)}
        tail = {"tail": float(arrays["tail"].sum(dtype="float64"))} if of == "topk" else {}
        header, data = encode(arrays)
        said = {"of": of, "tokens": len(tokens), "truncated": False, **tail, "arrays": header, **self.says}
        return self._answer(to, request, said, self._write(data))

    def _answer(self, to: str, request: Request, said: dict[str, Any], blob: Blob | None) -> Answer:
        asked = sum(len(str(message["content"])) for message in request.messages)
        self.answers.append(Answer("", "", "stop", f"{to}-model", asked, 0, feature=said, blob=blob))
        return self.answers[-1]

    def _write(self, data: bytes) -> Blob:
        with (self.folder / "arrays.bin").open("ab") as file:
            offset = file.seek(0, 2)
            file.write(data)
        return Blob(self.folder / "arrays.bin", offset, len(data), hashlib.sha256(data).hexdigest())

    def _topk(self, to: str, request: Request, tokens: Array) -> dict[str, Array]:
        each, k = logprobs(to, request), (request.feature or {})["k"]
        order = np.argsort(-each, axis=1, kind="stable")[:, :k]
        top = np.take_along_axis(each, order, axis=1)
        tail = np.clip(1 - np.exp(top).sum(axis=1), 0, 1).astype(np.float16)
        chosen = quantise(each[np.arange(len(tokens)), tokens])
        return {"chosen": chosen, "ids": narrow(order, VOCAB_SIZE), "logprobs": quantise(top), "tail": tail}

    def _sampled(self, to: str, request: Request, tokens: Array) -> dict[str, Array]:
        each, feature = logprobs(to, request), request.feature or {}
        drawn = generator(feature["seed"], to, text_of(request)).multinomial(feature["draws"], np.exp(each))
        order = np.argsort(-drawn, axis=1, kind="stable")
        counts = np.take_along_axis(drawn, order, axis=1)
        return {
            "chosen": quantise(each[np.arange(len(tokens)), tokens]),
            "counts_per_token": (counts > 0).sum(axis=1).astype(np.uint16),
            "ids": narrow(order[counts > 0], VOCAB_SIZE),
            "counts": counts[counts > 0].astype(np.uint16),
        }

    def _hidden(self, to: str, request: Request, tokens: Array) -> dict[str, Array]:
        feature, y = request.feature or {}, text_of(request)
        states = generator(to, y).normal(size=(len(feature["layers"]), len(tokens), WIDTH))
        if feature["pool"] != "none":
            states = states.mean(axis=1) if feature["pool"] == "mean" else states[:, -1]
            states = np.array([self.states[y]], np.float64) if y in self.states else states
        return {"hidden": states.astype(feature["dtype"])}

    def _attention(self, to: str, request: Request, tokens: Array) -> dict[str, Array]:
        feature = request.feature or {}
        heads = 2 if feature["heads"] == "all" else 1
        maps = generator(to, text_of(request)).random((len(feature["layers"]), heads, len(tokens), len(tokens) + 3))
        return {"attention": (maps / maps.sum(axis=-1, keepdims=True)).astype(feature["dtype"])}

"""Golden folders of `feature`: `seeds.jsonl` and `knowledge.json`, by hand. Arrays are made up (methods/knowing.py).

`knowledge.json` may name `settings` (as `--set`), `teachers` (their names, else one), `rejects` (y to [reason, detail]
of a teacher that cannot score it) and `replies` (what the teacher says to each row, where y is its own). What follows:
`prompts.json`, every request of every row; `records.jsonl`; `rejects.jsonl`; and `arrays.json`, for each record its
arrays with dtype, shape and the first numbers.
"""

from __future__ import annotations

import asyncio
import json
import math
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from distill_data.data.exchange import Answer, Ask, Request
from distill_data.data.items import Arrays, Item, Outcome
from distill_data.data.seeds import make_items, open_seeds, read_rows
from distill_data.engine.outcomes import encode_outcome
from distill_data.engine.schedule import settle
from distill_data.methods.feature import Run, make_feature
from distill_data.methods.given import Annotator
from tests.methods.knowing import TOKENIZER, Knowing, generator, open_recipe, stored
from tests.methods.scripted import answer

SHOWN = 6
"""Numbers of an array that are written down."""


def play_knowledge(folder: Path, name: str) -> dict[str, bytes]:
    """Name to content of the files that follow from what is written by hand."""
    plan = json.loads((folder / "knowledge.json").read_bytes())
    recipe = open_recipe(name, **plan.get("settings", {}))
    named = plan.get("teachers", ["scripted"])
    roles = {"teacher" if at == 1 else f"teacher-{at}": each for at, each in enumerate(named, start=1)}
    items = list(make_items(read_rows(open_seeds(folder / "seeds.jsonl")), 0))
    method = make_feature(
        recipe,
        Run(Annotator(recipe, roles, dict.fromkeys(roles, TOKENIZER)), lambda: iter(items), plan.get("teachers", ())),
    )
    with tempfile.TemporaryDirectory() as scratch:
        asked: list[Any] = []
        knowing = Knowing(
            Path(scratch), {y: (reason, detail) for y, (reason, detail) in plan.get("rejects", {}).items()}
        )
        said = plan.get("replies", [None] * len(items))

        async def settle_all() -> list[Outcome]:
            return [
                await settle(item, method, lambda _, text=text: _recording(asked, _speaking(text) if text else knowing))
                for item, text in zip(items, said, strict=True)
            ]

        outcomes = asyncio.run(settle_all())
        arrays = [describe(record["id"], each) for outcome in outcomes for record, each in _pairs(outcome)]
    lines = {"kept": b"", "rejected": b""}
    for item, outcome in zip(items, outcomes, strict=True):
        lines[outcome.status] += _lines(item, outcome)
    files = {"prompts.json": asked, **({"arrays.json": arrays} if arrays else {})}
    written = {name: json.dumps(each, indent=2, ensure_ascii=False).encode() + b"\n" for name, each in files.items()}
    return {**written, "records.jsonl": lines["kept"], "rejects.jsonl": lines["rejected"]}


def _lines(item: Item, outcome: Outcome) -> bytes:
    """The lines of the dataset or of the rejects; side files are named only when they are written."""
    return encode_outcome(item, outcome._replace(arrays=())).split(b"\n", 1)[1]


def _pairs(outcome: Outcome) -> Iterator[tuple[dict[str, Any], Arrays]]:
    return zip(outcome.records, outcome.arrays, strict=bool(outcome.arrays))


def describe(identity: str, arrays: Arrays) -> dict[str, str]:
    """What a record's arrays are."""
    shown = {}
    for name, array in stored(arrays).items():
        numbers = " ".join(f"{each:.4g}" if array.dtype.kind == "f" else f"{each}" for each in array.ravel()[:SHOWN])
        shown[name] = f"{array.dtype.name} {list(array.shape)}: {numbers}{' …' if array.size > SHOWN else ''}"
    return {"id": identity, **shown}


def _recording(asked: list[Any], ask: Ask) -> Ask:
    async def recorded(request: Request, to: str = "teacher", **_: Any) -> Answer:
        entry: dict[str, Any] = {"to": to, "messages": request.messages}
        if request.feature is not None:
            entry |= {"completion": list(request.completion), "feature": dict(request.feature)}
        else:
            entry["sampling"] = dict(request.sampling)
        asked.append(entry)
        return await ask(request, to)

    return recorded


def _speaking(said: str | Mapping[str, Any]) -> Ask:
    """A teacher that says this letter by letter, and at each letter what else it had in mind."""

    async def speak(request: Request, to: str = "teacher", **_: Any) -> Answer:
        replied = answer(said)
        content = [_entry(letter, int(request.sampling["top_logprobs"]), at) for at, letter in enumerate(replied.text)]
        return replied._replace(logprobs={"content": content})

    return speak


def _entry(letter: str, k: int, at: int) -> dict[str, Any]:
    others = [each for each in "abcdefghij" if each != letter][: k - 1]
    odds = generator("spoken", letter, at).exponential(size=len(others) + 2)
    odds = np.sort(odds / odds.sum())[::-1]
    named = [
        {"token": each, "logprob": math.log(share), "bytes": list(each.encode())}
        for each, share in zip([letter, *others], odds.tolist(), strict=False)
    ]
    return {**named[0], "top_logprobs": named}

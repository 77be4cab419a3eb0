"""The canonical record: one JSON object whose top-level columns are the ones that trainers read.

Every record of a file has the same keys in the same order, and no null: readers infer types from the first megabytes
and fail later on surprises. Absent text is "", and whatever varies from row to row is JSON text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from distill_data.data.exchange import Message
from distill_data.data.items import Record

COLUMNS: dict[str, tuple[str, ...]] = {
    "sft": ("prompt", "completion"),
    "preference": ("prompt", "chosen", "rejected", "chosen_score", "rejected_score"),
    "unpaired": ("prompt", "completion", "label", "score"),
    "ranked": ("prompt", "responses", "scores"),
    "steps": ("prompt", "completions", "labels"),
    "critique": ("prompt", "completion"),
    "logits": ("prompt", "completion", "features"),
    "hidden": ("prompt", "completion", "features"),
    "attention": ("prompt", "completion", "features"),
    "relations": ("prompt", "completion", "batch", "features"),
    "triple": ("anchor", "positive", "negative", "positive_score", "negative_score"),
    "prompt": ("prompt", "teacher_id", "privileged_context"),
}
"""Kind to the columns between `kind` and `meta`, in their order. A recipe may add `answer` to sft. Where y is raw text,
`text` stands in place of `prompt` and `completion`. With --no-answer `expand` and `curate` make a `prompt` alone."""


class Source(NamedTuple):
    """Where a record comes from."""

    method: str
    recipe: str
    recipe_digest: str
    seed_id: str
    role: str
    teacher: str
    """The model as the user named it."""
    model: str
    """The model that answered, as the server says."""
    sample: int
    part: str = ""
    """Tells several records of one sample apart."""


def make_record(
    kind: str,
    prompt: list[Message],
    completion: Message,
    source: Source,
    details: Mapping[str, Any],
    answer: str | None = None,
    privileged_context: str | None = None,
) -> Record:
    """A record with the columns id, kind, prompt, completion, answer and privileged_context (each unless None) and
    meta, in this order. `privileged_context` is what the teacher was told and the student isn't.

    `id` is 16 hex digits over method, recipe, seed, role, sample and part: it survives another model or prompt.
    """
    method, recipe, recipe_digest, seed_id, role, teacher, model, sample, part = source
    identity = f"{method}\0{recipe}\0{seed_id}\0{role}\0{sample}\0{part}"
    record: Record = {
        "id": hashlib.sha256(identity.encode()).hexdigest()[:16],
        "kind": kind,
        "prompt": prompt,
        "completion": [completion],
    }
    if answer is not None:
        record["answer"] = answer
    if privileged_context is not None:
        record["privileged_context"] = privileged_context
    record["meta"] = {
        "method": method,
        "recipe": recipe,
        "recipe_digest": recipe_digest[:16],
        "seed_id": seed_id,
        "teacher": teacher,
        "model": model,
        "details": orjson.dumps(details, option=orjson.OPT_SORT_KEYS).decode(),
    }
    return record


def make_row(kind: str, source: Source, columns: Mapping[str, Any], details: Mapping[str, Any]) -> Record:
    """A record of any kind: id, kind, the columns in the order given, and meta; all but these as in `make_record`.

    What stands in the columns is taken as it is: no null, and a float wherever a number may have a fraction.
    """
    frame = make_record(kind, [], {}, source, details)
    return {"id": frame["id"], "kind": kind, **columns, "meta": frame["meta"]}

"""Scoring some rows of a dataset again: the same teacher must give the same arrays, within what rounding changes.

Answers are compared and forgotten: nothing is journalled, and nothing of the dataset changes.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from distill_data.commands.options import Options
from distill_data.commands.seating import resolve_teachers
from distill_data.commands.verify import feature_of, read_records
from distill_data.data.arrays import decode, logprobs_of, topk_of
from distill_data.data.exchange import Lost, Request
from distill_data.data.features import open_features
from distill_data.data.fingerprints import matches
from distill_data.data.items import Record
from distill_data.errors import DamageError, TeacherError, UsageError
from distill_data.teachers import Resolved, bound_concurrency, open_teacher
from distill_data.teachers.profiles import find_profile, load_profiles
from distill_data.teachers.protocol import Profile, Teacher

if TYPE_CHECKING:
    from distill_data.data.arrays import Array

Arrays = Mapping[str, "Array"]
NATS = 1e-3
"""How far apart two log-probabilities of the same token may be."""
PACKED_NATS = 0.02
RELATIVE = 2e-3
"""How far apart two states may be, as a share of the largest one of the record."""


def compare_again(dataset: Path, manifest: Mapping[str, Any], rows: int, options: Options) -> tuple[int, list[str]]:
    """How many rows were scored again, and where the teacher does not agree with what is stored, each a sentence.

    Raises UsageError where the dataset was not made by one teacher from given texts, or this teacher cannot do it;
    TeacherError where it does not answer.
    """
    if len(options.teachers) != 1:
        raise UsageError("--rescore needs the dataset's teacher: name one with -t.")
    made_by = manifest.get("teachers", {})
    if len(made_by) > 1:
        raise UsageError(
            f"{dataset}: is an average over {len(made_by)} teachers, and no one of them gives these values."
        )
    profile = find_profile(
        options.teachers[0],
        load_profiles(options.config),
        base_url=options.base_url or None,
        api_key_env=options.api_key_env or None,
        headers=dict(options.headers) or None,
    )
    drawn = _draw(dataset, rows, options.seed)
    return len(drawn), asyncio.run(_score(dataset, drawn, profile, manifest))


def request_of(record: Record) -> Request:
    """The question whose answer the record is. Raises UsageError where it does not say what was asked for."""
    feature = feature_of(record)
    if not feature or feature.get("of") not in ("topk", "sampled", "hidden", "attention"):
        raise UsageError(
            f"record {record['id']}: was not scored as a given text, so it cannot be scored again; drop --rescore."
        )
    if isinstance(record.get("text"), str):
        return Request(
            [], kind="score", completion=({"role": "assistant", "content": record["text"]},), feature=feature
        )
    x, y = record.get("prompt"), record.get("completion")
    if not isinstance(x, list) or not isinstance(y, list):
        raise UsageError(f"record {record['id']}: has neither a text nor prompt and completion, so nothing to score.")
    return Request(x, kind="score", completion=tuple(y), feature=feature)


def _draw(dataset: Path, rows: int, seed: int) -> list[tuple[str, Record]]:
    """As many rows, each as likely as the others, without holding more than these."""
    rng = random.Random(f"rescore:{seed}")
    drawn: list[tuple[str, Record]] = []
    for number, each in enumerate(read_records(dataset)):
        place = number if number < rows else rng.randrange(number + 1)
        if place < rows:
            drawn[place : place + 1] = [each]
    return drawn


async def _score(
    dataset: Path, drawn: list[tuple[str, Record]], profile: Profile, manifest: Mapping[str, Any]
) -> list[str]:
    resolved = (await resolve_teachers({"teacher": profile}, {"teacher": frozenset({"score"})}, {}))["teacher"]
    _refuse_another(dataset, profile, resolved, manifest)
    teacher, features = open_teacher(profile, resolved), open_features(dataset)
    gate = asyncio.Semaphore(bound_concurrency(profile, resolved))

    async def one(where: str, record: Record) -> list[str]:
        async with gate:
            again = await _ask(teacher, profile, record)
        stored = features.of(record)
        return [f"{where}: record {record['id']}: {profile.name} {what}." for what in differences(stored, again)]

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(where, record)) for where, record in drawn]
    except* (UsageError, TeacherError, DamageError) as errors:
        raise errors.exceptions[0] from None
    finally:
        await teacher.aclose()
    return [finding for task in tasks for finding in task.result()]


def _refuse_another(dataset: Path, profile: Profile, resolved: Resolved, manifest: Mapping[str, Any]) -> None:
    if resolved.capabilities.scoring == "none":
        raise UsageError(f"{profile.name}: cannot score a given text, so it cannot be asked again.")
    told, own = resolved.capabilities.tokenizer, manifest["features"].get("tokenizer")
    if told and own and matches(told, own) != "same":
        raise UsageError(f"{profile.name}: its tokenizer is not that of {dataset}; name the teacher that made it.")


async def _ask(teacher: Teacher, profile: Profile, record: Record) -> Arrays:
    try:
        reply = await teacher.send(orjson.dumps(teacher.lower(request_of(record)), option=orjson.OPT_SORT_KEYS))
    except Lost as lost:
        raise TeacherError(f"{profile.name}: {lost.detail}") from None
    try:
        said = orjson.loads(reply.body)["feature"] if reply.status == 200 else {}
        header = said["arrays"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise TeacherError(
            f"{profile.name}: did not score record {record['id']} again (status {reply.status}): "
            f"{reply.body[:300].decode(errors='replace')}"
        ) from None
    return decode(header, reply.blob)


def differences(stored: Arrays, again: Arrays) -> Iterator[str]:
    """What the second scoring says otherwise than the first, beyond rounding."""
    import numpy as np

    if "tokens" in stored and not np.array_equal(stored["tokens"], again.get("tokens", np.empty(0))):
        yield "splits the text into other tokens"
        return
    if "logprobs" in stored:
        yield from _other_topk(stored, again)
    elif "chosen" in stored:
        yield from _far(
            logprobs_of(stored["chosen"]), logprobs_of(again["chosen"]), NATS, "another log-probability for y's token"
        )
    for name in ("hidden", "attention"):
        if name in stored:
            if stored[name].shape != again[name].shape:
                yield f"gives {name} of the shape {again[name].shape}, not {stored[name].shape}"
                return
            one, other = stored[name].astype(np.float32), again[name].astype(np.float32)
            yield from _far(one, other, RELATIVE * float(np.abs(one).max(initial=1)), f"another value of {name}")


def _other_topk(stored: Arrays, again: Arrays) -> Iterator[str]:
    """Each stored entry against the new one of the same id; one that is not there must be near the border of the k."""
    import numpy as np

    one, other = topk_of(stored), topk_of(again)
    within = PACKED_NATS if "counts_per_token" in stored else NATS
    yield from _far(one.chosen, other.chosen, NATS, "another log-probability for y's token")
    same = (one.ids[:, :, None] == other.ids[:, None, :]) & (one.ids >= 0)[:, :, None]
    border = np.min(other.logprobs, axis=1, where=np.isfinite(other.logprobs), initial=0)[:, None]
    matched = np.where(same, other.logprobs[:, None, :], -np.inf).max(axis=2)
    expected = np.where(np.isfinite(matched), matched, np.minimum(one.logprobs, border))
    present = one.ids >= 0
    yield from _far(np.where(present, one.logprobs, 0), np.where(present, expected, 0), within, "another distribution")


def _far(one: Array, other: Array, within: float, what: str) -> Iterator[str]:
    import numpy as np

    off = float(np.abs(one - other).max(initial=0))
    if not off <= within * (1 + 1e-6):
        yield f"gives {what}: off by {off:.4g}, and {within:g} is the most that rounding explains"

"""What a report says about a dataset, as one mapping of JSON: from its rows, its manifest, its rejects and its run.

Every list has an end and every text is cut, so a page of any dataset is small. Knows nothing about pages.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeVar

import orjson

from distill_data.commands.replies import finish_of, replies_of, seconds_of
from distill_data.commands.report_manifest import LISTED, NAME, read_facts, top_of
from distill_data.commands.rows import Source
from distill_data.data.columns import x_of
from distill_data.data.items import Row
from distill_data.data.rows import RowsFile, open_rows
from distill_data.errors import SeedError
from distill_data.quality.profile import profile
from distill_data.quality.reservoir import Reservoir, Spread, priority
from distill_data.quality.roots import root_of
from distill_data.reporting.parts import detail_of, parts_of, row_of_reject

SAMPLES = 20
"""Rows to read, and rejects to read."""
OF_EACH = 3
"""Rejects of one reason."""
CONTAMINATION, EVIDENCE = "contamination", 10
"""The reason that has a section of its own, and its rejects there."""
VERBS, OBJECTS, GROUPS = 20, 4, 8
"""Verbs, what follows each of them, duplicates or seeds that are shown."""
FEW = 8
"""Verbs that are shown though each occurs once only."""
TEXT, ROW, VALUES = 3_000, 5_000, 2_000
"""Characters of a shown text, of all texts of a row, of its short values."""
COLUMNS = 12
"""Texts, values, and facts of meta of a row that are shown."""
REPLIES = 50_000
"""Replies whose bodies are read."""
DISTINCT = 200_000
"""Different texts, or seeds, that are told apart."""

Key = TypeVar("Key", str, bytes, tuple[str, str])


def gather(source: Source, manifest: Mapping[str, Any] | None, rejects: Path, run: Path) -> dict[str, Any]:
    """All facts; what there is nothing to say about is absent. Raises SeedError where a row cannot be read."""
    facts = {
        "name": Path(source.file.name).name,
        "sha256": source.sha256,
        **read_facts(manifest, source.lineage, source.sha256),
        "profile": _profile(source.file),
        **_rows(source.file),
        **_rejects(rejects),
        "replies": _replies(run),
    }
    return {name: value for name, value in facts.items() if value not in (None, {}, [], "")}


def _profile(file: RowsFile) -> dict[str, Any]:
    """Numbers of all rows, without what no page shows."""
    found = profile(line.row for line in file.read())
    found["labels"].pop("id", None)
    for name in ("labels", "scores", "kinds"):
        found[name] = {key[:NAME]: value for key, value in list(found[name].items())[:LISTED]}
    found["columns"] = dict(list(found["columns"].items())[:LISTED])
    return found


def _rows(file: RowsFile) -> dict[str, Any]:
    """What a second pass over the rows finds: roots, repeated texts, seeds, and some rows to read."""
    shown: Reservoir[dict[str, Any]] = Reservoir(SAMPLES)
    roots: Counter[tuple[str, str]] = Counter()
    texts, repeated = Counter[bytes](), dict[bytes, str]()
    seeds: Counter[str] = Counter()
    for ordinal, (number, _, row) in enumerate(file.read()):
        rank = priority(ordinal)
        if shown.wants(rank):
            shown.offer(rank, describe_row(row, _place(file, number)))
        _count(roots, root_of(_asked(row)))
        folded = " ".join(_x(row).casefold().split())
        mark = blake2b(folded.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        _count(texts, mark)
        if texts[mark] == 2:
            repeated[mark] = _x(row)[:NAME]
        for seed in _seeds(row):
            _count(seeds, seed)
    return {
        "roots": _roots(roots),
        "groups": [(repeated[mark], count) for mark, count in texts.most_common(GROUPS) if repeated.get(mark)],
        "seeds": _lineage(seeds),
        "samples": shown.values(),
    }


def _place(file: RowsFile, number: int) -> str:
    """Without the folder: a page may be published, and is the same wherever its dataset lies."""
    return Path(file.place(number)).name


def describe_row(row: Row, place: str) -> dict[str, Any]:
    """A row for reading, with what is cut of it."""
    parts = parts_of(row)
    left = ROW
    texts = []
    for part in parts.texts[:COLUMNS]:
        text = part.text[: max(0, min(TEXT, left))]
        left -= len(text)
        texts.append(
            {"column": part.column[:NAME], "role": part.role[:NAME], "text": text, "cut": len(part.text) - len(text)}
        )
    return {
        "place": place[-NAME:],
        "id": parts.id[:NAME],
        "kind": parts.kind[:NAME],
        "texts": texts,
        "more": max(0, len(parts.texts) - COLUMNS),
        "values": _pairs(parts.values),
        "meta": _pairs(parts.meta),
    }


def _pairs(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    left, shown = VALUES, []
    for name, value in list(pairs)[:COLUMNS]:
        shown.append((name[:NAME], value if len(value) <= left else f"{value[: max(0, left)]}…"))
        left -= len(value)
    return shown


def _asked(row: Row) -> str:
    """The first turn of a user, else all that is asked."""
    prompt = row.get("prompt") or row.get("messages")
    if isinstance(prompt, list):
        for message in prompt:
            if isinstance(message, dict) and message.get("role") == "user" and isinstance(message.get("content"), str):
                return str(message["content"])
    return _x(row)


def _x(row: Row) -> str:
    try:
        return x_of(row)
    except SeedError:
        return ""


def _seeds(row: Row) -> list[str]:
    """The seeds that a row came of: what it was counted under, else its parents, else its own seed."""
    meta = row.get("meta")
    if not isinstance(meta, dict):
        return []
    details = meta.get("details")
    if isinstance(details, str) and ('"source"' in details or '"parents"' in details):
        try:
            details = orjson.loads(details)
        except orjson.JSONDecodeError:
            details = {}
    if isinstance(details, dict):
        if isinstance(details.get("source"), str) and details["source"]:
            return [details["source"]]
        parents = details.get("parents")
        if isinstance(parents, list) and parents:
            return [each for each in parents if isinstance(each, str)]
    return [meta["seed_id"]] if isinstance(meta.get("seed_id"), str) and meta["seed_id"] else []


def _lineage(seeds: Counter[str]) -> dict[str, Any]:
    """How many rows a seed led to. Nothing where no seed led to two."""
    if not seeds or max(seeds.values()) < 2:
        return {}
    spread = Spread()
    for ordinal, count in enumerate(seeds.values()):
        spread.add(priority(ordinal), float(count))
    top = sorted(seeds.items(), key=lambda pair: (-pair[1], pair[0]))[:GROUPS]
    return {"seeds": len(seeds), "spread": spread.to_json(), "top": [(seed[:NAME], count) for seed, count in top]}


def _roots(roots: Counter[tuple[str, str]]) -> dict[str, Any]:
    """The most frequent first words, each with what follows most often."""
    by_verb: dict[str, Counter[str]] = {}
    for (verb, thing), count in roots.items():
        if verb:
            by_verb.setdefault(verb, Counter())[thing] += count
    ordered = sorted(by_verb.items(), key=lambda pair: (-pair[1].total(), pair[0]))
    often = sum(things.total() > 1 for _, things in ordered)
    verbs = [
        {
            "verb": verb[:NAME],
            "count": things.total(),
            "objects": [
                (thing[:NAME], count)
                for thing, count in sorted(things.items(), key=lambda pair: (-pair[1], pair[0]))
                if thing
            ][:OBJECTS],
        }
        for verb, things in ordered[: min(often, VERBS) if often >= FEW else FEW]
    ]
    return {"rows": roots.total(), "verbs": verbs, "different": len(by_verb)} if verbs else {}


def _rejects(path: Path) -> dict[str, Any]:
    """Some rejects of each reason, and the rows that were in a benchmark."""
    try:
        file = open_rows(path, path.name)
        if not path.stat().st_size:
            return {}
    except (SeedError, OSError):
        return {}
    shown: dict[str, Reservoir[dict[str, Any]]] = {}
    found: Reservoir[dict[str, Any]] = Reservoir(EVIDENCE)
    reasons: Counter[str] = Counter()
    for ordinal, (number, _, row) in enumerate(file.read()):
        reason, rank = str(row.get("reason", ""))[:NAME], priority(ordinal)
        if reason not in shown and reason != CONTAMINATION and len(shown) >= LISTED:
            continue
        reasons[reason] += 1
        some = found if reason == CONTAMINATION else shown.setdefault(reason, Reservoir(OF_EACH))
        if some.wants(rank):
            some.offer(rank, describe_reject(row, _place(file, number)))
    ordered = [each for reason, _ in reasons.most_common() if reason in shown for each in shown[reason].values()]
    evidence = {"rows": reasons[CONTAMINATION], "shown": found.values()} if reasons[CONTAMINATION] else {}
    return {"rejects": ordered[:SAMPLES], "contamination": evidence}


def describe_reject(row: Row, place: str) -> dict[str, Any]:
    """A reject of any command: of a run its raw answers, of others the row as it was."""
    answers = {"answers": row["answers"]} if isinstance(row.get("answers"), list) and row["answers"] else {}
    described = describe_row({**row_of_reject(row), **answers}, place)
    detail, facts = detail_of(row)
    outcome, reason = (str(row.get(name, ""))[:NAME] for name in ("outcome", "reason"))
    return {**described, "reason": reason, "outcome": outcome, "detail": detail[:VALUES], "facts": _pairs(facts)}


def _replies(run: Path) -> dict[str, Any]:
    """What the teacher's replies say about themselves."""
    finish: Counter[str] = Counter()
    models: Counter[str] = Counter()
    seconds, tokens = Spread(), Spread()
    answers = failed = 0
    for ordinal, reply in enumerate(replies_of(run)):
        if reply.failed:
            failed += 1
            continue
        answers += 1
        if any(reply.usage):  # zeros are what a server did not tell
            tokens.add(priority(ordinal), float(reply.usage[1]))
        if answers > REPLIES:
            continue
        body = reply.body()
        _count(finish, finish_of(body) or "not said")
        _count(models, str(body.get("model") or "not said"))
        took = seconds_of(body)
        if took is not None:
            seconds.add(priority(ordinal), took)
    if not answers:
        return {}
    return {
        "answers": answers,
        "failed": failed,
        "read": min(answers, REPLIES),
        "finish": top_of(finish),
        "models": top_of(models),
        "seconds": seconds.to_json(),
        "tokens": tokens.to_json(),
    }


def _count(counts: Counter[Key], value: Key) -> None:
    """Count, as long as there is room for one more."""
    if value in counts or len(counts) < DISTINCT:
        counts[value] += 1

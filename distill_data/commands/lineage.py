"""Rounds of training: which dataset came before this one, and whether the student's answers collapse. Asks nobody."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Any

import orjson

from distill_data.commands.options import Options
from distill_data.engine.durable import file_digest
from distill_data.engine.publish import files_of, read_manifest
from distill_data.errors import UsageError
from distill_data.quality.diversity import collapse, measure

MEASURED = 2000
"""Records that a measure looks at."""


def lineage_facts(options: Options) -> dict[str, Any]:
    """What the manifest's result says about the round. Raises UsageError where the round before is not there."""
    if options.previous is None:
        if options.round > 1:
            raise UsageError(f"--round {options.round} needs --previous OUT.jsonl: the dataset of the round before.")
        return {"round": options.round} if options.round else {}
    before = _previous(options.previous)
    last = int(before.get("round", 1))
    number = options.round or last + 1
    if number <= last:
        raise UsageError(f"--round {number}: {options.previous} is of round {last} already.")
    digest = before["files"]["dataset"]["sha256"]
    lineage = [*before.get("lineage", ()), {"name": options.previous.name, "sha256": digest}]
    then = before.get("diversity") or measure(islice(_completions(options.previous), MEASURED))
    return {"round": number, "lineage": lineage, "before": _with_majority(before, then)}


def diversity_of(blobs: Iterable[bytes]) -> dict[str, float]:
    """Measures over the first completions of kept outcomes, as they come from the spill: those of the output's kind."""
    kept = (_first_kind(blob) for blob in blobs if blob.startswith(b"kept"))
    return measure(islice(filter(None, map(_completion, chain.from_iterable(kept))), MEASURED))


def _first_kind(blob: bytes) -> list[bytes]:
    head, *lines = blob.split(b"\n")[:-1]
    counts = head.split()[1:]
    return lines[: int(counts[0])] if counts else lines


def alarms(result: Mapping[str, Any]) -> list[str]:
    """What the round before had and this one lost, each a sentence."""
    return collapse(result["before"], _with_majority(result, result.get("diversity", {})))


def _with_majority(result: Mapping[str, Any], measures: Mapping[str, float]) -> dict[str, float]:
    majority = result.get("measures", {}).get("majority")
    return {**measures, **({"majority_share": majority["count"] / majority["of"]} if majority else {})}


def _previous(path: Path) -> dict[str, Any]:
    """The manifest's result of the dataset. Raises UsageError where file and manifest do not fit."""
    if path.suffix != ".jsonl":
        raise UsageError(f"--previous {path}: a dataset's name ends in .jsonl.")
    manifest = read_manifest(files_of(path).manifest)
    if manifest is None or not path.is_file():
        raise UsageError(f"--previous {path}: there is no such dataset with its manifest beside it.")
    result: dict[str, Any] = manifest["result"]
    if not result["files"].get("dataset") or file_digest(path) != result["files"]["dataset"]["sha256"]:
        raise UsageError(f"--previous {path}: the file is not what its manifest says; it was changed since.")
    return result


def _completions(path: Path) -> Iterator[str]:
    with path.open("rb") as lines:
        yield from filter(None, map(_completion, lines))


def _completion(line: bytes) -> str:
    """The text that a record teaches; empty where it has none."""
    record = orjson.loads(line)
    said = record.get("completion") or record.get("chosen")
    if said:
        turn = said[-1]
        return "\n\n".join(filter(None, (turn.get("reasoning_content"), turn.get("content"))))
    return str(next(iter(record.get("responses") or record.get("completions") or ()), ""))

"""Publishing: finished outcomes to files that are whole or absent. Knows neither methods nor what a record means.

The dataset and the rejects are written to temporary files, synced, read back and only then renamed; the manifest comes
last, so a dataset without a manifest that fits it counts as unpublished. Equal outcomes give equal bytes.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from distill_data.data.items import Item, Outcome
from distill_data.engine.durable import disk_error, sync_directory, write_atomically
from distill_data.errors import DamageError, DistillError, UsageError
from distill_data.teachers.replies import encodable


@dataclass(frozen=True, slots=True)
class Files:
    """What a run publishes, side by side."""

    dataset: Path
    rejects: Path
    manifest: Path


def files_of(output: Path, *, partial: bool = False) -> Files:
    """`out.jsonl` with `out.rejects.jsonl` and `out.manifest.json`, or the same with `.partial` in each name.

    Raises UsageError for another ending.
    """
    if output.suffix != ".jsonl" or not output.stem:
        raise UsageError(f"-o {output}: the output is JSON lines, so its name must end in .jsonl.")
    stem = output.with_suffix(".partial") if partial else output.with_suffix("")
    return Files(*(stem.with_name(stem.name + end) for end in (".jsonl", ".rejects.jsonl", ".manifest.json")))


def encode_outcome(item: Item, outcome: Outcome) -> bytes:
    """A blob for the spill: a line with the status, then the lines of the dataset or of the rejects."""
    if outcome.status == "kept":
        rows: Iterable[Mapping[str, Any]] = outcome.records
    else:
        rows = [
            {
                "item": item.id,
                "outcome": outcome.status,
                "reason": outcome.reason,
                "detail": encodable(outcome.detail),
                "answers": [encodable(answer) for answer in outcome.answers],
                "seed": orjson.dumps(item.row).decode(),
            }
        ]
    return b"\n".join((outcome.status.encode(), *map(orjson.dumps, rows), b""))


class Count:
    """The sums over all outcomes: what the manifest's `result` says about items."""

    def __init__(self, items: int) -> None:
        self.items = items
        self.statuses: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self.gold: dict[str, list[int]] = {}

    def add(self, outcome: Outcome, group: str = "") -> None:
        """Count an outcome that is not pending; its agreement with gold under its group too."""
        self.statuses[outcome.status] += 1
        if outcome.reason:
            self.reasons[outcome.reason] += 1
        if outcome.dropped:
            self.dropped.update(outcome.dropped)
        if outcome.agrees is not None:
            for name in {"", group}:
                compared = self.gold.setdefault(name, [0, 0])
                compared[0] += 1
                compared[1] += outcome.agrees

    def ended(self) -> int:
        return self.statuses.total()

    def to_json(self) -> dict[str, Any]:
        ended = {status: self.statuses[status] for status in ("kept", "rejected", "failed")}
        pending = self.items - self.ended()
        if pending < 0:
            raise DistillError(f"the sums do not add up: {self.items} items, but {ended}; please report this.")
        gold = {group: {"compared": pair[0], "equal": pair[1]} for group, pair in sorted(self.gold.items())}
        agreement = {**gold.pop(""), "by": gold} if "" in gold else {}
        return {
            "items": self.items,
            **ended,
            "pending": pending,
            "reasons": dict(sorted(self.reasons.items())),
            "dropped": dict(sorted(self.dropped.items())),
            "gold": agreement,
        }


class Draft:
    """One file in the making, in its own directory under a temporary name."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self._temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        self._temporary.unlink(missing_ok=True)  # a killed process may have had our number
        self._stream: BinaryIO = open(self._temporary, "xb", buffering=1 << 20)  # noqa: SIM115, PTH123 - closed below
        self._hash = hashlib.sha256()
        self.rows = 0

    def write(self, lines: bytes) -> None:
        self._stream.write(lines)
        self._hash.update(lines)
        self.rows += lines.count(b"\n")

    def seal(self) -> dict[str, Any]:
        """Bring it to the disk and read it back: what is on disk must be what was meant."""
        self._stream.flush()
        size = self._stream.tell()
        os.fsync(self._stream.fileno())
        self._stream.close()
        digest = file_digest(self._temporary)
        if digest != self._hash.hexdigest():
            raise DamageError(
                f"{self.target}: what the disk gives back is not what was written; nothing was published."
            )
        return {"name": self.target.name, "rows": self.rows, "bytes": size, "sha256": digest}

    def publish(self) -> None:
        os.replace(self._temporary, self.target)  # noqa: PTH105 - the rename is the point

    def discard(self) -> None:
        with suppress(OSError):
            self._stream.close()
        with suppress(OSError):
            self._temporary.unlink(missing_ok=True)


def publish(
    blobs: Iterator[bytes], files: Files, count: Count, result: dict[str, Any], history: dict[str, Any]
) -> dict[str, Any]:
    """Write dataset, rejects and manifest; the manifest's result. A dataset without a row is not written.

    Raises DiskError. Until the first rename nothing that was there before has changed.
    """
    drafts: list[Draft] = []
    try:
        files.dataset.parent.mkdir(parents=True, exist_ok=True)
        for path in (files.dataset, files.rejects):
            drafts.append(Draft(path))  # one by one: the first is discarded where the second cannot be made
        ended = 0
        for blob in blobs:
            ended += 1
            status, lines = blob.split(b"\n", 1)
            drafts[status != b"kept"].write(lines)
        if ended != count.ended():
            raise DistillError(f"{ended} items ended and {count.ended()} were counted; please report this.")
        sums, sealed = count.to_json(), [draft.seal() for draft in drafts]
        result = {**sums, "records": drafts[0].rows, **result}
        result["files"] = {"dataset": sealed[0] if drafts[0].rows else None, "rejects": sealed[1]}
        drafts[1].publish()
        if drafts[0].rows:
            drafts[0].publish()
        sync_directory(files.dataset.parent)
        manifest = {"result": result, "history": history}
        write_atomically(files.manifest, orjson.dumps(manifest, option=orjson.OPT_INDENT_2) + b"\n", mode=0o644)
    except OSError as error:
        raise disk_error(error, files.dataset) from error
    finally:
        for draft in drafts:
            draft.discard()
    return result


def read_manifest(path: Path) -> dict[str, Any] | None:
    """A manifest as it was written, or None where there is none that can be read."""
    try:
        manifest = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return None
    return manifest if isinstance(manifest, dict) and "result" in manifest else None


def is_published(files: Files, plan: str) -> dict[str, Any] | None:
    """The manifest, if these files are the whole outcome of this plan and nobody has changed them since."""
    manifest = read_manifest(files.manifest)
    if manifest is None or manifest["result"].get("plan") != plan:
        return None
    for path, name in ((files.dataset, "dataset"), (files.rejects, "rejects")):
        described = manifest["result"]["files"][name]
        if described is None or not path.is_file() or file_digest(path) != described["sha256"]:
            return None
    return manifest


def file_digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def withdraw(files: Files) -> None:
    """Remove what an earlier, partial ending left, once the whole is there."""
    for path in (files.manifest, files.dataset, files.rejects):
        with suppress(FileNotFoundError):
            path.unlink()

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
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO

import orjson

from distill_data.data.items import Outcome
from distill_data.engine.durable import (
    disk_error,
    file_digest,
    make_directory,
    remove_leftovers,
    sync_directory,
    temporary_of,
    write_atomically,
)
from distill_data.engine.outcomes import WITH_ARRAYS, records_with_arrays
from distill_data.engine.shards import Shards, are_whole, discard_shards, folder_of
from distill_data.engine.uniting import order_line
from distill_data.errors import DamageError, DistillError, UsageError


@dataclass(frozen=True, slots=True)
class Files:
    """What a run publishes, side by side."""

    dataset: Path
    rejects: Path
    manifest: Path
    others: Mapping[str, Path] = field(default_factory=dict)
    """Kind to the file of its records, where a run writes several kinds."""
    order: Path | None = None
    """Where a shard says which position in the plan each of its outcomes has."""

    def datasets(self) -> dict[str, Path]:
        """What the manifest calls each file of records, to its path."""
        return {"dataset": self.dataset, **self.others}

    def paths(self) -> dict[str, Path]:
        """What the manifest calls each file, to its path; the manifest itself is none of them."""
        return {**self.datasets(), "rejects": self.rejects, **({"order": self.order} if self.order else {})}


def files_of(
    output: Path, *, partial: bool = False, others: Mapping[str, Path] = MappingProxyType({}), order: bool = False
) -> Files:
    """`out.jsonl` with `out.rejects.jsonl` and `out.manifest.json`, or the same with `.partial` in each name, in those
    of the `others` too. With `order` there is `out.order.txt` too.

    Raises UsageError for another ending.
    """
    for option, path in {"-o ": output, **{f"--kind {kind}=": path for kind, path in others.items()}}.items():
        if path.suffix != ".jsonl" or not path.stem:
            raise UsageError(f"{option}{path}: the output is JSON lines, so its name must end in .jsonl.")

    def named(path: Path, end: str) -> Path:
        stem = path.with_suffix(".partial") if partial else path.with_suffix("")
        return stem.with_name(stem.name + end)

    dataset, rejects, manifest = (named(output, end) for end in (".jsonl", ".rejects.jsonl", ".manifest.json"))
    further = {kind: named(path, ".jsonl") for kind, path in others.items()}
    return Files(dataset, rejects, manifest, further, named(output, ".order.txt") if order else None)


ENDED = ("kept", "rejected", "failed")


class Count:
    """The sums over all outcomes: what the manifest's `result` says about items."""

    def __init__(self, items: int) -> None:
        self.items = items
        self.statuses: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self.gold: dict[str, list[int]] = {}
        self.tallies: dict[str, list[int]] = {}
        self.records = 0

    def add(self, outcome: Outcome, group: str = "") -> None:
        """Count an outcome that is not pending; its agreement with gold under its group too."""
        self.statuses[outcome.status] += 1
        self.records += len(outcome.records)
        if outcome.reason:
            self.reasons[outcome.reason] += 1
        if outcome.dropped:
            self.dropped.update(outcome.dropped)
        if outcome.tallies:
            for name, (often, of) in outcome.tallies.items():
                _add(self.tallies, name, often, of)
        if outcome.agrees is not None:
            for name in {"", group}:
                _add(self.gold, name, 1, outcome.agrees)

    def absorb(self, result: Mapping[str, Any]) -> None:
        """Add the sums of another count, as a manifest's result tells them; `items` stays."""
        for status in ENDED:
            self.statuses[status] += result[status]
        self.reasons.update(result["reasons"])
        self.dropped.update(result["dropped"])
        self.records += result["records"]
        gold = result["gold"]
        for group, pair in {**gold.get("by", {}), **({"": gold} if gold else {})}.items():
            _add(self.gold, group, pair["compared"], pair["equal"])
        for name, pair in result.get("measures", {}).items():
            _add(self.tallies, name, pair["count"], pair["of"])

    def ended(self) -> int:
        return self.statuses.total()

    def to_json(self) -> dict[str, Any]:
        ended = {status: self.statuses[status] for status in ENDED}
        pending = self.items - self.ended()
        if pending < 0:
            raise DistillError(f"the sums do not add up: {self.items} items, but {ended}; please report this.")
        gold = {group: {"compared": pair[0], "equal": pair[1]} for group, pair in sorted(self.gold.items())}
        agreement = {**gold.pop(""), "by": gold} if "" in gold else {}
        tallies = {name: {"count": pair[0], "of": pair[1]} for name, pair in sorted(self.tallies.items()) if pair[1]}
        return {
            "items": self.items,
            **ended,
            "pending": pending,
            "reasons": dict(sorted(self.reasons.items())),
            "dropped": dict(sorted(self.dropped.items())),
            "gold": agreement,
            **({"measures": tallies} if tallies else {}),
        }


def _add(pairs: dict[str, list[int]], name: str, first: int, second: int) -> None:
    pair = pairs.setdefault(name, [0, 0])
    pair[0] += first
    pair[1] += second


TABLES = (".parquet", ".arrow")
"""Endings of files whose line ends are no rows."""
ALWAYS = ("rejects", "order")
"""Files that are there without a row too."""
CHUNK = 1 << 20
"""Bytes that are written, summed and counted at once."""


class Draft:
    """One file in the making, in its own directory under a temporary name."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self._temporary = temporary_of(target)
        self._stream: BinaryIO = open(self._temporary, "xb")  # noqa: SIM115, PTH123 - closed below
        self._hash = hashlib.sha256()
        self._lines = bytearray()
        self.rows = 0
        """Lines that have been written. All, once it is sealed."""

    def write(self, lines: bytes) -> None:
        self._lines += lines
        if len(self._lines) >= CHUNK:
            self._flush()

    def _flush(self) -> None:
        lines, self._lines = self._lines, bytearray()
        self._stream.write(lines)
        self._hash.update(lines)
        self.rows += lines.count(b"\n")

    def seal(self) -> dict[str, Any]:
        """Bring it to the disk and read it back: what is on disk must be what was meant."""
        self._flush()
        self._stream.flush()
        size = self._stream.tell()
        os.fsync(self._stream.fileno())
        self._stream.close()
        digest = file_digest(self._temporary)
        if digest != self._hash.hexdigest():
            raise DamageError(
                f"{self.target}: what the disk gives back is not what was written; nothing was published."
            )
        rows = {} if self.target.suffix in TABLES else {"rows": self.rows}
        return {"name": self.target.name, **rows, "bytes": size, "sha256": digest}

    def publish(self) -> None:
        os.replace(self._temporary, self.target)  # noqa: PTH105 - the rename is the point

    def discard(self) -> None:
        with suppress(OSError):
            self._stream.close()
        with suppress(OSError):
            self._temporary.unlink(missing_ok=True)


def publish(
    blobs: Iterator[bytes],
    files: Files,
    count: Count,
    result: dict[str, Any],
    history: dict[str, Any],
    places: Iterable[int] = (),
) -> dict[str, Any]:
    """Write dataset, rejects and manifest; the manifest's result. A dataset without a row is not written.

    `places` are the outcomes' positions in the plan, where the files have an order. Raises DiskError. Until the first
    rename nothing that was there before has changed.
    """
    drafts: dict[str, Draft] = {}
    shards = Shards(folder_of(files.dataset))
    paths = files.paths()
    try:
        for name, path in paths.items():
            make_directory(path.parent, mode=0o777)
            drafts[name] = Draft(path)  # one by one: the first is discarded where the second cannot be made
        if files.order:
            blobs = _listed(blobs, places, drafts["order"])
        ended = _fill(blobs, drafts["rejects"], [drafts[name] for name in files.datasets()], shards)
        if ended != count.ended():
            raise DistillError(f"{ended} items ended and {count.ended()} were counted; please report this.")
        sums, sealed = count.to_json(), {name: draft.seal() for name, draft in drafts.items()}
        result = {**sums, "records": drafts["dataset"].rows, **result}
        if shards.described:
            result["features"] = shards.describe()
        wanted = {name: draft.rows > 0 or name in ALWAYS for name, draft in drafts.items()}
        result["files"] = {name: sealed[name] if wanted[name] else None for name in drafts}
        for name in reversed(drafts):
            if wanted[name]:
                drafts[name].publish()
            elif name == "dataset" or name in _made(files):
                paths[name].unlink(missing_ok=True)  # by an earlier plan
        for directory in dict.fromkeys(path.parent for path in paths.values()):
            sync_directory(directory)
        manifest = {"result": result, "history": history}
        write_atomically(files.manifest, orjson.dumps(manifest, option=orjson.OPT_INDENT_2) + b"\n", mode=0o644)
        discard_shards(shards.folder, frozenset(shard["name"] for shard in shards.described))
    except OSError as error:
        raise disk_error(error, files.dataset) from error
    finally:
        for draft in drafts.values():
            draft.discard()
    return result


def _listed(blobs: Iterator[bytes], places: Iterable[int], order: Draft) -> Iterator[bytes]:
    """The same blobs, while their places are written down."""
    for place, blob in zip(places, blobs, strict=True):
        order.write(order_line(place, blob))
        yield blob


def _fill(blobs: Iterator[bytes], rejects: Draft, datasets: list[Draft], shards: Shards) -> int:
    """Write every outcome's lines where they belong; how many outcomes there were."""
    ended = 0
    for blob in blobs:
        ended += 1
        head, lines = blob.split(b"\n", 1)
        if head == b"kept":
            datasets[0].write(lines)
        elif head.startswith(WITH_ARRAYS):
            for record, arrays in records_with_arrays(head, lines):
                for line in shards.add(record, arrays):
                    datasets[0].write(line)
        elif head.startswith(b"kept "):
            for draft, rows in zip(datasets, head.split()[1:], strict=True):
                for _ in range(int(rows)):
                    line, lines = lines.split(b"\n", 1)
                    draft.write(line + b"\n")
        else:
            rejects.write(lines)
    for line in shards.flush():
        datasets[0].write(line)
    return ended


def read_manifest(path: Path) -> dict[str, Any] | None:
    """A manifest as it was written, or None where there is none that can be read."""
    try:
        manifest = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return None
    return manifest if _is_manifest(manifest) else None


def _is_manifest(manifest: Any) -> bool:
    """Whether it has the parts that whoever reads it relies on; any of them may be another program's or harmed."""
    if not isinstance(manifest, dict) or not isinstance(manifest.get("result"), dict):
        return False
    result, history = manifest["result"], manifest.get("history", {})
    files, counts = result.get("files", {}), (result.get("items", 0), result.get("failed", 0))
    described = isinstance(files, dict) and all(each is None or isinstance(each, dict) for each in files.values())
    return described and isinstance(history, dict) and all(type(count) is int for count in counts)


def is_published(files: Files, plan: str) -> dict[str, Any] | None:
    """The manifest, if these files are the whole outcome of this plan and nobody has changed them since."""
    manifest = read_manifest(files.manifest)
    if manifest is None or manifest["result"].get("plan") != plan or "history" not in manifest:
        return None
    for name, path in files.paths().items():
        described = manifest["result"].get("files", {}).get(name)
        if described is None and name in files.others:
            continue  # this run keeps nothing of that kind
        if described is None or not path.is_file() or file_digest(path) != described.get("sha256"):
            return None
    if not are_whole(manifest["result"].get("features"), files.dataset.parent):
        return None
    return manifest


def _made(files: Files) -> dict[str, Path]:
    """The files of further kinds that lie there as a run wrote them, by the manifest beside the dataset."""
    manifest = read_manifest(files.manifest)
    described = manifest["result"].get("files", {}) if manifest else {}
    return {
        kind: path
        for kind, path in files.others.items()
        if described.get(kind) and path.is_file() and file_digest(path) == described[kind].get("sha256")
    }


def withdraw(files: Files) -> None:
    """Remove what an earlier, partial ending left, once the whole is there. Files of further kinds have names of the
    user's choice, so only those that a run wrote. Raises DiskError."""
    try:
        for path in (*_made(files).values(), files.manifest, files.dataset, files.rejects, files.order):
            if path is not None:
                path.unlink(missing_ok=True)
                remove_leftovers(path)
        discard_shards(folder_of(files.dataset))
    except OSError as error:
        raise disk_error(error, files.dataset) from error

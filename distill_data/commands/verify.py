"""`verify`: what a run published, looked at again: the files by the manifest, the arrays record by record.

Nothing is sent and nothing is changed, unless a teacher is asked to score some rows again (commands/rescore.py).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import orjson

from distill_data.commands.check_arrays import check_arrays
from distill_data.commands.manifests import described_in, result_of
from distill_data.commands.options import Options
from distill_data.data.features import Features, open_features
from distill_data.data.items import Record
from distill_data.engine.publish import files_of, read_manifest
from distill_data.errors import DamageError, UsageError

CHUNK = 1 << 20
FINDINGS = 1000
"""After as many there is nothing to learn from more."""


@dataclass(slots=True)
class Verified:
    """What was looked at, and what is wrong."""

    findings: list[str] = field(default_factory=list)
    """Each a sentence with the file, and the row where it is about one; none where all is well."""
    counts: dict[str, int] = field(default_factory=dict)
    """What was looked at: files, rows, shards, tokens, rows scored again."""

    def add(self, finding: str) -> None:
        if len(self.findings) < FINDINGS:
            self.findings.append(finding)


def verify(output: str, *, rescore: int = 0, options: Options = Options()) -> Verified:  # noqa: B008
    """Compare what a run published with its manifest, and arrays with what they can be.

    With `rescore` the teacher of `options` scores that many rows again, drawn by its seed, and must agree. Raises
    UsageError where there is no manifest, or the rows cannot be scored again.
    """
    dataset = Path(output)
    if dataset.is_dir():
        return _verify_student(dataset)
    manifest = _manifest(dataset)
    found = Verified(counts={"files": 0, "rows": 0})
    for described in filter(None, manifest["files"].values()):
        _check_file(dataset.parent, described, "rows", found)
        found.counts["rows"] += described["rows"]
    side_files = manifest.get("features")
    if side_files is not None:
        found.counts |= {"shards": len(side_files["shards"]), "tokens": side_files["tokens"]}
        for shard in side_files["shards"]:
            _check_file(dataset.parent, shard, "tensors", found)
        if dataset.is_file():
            _check_records(dataset, manifest, found)
    if rescore:
        from distill_data.commands.rescore import compare_again

        if side_files is None:
            raise UsageError(f"{dataset}: has no arrays, so there is nothing to score again; drop --rescore.")
        if not found.findings:  # what is damaged would differ anyway
            found.counts["rescored"], differences = compare_again(dataset, manifest, rescore, options)
            found.findings.extend(differences)
    return found


def read_records(dataset: Path) -> Iterator[tuple[str, Record]]:
    """The dataset's records with their places. Raises DamageError for a line that is no record."""
    with dataset.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            where = f"{dataset}:{number}"
            try:
                record = orjson.loads(line)
            except orjson.JSONDecodeError as error:
                raise DamageError(f"{where}: this line is not JSON: {error}.") from None
            if not isinstance(record, dict) or not isinstance(record.get("id"), str):
                raise DamageError(f"{where}: this line is no record with an id.")
            yield where, record


def tokenizer_of(record: Record) -> dict[str, Any]:
    """The fingerprint in the record's column `features`; empty where there is none."""
    features = record.get("features")
    tokenizer = features.get("tokenizer") if isinstance(features, Mapping) else None
    return dict(tokenizer) if isinstance(tokenizer, Mapping) else {}


def side_files_of(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What a manifest's result says of the side files; none where it says nothing that can be."""
    return list(result["features"]["shards"]) if is_manifest(result) and result.get("features") else []


def details_of(record: Record) -> dict[str, Any]:
    """What the record's `meta` says in JSON about how it was made; empty where it says nothing."""
    meta = record.get("meta")
    text = meta.get("details") if isinstance(meta, Mapping) else None
    try:
        details = orjson.loads(text) if isinstance(text, str) else {}
    except orjson.JSONDecodeError:
        return {}
    return details if isinstance(details, dict) else {}


def feature_of(record: Record) -> dict[str, Any]:
    """φ of the record, as it was asked for; empty where the record does not say it."""
    feature = details_of(record).get("feature")
    return feature if isinstance(feature, dict) else {}


def manifest_of(dataset: Path) -> Path:
    """`out.manifest.json` beside `out.jsonl`. Raises UsageError for another ending."""
    return files_of(dataset).manifest


def _manifest(dataset: Path) -> dict[str, Any]:
    """The manifest's result. Raises UsageError where there is none."""
    path = manifest_of(dataset)
    manifest = read_manifest(path)
    if manifest is not None:
        result = manifest["result"]
        if is_manifest(result):
            return dict(result)
    partial = files_of(dataset, partial=True)
    hint = f" The run was not finished: verify {partial.dataset}." if partial.manifest.is_file() else ""
    if path.exists():
        raise DamageError(f"{path}: this is no manifest that can be read.{hint}")
    raise UsageError(f"{path}: there is no manifest, so nothing says what {dataset} should be.{hint}")


def is_manifest(result: Any) -> bool:
    """Whether a manifest's result describes files and side files as a run does."""
    if not isinstance(result, dict) or not isinstance(result.get("files"), dict):
        return False
    files, features = [each for each in result["files"].values() if each is not None], result.get("features")
    if features is not None:
        if not isinstance(features, dict) or not isinstance(features.get("shards"), list):
            return False
        files += features["shards"]
    return all(map(_is_described, files)) and (features is None or type(features.get("tokens")) is int)


def _is_described(each: Any) -> bool:
    """Whether it names a file below the dataset's folder, with its size, rows and digest."""
    if not isinstance(each, dict) or not isinstance(each.get("name"), str) or not isinstance(each.get("sha256"), str):
        return False
    path = PurePosixPath(each["name"])
    inside = bool(path.parts) and not path.is_absolute() and ".." not in path.parts
    return inside and type(each.get("bytes")) is int and type(each.get("rows")) is int


def _verify_student(folder: Path) -> Verified:
    """Compare a folder that `train` wrote with its manifest. Raises UsageError where there is none."""
    result = result_of(folder.with_name(f"{folder.name}.manifest.json"))
    if result.get("command") != "train":
        raise UsageError(f"{folder}: is a folder, and no manifest beside it says that `train` wrote it.")
    found, files = Verified(counts={"files": 0}), described_in(result).values()
    if not files or not all(each.keys() >= {"name", "bytes", "sha256"} for each in files):
        raise DamageError(f"{folder}: the manifest beside it does not say what its files are.")
    for described in files:
        _check_file(folder.parent, described, "tensors", found)
    return found


def _check_file(folder: Path, described: Mapping[str, Any], rows: str, found: Verified) -> None:
    """Size, digest and, of a file of lines, their number."""
    path = folder / described["name"]
    found.counts["files"] += 1
    if not path.is_file():
        found.add(f"{path}: is missing.")
        return
    size, lines, digest = 0, 0, hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            size += len(chunk)
            lines += chunk.count(b"\n")
            digest.update(chunk)
    if size != described["bytes"]:
        found.add(f"{path}: has {size} bytes, and the manifest says {described['bytes']}.")
    elif digest.hexdigest() != described["sha256"]:
        found.add(f"{path}: its SHA-256 is {digest.hexdigest()}, and the manifest says {described['sha256']}.")
    if rows == "rows" and lines != described["rows"]:
        found.add(f"{path}: has {lines} rows, and the manifest says {described['rows']}.")


def _check_records(dataset: Path, manifest: Mapping[str, Any], found: Verified) -> None:
    """Every record's arrays, and the sums over all of them."""
    features = open_features(dataset)
    side_files = manifest["features"]
    tokens, rows, seen = 0, Counter[str](), set[str]()
    missing = {each["name"] for each in side_files["shards"] if not (dataset.parent / each["name"]).is_file()}
    try:
        for where, record in read_records(dataset):
            described = record.get("features")
            if not isinstance(described, dict):
                found.add(f"{where}: has no column `features`.")
                continue
            counted = described.get("tokens", 0)
            tokens += counted if type(counted) is int else 0
            rows[str(described.get("file"))] += 1
            if record["id"] in seen:
                found.add(f"{where}: the id {record['id']} stands there twice.")
            seen.add(record["id"])
            if described.get("tokenizer", {}) != side_files.get("tokenizer", {}):
                found.add(f"{where}: its tokenizer is not the one that the manifest names.")
            if described.get("file") in missing:
                continue  # that is said already
            for finding in _check_record(features, record):
                found.add(f"{where}: record {record['id']} {finding}")
    except DamageError as error:
        found.add(str(error))
        return
    if tokens != side_files["tokens"]:
        found.add(f"{dataset}: its records have {tokens} tokens, and the manifest says {side_files['tokens']}.")
    for shard in side_files["shards"]:
        if rows[shard["name"]] != shard["rows"]:
            there = rows[shard["name"]]
            found.add(f"{dataset}: {there} records are in {shard['name']}, and the manifest says {shard['rows']}.")


def _check_record(features: Features, record: Record) -> Iterator[str]:
    try:
        for finding in check_arrays(features.of(record), feature_of(record), record):
            yield f"{finding}."
    except (DamageError, UsageError) as error:
        yield f"cannot be read: {error}"

"""`export` of a dataset's arrays in the shape that a trainer reads, whole or not at all. Asks no teacher."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from distill_data.commands.options import Options
from distill_data.commands.verify import feature_of, manifest_of, read_records, side_files_of, tokenizer_of
from distill_data.data.arrays import topk_of
from distill_data.data.features import open_features
from distill_data.data.fingerprints import matches
from distill_data.data.items import Record
from distill_data.engine.durable import (
    disk_error,
    file_digest,
    remove,
    sync_directory,
    temporary_of,
    write_atomically,
)
from distill_data.engine.publish import files_of, read_manifest
from distill_data.engine.shards import folder_of
from distill_data.errors import DamageError, UsageError
from distill_data.formats.axolotl import write_axolotl
from distill_data.formats.distillkit import write_distillkit
from distill_data.formats.kd import Facts, Row, Writer
from distill_data.formats.npz import write_npz
from distill_data.teachers.profiles import find_profile, load_profiles
from distill_data.teachers.protocol import Profile


class Export(NamedTuple):
    """A shape that a dataset can be given."""

    write: Writer
    about: str
    """What is written and who reads it, in a line."""
    ending: str
    """Of the output's name; empty for a folder."""
    tokens: bool
    """Whether the tokens of the prompt are needed too, and so the tokenizer."""


ARRAYS: Mapping[str, Export] = {
    "axolotl-kd": Export(write_axolotl, "JSONL with the columns of Axolotl's KD plugin", ".jsonl", tokens=True),
    "distillkit": Export(
        write_distillkit, "a folder, DistillKit's offline dataset of log-probabilities", "", tokens=True
    ),
    "npz": Export(write_npz, "one file of plain arrays for numpy, ID.NAME each", ".npz", tokens=False),
}
"""Target to how it is written. A new one is a writer in formats/ and a line here."""
TRANSFORMERS = "transformers/"

Tokens = Callable[[str, Record, Any], tuple[list[int], int]]
"""Place, record and y's tokens to all tokens of the conversation, and where y begins."""


def export_arrays(
    source: str,
    *,
    to: str,
    output: str,
    tokenizer: str = "",
    options: Options = Options(),  # noqa: B008
) -> dict[str, Any]:
    """Write the dataset's arrays for `to`; the manifest that lies beside it then, `OUTPUT.manifest.json`.

    `tokenizer` names a model (`transformers/PATH`) whose tokenizer is the dataset's; without one it is the teacher's.
    Raises UsageError, DamageError, DiskError. Until everything is written, nothing of an earlier export has changed.
    """
    dataset, target = Path(source), Path(output)
    shape = ARRAYS[to]
    _check_output(dataset, target, shape)
    _check_side_files(dataset)
    facts = _survey(dataset, target, shape)
    tokens = _tokens_of(dataset, tokenizer, options) if shape.tokens else None
    count = [0]
    settings = _write(shape, _rows(dataset, tokens, count), target, facts)
    manifest = {
        "to": to,
        "source": {"name": dataset.name, "sha256": file_digest(dataset)},
        "rows": count[0],
        "trainer": settings,
        "files": _describe(target),
    }
    write_atomically(_manifest_path(target), orjson.dumps(manifest, option=orjson.OPT_INDENT_2) + b"\n", mode=0o644)
    return manifest


def _manifest_path(target: Path) -> Path:
    return target.with_name(target.name + ".manifest.json")


def _check_output(dataset: Path, target: Path, shape: Export) -> None:
    """Raise UsageError where the output is stdout, has another ending, is there already, or belongs to the input."""
    if str(target) == "-":
        raise UsageError("-o -: stdout takes lines and Parquet, and no arrays; name a file or folder.")
    if not target.name or (shape.ending and target.suffix != shape.ending):
        raise UsageError(f"-o {target}: the name must end in {shape.ending or 'that of a new folder'}.")
    if target.is_dir() or (not shape.ending and target.exists()):
        raise UsageError(f"-o {target}: is there already; name another place, or remove it first.")
    files = files_of(dataset)
    read = [files.dataset, files.rejects, files.manifest]
    for path in (target, _manifest_path(target)):
        inside = folder_of(dataset).resolve() in path.resolve().parents
        if inside or any(path.resolve() == each.resolve() for each in read):
            raise UsageError(f"-o {target}: {path} belongs to the dataset that is read. Name another place.")


def _check_side_files(dataset: Path) -> None:
    """Raise DamageError where a side file is not the one that the manifest beside the dataset names."""
    manifest = read_manifest(manifest_of(dataset))
    for shard in side_files_of(manifest["result"]) if manifest else ():
        path = dataset.parent / shard["name"]
        if path.is_file() and file_digest(path) != shard["sha256"]:
            raise DamageError(f"{path}: is not as it was written; `distill-data verify {dataset}` says more.")


def _survey(dataset: Path, target: Path, shape: Export) -> Facts:
    """What holds for all records, from reading them once."""
    features = open_features(dataset)
    k = 0
    first: Mapping[str, Any] = {}
    tokenizer: Mapping[str, Any] = {}
    seen: set[str] = set()
    for where, record in read_records(dataset):
        if record["id"] in seen:
            raise UsageError(f"{where}: the id {record['id']} stands there twice, so its arrays cannot be told apart.")
        seen.add(record["id"])
        if shape.tokens:
            arrays = features.of(record)
            if "logprobs" not in arrays or "tokens" not in arrays:
                raise UsageError(
                    f"{where}: has the arrays {', '.join(arrays)}, and this trainer reads the k most likely tokens "
                    "only; make the dataset with `feature -r topk`, or export it as npz."
                )
            k = max(k, topk_of(arrays).ids.shape[1])
        first = first or feature_of(record)
        tokenizer = tokenizer or tokenizer_of(record)
    temperature = first.get("temperature", 1.0)
    return Facts(
        k,
        tokenizer.get("vocab_size") or 0,
        float(temperature) if isinstance(temperature, int | float) else 1.0,
        target,
    )


def _rows(dataset: Path, tokens: Tokens | None, count: list[int]) -> Iterator[Row]:
    features = open_features(dataset)
    for where, record in read_records(dataset):
        arrays = features.of(record)
        ids, start = tokens(where, record, arrays.get("tokens")) if tokens else ([], 0)
        count[0] += 1
        yield Row(where, record, arrays, ids, start)


def _tokens_of(dataset: Path, tokenizer: str, options: Options) -> Tokens:
    """How a record becomes tokens. Raises UsageError where the tokenizer is not there, or not the dataset's."""
    profile = _tokenizer_profile(dataset, tokenizer, options)
    from distill_data.teachers.checkpoints import find
    from distill_data.teachers.loading import load_tokenizer, read_fingerprint
    from distill_data.teachers.spans import TemplateRefused, encode_pair, encode_text

    own = read_fingerprint(profile)
    loaded = load_tokenizer(profile, find(profile, whole=False).folder)

    def encode(where: str, record: Record, scored: Any) -> tuple[list[int], int]:
        known = tokenizer_of(record)
        if known and matches(known, own) == "mismatch":
            raise UsageError(
                f"{where}: was scored with the tokenizer {known.get('name')}, and {profile.name} has another."
            )
        try:
            if isinstance(record.get("text"), str):
                ids, start = encode_text(loaded, record["text"]), 1
            else:
                pair = encode_pair(loaded, record.get("prompt") or [], record.get("completion") or [])
                ids, start = (pair.ids, pair.start) if pair else ([], 0)
        except TemplateRefused as error:
            raise UsageError(f"{where}: {error}.") from None
        if ids[start : start + len(scored)] != scored.tolist():
            raise UsageError(
                f"{where}: {profile.name} does not make the tokens of it that were scored. Name the teacher's own "
                "model with --tokenizer; a completion's arrays fit no other tokens."
            )
        return ids, start

    return encode


def _tokenizer_profile(dataset: Path, tokenizer: str, options: Options) -> Profile:
    profiles, name = load_profiles(options.config), tokenizer
    if not name:
        manifest = read_manifest(files_of(dataset).manifest) or {"result": {}}
        teachers = manifest["result"].get("teachers", {}).values()
        # A profile of another machine's configuration is not known here, and nobody typed its name.
        name = next((each for each in teachers if each in profiles or each.startswith(TRANSFORMERS)), "")
    profile = find_profile(name, profiles) if name else None
    if profile is None or not profile.model.startswith(TRANSFORMERS):
        raise UsageError(
            "this target holds the prompt's tokens too, so the tokenizer is needed: --tokenizer transformers/PATH, the "
            "teacher's or a student's that `check` calls same."
        )
    return profile


def _write(shape: Export, rows: Iterator[Row], target: Path, facts: Facts) -> Mapping[str, Any]:
    """Write under a temporary name, bring it to the disk, rename."""
    temporary = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = temporary_of(target)
        settings = shape.write(rows, temporary, facts)
        for path in _files(temporary):
            with path.open("rb") as stream:
                os.fsync(stream.fileno())
        if temporary.is_dir():
            sync_directory(temporary)
        temporary.replace(target)
        sync_directory(target.parent)
    except OSError as error:
        raise disk_error(error, target) from error
    finally:
        with suppress(OSError):
            if temporary is not None:
                remove(temporary)
    return settings


def _files(path: Path) -> list[Path]:
    return sorted(path.iterdir()) if path.is_dir() else [path]


def _describe(target: Path) -> list[dict[str, Any]]:
    return [
        {"name": str(path.relative_to(target.parent)), "bytes": path.stat().st_size, "sha256": file_digest(path)}
        for path in _files(target)
    ]

"""The arrays that belong to a dataset's records, read from its side files: one record's at a time, none of the others'.

    features = open_features(Path("out.jsonl"))
    arrays = features.of(record)        # or features.find("0d3524fd654fc611")

Files are mapped into memory, so what a record costs does not depend on how many there are. Knows neither what the
arrays mean (data/arrays.py does) nor how side files are written.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import orjson

from distill_data.data.items import Record
from distill_data.errors import DamageError, UsageError

if TYPE_CHECKING:
    from distill_data.data.arrays import Array

OPEN_SHARDS = 8
"""How many side files are held open; the one that was not read for longest makes room."""
FORMAT, VERSION = "distill-data-features", "1"


class Features:
    """A dataset's side files, by record."""

    def __init__(self, dataset: Path) -> None:
        self.dataset = dataset
        self._open: OrderedDict[str, _Shard] = OrderedDict()
        self._files: dict[str, str] | None = None

    def of(self, record: Record) -> dict[str, Array]:
        """The record's arrays by name. It may stand in any order, or in another file of the same folder.

        Raises UsageError for a record without a place in a side file, DamageError where that file is missing, cannot
        be read or has nothing of this record.
        """
        described = record.get("features")
        file = described.get("file") if isinstance(described, Mapping) else None
        if not isinstance(file, str) or not isinstance(record.get("id"), str):
            raise UsageError(
                f"{self.dataset}: record {record.get('id', 'without id')} has no column `features` that names a side "
                "file; datasets with arrays are written by `distill-data feature`."
            )
        return self._shard(file).arrays(record["id"])

    def find(self, identity: str) -> dict[str, Array]:
        """The arrays of the record with this id. The first call reads the dataset's lines once, not the arrays.

        Raises UsageError where no record has this id, and what `of` raises.
        """
        if self._files is None:
            self._files = _files_of(self.dataset)
        file = self._files.get(identity)
        if file is None:
            raise UsageError(f"{self.dataset}: no record with the id {identity} has arrays.")
        return self._shard(file).arrays(identity)

    def _shard(self, file: str) -> _Shard:
        found = self._open.pop(file, None) or _Shard(_place(self.dataset, file))
        self._open[file] = found
        if len(self._open) > OPEN_SHARDS:
            self._open.popitem(last=False)
        return found


def open_features(dataset: Path) -> Features:
    """The arrays of `out.jsonl`. Opens a side file when the first of its records is asked for.

    Raises UsageError where the dataset does not exist, or the extra `features` is not installed.
    """
    if not dataset.is_file():
        raise UsageError(f"{dataset}: there is no such dataset.")
    try:
        import safetensors  # noqa: F401 - said here, not at the first record
    except ImportError as error:
        raise UsageError(
            "arrays are read with the extra `features` (in a checkout: pip install '.[features]')"
        ) from error
    return Features(dataset)


def _place(dataset: Path, file: str) -> Path:
    """Where a side file lies. A dataset may come from anybody, so it names nothing outside its own folder."""
    relative = PurePosixPath(file)
    if relative.is_absolute() or ".." in relative.parts or relative.suffix != ".safetensors":
        raise DamageError(f"{dataset}: {file} is no side file: it must be a .safetensors below the dataset's folder.")
    return dataset.parent / relative


def _files_of(dataset: Path) -> dict[str, str]:
    """Record id to its side file, from the dataset's lines."""
    found: dict[str, str] = {}
    names: dict[str, str] = {}
    with dataset.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                record = orjson.loads(line)
                file, identity = record["features"]["file"], record["id"]
                if found.setdefault(identity, names.setdefault(file, file)) != file:
                    raise UsageError(
                        f"{dataset}:{number}: the id {identity} stands there twice, with arrays in other files; ask "
                        "for those of a record, not of an id."
                    )
            except (orjson.JSONDecodeError, KeyError, TypeError) as error:
                raise UsageError(f"{dataset}:{number}: this line is no record with arrays.") from error
    return found


class _Shard:
    """One side file, mapped into memory."""

    def __init__(self, path: Path) -> None:
        from safetensors import SafetensorError, safe_open

        self.path = path
        self.broken = SafetensorError
        if not path.is_file():
            raise DamageError(f"{path}: this side file is missing. Restore it from a copy, or run the command again.")
        open_tensors: Any = safe_open
        try:
            self.tensors = open_tensors(path, framework="numpy")
            metadata = self.tensors.metadata() or {}
            keys = list(self.tensors.keys())
        except (SafetensorError, OSError) as error:
            raise self._damage(str(error)) from error
        if metadata.get(FORMAT) != VERSION:
            raise DamageError(f"{path}: not a side file that this version reads; its metadata are {metadata}.")
        self.names: dict[str, list[str]] = {}
        for key in keys:
            identity, _, name = key.partition(".")
            self.names.setdefault(identity, []).append(name)

    def arrays(self, identity: str) -> dict[str, Array]:
        names = self.names.get(identity)
        if names is None:
            raise DamageError(f"{self.path}: has no arrays of the record {identity}. Is the file of another dataset?")
        try:
            return {name: self.tensors.get_tensor(f"{identity}.{name}") for name in names}
        except (self.broken, OSError, ValueError) as error:
            raise self._damage(f"record {identity}: {error}") from error

    def _damage(self, why: str) -> DamageError:
        return DamageError(
            f"{self.path}: this side file is damaged ({why}). Restore it from a copy, or remove it and run the command "
            "that wrote it again: its answers are in the run."
        )

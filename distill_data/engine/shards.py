"""Side files of a dataset: its records' arrays, in shards of safetensors that are whole before a record names them.

A shard's name ends in a digest of its content, so shards of another publication are never written over while a dataset
still points at them; they are removed once it no longer does. Tensors are named `<record id>.<array>`. Knows neither
methods nor what the arrays mean.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from distill_data.data.items import Arrays
from distill_data.engine.durable import file_digest, remove_leftovers, sync_directory, temporary_of

SHARD_BYTES = 64 << 20
"""A shard is closed once it holds as many; all of it is in memory while it is written."""
SHARD_ROWS = 4096
METADATA = {"distill-data-features": "1"}
"""One entry: safetensors writes several in any order, and equal arrays are to make equal bytes."""
ENDING = ".safetensors"
_SHARD = re.compile(r"[0-9]{5,}-[0-9a-f]{12}")
BEGUN = "shard"
"""What a shard's temporary name is made of. Its own has a digest of what is in it."""


@dataclass(slots=True)
class Shards:
    """The side files of one dataset in the making."""

    folder: Path
    described: list[dict[str, Any]] = field(default_factory=list)
    """What the manifest says of each shard."""
    tokens: int = 0
    tail: float | None = None
    """The mass that was not kept, summed over tokens, where records say it."""
    tokenizer: Mapping[str, Any] | None = None
    _rows: list[dict[str, Any]] = field(default_factory=list)
    _arrays: list[tuple[str, Arrays]] = field(default_factory=list)
    _size: int = 0

    def add(self, record: dict[str, Any], arrays: Arrays) -> Iterator[bytes]:
        """Take a record and its arrays; the lines of the dataset that are complete by this."""
        size = len(arrays.source) if isinstance(arrays.source, bytes) else arrays.source.length
        if self._rows and (self._size + size > SHARD_BYTES or len(self._rows) >= SHARD_ROWS):
            yield from self.flush()
        self._rows.append(record)
        self._arrays.append((record["id"], arrays))
        self._size += size

    def flush(self) -> Iterator[bytes]:
        """Write the shard that is begun, if one is, and give its records' lines."""
        if not self._rows:
            return
        name = self._write()
        for record in self._rows:
            features = record["features"]
            features["file"] = name
            tokens = features.get("tokens", 0)
            self.tokens += tokens
            if "tail" in features:
                self.tail = (self.tail or 0.0) + features["tail"] * tokens
            self.tokenizer = self.tokenizer or features.get("tokenizer")
            yield orjson.dumps(record) + b"\n"
        self._rows, self._arrays, self._size = [], [], 0

    def _write(self) -> str:
        """The shard's name below the dataset's folder, once it is on the disk."""
        from safetensors.numpy import save

        from distill_data.data.arrays import decode

        tensors: dict[str, Any] = {}
        for identity, arrays in self._arrays:
            held = arrays.source if isinstance(arrays.source, bytes) else arrays.source.read()
            tensors |= {f"{identity}.{name}": array for name, array in decode(arrays.header, held).items()}
        self.folder.mkdir(exist_ok=True)
        temporary = temporary_of(self.folder / BEGUN)
        try:
            with temporary.open("wb") as stream:
                stream.write(save(tensors, METADATA))
                stream.flush()
                os.fsync(stream.fileno())
            digest = file_digest(temporary)
            target = self.folder / f"{len(self.described):05d}-{digest[:12]}{ENDING}"
            size = temporary.stat().st_size
            temporary.replace(target)
        finally:
            with suppress(FileNotFoundError):
                temporary.unlink()
        name = f"{self.folder.name}/{target.name}"
        self.described.append({"name": name, "rows": len(self._rows), "bytes": size, "sha256": digest})
        return name

    def describe(self) -> dict[str, Any]:
        """What the manifest's result says of the side files. Raises OSError."""
        if self.described:
            sync_directory(self.folder)
            sync_directory(self.folder.parent)
        size = sum(shard["bytes"] for shard in self.described)
        return {
            "shards": self.described,
            "bytes": size,
            "tokens": self.tokens,
            "bytes_per_token": round(size / self.tokens, 2) if self.tokens else 0.0,
            **({} if self.tail is None else {"tail": round(self.tail / max(self.tokens, 1), 6)}),
            **({"tokenizer": self.tokenizer} if self.tokenizer else {}),
        }


def folder_of(dataset: Path) -> Path:
    """Where a dataset's shards lie: `out.features` beside `out.jsonl`."""
    return dataset.with_name(dataset.with_suffix("").name + ".features")


def discard_shards(folder: Path, wanted: frozenset[str] = frozenset()) -> None:
    """Remove all shards but the wanted ones, and the folder if nothing else is in it."""
    if not folder.is_dir() or folder.is_symlink():
        return
    for path in folder.iterdir():
        if _SHARD.fullmatch(path.stem) and path.suffix == ENDING and f"{folder.name}/{path.name}" not in wanted:
            path.unlink(missing_ok=True)
    remove_leftovers(folder / BEGUN)
    with suppress(OSError):
        folder.rmdir()


def are_whole(described: Mapping[str, Any] | None, parent: Path) -> bool:
    """Whether the side files that a manifest names lie there unchanged. By size: `verify` looks at every byte."""
    shards = described["shards"] if described else []
    paths = [(parent / shard["name"], shard["bytes"]) for shard in shards]
    return all(path.is_file() and path.stat().st_size == size for path, size in paths)

"""Uniting what shards published: their outcomes again, in the order of the whole plan. Knows no recipe, no teacher.

Beside its dataset and its rejects a shard publishes their order, a line for each outcome: its position in the plan, and
how many records of each kind it gave, or `-` for one that is among the rejects.

    0 1
    4 -
    7 2 1

Files are read block by block and opened for each block, so a thousand shards take neither memory nor open files. Every
byte that is read is hashed on the way: what a manifest does not describe is found before anything is renamed.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from distill_data.engine.outcomes import WITH_ARRAYS
from distill_data.errors import DamageError

BLOCK_BYTES = 1 << 16
ORDER_BYTES = 1 << 13
"""Of an order, whose lines are short: as objects they take many times the block."""
AMONG_REJECTS = b"-"


class Part(NamedTuple):
    """What one shard published: its files, by the manifest's names, and the manifest itself."""

    paths: Mapping[str, Path]
    kinds: Sequence[str]
    """Names of the files that hold records, the output's own first."""
    result: Mapping[str, Any]
    history: Mapping[str, Any]


def order_line(place: int, blob: bytes) -> bytes:
    """The line that says where an outcome stands in the plan, and what to read for it."""
    head, lines = blob.split(b"\n", 1)
    if head == b"kept":
        counts = b"%d" % lines.count(b"\n")
    elif head.startswith(b"kept "):
        counts = head.removeprefix(b"kept ")
    elif head.startswith(WITH_ARRAYS):
        counts = b"%d" % len(orjson.loads(head.removeprefix(WITH_ARRAYS)))
    else:
        counts = AMONG_REJECTS
    return b"%d %s\n" % (place, counts)


def unite(parts: Sequence[Part], items: int, *, whole: bool) -> Iterator[bytes]:
    """All outcomes in the order of the plan, as the spill of one run would give them.

    With `whole` every one of `items` items must be there. Raises DamageError where a file is not as its manifest says,
    and where an item is missing or there twice.
    """
    expected = 0
    for place, blob in heapq.merge(*map(_outcomes, parts), key=itemgetter(0)):
        if place < expected or (whole and place > expected):
            what = "is in two shards" if place < expected else "is in no shard"
            raise DamageError(f"item {min(place, expected)} of the plan {what}; run the shards again.")
        expected = place + 1
        yield blob
    if whole and expected < items:
        raise DamageError(f"item {expected} of the plan is in no shard; run the shards again.")


def _outcomes(part: Part) -> Iterator[tuple[int, bytes]]:
    """Position in the plan and blob of each outcome of a shard, in order."""
    order = _read_lines(part.paths["order"], part.result["files"]["order"], ORDER_BYTES)
    rejects, *datasets = (
        _read_lines(part.paths[name], part.result["files"].get(name), BLOCK_BYTES) for name in ("rejects", *part.kinds)
    )
    wrap = _make_wrap(part)
    for line in order:
        place, *counts = line.split()
        if counts == [AMONG_REJECTS]:
            blob = b"rejected\n%s\n" % next(rejects, b"")
        else:
            lines = [each for count, rows in zip(counts, datasets, strict=False) for each in islice(rows, int(count))]
            blob = wrap(counts, lines)
        yield int(place), blob
    for rest in (rejects, *datasets):  # to the end, where its digest is looked at
        if next(rest, None) is not None:
            raise DamageError(f"{part.paths['order']}: lists fewer rows than there are beside it; run the shard again.")


def _plain(counts: Sequence[bytes], lines: Sequence[bytes]) -> bytes:
    return b"\n".join((b"kept" if len(counts) == 1 else b"kept " + b" ".join(counts), *lines, b""))


def _make_wrap(part: Part) -> Callable[[Sequence[bytes], Sequence[bytes]], bytes]:
    """From an outcome's counts and lines to its blob, with the arrays where the records have side files."""
    if "features" not in part.result:
        return _plain
    from distill_data.data.arrays import encode
    from distill_data.data.features import open_features

    features = open_features(part.paths["dataset"])

    def with_arrays(counts: Sequence[bytes], lines: Sequence[bytes]) -> bytes:
        held = [encode(features.of(orjson.loads(line))) for line in lines]
        described = orjson.dumps([[header, len(data)] for header, data in held])
        return b"\n".join((WITH_ARRAYS + described, *lines, b"".join(data for _, data in held)))

    return with_arrays


def _read_lines(path: Path, described: Mapping[str, Any] | None, least: int) -> Iterator[bytes]:
    """The lines of a file without their ends, read `least` bytes at once; none where the manifest has no such file.

    Raises DamageError at the end of a file that is not what its manifest says.
    """
    if described is None:
        return
    content = hashlib.sha256()
    offset, size, rest = 0, least, b""
    while True:
        try:
            with path.open("rb") as stream:
                stream.seek(offset)
                block = stream.read(size)
        except OSError as error:
            raise DamageError(f"{path}: cannot be read: {error.strerror}. Run the shard again.") from error
        if not block:
            break
        offset += len(block)
        content.update(block)
        *lines, rest = (rest + block).split(b"\n")
        size = least if lines else 2 * size  # a line of many blocks is not put together once for each
        yield from lines
    if content.hexdigest() != described["sha256"]:
        raise DamageError(f"{path}: is not what its manifest says; it was changed since. Run the shard again.")

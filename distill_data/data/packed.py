"""Lines of a file, unpacked where its name ends in .gz or .zst, never without end. Knows no rows."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from distill_data.data.tables import LINE_LIMIT
from distill_data.data.utf8 import without_bom
from distill_data.errors import SeedError

UNPACKED_FREE = 64 << 20
"""Bytes that a packed file may always unpack to; beyond, at most UNPACKED_RATIO times its size and UNPACKED_LIMIT."""
UNPACKED_RATIO = 200
UNPACKED_LIMIT = 64 << 30


def packing_of(path: Path) -> str:
    """`.gz`, `.zst`, or "" for a file that is as it is."""
    suffix = path.suffix.lower()
    return suffix if suffix in _OPENERS else ""


def read_lines(stream: BinaryIO, path: Path) -> Iterator[bytes]:
    """The lines with their ends, unpacked, without the byte order mark. Split on b"\\n" only.

    `path` names the packing, and the file in messages. Raises SeedError for a line over LINE_LIMIT, for what is cut
    off, damaged or unpacks to too much, and for .zst where its package is missing.
    """
    number, total = 0, 0
    allowed = min(max(UNPACKED_FREE, UNPACKED_RATIO * os.fstat(stream.fileno()).st_size), UNPACKED_LIMIT)
    packing = packing_of(path)
    content, damaged = _OPENERS[packing](stream, path) if packing else (stream, EOFError)
    try:
        for number, line in enumerate(iter(partial(content.readline, LINE_LIMIT + 1), b""), 1):
            if len(line) > LINE_LIMIT:
                raise SeedError(f"{path.name}:{number}: this line is longer than {LINE_LIMIT >> 20} MiB")
            if packing and (total := total + len(line)) > allowed:
                raise SeedError(f"{path.name}:{number}: unpacks to over {allowed >> 20} MiB; unpack it yourself")
            yield line if number > 1 else without_bom(line, path.name)
    except (EOFError, damaged) as error:
        raise SeedError(f"{path}: the {packing} data is cut off or damaged after line {number}: {error}") from error
    except OSError as error:
        why = error.strerror or f"the {packing} data is damaged: {error}"
        raise SeedError(f"{path}: cannot read the seeds: {why}") from error


Opened = tuple[Any, type[Exception]]
"""What unpacks as it is read, and how it says that the data is damaged, where it is not only cut off."""


def _gzip(stream: BinaryIO, path: Path) -> Opened:
    return gzip.GzipFile(fileobj=stream), zlib.error


def _zstd(stream: BinaryIO, path: Path) -> Opened:
    try:
        from compression import zstd  # type: ignore[import-not-found, unused-ignore]  # of Python 3.14
    except ImportError:
        try:
            from backports import zstd
        except ImportError as error:
            raise SeedError(
                f"{path}: .zst needs the extra `zstd`: pip install 'distill-data[zstd]' "
                "(in a checkout: pip install '.[zstd]')"
            ) from error
    return zstd.ZstdFile(stream), zstd.ZstdError


_OPENERS: Mapping[str, Callable[[BinaryIO, Path], Opened]] = {".gz": _gzip, ".zst": _zstd}

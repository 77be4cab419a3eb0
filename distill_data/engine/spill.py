"""Finished outcomes leave memory here, and come back in plan order. Knows neither what a record is nor who wants it."""

from __future__ import annotations

import array
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from distill_data.engine.durable import disk_error
from distill_data.errors import DiskError

BUFFER_BYTES = 1 << 18
READ_AHEAD = 1 << 15
"""Bytes: little, since outcomes that ended out of order lie apart, and what was read ahead is then read again."""
ABSENT = -1


class Spill:
    """A scratch file of blobs by ordinal. It is rebuilt by every invocation, so it is neither synced nor kept."""

    def __init__(self, path: Path) -> None:
        """Raises DiskError."""
        self._path = path
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            self._stream = os.fdopen(fd, "wb", buffering=BUFFER_BYTES)
            try:
                self._reader = path.open("rb", buffering=READ_AHEAD)
            except OSError:
                self._stream.close()
                raise
        except OSError as error:
            raise disk_error(error, path) from error
        self._starts = array.array("q")
        self._lengths = array.array("q")
        self._end = 0
        self._broken: DiskError | None = None

    def put(self, ordinal: int, blob: bytes) -> None:
        """Set a blob aside. Raises DiskError; from then on always, for a write that failed may have left a part."""
        if self._broken is not None:
            raise self._broken
        try:
            self._stream.write(blob)
        except OSError as error:
            self._broken = disk_error(error, self._path)
            raise self._broken from error
        length, missing = len(blob), ordinal - len(self._starts)
        if missing > 0:
            self._starts.extend([ABSENT] * missing)
            self._lengths.extend([0] * missing)
        if missing >= 0:
            self._starts.append(self._end)
            self._lengths.append(length)
        else:
            self._starts[ordinal], self._lengths[ordinal] = self._end, length
        self._end += length

    def read(self) -> Iterator[bytes]:
        """The blobs in order of their ordinals; those that never came are left out."""
        self._stream.flush()
        at = ABSENT
        for start, length in zip(self._starts, self._lengths, strict=True):
            if start != ABSENT:
                if start != at:
                    self._reader.seek(start)
                yield self._reader.read(length)
                at = start + length

    def places(self) -> Iterator[int]:
        """The ordinals of what `read` gives."""
        return (ordinal for ordinal, start in enumerate(self._starts) if start != ABSENT)

    def close(self) -> None:
        with suppress(OSError):
            self._reader.close()
        with suppress(OSError):  # a full disk; the answers behind these outcomes are in the journal
            self._stream.close()
        with suppress(OSError):  # whoever claims the run next removes it
            self._path.unlink(missing_ok=True)

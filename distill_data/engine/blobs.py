"""Arrays that came with answers, on disk before the journal's line that names them.

One file for each process that writes, appended to and synced once for all that arrive while the disk is busy. A process
that dies in between leaves bytes that no line names, which nobody ever reads. A failure is survived once, as by the
journal. Knows neither keys nor what is in arrays.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from distill_data.data.exchange import Blob
from distill_data.engine.durable import (
    disk_error,
    refuse_deleted,
    reserve_space,
    sync_data,
    sync_directory,
    write_fully,
)
from distill_data.errors import DamageError, DiskError

RESERVE_BYTES = 16 << 20
"""Set aside for the arrays in flight when the disk is full: 64 answers of 800 tokens at k = 64."""
RESERVE = "reserve"
_NAME = re.compile(r"[0-9]{6,}\.bin")
_MOST = 1 << 48


class Pending(NamedTuple):
    """Bytes, and who waits for them to be on disk."""

    data: bytes
    done: asyncio.Future[Blob]


class Blobs:
    """One process's blobs in a directory, which is made when there is a first."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._path = directory
        self._number = 0
        self._fd = -1
        self._end = 0
        self._queue: list[Pending] = []
        self._draining: asyncio.Task[None] | None = None
        self._rescued = False
        self.broken: DiskError | None = None
        """Why nothing more should be sent: a write failed, and what was in flight took the space set aside."""

    async def put(self, data: bytes) -> Blob:
        """Where the bytes are, once they are there for good. Raises DiskError."""
        done: asyncio.Future[Blob] = asyncio.get_running_loop().create_future()
        self._queue.append(Pending(data, done))
        if self._draining is None:
            self._draining = asyncio.ensure_future(self._drain())
        return await done

    async def _drain(self) -> None:
        """Write what is queued, batch after batch."""
        try:
            while self._queue:
                batch, self._queue = self._queue, []
                try:
                    places = await asyncio.to_thread(self._append, [pending.data for pending in batch])
                except OSError as error:
                    self._tell(batch, disk_error(error, self.directory))
                    continue
                except (MemoryError, RuntimeError) as error:  # the latter where no thread can be started
                    self._tell(batch, MemoryError(str(error)))
                    continue
                for pending, place in zip(batch, places, strict=True):
                    if not pending.done.done():
                        pending.done.set_result(place)
        finally:
            self._draining = None

    def _tell(self, batch: list[Pending], error: Exception) -> None:
        for pending in batch:
            if not pending.done.done():
                pending.done.set_exception(error)

    def _append(self, blobs: list[bytes]) -> list[Blob]:
        """In a thread of its own: write and sync. Once, a failure begins another file, in the reserve's space."""
        try:
            return self._write_synced(blobs)
        except MemoryError:
            self._discard()  # what it holds of this batch would shift the places of the next
            raise
        except OSError as error:
            self._discard()
            if self._rescued:
                raise
            self._rescued, self.broken = True, disk_error(error, self.directory)
        (self.directory / RESERVE).unlink(missing_ok=True)
        return self._append(blobs)

    def _write_synced(self, blobs: list[bytes]) -> list[Blob]:
        if self._fd < 0:
            self._start()
        places, end = [], self._end
        for data in blobs:
            write_fully(self._fd, data)
            places.append(Blob(self._path, end, len(data), hashlib.sha256(data).hexdigest()))
            end += len(data)
        sync_data(self._fd)
        refuse_deleted(self._fd)
        self._end = end
        return places

    def _discard(self) -> None:
        """Let go of a file that failed, and give back what it holds of this batch."""
        if self._fd < 0:
            return
        with suppress(OSError):
            os.ftruncate(self._fd, self._end) if self._end else self._path.unlink()
        self._close()

    def _start(self) -> None:
        self.directory.mkdir(mode=0o700, exist_ok=True)
        if not self._rescued:
            reserve_space(self.directory / RESERVE, RESERVE_BYTES)
        numbers = [int(path.stem) for path in self.directory.glob("*.bin") if path.stem.isdecimal()]
        self._number = max([*numbers, self._number]) + 1  # one that was deleted may be restored
        self._path = self.directory / f"{self._number:06d}.bin"
        self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._end = 0
        sync_directory(self.directory)
        sync_directory(self.directory.parent)

    async def aclose(self) -> None:
        """Let what is being written land, and let go of the file."""
        if self._draining is not None:
            await self._draining
        self._close()
        with suppress(OSError):  # whoever claims the run next removes it
            (self.directory / RESERVE).unlink(missing_ok=True)

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def place_of(blob: Blob) -> dict[str, str | int]:
    """What the journal says about a blob: all but the directory, which may move."""
    return {"file": blob.path.name, "offset": blob.offset, "length": blob.length, "sha256": blob.sha256}


def blob_at(directory: Path, place: Mapping[str, Any]) -> Blob:
    """The blob that a journal's line names. Raises DamageError where it names none."""
    name, digest = place.get("file"), place.get("sha256")
    span: list[Any] = [place.get("offset"), place.get("length")]
    named = isinstance(name, str) and _NAME.fullmatch(name) and isinstance(digest, str)
    if not named or not all(type(each) is int and 0 <= each < _MOST for each in span):
        raise DamageError(f"{directory}: a line of the journal names arrays where none can be: {dict(place)!r:.200}.")
    return Blob(directory / str(name), span[0], span[1], str(digest))

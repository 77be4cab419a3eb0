"""Arrays that came with answers, on disk before the journal's line that names them.

One file for each process that writes, appended to and synced once for all that arrive while the disk is busy. A process
that dies in between leaves bytes that no line names, which nobody ever reads. Knows neither keys nor what is in arrays.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from pathlib import Path
from typing import NamedTuple

from distill_data.data.exchange import Blob
from distill_data.engine.durable import disk_error, sync_data, sync_directory, write_fully


class Pending(NamedTuple):
    """Bytes, and who waits for them to be on disk."""

    data: bytes
    done: asyncio.Future[Blob]


class Blobs:
    """One process's blobs in a directory, which is made when there is a first."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._path = directory
        self._fd = -1
        self._end = 0
        self._queue: list[Pending] = []
        self._draining: asyncio.Task[None] | None = None

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
        """In a thread of its own: write and sync. After a failure another file is begun."""
        if self._fd < 0:
            self._start()
        places = []
        try:
            for data in blobs:
                write_fully(self._fd, data)
                places.append(Blob(self._path, self._end, len(data), hashlib.sha256(data).hexdigest()))
                self._end += len(data)
            sync_data(self._fd)
        except OSError:
            self._close()
            raise
        return places

    def _start(self) -> None:
        self.directory.mkdir(mode=0o700, exist_ok=True)
        numbers = [int(path.stem) for path in self.directory.glob("*.bin") if path.stem.isdecimal()]
        self._path = self.directory / f"{max(numbers, default=0) + 1:06d}.bin"
        self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._end = 0
        sync_directory(self.directory)
        sync_directory(self.directory.parent)

    async def aclose(self) -> None:
        """Let what is being written land, and let go of the file."""
        if self._draining is not None:
            await self._draining
        self._close()

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def place_of(blob: Blob) -> dict[str, str | int]:
    """What the journal says about a blob: all but the directory, which may move."""
    return {"file": blob.path.name, "offset": blob.offset, "length": blob.length, "sha256": blob.sha256}


def blob_at(directory: Path, place: dict[str, str | int]) -> Blob:
    """The blob that a journal's line names."""
    return Blob(directory / str(place["file"]), int(place["offset"]), int(place["length"]), str(place["sha256"]))

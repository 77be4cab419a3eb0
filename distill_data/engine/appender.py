"""Appending to the newest segment of a journal: started when needed, synced at every batch, one failure survived.

Knows nothing about what stands in a line, nor who waits for it. Notes come from the loop's thread and batches from the
journal's own.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from distill_data.engine.durable import (
    disk_error,
    make_directory,
    refuse_deleted,
    reserve_space,
    sync_data,
    sync_directory,
    write_fully,
)
from distill_data.engine.segments import synced_line
from distill_data.errors import DiskError

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
RESERVE_BYTES = 4 << 20
"""Set aside for the answers in flight when the disk is full."""


class Appender:
    """Writes one process's segments. `segments`, the paths of all there are, grows with them."""

    def __init__(self, directory: Path, segments: list[Path]) -> None:
        self.directory = directory
        self.broken: DiskError | None = None
        self._segments = segments
        self._fd = self._sent_fd = -1
        self._retired: list[int] = []
        self._size = 0
        self._rescued = False
        self._lost: OSError | None = None

    def prepare(self) -> None:
        """Make sure that there is room, before anything is paid. Raises DiskError."""
        try:
            make_directory(self.directory)
            reserve_space(self.directory / "reserve", RESERVE_BYTES)
        except OSError as error:
            raise disk_error(error, self.directory) from error

    def note(self, lines: bytes) -> None:
        """Write notes, not synced. Raises DiskError."""
        try:
            if self._fd < 0:
                self._start_segment()
            fd = self._sent_fd
            start = os.fstat(fd).st_size
            try:
                write_fully(fd, lines)
            except OSError:
                with suppress(OSError):  # none of them leaves, so those that did fit would count as in doubt
                    os.ftruncate(fd, start)
                raise
        except OSError as error:
            raise self._break(error) from error

    def append(self, data: bytes) -> tuple[int, int]:
        """Append and sync, in the journal's thread; where the first byte stands.

        After a failure the descriptor is never believed again. Once, what it was given is written to a new segment, in
        the reserve's space, so that what is in flight still lands.
        """
        if self._lost is not None:
            raise self._lost
        try:
            if self._fd < 0:
                self._start_segment()
            return self._write_synced(data)
        except OSError as error:
            self._break(error)
            self._lost = error
            if self._rescued:
                raise
        self._rescued = True
        failed, start = self._fd, self._size
        (self.directory / "reserve").unlink(missing_ok=True)
        self._start_segment()
        self._lost = None
        place = self.append(data)
        if failed >= 0:
            with suppress(OSError):  # lines of this batch that did fit would count as bought twice
                os.ftruncate(failed, start)
        return place

    def _write_synced(self, data: bytes) -> tuple[int, int]:
        start, end = self._size, self._size + len(data)
        try:
            write_fully(self._fd, data)
            sync_data(self._fd)
            refuse_deleted(self._fd)
        except MemoryError:
            os.ftruncate(self._fd, start)  # nobody was told of it, and what comes next begins where this did
            raise
        self._size = end
        with suppress(OSError):  # without it a hole before here counts as torn
            write_fully(self._sent_fd, synced_line(end))
        return len(self._segments) - 1, start

    def _break(self, error: OSError) -> DiskError:
        if self.broken is None:
            self.broken = disk_error(error, self.directory)
        return self.broken

    def _start_segment(self) -> None:
        stems = [path.stem for path in self.directory.iterdir() if path.suffix in (".jsonl", ".sent")]
        # A power cut may leave notes whose segment has no name, and a failure half a segment: their numbers are taken.
        number = max((int(stem) for stem in stems if stem.isdecimal() and stem.isascii()), default=0) + 1
        path = self.directory / f"{number:06d}.jsonl"
        opened: list[int] = []
        try:
            for each in (path, path.with_suffix(".sent")):
                opened.append(os.open(each, _NEW, 0o600))
            sync_directory(self.directory)
        except OSError:
            for fd in opened:
                os.close(fd)
            raise
        # The loop's thread may be about to write to the old ones, so they are closed at the end.
        self._retired += [old for old in (self._fd, self._sent_fd) if old >= 0]
        (self._fd, self._sent_fd), self._size = opened, 0
        self._segments.append(path)

    def close(self) -> None:
        """Give the reserve back, and let go of the files."""
        with suppress(OSError):  # whoever claims the run next removes it
            (self.directory / "reserve").unlink(missing_ok=True)
        for fd in (self._fd, self._sent_fd, *self._retired):
            if fd >= 0:
                os.close(fd)
        self._fd = self._sent_fd = -1
        self._retired = []

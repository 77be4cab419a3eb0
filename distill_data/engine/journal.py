"""The journal: every answer that was paid for, on disk before anybody sees it.

A directory of append-only JSONL segments (engine.segments has the format). Each process that writes starts a segment
of its own and never touches an older one, so recovery writes nothing and a torn tail is always the last line of some
segment. `commit` returns once its line is on disk: lines that arrive while the disk is busy share the next sync.

Beside each segment lies `NNNNNN.sent`, a short line for each request that leaves and for each that is known to be
unpaid; it is written and not synced, which survives a killed process and makes the number of requests in doubt exact.

Knows nothing about teachers, requests or items: keys and owners are hex strings, bodies are bytes of JSON.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from distill_data.engine import segments
from distill_data.engine.durable import disk_error, sync_data, sync_directory, write_fully
from distill_data.errors import DamageError, DiskError

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
RESERVE_BYTES = 4 << 20
OPEN_SEGMENTS = 64

Waiters = list[tuple[bytes, asyncio.Future[None]]]


@dataclass(slots=True)
class Doubt:
    """Requests that were sent and whose end is unknown: they may have been billed."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def add(self, requests: int, prompt_tokens: int, completion_tokens: int) -> None:
        self.requests += requests
        self.prompt_tokens += prompt_tokens
        self.completion_tokens += completion_tokens


@dataclass(slots=True)
class Totals:
    """What all invocations of this run have bought, this one included."""

    bought: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    bought_twice: int = 0
    torn_tails: int = 0
    doubt: Doubt = field(default_factory=Doubt)

    def add(self, usage: tuple[int, int, int]) -> None:
        self.bought += 1
        self.prompt_tokens += usage[0]
        self.completion_tokens += usage[1]
        self.cached_tokens += usage[2]


@dataclass(frozen=True, slots=True)
class Flight:
    """A batch on its way to the disk, with the number of its segment and the offset of its first byte at the end."""

    batch: Waiters
    loop: asyncio.AbstractEventLoop
    work: Future[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Entry:
    """One answer or failure, read back."""

    owner: str
    body: bytes


class Journal:
    """One run's answers. Open it to read; `prepare` it to write."""

    def __init__(self, directory: Path) -> None:
        """Read every segment once. Raises DamageError, naming file and byte, where a line other than a last is bad.

        Raises DiskError where a segment cannot be read.
        """
        self.directory = directory
        self.totals = Totals()
        self.owned: dict[int, int] = {}
        """Answers found on disk at the start, by their item."""
        self.broken: DiskError | None = None
        """Set once writing has failed: nothing more may be sent, though what is in flight may still land."""
        self._index: dict[int, int] = {}
        self._failures: dict[int, int] = {}
        self._readers: dict[int, int] = {}
        names = [path for path in directory.glob("*.jsonl") if path.stem.isdecimal() and path.stem.isascii()]
        self._segments = sorted(names, key=lambda path: int(path.stem))
        waiting: dict[int, list[int]] = {}
        for number, segment in enumerate(self._segments):
            try:
                segments.follow_sent(waiting, segment.with_suffix(".sent"), self._scan(number, segment))
            except OSError as error:
                raise disk_error(error, segment) from error
        for count, prompt_tokens, completion_tokens in waiting.values():
            self.totals.doubt.add(count, count * prompt_tokens, count * completion_tokens)
        self._fd = self._sent_fd = -1
        self._retired: list[int] = []
        self._size = 0
        self._queue: Waiters = []
        self._flight: Flight | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._rescued = False
        self._lost: OSError | None = None

    def __len__(self) -> int:
        return len(self._index)

    # Reading

    def _scan(self, number: int, segment: Path) -> list[int]:
        """Index a segment; the keys it answers."""
        answered: list[int] = []
        for offset, line, last in segments.read_lines(segment):
            if not segments.intact(line):
                if last and not segments.glued(line):
                    self.totals.torn_tails += 1
                    continue
                raise DamageError(
                    f"{segment}: the line at byte {offset} does not match its checksum, so this run cannot be trusted "
                    "as it is. Restore the file from a copy, or start anew with another output."
                )
            head = segments.head_of(line)
            if not head.failed:
                if head.key not in self._index:
                    owner = int(head.owner, 16)
                    self.owned[owner] = self.owned.get(owner, 0) + 1
                answered.append(head.key)
            self._admit(head, segments.pack(number, offset))
        return answered

    def _admit(self, head: segments.Line, place: int) -> None:
        """Index and count a line that is on disk. The first answer to a key holds, and the last failure."""
        if head.failed:
            self._failures[head.key] = place
            return
        if self._index.setdefault(head.key, place) != place:
            self.totals.bought_twice += 1
        self.totals.add(head.usage)

    def find(self, key: str) -> Entry | None:
        """The answer to a key, or None."""
        return self._read(self._index, key)

    def find_failure(self, key: str) -> Entry | None:
        """The refusal that ended a key for good, which only a replay takes for an answer."""
        return self._read(self._failures, key)

    def _read(self, index: dict[int, int], key: str) -> Entry | None:
        place = index.get(segments.short_key(key))
        if place is None:
            return None
        number, offset = segments.unpack(place)
        try:
            line = segments.line_at(self._reader(number), offset)
        except OSError as error:
            raise disk_error(error, self._segments[number]) from error
        if not segments.intact(line):
            raise DamageError(f"{self._segments[number]}: the line at byte {offset} changed while the run was open.")
        body = segments.body_of(line, key)
        return None if body is None else Entry(segments.head_of(line).owner, body)

    def _reader(self, number: int) -> int:
        fd = self._readers.get(number)
        if fd is None:
            if len(self._readers) >= OPEN_SEGMENTS:
                os.close(self._readers.pop(next(iter(self._readers))))
            fd = self._readers[number] = os.open(self._segments[number], os.O_RDONLY | os.O_CLOEXEC)
        return fd

    # Writing

    def prepare(self) -> None:
        """Make sure that there is room, before anything is paid. Raises DiskError."""
        try:
            self.directory.mkdir(mode=0o700, exist_ok=True)
            self._reserve()
        except OSError as error:
            raise disk_error(error, self.directory) from error
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")

    def _reserve(self) -> None:
        """Space that is given up when the disk is full, so that the answers in flight still land."""
        fd = os.open(self.directory / "reserve", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(fd, 0, RESERVE_BYTES)
        except OSError as error:
            if error.errno not in (errno.EFBIG, errno.EOPNOTSUPP, errno.EINVAL):
                raise
        finally:
            os.close(fd)

    def _start_segment(self) -> None:
        number = int(self._segments[-1].stem) + 1 if self._segments else 1
        path = self.directory / f"{number:06d}.jsonl"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        fd = os.open(path, flags, 0o600)
        try:
            sent_fd = os.open(path.with_suffix(".sent"), flags, 0o600)
        except OSError:
            os.close(fd)
            path.unlink()
            raise
        sync_directory(self.directory)
        # The loop's thread may be about to write to the old ones, so they are closed at the end.
        self._retired += [old for old in (self._fd, self._sent_fd) if old >= 0]
        self._fd, self._sent_fd, self._size = fd, sent_fd, 0
        self._segments.append(path)

    def note_sent(self, key: str, prompt_tokens: int, completion_tokens: int) -> None:
        """Say that a request is about to leave. Not synced. Raises DiskError."""
        self._note(segments.sent_line(key, prompt_tokens, completion_tokens))

    def note_unpaid(self, key: str) -> None:
        """Say that the request last sent under this key was certainly not billed. Raises DiskError."""
        self._note(segments.unpaid_line(key))

    def _note(self, line: bytes) -> None:
        try:
            if self._fd < 0:
                self._start_segment()
            write_fully(self._sent_fd, line)
        except OSError as error:
            raise self._break(error) from error

    async def commit(self, key: str, owner: str, usage: tuple[int, int, int], body: bytes) -> None:
        """Make an answer durable. Returns once it is; raises DiskError where it cannot be."""
        await self._append(segments.frame(segments.OK, key, owner, usage, body))

    async def commit_failure(self, key: str, owner: str, reason: str, detail: str) -> None:
        """Keep why a request was refused for good. Raises DiskError."""
        body = json.dumps({"reason": reason, "detail": detail}, separators=(",", ":")).encode("ascii")
        await self._append(segments.frame(segments.ERR, key, owner, (0, 0, 0), body))

    async def _append(self, line: bytes) -> None:
        while self._flight is not None and self._flight.loop.is_closed():
            self._settle(self._flight)  # nobody else will
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append((line, done))
        if self._flight is None:
            self._flush()
        await done

    def _flush(self) -> None:
        """Write all that is queued as one batch, then whatever queued up meanwhile, until nothing is left."""
        assert self._thread is not None, "prepare comes before commit"
        batch, self._queue = self._queue, []
        work = self._thread.submit(self._write, b"".join(line for line, _ in batch))
        flight = self._flight = Flight(batch, batch[-1][1].get_loop(), work)
        work.add_done_callback(lambda _: self._call(flight))

    def _call(self, flight: Flight) -> None:
        """Have the loop settle a batch, from the writer's thread. Where it has closed, `close` settles it."""
        with suppress(RuntimeError):
            flight.loop.call_soon_threadsafe(self._settle, flight)

    def _settle(self, flight: Flight) -> None:
        """Index, count and acknowledge a batch once it is on disk. Waits where it is not yet."""
        if flight is not self._flight:
            return
        error, self._flight = flight.work.exception(), None
        if error is None:
            number, offset = flight.work.result()
            for line, _ in flight.batch:
                self._admit(segments.head_of(line), segments.pack(number, offset))
                offset += len(line)
        for _, done in flight.batch:
            if done.done() or done.get_loop().is_closed():
                continue
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(self.broken or error)
        if self._queue:
            self._flush()

    def _write(self, data: bytes) -> tuple[int, int]:
        """Append and sync, in the writer's thread; where the first byte stands. A full disk is survived once.

        After any other failure the descriptor is never believed again.
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
            if error.errno not in FULL or self._rescued:
                raise
        self._rescued = True
        full, start = self._fd, self._size
        (self.directory / "reserve").unlink(missing_ok=True)
        self._start_segment()
        self._lost = None
        place = self._write(data)
        with suppress(OSError):  # lines of this batch that did fit would count as bought twice
            os.ftruncate(full, start)
        return place

    def _write_synced(self, data: bytes) -> tuple[int, int]:
        write_fully(self._fd, data)
        sync_data(self._fd)
        if not os.fstat(self._fd).st_nlink:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        start, self._size = self._size, self._size + len(data)
        return len(self._segments) - 1, start

    def _break(self, error: OSError) -> DiskError:
        if self.broken is None:
            self.broken = disk_error(error, self.directory)
        return self.broken

    def close(self) -> None:
        """Land what is still queued, and let go of the files."""
        if self._thread is not None:
            while self._flight is not None:
                self._settle(self._flight)
            self._thread.shutdown()
            self._thread = None
            (self.directory / "reserve").unlink(missing_ok=True)
        for fd in (self._fd, self._sent_fd, *self._retired, *self._readers.values()):
            if fd >= 0:
                os.close(fd)
        self._fd = self._sent_fd = -1
        self._retired, self._readers = [], {}

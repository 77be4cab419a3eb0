"""The journal: every answer that was paid for, on disk before anybody sees it.

A directory of append-only JSONL segments. Each process that writes starts a segment of its own and never touches an
older one, so recovery writes nothing and a torn tail is always the last line of some segment. A line is ASCII and
ends in a CRC-32 of all that stands before it:

    {"k":"<key>","t":"ok","i":"<item>","u":[<prompt>,<completion>,<cached>],"a":<the reply's body>,"c":"<crc>"}
    {"k":"<key>","t":"er","i":"<item>","u":[0,0,0],"a":{"reason":…,"detail":…},"c":"<crc>"}

`commit` returns once its line is on disk: lines that arrive while the disk is busy share the next sync. Beside each
segment lies `NNNNNN.sent`, one short line for each request that leaves and for each that is known to be unpaid; it is
written and not synced, which survives a killed process and makes the number of requests in doubt exact.

Knows nothing about teachers, requests or items: keys and owners are hex strings, bodies are bytes of JSON.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from distill_data.errors import DamageError, DiskError

OK, ERR = b"ok", b"er"
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
RESERVE_BYTES = 4 << 20
OPEN_SEGMENTS = 64

_KEY = slice(6, 70)
_TYPE = slice(77, 79)
_OWNER = slice(86, 102)
_USAGE = 109
_CRC_TAIL = len(b',"c":"00000000"}\n')


@dataclass(slots=True)
class Doubt:
    """Requests that were sent and whose end is unknown: they may have been billed."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(slots=True)
class Totals:
    """What all invocations of this run have bought, this one included."""

    bought: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    bought_twice: int = 0
    torn_tails: int = 0
    segments: int = 0
    doubt: Doubt = field(default_factory=Doubt)


@dataclass(frozen=True, slots=True)
class Entry:
    """One answer or failure, read back."""

    owner: str
    body: bytes
    failed: bool


def frame(kind: bytes, key: str, owner: str, usage: tuple[int, int, int], body: bytes) -> bytes:
    """One line of the journal. `body` must be JSON; it is stored as it came where it is ASCII on one line."""
    if not body.isascii() or b"\n" in body or b"\r" in body:
        body = json.dumps(json.loads(body), ensure_ascii=True, separators=(",", ":")).encode("ascii")
    head = b'{"k":"%s","t":"%s","i":"%s","u":[%d,%d,%d],"a":%s' % (
        key.encode("ascii"), kind, owner.encode("ascii"), *usage, body,
    )  # fmt: skip
    return b'%s,"c":"%08x"}\n' % (head, zlib.crc32(head))


def intact(line: bytes) -> bool:
    """Whether a line is whole and unharmed. Hex digits are compared as bytes: `int(x, 16)` takes more than digits."""
    return line[-1:] == b"\n" and line[-_CRC_TAIL:] == b',"c":"%08x"}\n' % zlib.crc32(line[:-_CRC_TAIL])


class Journal:
    """One run's answers. Open it to read; the first `commit` starts this process's segment."""

    def __init__(self, directory: Path) -> None:
        """Read every segment once. Raises DamageError, naming file and line, where a line other than a last is bad."""
        self.directory = directory
        self.totals = Totals()
        self.owned: dict[int, int] = {}
        """Answers found on disk at the start, by their item."""
        self._index: dict[int, int] = {}
        self._failures: dict[int, int] = {}
        self._readers: dict[int, int] = {}
        self._segments = sorted(directory.glob("[0-9]*.jsonl")) if directory.is_dir() else []
        for number, segment in enumerate(self._segments):
            self._scan(number, segment)
        self._fd = self._sent_fd = -1
        self._size = 0
        self._queue: list[tuple[bytes, asyncio.Future[None]]] = []
        self._writing = False
        self._thread: ThreadPoolExecutor | None = None
        self.broken: DiskError | None = None

    def __len__(self) -> int:
        return len(self._index)

    # Reading

    def _scan(self, number: int, segment: Path) -> None:
        totals, answered = self.totals, set()
        totals.segments += 1
        for offset, line, last in _lines(segment):
            if not intact(line):
                if last:
                    totals.torn_tails += 1
                    continue
                raise DamageError(
                    f"{segment}: the line at byte {offset} does not match its checksum, so this run cannot be trusted "
                    "as it is. Restore the file from a copy, or start anew with another output."
                )
            key = int(line[_KEY][:16], 16)
            place = _pack(number, offset, len(line))
            if line[_TYPE] == ERR:
                self._failures[key] = place
                continue
            if key in self._index:
                totals.bought_twice += 1
            else:
                self._index[key] = place
                owner = int(line[_OWNER], 16)
                self.owned[owner] = self.owned.get(owner, 0) + 1
            prompt, completion, cached = line[_USAGE : line.index(b"]", _USAGE)].split(b",")
            totals.bought += 1
            totals.prompt_tokens += int(prompt)
            totals.completion_tokens += int(completion)
            totals.cached_tokens += int(cached)
            answered.add(key)
        self._count_doubt(segment.with_suffix(".sent"), answered)

    def _count_doubt(self, sent: Path, answered: set[int]) -> None:
        """A request is in doubt where its segment holds more sendings of its key than known ends."""
        if not sent.exists():
            return
        waiting: dict[int, tuple[int, int, int]] = {}
        for line in sent.read_bytes().split(b"\n")[:-1]:
            mark, name, *tokens = line.split(b" ")
            key = int(name, 16)
            count, prompt, completion = waiting.get(key, (0, 0, 0))
            if mark == b"S":
                waiting[key] = (count + 1, int(tokens[0]), int(tokens[1]))
            elif count > 1:
                waiting[key] = (count - 1, prompt, completion)
            else:
                waiting.pop(key, None)
        for key, (count, prompt, completion) in waiting.items():
            unknown = count - (key in answered)
            self.totals.doubt.requests += unknown
            self.totals.doubt.prompt_tokens += unknown * prompt
            self.totals.doubt.completion_tokens += unknown * completion

    def find(self, key: str) -> Entry | None:
        """The answer to a key, or None."""
        return self._read(self._index, key)

    def find_failure(self, key: str) -> Entry | None:
        """The refusal that ended a key for good, which only a replay takes for an answer."""
        return self._read(self._failures, key)

    def _read(self, index: dict[int, int], key: str) -> Entry | None:
        place = index.get(int(key[:16], 16))
        if place is None:
            return None
        number, offset, length = _unpack(place)
        line = os.pread(self._reader(number), length, offset)
        if not intact(line):
            raise DamageError(f"{self._segments[number]}: the line at byte {offset} changed while the run was open.")
        if line[_KEY] != key.encode("ascii"):
            return None
        body = line[line.index(b',"a":', _USAGE) + 5 : -_CRC_TAIL]
        return Entry(line[_OWNER].decode("ascii"), body, line[_TYPE] == ERR)

    def _reader(self, number: int) -> int:
        fd = self._readers.get(number)
        if fd is None:
            if len(self._readers) >= OPEN_SEGMENTS:
                os.close(self._readers.pop(next(iter(self._readers))))
            fd = self._readers[number] = os.open(self._segments[number], os.O_RDONLY | os.O_CLOEXEC)
        return fd

    # Writing

    def prepare(self) -> None:
        """Claim this process's segment and some reserve space, before anything is paid. Raises DiskError."""
        try:
            self.directory.mkdir(mode=0o700, exist_ok=True)
            self._reserve()
            self._start_segment()
        except OSError as error:
            raise disk_error(error, self.directory) from error
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")

    def _reserve(self) -> None:
        """Space that is given up when the disk is full, so that the answers in flight still land."""
        fd = os.open(self.directory / "reserve", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if hasattr(os, "posix_fallocate") and os.fstat(fd).st_size < RESERVE_BYTES:
                os.posix_fallocate(fd, 0, RESERVE_BYTES)
        except OSError as error:
            if error.errno != errno.EFBIG:
                raise
        finally:
            os.close(fd)

    def _start_segment(self) -> None:
        number = int(self._segments[-1].stem) + 1 if self._segments else 1
        path = self.directory / f"{number:06d}.jsonl"
        flags = os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        self._fd = os.open(path, flags | os.O_RDWR, 0o600)
        self._sent_fd = os.open(path.with_suffix(".sent"), flags | os.O_WRONLY, 0o600)
        sync_directory(self.directory)
        self._size = 0
        self._segments.append(path)

    def note_sent(self, key: str, prompt_tokens: int, completion_tokens: int) -> None:
        """Say that a request is about to leave. Not synced."""
        self._note(b"S %s %d %d\n" % (key[:16].encode("ascii"), prompt_tokens, completion_tokens))

    def note_unpaid(self, key: str) -> None:
        """Say that the request last sent under this key was certainly not billed."""
        self._note(b"E %s\n" % key[:16].encode("ascii"))

    def _note(self, line: bytes) -> None:
        try:
            os.write(self._sent_fd, line)
        except OSError as error:
            self._break(error)
            raise self.broken or disk_error(error, self.directory) from error

    async def commit(self, key: str, owner: str, usage: tuple[int, int, int], body: bytes) -> None:
        """Make an answer durable. Returns once it is; raises DiskError where it cannot be."""
        await self._append(frame(OK, key, owner, usage, body))
        self.totals.bought += 1
        self.totals.prompt_tokens += usage[0]
        self.totals.completion_tokens += usage[1]
        self.totals.cached_tokens += usage[2]

    async def commit_failure(self, key: str, owner: str, reason: str, detail: str) -> None:
        """Keep why a request was refused for good."""
        body = json.dumps({"reason": reason, "detail": detail}, separators=(",", ":")).encode("ascii")
        await self._append(frame(ERR, key, owner, (0, 0, 0), body))

    async def _append(self, line: bytes) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append((line, done))
        if not self._writing:
            self._writing = True
            self._flush()
        await done

    def _flush(self) -> None:
        """Write all that is queued as one batch, then whatever queued up meanwhile, until nothing is left."""
        assert self._thread is not None
        batch, self._queue = self._queue, []
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(self._thread, self._write, b"".join(line for line, _ in batch))
        work.add_done_callback(lambda finished: self._settle(batch, finished))

    def _settle(self, batch: list[tuple[bytes, asyncio.Future[None]]], work: asyncio.Future[int]) -> None:
        error = work.exception()
        if error is None:
            offset, number = work.result(), len(self._segments) - 1
            for line, done in batch:
                key = int(line[_KEY][:16], 16)
                index = self._failures if line[_TYPE] == ERR else self._index
                index.setdefault(key, _pack(number, offset, len(line)))
                offset += len(line)
                if not done.done():
                    done.set_result(None)
        else:
            for _, done in batch:
                if not done.done():
                    done.set_exception(self.broken or error)
        if self._queue:
            self._flush()
        else:
            self._writing = False

    def _write(self, data: bytes) -> int:
        """Append and sync, in the writer's thread; the offset of the first byte. A full disk is survived once."""
        try:
            return self._write_synced(data)
        except OSError as error:
            self._break(error)
            if error.errno not in FULL:
                raise
            (self.directory / "reserve").unlink(missing_ok=True)
            os.close(self._fd)
            os.close(self._sent_fd)
            self._start_segment()
            return self._write_synced(data)

    def _write_synced(self, data: bytes) -> int:
        start, view = self._size, memoryview(data)
        while view:
            written = os.write(self._fd, view)
            self._size += written
            view = view[written:]
        sync_data(self._fd)
        return start

    def _break(self, error: OSError) -> None:
        """From here on nothing may be sent; what is in flight still tries to land."""
        if self.broken is None:
            self.broken = disk_error(error, self.directory)

    def close(self) -> None:
        if self._thread is not None:
            self._thread.shutdown()
        for fd in (self._fd, self._sent_fd, *self._readers.values()):
            if fd >= 0:
                os.close(fd)
        self._fd = self._sent_fd = -1
        self._readers.clear()
        if self._thread is not None:
            (self.directory / "reserve").unlink(missing_ok=True)
            self._thread = None


def _pack(number: int, offset: int, length: int) -> int:
    return number << 72 | offset << 32 | length


def _unpack(place: int) -> tuple[int, int, int]:
    return place >> 72, place >> 32 & (1 << 40) - 1, place & (1 << 32) - 1


def _lines(path: Path) -> Iterator[tuple[int, bytes, bool]]:
    """Each line with its offset and whether it is the last."""
    with path.open("rb", buffering=1 << 20) as stream:
        offset, line = 0, stream.readline()
        while line:
            following = stream.readline()
            yield offset, line, not following
            offset += len(line)
            line = following


def disk_error(error: OSError, path: Path) -> DiskError:
    return DiskError(
        f"{path}: {os.strerror(error.errno) if error.errno else error}. What was acknowledged before is safe; make "
        "room or give another output, and run the same command again."
    )


def sync_data(fd: int) -> None:
    """Bring a file's bytes to the disk; on macOS fsync alone leaves them in the drive's cache."""
    if hasattr(os, "fdatasync"):
        os.fdatasync(fd)
    else:  # pragma: no cover - macOS
        import fcntl

        fcntl.fcntl(fd, fcntl.F_FULLFSYNC)


def sync_directory(directory: Path) -> None:
    """Make names created or renamed in a directory durable. Some file systems cannot; they say EINVAL."""
    fd = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(fd)

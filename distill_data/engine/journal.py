"""The journal: every answer that was paid for, on disk before anybody sees it.

A directory of append-only JSONL segments (engine.segments has the format). Each process that writes starts a segment
of its own and never touches an older one, so recovery writes nothing and a torn tail is always the last line of some
segment. `commit` returns once its line is on disk: lines that arrive while the disk is busy share the next sync.

Beside each segment lies `NNNNNN.sent`, a short line for each request that leaves or is known to be unpaid and for each
sync; written and not synced, it survives a killed process and makes the number of requests in doubt exact.

Knows nothing about teachers, requests or items: keys and owners are hex strings, bodies are bytes of JSON.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from queue import SimpleQueue
from typing import BinaryIO, NamedTuple

from distill_data.engine import segments
from distill_data.engine.appender import Appender
from distill_data.engine.durable import disk_error
from distill_data.errors import DamageError, DiskError

OPEN_SEGMENTS = 64
READ_AHEAD = 1 << 15  # bytes: answers in the order they came in take one call for some fifty of them
GATHER_SECONDS = 0.005
"""How long lines wait for company where they come in numbers: a sync costs the same for one as for fifty."""

Usage = tuple[int, int, int]
"""Prompt, completion and cached tokens."""


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

    def add(self, usage: Usage) -> None:
        self.bought += 1
        self.prompt_tokens += usage[0]
        self.completion_tokens += usage[1]
        self.cached_tokens += usage[2]


class Pending(NamedTuple):
    """A line, and who waits for it to be on disk."""

    line: bytes
    done: asyncio.Future[None]
    key: int = 0
    usage: Usage | None = None
    """Of an answer; a failure has none."""


@dataclass(slots=True)
class Flight:
    """A batch on its way to the disk. Once it has landed, either its place is known or what went wrong."""

    batch: list[Pending]
    loop: asyncio.AbstractEventLoop
    landed: threading.Event = field(default_factory=threading.Event)
    place: tuple[int, int] = (0, 0)
    """Number of the segment, and offset of the first byte in it."""
    error: BaseException | None = field(default_factory=lambda: RuntimeError("the journal's thread has ended"))


class Entry(NamedTuple):
    """One answer or failure, read back."""

    line: bytes
    body: bytes
    blobs: Path
    """Where the arrays lie that the body names, if it does."""


class Journal:
    """One run's answers. Open it to read; `prepare` it to write."""

    def __init__(self, directory: Path) -> None:
        """Read every segment once. Raises DiskError where one cannot be read, and DamageError, naming file and byte,
        where a line other than a last is bad.
        """
        self.directory = directory
        self.blobs = directory.with_name("blobs")
        self.totals = Totals()
        self._index, self._failures, self._readers = dict[int, int](), dict[int, int](), dict[int, BinaryIO]()
        names = [path for path in directory.glob("*.jsonl") if path.stem.isdecimal() and path.stem.isascii()]
        self._segments = sorted(names, key=lambda path: int(path.stem))
        self._found = len(self._segments)
        waiting: dict[int, list[int]] = {}
        for number, segment in enumerate(self._segments):
            try:
                segments.follow_sent(waiting, segment.with_suffix(".sent"), self._scan(number, segment))
            except OSError as error:
                raise disk_error(error, segment) from error
        for count, prompt_tokens, completion_tokens in waiting.values():
            self.totals.doubt.add(count, count * prompt_tokens, count * completion_tokens)
        self._appender = Appender(directory, self._segments)
        self._notes, self._queue = list[Pending](), list[Pending]()
        self._flight: Flight | None = None
        self._gathering: asyncio.AbstractEventLoop | None = None
        self._crowded = False  # the last batch held several lines
        self._under_way = 0  # requests that have left and whose answer is neither here nor given up
        self._inbox: SimpleQueue[Flight | None] = SimpleQueue()
        self._writer: threading.Thread | None = None

    def __len__(self) -> int:
        return len(self._index)

    @property
    def broken(self) -> DiskError | None:
        """Set once writing has failed: nothing more may be sent, though what is in flight may still land."""
        return self._appender.broken

    # Reading

    def _scan(self, number: int, segment: Path) -> list[int]:
        """Index a segment; the keys it answers."""
        answered: list[int] = []
        for offset, line, last in segments.read_lines(segment):
            if not segments.intact(line):
                if segments.torn(segment, offset, line, last=last):
                    self.totals.torn_tails += 1
                    continue
                raise DamageError(
                    f"{segment}: the line at byte {offset} does not match its checksum, so this run cannot be trusted "
                    "as it is. Restore the file from a copy, or start anew with another output."
                )
            key, usage = segments.key_of(line), segments.usage_of(line)
            if usage is not None:
                answered.append(key)
            self._admit(key, usage, segments.pack(number, offset))
        return answered

    def _admit(self, key: int, usage: Usage | None, place: int) -> None:
        """Index and count a line that is on disk. The first answer to a key holds, and the last failure."""
        if usage is None:
            self._failures[key] = place
            return
        if self._index.setdefault(key, place) != place:
            self.totals.bought_twice += 1
        self.totals.add(usage)

    @cached_property
    def owned(self) -> Mapping[int, int]:
        """Answers found on disk at the start, by their item. Read once more, by the few who want to know."""
        return segments.count_owners(self._segments[: self._found], self._index)

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
            segment = self._readers.get(number) or self._open(number)
            line = segments.line_at(segment, offset, growing=number >= self._found)
        except OSError as error:
            raise disk_error(error, self._segments[number]) from error
        if not segments.intact(line):
            raise DamageError(f"{self._segments[number]}: the line at byte {offset} changed while the run was open.")
        body = segments.body_of(line, key)
        return None if body is None else Entry(line, body, self.blobs)

    def _open(self, number: int) -> BinaryIO:
        if len(self._readers) >= OPEN_SEGMENTS:
            self._readers.pop(next(iter(self._readers))).close()
        return self._readers.setdefault(number, self._segments[number].open("rb", buffering=READ_AHEAD))

    # Writing

    def prepare(self) -> None:
        """Make sure that there is room, before anything is paid. Raises DiskError."""
        self._appender.prepare()
        writer = threading.Thread(target=self._serve, name="journal", daemon=True)
        writer.start()
        self._writer = writer

    async def note_sent(self, key: str, prompt_tokens: int, completion_tokens: int) -> None:
        """Say that a request is about to leave. Not synced. Raises DiskError.

        Those that leave in one turn of the loop share a write: each hands the interpreter to the writer's thread.
        """
        loop = asyncio.get_running_loop()
        noted: asyncio.Future[None] = loop.create_future()
        if not self._notes or self._notes[-1].done.get_loop() is not loop:
            loop.call_soon(self._write_notes)
        self._notes.append(Pending(segments.sent_line(key, prompt_tokens, completion_tokens), noted))
        try:
            await noted
        except asyncio.CancelledError:
            with suppress(DiskError):
                self.note_unpaid(key)
            raise

    def _write_notes(self) -> None:
        notes, self._notes = self._notes, []
        error = None
        try:
            self._appender.note(b"".join([note.line for note in notes]))
            self._under_way += len(notes)
        except DiskError as raised:
            error = raised
        _acknowledge(notes, error)

    def note_unpaid(self, key: str) -> None:
        """Say that the request last sent under this key was certainly not billed. Raises DiskError."""
        self._under_way -= 1
        self._appender.note(segments.unpaid_line(key))

    def give_up(self, prompt_tokens: int, completion_tokens: int) -> None:
        """Count a request that may have been billed and whose answer will not come, as reading the journal does."""
        self._under_way -= 1
        self.totals.doubt.add(1, prompt_tokens, completion_tokens)

    async def commit(self, key: str, owner: str, usage: Usage, body: bytes, *, noted: bool = True) -> None:
        """Make an answer, `noted` where `note_sent` announced it, durable. Where a DiskError is raised, give it up."""
        self._under_way -= noted
        try:
            await self._append(segments.frame(segments.OK, key, owner, usage, body), key, usage)
        except (DiskError, MemoryError):
            self._under_way += noted
            raise

    async def commit_failure(self, key: str, owner: str, reason: str, detail: str) -> None:
        """Keep why a request was refused for good. Raises DiskError."""
        body = json.dumps({"reason": reason, "detail": detail}, separators=(",", ":")).encode("ascii")
        await self._append(segments.frame(segments.ERR, key, owner, (0, 0, 0), body), key, None)

    def _append(self, line: bytes, key: str, usage: Usage | None) -> asyncio.Future[None]:
        """Queue a line; done once it is on disk."""
        while self._flight is not None and self._flight.loop.is_closed():
            self._settle(self._flight)  # nobody else will
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(Pending(line, done, segments.short_key(key), usage))
        self._gather()
        return done

    def _gather(self) -> None:
        """Write what is queued: at once, or a moment later where lines come in numbers and more are under way.

        While a batch is on its way, more lines gather by themselves.
        """
        loop = self._queue[-1].done.get_loop()
        if not self._crowded or self._under_way <= 0:
            self._flush()
        elif self._flight is None and self._gathering is not loop and not loop.is_closed():
            self._gathering = loop
            loop.call_later(GATHER_SECONDS, self._flush)

    def _flush(self) -> None:
        """Write all that is queued as one batch."""
        self._gathering = None
        if self._flight is None and self._queue:
            assert self._writer is not None, "prepare comes before commit"
            batch, self._queue = self._queue, []
            self._crowded = len(batch) > 1
            self._flight = Flight(batch, batch[-1].done.get_loop())
            self._inbox.put(self._flight)

    def _serve(self) -> None:
        """The writer's thread: one batch after the other, until there is None. An executor costs twice as much."""
        while (flight := self._inbox.get()) is not None:
            try:
                lines = b"".join([pending.line for pending in flight.batch])
                flight.place, flight.error = self._appender.append(lines), None
            except (OSError, MemoryError) as error:
                flight.error = error
            finally:
                flight.landed.set()
                with suppress(RuntimeError):  # the loop has closed, and `close` settles it
                    flight.loop.call_soon_threadsafe(self._settle, flight)

    def _settle(self, flight: Flight) -> None:
        """Index, count and acknowledge a batch once it is on disk. Waits where it is not yet."""
        if flight is not self._flight:
            return
        while not flight.landed.wait(1.0) and self._writer is not None and self._writer.is_alive():
            pass
        error, self._flight = flight.error, None
        if error is None:
            number, offset = flight.place
            for line, _, key, usage in flight.batch:
                self._admit(key, usage, segments.pack(number, offset))
                offset += len(line)
        _acknowledge(flight.batch, error and (self.broken or error))
        if self._queue:
            self._gather()

    def close(self) -> None:
        """Land what is still queued, and let go of the files."""
        if self._writer is not None:
            while self._flight is not None or self._queue:
                self._flush()
                if self._flight is not None:
                    self._settle(self._flight)
            self._inbox.put(None)
            self._writer.join()
            self._writer = None
            self._appender.close()
        while self._readers:
            self._readers.popitem()[1].close()


def _acknowledge(batch: list[Pending], error: BaseException | None) -> None:
    """Tell those who still wait that their lines are written, or why they are not."""
    for _, done, *_ in batch:
        if done.done() or done.get_loop().is_closed():
            continue
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)

"""The policy of the Batch lane: every request that is missing is parked, and written into a file of requests.

    batch/<name>.in      a line for each request, as the endpoint takes it; its id is the request's key
    batch/<name>.keys    for each of them: key, owner, the tokens to expect

A file ends before it has more requests or bytes than an endpoint takes. Keys stay in memory and bodies do not. Knows no
server: engine.batch_jobs submits what was written.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple

from distill_data.data.exchange import Answer
from distill_data.engine.ask import NOBODY, Call, Parked
from distill_data.engine.batches import Ledger, Upload
from distill_data.engine.budget import Budget
from distill_data.engine.durable import disk_error, make_directory, sync_directory
from distill_data.errors import AnswerFailed, BudgetError, DamageError
from distill_data.teachers.prices import BATCH, cost_of

MOST_LINES = 50_000
MOST_BYTES = 190_000_000
"""95 % of the 200 MB that an endpoint takes."""
WAVE = 1_000_000
"""Requests that are written in one pass; the others have their turn when these are answered."""
Refusals = dict[str, tuple[str, str]]
"""Key to reason and detail, of requests that were refused for good by this process."""


class Asked(NamedTuple):
    """What is kept of a request while a batch answers it."""

    owner: str
    prompt_tokens: int
    completion_tokens: int


@dataclass(slots=True)
class Draft:
    """A file of requests that is being written."""

    role: str
    account: str
    url: str
    path: Path
    stream: BinaryIO
    keys: BinaryIO
    digest: hashlib._Hash
    requests: int = 0
    size: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(slots=True)
class Collector:
    """Parks requests. `limits` are the tokens in prompts that a provider lets wait at once, by `Seat.account`."""

    ledger: Ledger
    url_of: Callable[[bytes], str]
    refusals: Refusals
    limits: Mapping[str, int] = field(default_factory=dict)
    budget: Budget = field(default_factory=Budget)
    written: int = 0
    awaited: int = 0
    """Requests that a batch is answering already."""
    prompt_tokens: Counter[str] = field(default_factory=Counter)
    left: bool = False
    """Whether some were parked and not written, for want of room or money."""
    short: BudgetError | None = None
    """Why no more is written, where the budget is too small."""
    owners: set[str] = field(default_factory=set)
    """Items that asked what no batch answers yet, while there are open ones."""
    _known: set[int] = field(default_factory=set)
    _open: set[int] = field(default_factory=set)
    _drafts: dict[tuple[str, str], Draft] = field(default_factory=dict)
    _sealed: list[Upload] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Take note of what open batches are about, and clear away what a killed process was writing."""
        directory, names = self.ledger.directory, {upload.name for upload in self.ledger.open}
        for upload in self.ledger.open:
            self.prompt_tokens[upload.account] += upload.prompt_tokens
        self._open = find_awaited(self.ledger)
        for path in [*directory.glob("*.in"), *directory.glob("*.keys"), *directory.glob("draft-*")]:
            if path.stem not in names:
                path.unlink(missing_ok=True)

    async def park(self, call: Call) -> Answer:
        """Write the request down once and stop its item. Raises AnswerFailed where it was refused for good."""
        if call.key in self.refusals:
            raise AnswerFailed(*self.refusals[call.key])
        number = int(call.key[:16], 16)
        if number in self._open:
            self._open.remove(number)
            self._known.add(number)
            self.awaited += 1
        elif number not in self._known:
            if self._fits(call):
                self._known.add(number)
                try:
                    self._write(call)
                except OSError as error:
                    raise disk_error(error, self.ledger.directory) from error
            else:
                self.left = True
            if self._open and call.owner != NOBODY:
                self.owners.add(call.owner)
        raise Parked

    def unasked(self) -> Iterator[tuple[str, str]]:
        """Key and owner of each request that an open batch answers and that was not asked in this pass."""
        for upload in self.ledger.open if self._open else ():
            for key, asked in read_asked(upload.path(self.ledger.directory, "keys")):
                if int(key[:16], 16) in self._open:
                    yield key, asked.owner

    def _fits(self, call: Call) -> bool:
        account = call.seat.account
        waiting, limit = self.prompt_tokens[account], self.limits.get(account)
        if self.written >= WAVE or self.short is not None:
            return False
        if limit is not None and waiting and waiting + call.prompt_tokens > limit:
            return False
        tokens = (call.prompt_tokens, call.completion_tokens, 0)
        try:
            self.budget.reserve(sum(tokens), cost_of(call.seat.price, tokens, BATCH))
        except BudgetError as error:
            self.short = error
            return False
        self.prompt_tokens[account] += call.prompt_tokens
        return True

    def _write(self, call: Call) -> None:
        url = self.url_of(call.body)
        line = b'{"custom_id":"%s","method":"POST","url":"%s","body":%s}\n' % (
            call.key.encode("ascii"), url.encode("ascii"), call.body,
        )  # fmt: skip
        draft = self._drafts.get((call.role, url))
        if draft is not None and (draft.requests >= MOST_LINES or draft.size + len(line) > MOST_BYTES):
            self._seal(self._drafts.pop((call.role, url)))
            draft = None
        draft = draft or self._start(call.role, call.seat.account, url)
        draft.stream.write(line)
        draft.keys.write(b"%s %s %d %d\n" % (
            call.key.encode("ascii"), call.owner.encode("ascii"), call.prompt_tokens, call.completion_tokens,
        ))  # fmt: skip
        draft.digest.update(line)
        draft.requests += 1
        draft.size += len(line)
        draft.prompt_tokens += call.prompt_tokens
        draft.completion_tokens += call.completion_tokens
        self.written += 1

    def _start(self, role: str, account: str, url: str) -> Draft:
        directory = self.ledger.directory
        make_directory(directory)
        number = len(self.ledger.uploads) + len(self._sealed) + len(self._drafts)
        path = directory / f"draft-{number}"
        digest = hashlib.sha256(f"{self.ledger.run} {number} {role}\n".encode())
        draft = Draft(role, account, url, path, _create(path), _create(path.with_suffix(".keys")), digest)
        self._drafts[role, url] = draft
        return draft

    def _seal(self, draft: Draft) -> None:
        """Bring a draft to the disk under its name."""
        upload = Upload(
            draft.digest.hexdigest(), draft.role, draft.url, draft.requests, draft.prompt_tokens,
            draft.completion_tokens, account=draft.account,
        )  # fmt: skip
        directory = self.ledger.directory
        for stream, ending in ((draft.stream, "in"), (draft.keys, "keys")):
            stream.flush()
            os.fsync(stream.fileno())
            stream.close()
            Path(stream.name).replace(upload.path(directory, ending))
        sync_directory(directory)
        self._sealed.append(upload)

    def seal(self) -> list[Upload]:
        """All files of requests that were written, whole and on disk, in order; from here on they are the caller's.
        Raises DiskError."""
        try:
            while self._drafts:
                self._seal(self._drafts.pop(next(iter(self._drafts))))
        except OSError as error:
            raise disk_error(error, self.ledger.directory) from error
        sealed, self._sealed = self._sealed, []
        return sealed

    def discard(self) -> None:
        """Let go of what was written: it is asked in another way, or in another pass."""
        for draft in self._drafts.values():
            for stream in (draft.stream, draft.keys):
                with suppress(OSError):
                    stream.close()
                Path(stream.name).unlink(missing_ok=True)
        for upload in self._sealed:
            discard_files(self.ledger.directory, upload)
        self._drafts, self._sealed = {}, []


def _create(path: Path) -> BinaryIO:
    path.unlink(missing_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    return open(path, "wb", buffering=1 << 18, opener=lambda *_: fd)


def read_asked(path: Path) -> Iterator[tuple[str, Asked]]:
    """What an upload asks, by key. Raises DamageError where that is gone."""
    try:
        with path.open("rb") as stream:
            for line in stream:
                key, owner, prompt, completion = line.decode("ascii").split()
                yield key, Asked(owner, int(prompt), int(completion))
    except (OSError, ValueError) as error:
        raise DamageError(
            f"{path}: who asked the requests of an open batch cannot be read: {error}. Restore the file from a copy; "
            "or use another output, and fetch the results from the provider yourself."
        ) from None


def find_awaited(ledger: Ledger) -> set[int]:
    """What open batches are answering, by the beginnings of the keys. Raises DamageError as `read_asked` does."""
    paths = [upload.path(ledger.directory, "keys") for upload in ledger.open]
    return {int(key[:16], 16) for path in paths for key, _ in read_asked(path)}


def discard_files(directory: Path, upload: Upload) -> None:
    """Remove what was sent, once it is of no use any more; what came back stays."""
    for ending in ("in", "keys"):
        upload.path(directory, ending).unlink(missing_ok=True)

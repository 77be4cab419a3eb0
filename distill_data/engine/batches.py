"""The ledger of batches: what was meant to be submitted, what was, and what came of it, on disk before each next step.

    bi  intent     the file of requests is on disk under its name, and may be at the server; there is no batch
    bf  uploaded   the server's id of the file: from here on there may be a batch, which is paid for
    bc  created    the server's id of the batch
    bl  lost       the server no longer knows the batch; polled again by every run
    bd  done       its answers are in the journal; says how many, and their tokens
    bx  given up   what it may have cost stays in doubt, and its requests are asked again
    bw  withdrawn  the server refused to create the batch: it costs nothing, and its requests may be asked again

What a process leaves as an intent is forgotten, but for its name: the next one may want other requests.

Lines are those of a journal's segments, in segments of their own: one for each process that writes, none reopened. A
upload's name is a digest of its run, its number and its requests, so that a server can be asked for it. Knows no
network, and nothing about what a request says.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from distill_data.engine import segments
from distill_data.engine.appender import Appender
from distill_data.engine.durable import disk_error
from distill_data.engine.journal import Doubt, Usage
from distill_data.errors import DamageError

INTENT, UPLOADED, CREATED, LOST, DONE, GIVEN_UP, WITHDRAWN = b"bi", b"bf", b"bc", b"bl", b"bd", b"bx", b"bw"
CLOSED = (DONE, GIVEN_UP, WITHDRAWN)
AWAY = (CREATED, LOST)
MAY_COST = (UPLOADED, CREATED, LOST, GIVEN_UP)


@dataclass(slots=True)
class Upload:
    """One file of requests, and the batch that answers it."""

    name: str
    """64 hex digits."""
    role: str
    url: str
    """The endpoint that each of its requests is for."""
    requests: int
    prompt_tokens: int
    """Estimated, as the next."""
    completion_tokens: int
    state: bytes = INTENT
    at: str = ""
    """The address of the server that it went to."""
    file: str = ""
    batch: str = ""
    account: str = ""
    """Whose answers are paid for, as a `Seat` says."""
    fresh: bool = False
    """Whether this process took the last step, so that nothing can have happened after it."""

    def path(self, directory: Path, ending: str) -> Path:
        """`in` for the requests, `keys` for who asked them, `out` and `err` for what came back."""
        return directory / f"{self.name}.{ending}"


@dataclass(slots=True)
class Bought:
    """What batches that are done have brought."""

    answers: int = 0
    usage: dict[str, Usage] = field(default_factory=dict)
    """Tokens of these answers, by account."""
    odd: dict[str, int] = field(default_factory=dict)
    """What was not as it should be: expired, missing, duplicate, unknown or unreadable lines."""
    doubt: Doubt = field(default_factory=Doubt)
    """Answers that were billed and could not be used."""


class Ledger:
    """All uploads of one run, in the order of their intents."""

    def __init__(self, directory: Path) -> None:
        """Read what there is; nothing is written. Raises DamageError and DiskError as a journal does."""
        self.directory = directory
        self.uploads: dict[str, Upload] = {}
        self.bought = Bought()
        self.run = ""
        self._meant: set[str] = set()
        names = [path for path in directory.glob("*.jsonl") if path.stem.isdecimal() and path.stem.isascii()]
        paths = sorted(names, key=lambda path: int(path.stem))
        for path in paths:
            for record in _read(path):
                if record["t"].encode() != INTENT and record["k"] not in self.uploads:
                    raise DamageError(
                        f"{path}: tells of a batch that no earlier line meant to submit, so a file of {directory} is "
                        "missing. Restore it from a copy, or start anew with another output."
                    )
                self._apply(record["t"].encode(), record["k"], record["i"], tuple(record["u"]), record["a"])
        self.uploads = {name: upload for name, upload in self.uploads.items() if upload.state != INTENT}
        self.run = self.run or secrets.token_hex(8)
        self._appender = Appender(directory, paths)

    @property
    def open(self) -> list[Upload]:
        """Those that may still bring answers."""
        return [upload for upload in self.uploads.values() if upload.state not in CLOSED]

    @property
    def waiting_since(self) -> float:
        """When the oldest of these was handed in, by the time of its file of requests, or of a copy; now, where there
        is none."""
        times = [time.time()]
        for upload in self.open:
            with suppress(FileNotFoundError):
                times.append(upload.path(self.directory, "in").stat().st_mtime)
        return min(times)

    @property
    def doubt(self) -> Doubt:
        """What may have been billed, or will be, and has brought no answer yet."""
        found = Doubt(self.bought.doubt.requests, self.bought.doubt.prompt_tokens, self.bought.doubt.completion_tokens)
        for upload in self.uploads.values():
            if upload.state in MAY_COST:
                found.add(upload.requests, upload.prompt_tokens, upload.completion_tokens)
        return found

    def to_json(self) -> dict[str, Any]:
        """What a manifest's history says; nothing where there were no batches."""
        if not self.uploads:
            return {}
        states = [upload.state for upload in self.uploads.values()]
        told = {
            "answers": self.bought.answers,
            "done": states.count(DONE),
            "open": len(self.open),
            "open_requests": sum(upload.requests for upload in self.open),
            "lost": states.count(LOST),
            "given_up": states.count(GIVEN_UP),
            "odd": dict(sorted(self.bought.odd.items())),
        }
        return {"batches": told}

    def add(self, upload: Upload) -> None:
        """Record the intent to submit an upload, whose files are on disk. Raises DiskError."""
        fresh = upload.name not in self._meant
        about = {"role": upload.role, "url": upload.url, "n": upload.requests, "account": upload.account}
        self._record(INTENT, upload.name, (upload.prompt_tokens, upload.completion_tokens, 0), about)
        self.uploads[upload.name].fresh = fresh

    def forget(self, upload: Upload) -> None:
        """Go back to where there was no batch, so that its requests may be asked in another way. Raises DiskError."""
        if upload.state != INTENT:
            self.add(upload)
        del self.uploads[upload.name]

    def advance(self, upload: Upload, state: bytes, usage: Usage = (0, 0, 0), **facts: Any) -> None:
        """Record that an upload is a step further. Raises DiskError."""
        self._record(state, upload.name, usage, facts)

    def _record(self, state: bytes, name: str, usage: Usage, facts: dict[str, Any]) -> None:
        line = segments.frame(state, name, self.run, usage, orjson.dumps(facts))
        try:
            self.directory.mkdir(mode=0o700, exist_ok=True)
            self._appender.append(line)
        except OSError as error:
            raise disk_error(error, self.directory) from error
        self._apply(state, name, self.run, usage, orjson.loads(orjson.dumps(facts)))
        self.uploads[name].fresh = True

    def _apply(self, state: bytes, name: str, run: str, usage: Usage, facts: dict[str, Any]) -> None:
        self.run = run
        if state == INTENT:
            self._meant.add(name)
            account = facts.get("account", "")
            self.uploads[name] = Upload(name, facts["role"], facts["url"], facts["n"], *usage[:2], account=account)
            return
        upload = self.uploads[name]
        upload.state, upload.fresh = state, False
        upload.at, upload.file = facts.get("at", upload.at), facts.get("file", upload.file)
        upload.batch = facts.get("batch", upload.batch)
        if state == DONE:
            bought = self.bought
            bought.answers += facts["answers"]
            before = bought.usage.get(upload.account, (0, 0, 0))
            bought.usage[upload.account] = before[0] + usage[0], before[1] + usage[1], before[2] + usage[2]
            bought.doubt.add(*facts["doubt"])
            for what, count in facts["odd"].items():
                bought.odd[what] = bought.odd.get(what, 0) + count

    def close(self) -> None:
        self._appender.close()


def _read(path: Path) -> Iterator[dict[str, Any]]:
    """The records of one segment. A torn last line never counted."""
    try:
        for offset, line, last in segments.read_lines(path):
            if segments.intact(line):
                yield orjson.loads(line)
            elif not last or segments.glued(line):
                raise DamageError(
                    f"{path}: the line at byte {offset} does not match its checksum, so it is unknown which batches "
                    "were submitted. Restore the file from a copy, or start anew with another output."
                )
    except OSError as error:
        raise disk_error(error, path) from error

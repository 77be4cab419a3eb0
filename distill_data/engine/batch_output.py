"""What came back from a batch: its lines judged as replies are online, and brought to the journal, joined by key.

Lines come in any order. The first of a key holds; lines of nobody's are counted and stay in the files, which are kept.
Knows no server. A request of which there is no answer is missing: it is asked again by whoever runs the method again.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from distill_data.data.exchange import Answer, Reply
from distill_data.engine.ask import Tally
from distill_data.engine.batch_input import Asked, Refusals, read_asked
from distill_data.engine.batches import Upload
from distill_data.engine.journal import Journal
from distill_data.engine.retry import Verdict
from distill_data.engine.send import HTTP_ERROR, weigh
from distill_data.teachers import BadReply, read_answer

UNDONE = frozenset({"batch_expired", "batch_cancelled"})
"""Codes of requests that were not worked on."""
LINE_TRIES = 3
"""Batches in which a request may fail in a way that might pass, before it is refused."""
LINE_CAP = 32 * 2**20
"""Bytes; of a longer line no piece is an answer."""
AT_ONCE = 1000


_FOREIGN = Verdict(
    "stop",
    "foreign-results",
    "no line of what a batch brought names a request of it, as a custom_id, so none can be used; they may have been "
    "paid for, and the next ones would fare the same. Does this server speak the batch API? --lane online does not "
    "need it.",
)


class Line(NamedTuple):
    """A line of an output or error file."""

    key: str
    reply: Reply | None
    """None where the request was not worked on."""


@dataclass(slots=True)
class Ingested:
    """What came of one upload."""

    answers: int = 0
    usage: list[int] = field(default_factory=lambda: [0, 0, 0])
    doubt: list[int] = field(default_factory=lambda: [0, 0, 0])
    odd: Counter[str] = field(default_factory=Counter)
    failed: int = 0
    stop: Verdict | None = None
    """Of the first line that says that nothing more can be had."""

    @property
    def progress(self) -> int:
        """Requests that have come to their end."""
        return self.answers + self.failed

    def doubt_missing(self, upload: Upload, completed: int) -> None:
        """Lines that the server counts and did not give: they are billed, and asked again."""
        lost = min(self.odd["missing"], completed - self.answers - self.doubt[0])
        if lost > 0:
            each = (upload.prompt_tokens // upload.requests, upload.completion_tokens // upload.requests)
            _add(self.doubt, (lost, lost * each[0], lost * each[1]))


@dataclass(slots=True)
class Intake:
    """Takes in what batches bring, for one run."""

    journal: Journal
    tally: Tally
    refusals: Refusals
    tries: Counter[str] = field(default_factory=Counter)

    async def take(self, directory: Path, upload: Upload) -> Ingested:
        """Bring an upload's answers and refusals to the journal. Raises DiskError. Doing it again changes nothing."""
        asked = dict(read_asked(upload.path(directory, "keys")))
        found, seen = Ingested(), set[str]()
        lines = _lines(directory, upload, found.odd)
        while some := list(islice(lines, AT_ONCE)):
            mine = []
            for line in some:
                if line.key not in asked:
                    found.odd["unknown"] += 1
                elif line.key in seen:
                    found.odd["duplicate"] += 1
                else:
                    seen.add(line.key)
                    mine.append(self._settle(line, asked[line.key], found))
            await asyncio.gather(*mine)
        missing = len(asked) - len(seen)
        if missing:
            found.odd["missing"] += missing
        if not seen and found.odd["unknown"] + found.odd["unreadable"]:
            found.stop = replace(_FOREIGN, detail=f"{upload.path(directory, 'out')}: {_FOREIGN.detail}")
        return found

    async def _settle(self, line: Line, asked: Asked, found: Ingested) -> None:
        if line.reply is None:
            found.odd["expired"] += 1
            return
        outcome = weigh(line.reply)
        if isinstance(outcome, Answer):
            await self._keep(line.key, asked, line.reply.body, outcome, found)
            return
        if outcome.doubt:
            _add(found.doubt, (1, asked.prompt_tokens, asked.completion_tokens))
        if outcome.action == "stop":
            found.stop = found.stop or outcome
            return
        if outcome.action == "retry":
            self.tries[line.key] += 1
            if self.tries[line.key] < LINE_TRIES:
                self.tally.retried += 1
                return
        found.failed += 1
        self.refusals[line.key] = (outcome.reason, outcome.detail)
        await self.journal.commit_failure(line.key, asked.owner, outcome.reason, outcome.detail)

    async def _keep(self, key: str, asked: Asked, body: bytes, answer: Answer, found: Ingested) -> None:
        usage = (answer.prompt_tokens, answer.completion_tokens, answer.cached_tokens)
        found.answers += 1
        _add(found.usage, usage)
        entry = self.journal.find(key)
        if entry is not None and _says(entry.body) == _says(body):
            return  # a killed process got as far as that
        await self.journal.commit(key, asked.owner, usage, body, noted=False)
        self.tally.count(usage)


def _lines(directory: Path, upload: Upload, odd: Counter[str]) -> Iterator[Line]:
    """What can be read of both files."""
    for ending in ("out", "err"):
        path = upload.path(directory, ending)
        if not path.exists():
            continue
        with path.open("rb") as stream:
            while text := stream.readline(LINE_CAP):
                line = read_line(text)
                if line is not None:
                    yield line
                elif text.strip():
                    odd["unreadable"] += 1


def read_line(text: bytes) -> Line | None:
    """A line of either file; None where it is none."""
    try:
        value = _loads(text)
    except ValueError:
        return None
    if not isinstance(value, dict) or not isinstance(value.get("custom_id"), str):
        return None
    response, error = value.get("response"), value.get("error")
    if isinstance(response, dict):
        status = response.get("status_code", HTTP_ERROR if error else 200)
        if type(status) is int:
            return Line(value["custom_id"], Reply(status, {}, _dumps(response.get("body"))))
    if isinstance(error, dict) and error.get("code") in UNDONE:
        return Line(value["custom_id"], None)
    return Line(value["custom_id"], Reply(HTTP_ERROR, {}, _dumps({"error": error})))


def _loads(text: bytes) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        try:  # half a surrogate pair in an escape, as replies are read
            return json.loads(text.decode(), parse_constant=_refuse_constant)
        except RecursionError:
            raise ValueError("nested too deeply") from None


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)


def _dumps(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        return json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii")


def _says(body: bytes) -> Answer | None:
    try:
        return read_answer(body)
    except BadReply:
        return None


def _add(total: list[int], more: tuple[int, int, int]) -> None:
    for place, count in enumerate(more):
        total[place] += count


def told(odd: Mapping[str, int]) -> str:
    """`2 expired, 1 missing`, for a person; nothing where there is nothing."""
    return ", ".join(f"{count:,} {what}" for what, count in sorted(odd.items()))

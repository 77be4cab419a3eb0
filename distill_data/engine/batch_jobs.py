"""Batches at a provider: submitted once each, found again after a crash, waited for, fetched.

    intent -> upload -> file id -> create -> batch id -> poll -> download both files

Every arrow is recorded before the next one. What a killed process, or a broken connection, leaves unknown is looked up
at the server by the upload's name, and done again only where two lookings find nothing. Knows files of requests and
of results, and not what is in them.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

from distill_data.data.exchange import Lost
from distill_data.engine.batch_input import discard_files
from distill_data.engine.batches import AWAY, CREATED, GIVEN_UP, LOST, UPLOADED, WITHDRAWN, Ledger, Upload
from distill_data.engine.durable import disk_error, sync_directory
from distill_data.engine.retry import Verdict, backoff, judge, judge_lost, shown
from distill_data.errors import TeacherError
from distill_data.teachers.batch import RUN, UPLOAD, Batch, BatchEndpoint, Refused

LOG = logging.getLogger(__name__)
ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
LOOK_AGAIN = 2.0
"""Seconds between two lookings for what may be there: a list may lag behind."""
SOON, SELDOM = 0.5, 60.0
"""Seconds between two polls, at first and at last."""
GONE = 8
"""How often a batch or its results are not found before that is believed: over a minute, as pauses grow."""
SHORT = 3
"""How often a file has too few lines before it is taken as it is."""
NOT_FOUND = 404
NO_LIST = (NOT_FOUND, 405, 501)
T = TypeVar("T")
Told = Callable[[Mapping[str, Batch | None]], None]
"""Is told how far the batches are, by their uploads' names; None is not known yet."""


class _Unlisted(Exception):
    """The server has no list to look something up in."""


@dataclass(slots=True)
class Jobs:
    """The batches of one run."""

    ledger: Ledger
    endpoints: Mapping[str, BatchEndpoint]
    """By role."""
    rebuy_lost: bool
    draw: Callable[[], float] = random.random
    _answered: set[str] = field(default_factory=set)
    """Addresses that answered this process: where none ever did, it is likely wrong."""
    _misses: Counter[str] = field(default_factory=Counter)
    _troubled: set[str] = field(default_factory=set)

    @property
    def away(self) -> list[Upload]:
        """Whose batches are at a server."""
        return [upload for upload in self.ledger.open if upload.state in AWAY]

    @property
    def unknown(self) -> list[Upload]:
        """Of which it is not known whether there is a batch."""
        return [upload for upload in self.ledger.open if upload.state == UPLOADED]

    async def settle(self) -> None:
        """Find what an earlier process may have created; what it did not is as if it had not been meant. Raises
        TeacherError and DiskError."""
        for upload in self.unknown:
            endpoint = self._endpoint(upload)
            find = partial(endpoint.find_batch, upload.file, upload.name)
            try:
                batch = await self._once(upload, endpoint, find, None)
            except _Unlisted:
                self._doubt_unlisted(upload)
                continue
            if batch is None:
                self.ledger.forget(upload)
            else:
                self.ledger.advance(upload, CREATED, batch=batch.id)

    async def submit(self, upload: Upload) -> None:
        """Have the batch of what was just meant at the server, and its id in the ledger. Raises TeacherError, after
        which it is known or looked up whether there is a batch, and DiskError."""
        endpoint, ledger = self._endpoint(upload), self.ledger
        name, path = f"{upload.name}.jsonl", upload.path(ledger.directory, "in")
        metadata = {RUN: ledger.run, UPLOAD: upload.name}
        try:
            file = await self._once(
                upload, endpoint, lambda: _find_file(endpoint, name), lambda: endpoint.upload(name, path)
            )
            ledger.advance(upload, UPLOADED, at=endpoint.address, file=file)
            batch = await self._once(
                upload,
                endpoint,
                lambda: endpoint.find_batch(upload.file, upload.name),
                lambda: endpoint.create(upload.file, upload.url, metadata),
            )
        except TeacherError:
            if upload.state == UPLOADED and upload.fresh:
                ledger.advance(upload, WITHDRAWN)
            raise
        except _Unlisted:
            self._doubt_unlisted(upload)
            return
        assert batch is not None
        ledger.advance(upload, CREATED, batch=batch.id)
        LOG.info("%s: batch %s is submitted, %d requests", endpoint.name, batch.id, upload.requests)

    def _endpoint(self, upload: Upload) -> BatchEndpoint:
        """Who has an upload, or is to have it."""
        own = self.endpoints.get(upload.role)
        if own is not None and upload.at in ("", own.address):
            return own
        return next(each for each in self.endpoints.values() if each.address == upload.at)

    async def _once(
        self,
        upload: Upload,
        endpoint: BatchEndpoint,
        find: Callable[[], Awaitable[T | None]],
        make: Callable[[], Awaitable[T]] | None,
    ) -> T | None:
        """What is made once: found, where it may be there already, else made. `upload.fresh` tells whether it is known
        not to be there. Raises TeacherError and _Unlisted."""
        tries = 0
        while True:
            looking = not upload.fresh
            try:
                if looking:
                    found = await _look(find)
                    self._answered.add(endpoint.address)
                    if found is not None or make is None:
                        return found
                assert make is not None
                looking = upload.fresh = False
                made = await make()
                self._answered.add(endpoint.address)
                return made
            except Refused as error:
                self._answered.add(endpoint.address)
                verdict = judge(error.reply)
                upload.fresh = not looking and error.reply.status < 500  # a refusal is sure, and trouble is not
            except Lost as error:
                verdict = judge_lost(error, endpoint.address in self._answered)
                upload.fresh = not looking and not error.sent
            except OSError as error:
                raise disk_error(error, upload.path(self.ledger.directory, "in")) from error
            tries += 1
            if verdict.reason == "no-such-model":
                raise TeacherError(
                    f"{endpoint.name}: a batch could not be submitted. {verdict.detail} If the server has no batch "
                    "endpoints, --lane online asks it one request after the other."
                )
            if verdict.action != "retry" or tries >= verdict.tries:
                raise TeacherError(f"{endpoint.name}: a batch could not be submitted. {verdict.detail}")
            await asyncio.sleep(backoff(tries - 1, verdict.floor, self.draw()))

    def _doubt_unlisted(self, upload: Upload) -> None:
        """There may be a batch, and the server has no list to look it up in."""
        if not self.rebuy_lost:
            raise TeacherError(
                "a batch may have been submitted before this run was stopped, and the server has no list to look "
                "it up in. --rebuy-lost submits it anew, and may pay for it twice."
            )
        self._give_up(upload)

    def _give_up(self, upload: Upload) -> None:
        LOG.warning("a batch of %d requests is given up; they are asked again", upload.requests)
        self.ledger.advance(upload, GIVEN_UP)
        discard_files(self.ledger.directory, upload)

    async def wait(self, told: Told, fetched: Callable[[Upload, Batch], Awaitable[None]]) -> None:
        """Wait for all open batches; each is given to `fetched` once its files are on disk.

        Trouble with the server is waited out. Raises TeacherError where the key is refused, and at last where a batch
        is lost and was not to be bought again.
        """
        waiting = {upload.name: upload for upload in self.away}
        states: dict[str, Batch | None] = dict.fromkeys(waiting)
        pause = SOON
        while waiting:
            for upload in [*waiting.values()]:
                batch = await self._poll(upload)
                if batch is not None:
                    before = states[upload.name]
                    pause = pause if before and before.status == batch.status else SOON
                    states[upload.name] = batch
                    if batch.status in ENDED and await self._fetch(upload, batch):
                        del waiting[upload.name]
                        await fetched(upload, batch)
                if self._misses[upload.name] >= GONE:
                    self._lose(waiting.pop(upload.name))
                told(states)
            if waiting:
                await asyncio.sleep(pause)
                pause = min(2 * pause, SELDOM)
        lost = [upload for upload in self.ledger.open if upload.state == LOST]
        if lost:
            raise TeacherError(
                f"the server does not know {', '.join(upload.batch for upload in lost)} any more, with "
                f"{sum(upload.requests for upload in lost)} requests. They may have been paid for: ask the provider; "
                "the same command looks again, and with --rebuy-lost their requests are asked once more."
            )

    async def _poll(self, upload: Upload) -> Batch | None:
        """How a batch is; None where that is not to be known now."""
        endpoint = self._endpoint(upload)
        try:
            batch = await endpoint.retrieve(upload.batch)
        except Refused as error:
            if error.reply.status == NOT_FOUND:
                self._misses[upload.name] += 1
                return None
            self._bear(endpoint, judge(error.reply))
            return None
        except Lost as error:
            self._bear(endpoint, judge_lost(error, True))
            return None
        self._troubled.discard(endpoint.name)
        if batch.status not in ENDED:
            self._misses[upload.name] = 0
        return batch

    def _bear(self, endpoint: BatchEndpoint, verdict: Verdict) -> None:
        """Go on in spite of trouble that may pass; say so once."""
        if verdict.action != "retry" and not verdict.floor:
            raise TeacherError(
                f"{endpoint.name}: {verdict.detail} The batches go on at the provider, and nothing is lost."
            )
        if endpoint.name not in self._troubled:
            LOG.warning("%s: the batches cannot be looked at now, which is tried on. %s", endpoint.name, verdict.detail)
        self._troubled.add(endpoint.name)

    def _lose(self, upload: Upload) -> None:
        if self.rebuy_lost:
            self._give_up(upload)
        elif upload.state != LOST:
            self.ledger.advance(upload, LOST)

    async def _fetch(self, upload: Upload, batch: Batch) -> bool:
        """Bring both files of a batch that has ended to the disk; whether they are there."""
        endpoint, directory = self._endpoint(upload), self.ledger.directory
        files = (("out", batch.output_file, batch.completed), ("err", batch.error_file, 0))
        try:
            for ending, file, lines in files:
                path = upload.path(directory, ending)
                if file and not path.exists():
                    await self._download(upload, file, path, lines)
                elif lines and not file:
                    self._doubt_short(upload, 0, lines)
        except Refused as error:
            if error.reply.status == NOT_FOUND:
                self._misses[upload.name] += 1
            else:
                self._bear(endpoint, judge(error.reply))
            return False
        except Lost as error:
            self._bear(endpoint, judge_lost(error, True))
            return False
        return True

    async def _download(self, upload: Upload, file: str, path: Path, lines: int) -> None:
        """A file as it is, whole under its name or not at all."""
        temporary = path.with_suffix(".part")
        try:
            with temporary.open("wb") as stream:
                temporary.chmod(0o600)
                found = await self._endpoint(upload).download(file, stream)
                stream.flush()
                os.fsync(stream.fileno())
            self._doubt_short(upload, found, lines)
            temporary.replace(path)
            sync_directory(path.parent)
        except OSError as error:
            raise disk_error(error, path) from error

    def _doubt_short(self, upload: Upload, found: int, lines: int) -> None:
        """Raise Lost for a file with fewer lines than were counted, unless it comes like that again and again."""
        if found >= lines:
            return
        key = f"{upload.name} short"
        self._misses[key] += 1
        if self._misses[key] < SHORT:
            raise Lost(f"the results of {shown(upload.batch)} have {found} lines, and {lines} were counted", sent=True)
        LOG.warning("the results of %s have %d lines, and %d were counted", shown(upload.batch), found, lines)


async def _look(find: Callable[[], Awaitable[T | None]]) -> T | None:
    """Look twice. Raises _Unlisted."""
    try:
        found = await find()
        if found is None:
            await asyncio.sleep(LOOK_AGAIN)
            found = await find()
    except Refused as error:
        if error.reply.status in NO_LIST:
            raise _Unlisted from None
        raise
    return found


async def _find_file(endpoint: BatchEndpoint, name: str) -> str | None:
    """A file's id; None also where there is no list, because a file that is there twice costs nothing."""
    try:
        return await endpoint.find_file(name)
    except Refused as error:
        if error.reply.status in NO_LIST:
            return None
        raise

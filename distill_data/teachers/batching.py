"""Requests that come one by one, answered in batches by one thread. Knows no model and no wire.

What waits is taken together, sorted by length and cut into batches, so that little of a batch is padding. A batch that
runs out of memory is halved until it fits; batches are cut smaller then, and grow again bit by bit. An error is that of
its row or its batch alone, and a batch that nobody waits for any more ends.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from distill_data.data.exchange import Reply

COMPANY = 0.01
"""Seconds without a newcomer after which those who wait are answered."""
GROWTH = 1.1
"""By what batches grow again after each that had memory enough: what took it may be gone."""
Proceed = Callable[[], None]
"""Raises CancelledError where nobody waits for the batch any more. Whatever takes long asks it again and again."""


def go_on() -> None:
    """Of a batch that is always waited for."""


class Row(Protocol):
    """A prepared request."""

    @property
    def group(self) -> str:
        """Only equal groups share a batch."""
        ...

    @property
    def length(self) -> int:
        """Tokens that it takes."""
        ...

    @property
    def budget(self) -> int:
        """Most tokens of a batch that it is in, padding included."""
        ...


R = TypeVar("R", bound=Row)


@dataclass(frozen=True, slots=True)
class Steps(Generic[R]):
    """What is done to requests. Called by one thread, one at a time."""

    prepare: Callable[[bytes], R | Reply]
    run: Callable[[Sequence[R], Proceed], Sequence[Reply]]
    too_large: Callable[[R], Reply]
    """The reply to a row that runs out of memory alone."""
    release: Callable[[], None]
    """Gives back what a failed batch may still hold."""


def cut(rows: Sequence[R], share: float = 1.0) -> list[list[int]]:
    """Places of rows in batches: of one group, the longest first, within this share of the budget, never empty."""
    batches: list[list[int]] = []
    for place in sorted(range(len(rows)), key=lambda place: (rows[place].group, -rows[place].length)):
        first = rows[batches[-1][0]] if batches else None
        row = rows[place]
        if first and first.group == row.group and first.length * (len(batches[-1]) + 1) <= row.budget * share:
            batches[-1].append(place)
        else:
            batches.append([place])
    return batches


def is_out_of_memory(error: BaseException) -> bool:
    """Whether torch or Python found too little memory, on any device."""
    said = str(error).lower()
    return isinstance(error, MemoryError) or any(
        words in said for words in ("out of memory", "can't allocate memory", "not enough memory", "alloc_failed")
    )


class Worker(Generic[R]):
    """One thread that answers in batches."""

    def __init__(self, steps: Steps[R], name: str) -> None:
        self._steps = steps
        self._waiting: queue.SimpleQueue[tuple[bytes, Future[Reply]]] = queue.SimpleQueue()
        self._open: set[Future[Reply]] = set()
        self._closing = False
        self._share = 1.0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)

    def submit(self, body: bytes) -> Future[Reply]:
        """The reply to come. A future that is cancelled is not answered, and where nobody is left who waits for a
        batch, that batch ends."""
        future: Future[Reply] = Future()
        self._open.add(future)
        future.add_done_callback(self._open.discard)
        if self._closing:
            future.cancel()
        self._waiting.put((body, future))
        self._thread.submit(self._answer_waiting)
        return future

    def close(self) -> None:
        """Cancel whatever waits or is under way, and wait until the thread has seen it."""
        self._closing = True
        for future in list(self._open):
            future.cancel()
        self._thread.shutdown()

    def _answer_waiting(self) -> None:
        jobs = self._take()
        with _errors_to([future for _, future in jobs]):
            self._answer(jobs)

    def _take(self) -> list[tuple[bytes, Future[Reply]]]:
        """All that wait, and those that come while more and more do. Empty where an earlier turn took them."""
        jobs: list[tuple[bytes, Future[Reply]]] = []
        while True:
            try:
                job = self._waiting.get(timeout=COMPANY) if jobs else self._waiting.get_nowait()
            except queue.Empty:
                return jobs
            if not job[1].cancelled():
                jobs.append(job)

    def _answer(self, jobs: Sequence[tuple[bytes, Future[Reply]]]) -> None:
        rows: list[tuple[R, Future[Reply]]] = []
        for body, future in jobs:
            if future.cancelled():
                continue
            with _errors_to([future]):
                row = self._steps.prepare(body)
                if isinstance(row, Reply):
                    _give(future, row)
                else:
                    rows.append((row, future))
        for places in cut([row for row, _ in rows], self._share):
            batch = [rows[place] for place in places if not rows[place][1].cancelled()]
            futures = [future for _, future in batch]
            with _errors_to(futures):
                replies = self._run([row for row, _ in batch], _make_proceed(futures))
                for future, reply in zip(futures, replies, strict=True):
                    _give(future, reply)

    def _run(self, rows: Sequence[R], proceed: Proceed) -> list[Reply]:
        if not rows:
            return []
        try:
            replies = list(self._steps.run(rows, proceed))
            self._share = min(1.0, self._share * GROWTH)
            return replies
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
        # Here the error is gone, and with it the frames that held the batch's tensors.
        self._steps.release()
        if len(rows) == 1:
            return [self._steps.too_large(rows[0])]
        self._share = min(self._share, self._shrunk(rows))
        half = len(rows) // 2
        return [*self._run(rows[:half], proceed), *self._run(rows[half:], proceed)]

    def _shrunk(self, rows: Sequence[R]) -> float:
        """The share of the budget that half of these rows take."""
        return len(rows) // 2 * max(row.length for row in rows) / rows[0].budget


def _make_proceed(futures: Sequence[Future[Reply]]) -> Proceed:
    def proceed() -> None:
        if all(future.cancelled() for future in futures):
            raise CancelledError

    return proceed


@contextmanager
def _errors_to(futures: Sequence[Future[Reply]]) -> Iterator[None]:
    """What goes wrong reaches those of the futures that are still waited for, and no others."""
    try:
        yield
    except BaseException as error:
        for future in futures:
            if _is_open(future):
                future.set_exception(error)
        if not isinstance(error, Exception):
            raise


def _give(future: Future[Reply], reply: Reply) -> None:
    if _is_open(future):
        future.set_result(reply)


def _is_open(future: Future[Reply]) -> bool:
    """Whether somebody waits for it; from then on it cannot be cancelled, so it is asked where the outcome is known."""
    return not future.done() and future.set_running_or_notify_cancel()

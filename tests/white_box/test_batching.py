"""The one thread that answers in batches: who shares one, in which order, and what becomes of those that fail."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_data.data.exchange import Reply
from distill_data.teachers.batching import Proceed, Steps, Worker, cut, is_out_of_memory

pytestmark = [pytest.mark.white_box]


@dataclass(frozen=True)
class Line:
    """A row of as many tokens as its text has letters; what it begins with is its group."""

    text: str
    budget: int = 100

    @property
    def group(self) -> str:
        return self.text[:1]

    @property
    def length(self) -> int:
        return len(self.text)


class Bench:
    """A worker over lines, and what it was given. `room` is how many letters a batch may have before memory ends."""

    def __init__(self, room: int = 10**9, error: Exception | None = None) -> None:
        self.batches: list[list[str]] = []
        self.released = 0
        self.gate = threading.Event()
        self.gate.set()
        self.begun = threading.Event()
        self.room, self.error = room, error or RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
        self.worker: Worker[Line] = Worker(Steps(self.prepare, self.run, self.too_large, self.release), "bench")

    def prepare(self, body: bytes) -> Line | Reply:
        return Reply(400, {}, b"empty") if not body else Line(body.decode())

    def run(self, rows: Sequence[Line], proceed: Proceed) -> list[Reply]:
        self.begun.set()
        while not self.gate.wait(0.001):
            proceed()
        self.batches.append([row.text for row in rows])
        if len(rows) * max(row.length for row in rows) > self.room:
            raise self.error
        return [Reply(200, {}, row.text.upper().encode()) for row in rows]

    def too_large(self, row: Line) -> Reply:
        return Reply(400, {}, b"too large")

    def release(self) -> None:
        self.released += 1

    def ask(self, *texts: str) -> list[Future[Reply]]:
        return [self.worker.submit(text.encode()) for text in texts]

    def ask_together(self, *texts: str) -> list[Future[Reply]]:
        """Behind a batch that is held until all of them wait."""
        self.gate.clear()
        self.begun.clear()
        (first,) = self.ask("z")
        assert self.begun.wait(10)
        futures = self.ask(*texts)
        self.gate.set()
        assert said([first]) == ["Z"]
        return futures


def said(futures: Sequence[Future[Reply]]) -> list[str]:
    return [future.result(10).body.decode() for future in futures]


@given(st.lists(st.builds(Line, st.text("abc", min_size=1, max_size=60)), max_size=40))
def test_batches_hold_each_row_once_of_one_group_within_the_budget(rows: list[Line]) -> None:
    batches = cut(rows)
    assert sorted(place for batch in batches for place in batch) == list(range(len(rows)))
    for batch in batches:
        lengths = [rows[place].length for place in batch]
        assert len({rows[place].group for place in batch}) == 1
        assert lengths == sorted(lengths, reverse=True)
        assert len(batch) == 1 or lengths[0] * len(batch) <= 100


def test_replies_go_to_those_who_asked_and_company_shares_a_batch() -> None:
    bench = Bench()
    texts = ["aaa", "b", "a" * 40, "aa", "", "bbbbb"]
    assert said(bench.ask_together(*texts)) == [text.upper() or "empty" for text in texts]
    assert bench.batches == [["z"], ["a" * 40, "aaa"], ["aa"], ["bbbbb", "b"]]
    bench.worker.close()


def test_a_batch_without_memory_is_halved_and_later_ones_are_smaller() -> None:
    bench = Bench(room=40)
    assert said(bench.ask_together(*["a" * 10] * 10)) == ["A" * 10] * 10
    assert [len(batch) for batch in bench.batches][1:4] == [10, 5, 2]
    assert bench.released >= 2
    bench.batches.clear()
    assert said(bench.ask_together(*["a" * 10] * 10)) == ["A" * 10] * 10
    assert max(len(batch) for batch in bench.batches) <= 4
    bench.worker.close()


def test_batches_grow_again_once_there_is_memory() -> None:
    bench = Bench(room=10)
    assert said(bench.ask_together(*["a" * 10] * 4)) == ["A" * 10] * 4
    bench.room = 10**9
    for _ in range(12):
        assert said(bench.ask_together(*["a" * 10] * 10)) == ["A" * 10] * 10
    assert len(bench.batches[-1]) == 10
    bench.worker.close()


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: x")])
def test_a_row_without_memory_alone_is_refused_and_the_others_are_answered(error: Exception) -> None:
    bench = Bench(room=20, error=error)
    assert said(bench.ask("aaa", "a" * 30, "aa")) == ["AAA", "too large", "AA"]
    bench.worker.close()


def test_an_error_reaches_its_batch_alone_and_the_next_are_tried_again() -> None:
    bench = Bench(room=5, error=RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    *failing, fine = bench.ask_together("aaaa", "aaaa", "b")
    for future in failing:
        with pytest.raises(RuntimeError, match="mat1"):
            future.result(10)
    assert said([fine]) == ["B"]
    assert said(bench.ask("a")) == ["A"]
    bench.worker.close()


def test_what_prepare_raises_reaches_its_row_alone() -> None:
    bench = Bench()

    def refuse(body: bytes) -> Line | Reply:
        if body == b"deep":
            raise RecursionError("maximum recursion depth exceeded")
        return bench.prepare(body)

    worker: Worker[Line] = Worker(Steps(refuse, bench.run, bench.too_large, bench.release), "bench")
    one, deep, other = [worker.submit(body) for body in (b"a", b"deep", b"b")]
    with pytest.raises(RecursionError):
        deep.result(10)
    assert said([one, other]) == ["A", "B"]
    worker.close()


def test_a_batch_that_nobody_waits_for_ends() -> None:
    bench = Bench()
    bench.gate.clear()
    one, other = bench.ask("a", "a")
    assert bench.begun.wait(10)
    one.cancel()
    time.sleep(0.02)
    assert not other.done()
    other.cancel()
    bench.begun.clear()
    third = bench.ask("b")
    assert bench.begun.wait(10)
    bench.gate.set()
    assert said(third) == ["B"] and bench.batches == [["b"]]
    bench.worker.close()


def test_closing_ends_the_running_batch_and_cancels_all_who_wait() -> None:
    bench = Bench()
    bench.gate.clear()
    futures = bench.ask("a")
    assert bench.begun.wait(10)
    futures += bench.ask("b", "c")
    bench.worker.close()  # the gate is never opened
    assert all(future.cancelled() for future in futures) and bench.batches == []


def test_only_a_lack_of_memory_is_one() -> None:
    assert is_out_of_memory(MemoryError()) and is_out_of_memory(RuntimeError("MPS backend out of memory"))
    assert is_out_of_memory(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"))
    assert not is_out_of_memory(RuntimeError("device-side assert triggered"))

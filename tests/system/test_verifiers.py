"""A user's own verifier that never ends, ends the interpreter or is slow: the command hears signals and says so."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from distill_data.data.exchange import Answer, Request
from distill_data.methods.panel import WAITING, make_panel
from distill_data.recipes import load_recipe
from tests.annotators import SEEDED, serve
from tests.faultserver import Server
from tests.system.command import Output, finish, run, start

SUMS = [{"question": f"row-{n:05d}: How much is {n + 20} plus {n}?", "answer": str(2 * n + 20)} for n in range(8)]
CHECKS = r"""
import os, re, sys, time

def note(gold):
    with open("judged", "a") as file:
        file.write(f"{gold} {os.getpid()}\n")

def loops(answer, gold):
    note(gold)
    while gold == "20":
        pass
    return True

def locks(answer, gold):
    note(gold)
    return gold != "20" or bool(re.match(r"(a+)+$", "a" * 64 + "b"))

def leaves(answer, gold):
    sys.exit(0)

def slow(answer, gold):
    time.sleep(1)
    return True
"""


@pytest.fixture
def server() -> Iterator[Server]:
    with serve() as running:
        yield running


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sums.jsonl").write_bytes(b"".join(json.dumps(row).encode() + b"\n" for row in SUMS))
    (tmp_path / "models.toml").write_text(SEEDED)
    (tmp_path / "checks.py").write_text(CHECKS)
    return tmp_path


def star(server: Server, verifier: str) -> list[str]:
    """The student reasons, and the verifier says which answers are right."""
    command = ["self-knowledge", "sums.jsonl", "-r", "star", "-s", "openai/student", "--verifier", f"checks:{verifier}"]
    return [*command, "--base-url", server.url, "--config", "models.toml", "-o", "out.jsonl"]


def judged(place: Path) -> dict[str, int]:
    """The gold answers that the verifier was called with so far, and the process that called it."""
    with suppress(FileNotFoundError):
        return {gold: int(process) for gold, process in map(str.split, (place / "judged").read_text().split("\n")[:-1])}
    return {}


def alive(process: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(process, 0)
        return True
    return False


@pytest.mark.slow
@pytest.mark.parametrize("verifier", ["loops", "locks"])
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_verifier_that_never_ends_stops_neither_rows_nor_signals(
    verifier: str, sent: signal.Signals, server: Server, place: Path
) -> None:
    process = start(*star(server, verifier))
    deadline = time.monotonic() + 20
    while len(judged(place)) < len(SUMS):
        assert process.poll() is None and time.monotonic() < deadline, f"only {judged(place)} were judged"
        time.sleep(0.02)
    stuck = judged(place)["20"]
    assert alive(stuck)
    process.send_signal(sent)
    time.sleep(0.5)
    assert process.poll() is None, "the first signal drains"
    process.send_signal(sent)
    done = finish(process, timeout=5).ended(128 + sent)
    assert "Traceback" not in done.err
    assert not alive(stuck)
    assert not (place / "out.jsonl").exists()


def test_a_verifier_that_leaves_fails_its_items(server: Server, place: Path) -> None:
    done = run(*star(server, "leaves")).ended(3)
    assert "verifier-error" in done.err
    rejects = Output(place / "out.partial.jsonl").rejects()
    assert {reject["detail"] for reject in rejects} == {"checks:leaves raised SystemExit: 0"}
    assert len(rejects) == len(SUMS)


@pytest.mark.slow
def test_slow_verdicts_are_waited_for_together(server: Server, place: Path) -> None:
    done = run(*star(server, "slow")).ended(0)
    assert Output(place / "out.jsonl").accounted(len(SUMS))["kept"] == len(SUMS)
    assert done.seconds < 6, "one after the other they take 8 seconds"


def test_neither_the_loop_nor_its_end_waits_for_a_verdict() -> None:
    """`asyncio.run` joins the threads of `asyncio.to_thread`; the verdicts' are not such."""
    never = threading.Event()

    def verify(answer: str, gold: str) -> bool:
        return answer == gold or never.wait(10)

    panel = make_panel(
        load_recipe("star", "self-knowledge"), {"student": "s"}, 0, 0, judges=[], verify=verify, slow=True
    )
    assert panel.right
    right = panel.right

    async def nobody(request: Request, to: str = "teacher") -> Answer:
        raise LookupError("a verifier asks no model")

    async def wait() -> bool:
        async with asyncio.timeout(5):
            stuck = [asyncio.ensure_future(right("1", {"answer": "2"}, nobody)) for _ in range(WAITING - 1)]
            await asyncio.sleep(0)
            verdict = await right("2", {"answer": "2"}, nobody)
        assert not any(each.done() for each in stuck)
        return verdict

    started = time.monotonic()
    assert asyncio.run(wait()) is True
    assert time.monotonic() - started < 5
    never.set()

"""Batches and processes that die: one batch for each file of requests, nothing paid twice, the same bytes.

The job that is killed takes two rounds of batches, because half of the first one expires. Processes are forked, which
costs a tenth of starting them; it is the server, in this process, that kills before a call is done or before it is
answered, so that no step lies between two kills.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from distill_data.commands import Options, Summary, label
from distill_data.engine import batch_jobs
from tests.batchserver import Outcome, Server, serving, undone
from tests.system.command import finish, marked, run, start, write_seeds

ROWS = 6
BEFORE = 5
"""Syncs that it takes to have a run directory, which is other tests' affair."""
CALLS = 9
"""Of the job: twice upload, create, poll, and three files to fetch."""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.chdir(tmp_path)
    for name in ("LOOK_AGAIN", "SOON", "SELDOM"):
        monkeypatch.setattr(batch_jobs, name, 0.0)
    write_seeds(tmp_path / "s.jsonl", marked(ROWS))
    with serving() as running:
        yield running


def half_expired(outcome: Outcome) -> Outcome:
    half = ROWS // 2
    return Outcome(outcome.output[:half], [undone(line["custom_id"]) for line in outcome.output[half:]], "expired")


def job(server: Server, lane: str = "batch", output: str = "o.jsonl") -> Summary:
    options = Options(teachers=("openai/m",), base_url=server.url, lane=lane)
    return label("s.jsonl", recipe="answer", output=output, options=options)


def fork(work: Callable[[], int]) -> int:
    """A process that does this and ends with its result."""
    process = os.fork()
    if process:
        return process
    code = 99
    try:
        code = work()
    except BaseException:
        traceback.print_exc(file=sys.__stderr__)
        raise
    finally:
        os._exit(code)


def ended(process: int) -> int:
    """The exit code of a process; negative for the signal that it died of."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def finished_once(server: Server, killed: str, batches: int = 2) -> None:
    """The same command to its end, and what must be so then by the server's own account."""
    assert ended(fork(lambda: job(server).exit_code)) == 0, killed
    assert Path("o.jsonl").read_bytes() == Path("whole.jsonl").read_bytes(), killed
    uploaded = sum(name.endswith(".jsonl") for name, _ in server.files.values())
    assert (len(server.created), uploaded) == (batches, batches), killed
    assert sorted(server.paid.values()) == [1] * ROWS, f"{killed}: paid twice"
    assert not server.online, killed
    history = json.loads(Path("o.manifest.json").read_bytes())["history"]
    assert (history["bought_in_all"], history["bought_twice"], history["in_doubt"]) == (ROWS, 0, 0), killed
    assert history["batches"]["answers"] == ROWS, killed


def afresh(server: Server) -> None:
    """Forget all, here and there, but for the bytes of the undisturbed job."""
    for name, value in Server(server.url).__dict__.items():
        setattr(server, name, value)
    server.script.append(half_expired)
    for path in sorted(Path().glob("o.*")):
        if path.is_dir():
            for inner in sorted(path.rglob("*"), reverse=True):
                inner.rmdir() if inner.is_dir() else inner.unlink()
            path.rmdir()
        else:
            path.unlink()


@pytest.mark.slow
def test_a_kill_between_any_two_calls_costs_nothing(server: Server) -> None:
    server.script.append(half_expired)
    assert job(server, output="whole.jsonl").exit_code == 0
    assert len(server.calls) == CALLS
    for when in ("before", "after"):
        for number in range(1, CALLS + 1):
            afresh(server)
            process: list[int] = []

            def kill(call: int, number: int = number, process: list[int] = process) -> None:
                if call == number:
                    os.kill(process[0], signal.SIGKILL)

            setattr(server, when, kill)
            ready, go = os.pipe()
            process.append(fork(lambda ready=ready: (os.read(ready, 1), job(server).exit_code)[1]))  # type: ignore[misc]
            os.write(go, b".")  # its number is known to who kills it
            assert ended(process[0]) == -signal.SIGKILL
            os.close(ready)
            os.close(go)
            finished_once(server, f"killed {when} call {number}")


@pytest.mark.slow
def test_a_kill_before_anything_reaches_the_disk_costs_nothing(server: Server) -> None:
    """At each sync of a file or a directory in turn, until all is here and the server is asked nothing more."""
    assert job(server, output="whole.jsonl").exit_code == 0

    def dying(number: int) -> int:
        syncs = iter(range(1, 1 << 20))
        real = {name: getattr(os, name) for name in ("fsync", "fdatasync")}

        def sync(name: str, fd: int) -> None:
            if next(syncs) == number:
                os.kill(os.getpid(), signal.SIGKILL)
            real[name](fd)

        os.fsync = lambda fd: sync("fsync", fd)
        os.fdatasync = lambda fd: sync("fdatasync", fd)
        return job(server).exit_code

    number, calls = BEFORE, -1
    while calls < len(server.calls):
        number += 1
        afresh(server)
        server.script.clear()
        assert ended(fork(lambda number=number: dying(number))) == -signal.SIGKILL  # type: ignore[misc]
        calls = len(server.calls)
        finished_once(server, f"killed at sync {number}", batches=1)
    assert number - BEFORE > 10


@pytest.mark.slow
def test_an_interrupt_leaves_the_batch_at_work_and_it_is_found_again(server: Server) -> None:
    server.polls = 10**6
    command = [
        *("label", "s.jsonl", "-r", "answer", "-t", "openai/m", "--base-url", server.url, "-o", "o.jsonl"),
        *("--lane", "batch"),
    ]
    process = start(*command)
    server.after = lambda _: os.kill(process.pid, signal.SIGINT) if server.asked("GET", "/batches/") == 2 else None
    done = finish(process).ended(130)
    said = " ".join(done.err.split())
    assert f"{ROWS} requests in batches go on at the provider" in said
    assert "the same command goes on from here" in said
    assert "1 batch is open, with 6 requests" in run("status", "o.jsonl").ended(0).out
    assert "--lane batch or --lane auto" in " ".join(run(*command[:-2]).complained(2).err.split())
    server.batches["batch_1"]["polls"] = 0
    run(*command).ended(0)
    assert (len(server.created), server.paid.total(), server.asked("POST", "/")) == (1, ROWS, 2)

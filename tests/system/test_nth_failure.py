"""The n-th call of a run fails, for every n: it ends in an exit code and a sentence, and the same command ends it.

As SQLite tests itself. A call fails once or from then on, with the errors of a full disk, a broken one and a signal; or
it does a part of its work. Here that is sampled; `make soak` fails every call in every way.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.crash import SYSTEM, Fault, Fork
from tests.crash.deaths import Job, compare, files_of
from tests.faultserver import Server, serve
from tests.system.command import Output, label, marked, write_seeds

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
ROWS, CONCURRENCY = 4, 2
SOAK = bool(os.environ.get("DISTILL_SOAK"))
"""Whether every call is to fail in every way."""


class Way(NamedTuple):
    """How calls fail."""

    fault: Fault
    step: int = 1
    """Outside of a soak only every so many-th call fails,"""
    first: int = 1
    """from this one on."""

    def numbers(self) -> Iterator[int]:
        """The n of the calls that fail, without end."""
        n = 1 if SOAK else self.first
        while True:
            yield n
            n += 1 if SOAK else self.step


WAYS = {
    "the disk is full once": Way(Fault(SYSTEM, "before", "ENOSPC"), 6, 1),
    "the disk fails once": Way(Fault(SYSTEM, "before", "EIO"), 6, 3),
    "a signal comes between": Way(Fault(SYSTEM, "before", "EINTR"), 6, 5),
    "the disk is full": Way(Fault(SYSTEM, "before", "ENOSPC", for_good=True), 12, 1),
    "the disk fails": Way(Fault(SYSTEM, "before", "EIO", for_good=True), 12, 7),
    "half is written within a quota": Way(Fault("write *", "half", "EDQUOT"), 3, 1),
    "half is written to a failing disk": Way(Fault("write *", "half", "EIO", for_good=True), 3, 2),
    "half is written": Way(Fault("write *", "half", "short", for_good=True), 99),
}


def new_job(fork: Fork, server: Server, directory: Path) -> Job:
    """Four rows, at most two at once."""
    directory.mkdir()
    seeds, out = write_seeds(directory / "seeds.jsonl", marked(ROWS)), Output(directory / "out.jsonl")
    args = label(Path(seeds.name), server.url, Output(Path(out.path.name)), "--concurrency", str(CONCURRENCY))
    return Job(fork, server, args, out, CONCURRENCY, out.on_disk)


def fail(job: Job, fault: Fault) -> bool:
    """Run a job of which a call fails, and check how it ends; whether there was such a call."""
    before = files_of(job.out.path.parent)
    ending = job.run(fault)
    if not ending.struck:
        return False
    read = any(name in str(ending.struck) for name in (" seeds.jsonl", " distill.toml"))
    known = {0, 2, 7} if read else {0, 7}
    assert ending.code in known, (ending.struck, ending.code, ending.said)
    assert "Traceback" not in ending.said, (ending.struck, ending.said)
    assert ending.calls.count("count") <= len(job.out.on_disk()), "an answer was acknowledged that is not on disk"
    left = [name for name in files_of(job.out.path.parent) - before if name.endswith(".tmp")]
    if not fault.for_good:
        assert job.bought_again == 0, f"{ending.struck}: an answer in flight was lost by a single failure"
        assert not left or ending.struck[0].startswith("before unlink "), (ending.struck, left)
    return True


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
def test_whichever_call_of_a_run_fails(fork: Fork, tmp_path: Path, way: Way) -> None:
    with serve() as server:
        whole = new_job(fork, server, tmp_path / "whole")
        whole.run().ended(0)
        failed = 0
        for n in way.numbers():
            job = new_job(fork, server, tmp_path / str(n))
            if not fail(job, way.fault._replace(nth=n)):
                break
            job.run().ended(0)
            compare(job, whole)
            failed += 1
    assert failed >= (3 if way.step < 99 else 1)


def test_whichever_call_of_a_run_that_goes_on_fails(fork: Fork, tmp_path: Path) -> None:
    """Half of the answers are there, a killed process left its files, and a partial dataset waits to be withdrawn."""
    with serve() as server:
        whole = new_job(fork, server, tmp_path / "whole")
        whole.run().ended(0)
        begun = new_job(fork, server, tmp_path / "begun")
        begun.die(Fault("count", "after", "SIGINT"), Fault("write .out.partial.jsonl.tmp", "after", "SIGKILL"))
        for n in Way(Fault(SYSTEM, "before", "EIO"), 6, 2).numbers():
            job = new_job(fork, server, tmp_path / str(n))
            shutil.copytree(begun.out.path.parent, job.out.path.parent, dirs_exist_ok=True)
            job.bought_again = 0
            if not fail(job, Fault(SYSTEM, "before", "EIO", n)):
                break
            job.run().ended(0)
            compare(job, whole)
    assert n > 60


@pytest.mark.parametrize("for_good", [False, True], ids=["once", "from then on"])
def test_whichever_call_of_a_command_on_datasets_fails(fork: Fork, tmp_path: Path, for_good: bool) -> None:
    """The outputs of an earlier run of it are there as they were, or the new ones are."""
    step = ("filter", "in.jsonl", "-c", "words@instruction:1,6", "-o", "out.jsonl")
    old, new = (tmp_path / name for name in ("old", "new"))
    for directory, count in ((old, 4), (new, 9)):
        directory.mkdir()
        write_seeds(directory / "in.jsonl", ["word " * number for number in range(1, count)])
        fork(directory, *step).ended(0)
    write_seeds(old / "in.jsonl", ["word " * number for number in range(1, 9)])
    before, after = published(old), published(new)
    assert len(before) == 2 and all(before[name] != after[name] for name in before)
    for n in range(1, 1000):
        directory = tmp_path / str(n)
        shutil.copytree(old, directory)
        ending = fork(directory, *step, faults=[Fault(SYSTEM, "before", "EIO" if n % 2 else "ENOSPC", n, for_good)])
        if not ending.struck:
            break
        assert ending.code in ({0, 2, 7} if "in.jsonl" in str(ending.struck) else {0, 7}), (ending.struck, ending.said)
        assert "Traceback" not in ending.said, (ending.struck, ending.said)
        found = published(directory)
        assert all(found[name] in (before[name], after[name]) for name in before), ending.struck
        fork(directory, *step).ended(0)
        assert published(directory) == after
        assert files_of(directory) == files_of(new)
    assert n > 15


def published(directory: Path) -> dict[str, bytes]:
    """The outputs in a directory by name, without the manifest, which tells the time."""
    return {path.name: path.read_bytes() for path in directory.glob("out*.jsonl")}

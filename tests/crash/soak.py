"""`python -m tests.crash.soak`: every call of every small job is its last once, each way; then kills at random.

What must hold after each death, and at the end, is in `deaths.py`. Prints a table; the exit code is 1 where something
did not hold.
"""

from __future__ import annotations

import argparse
import itertools
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from distill_data.engine.journal import Journal
from tests.crash import Fault, Fork, warm
from tests.crash.deaths import Asked, Job, compare
from tests.crash.scenes import SCENES, Scene

SIGNALS = ("SIGKILL", "SIGTERM", "SIGINT")
ALLOWED = {"SIGKILL": {-signal.SIGKILL}, "SIGTERM": {143, 0}, "SIGINT": {130, 0}}
"""Exit codes of a run that met the signal. One that comes after the last file has its name changes nothing."""
RANDOM_STARTS = 8
"""How often one job is killed at random before it is let go on to its end."""


@dataclass(slots=True)
class Row:
    """A line of the table."""

    job: str
    how: str
    starts: int = 0
    ends: int = 0
    segments: int = 0
    torn: int = 0
    bought_again: int = 0
    bound: int = 0
    violations: list[str] = field(default_factory=list)

    def add(self, job: Job, directory: Path) -> None:
        """Count what one job came to."""
        journal = Journal(directory / "out.run" / "journal")
        self.torn += journal.totals.torn_tails
        self.segments += len(list(journal.directory.glob("*.jsonl")))
        journal.close()
        self.starts += job.started
        self.ends += job.deaths
        self.bought_again += job.bought_again
        self.bound += job.deaths * job.at_risk


def faults_of(what: str) -> Iterator[Callable[[int], Fault]]:
    """For n from 1: the end after the n-th call, and in the middle of the n-th write."""
    yield lambda n: Fault("*", "after", what, n)
    if what == "SIGKILL":
        yield lambda n: Fault("write *", "half", what, n)


def die_everywhere(scene: Scene, fork: Fork, server: Asked, whole: Job, row: Row, base: Path) -> None:
    """Meet the signal once at every call."""
    for make in faults_of(row.how):
        for n in itertools.count(1):
            directory = base / "job"
            job = scene.new_job(fork, server, directory)
            try:
                ending = job.run(make(n))
                if not ending.struck:
                    if sum(fnmatchcase(call, make(n).at) for call in ending.calls) < n:
                        break
                    continue  # the call failed, as one does that removes what is not there
                job.deaths += 1
                assert ending.code in ALLOWED[row.how], (ending.struck, ending.code, ending.said)
                assert "Traceback" not in ending.said, (ending.struck, ending.said)
                assert row.how == "SIGKILL" or job.bought_again == 0, f"{ending.struck}: a polite end lost an answer"
                job.run().ended(0)
                compare(job, whole)
                row.add(job, directory)
            except AssertionError:
                row.violations.append(f"{make(n)}: {traceback.format_exc(limit=-2)}")
            finally:
                shutil.rmtree(directory)


def die_at_random(scene: Scene, fork: Fork, server: Asked, whole: Job, row: Row, base: Path, kills: int) -> None:
    """Kill jobs at random, several times each."""
    rng = random.Random(len(row.job))
    while row.ends < kills:
        directory = base / "job"
        job = scene.new_job(fork, server, directory)
        try:
            for _ in range(RANDOM_STARTS):
                job.deaths += job.die_at_random(rng, calls=len(whole.calls), requests=6).code == -signal.SIGKILL
            job.run().ended(0)
            compare(job, whole)
            row.add(job, directory)
        except AssertionError:
            row.violations.append(traceback.format_exc(limit=-2))
            row.ends += 1
        finally:
            shutil.rmtree(directory)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200, help="at random, over all jobs")
    parser.add_argument("--job", action="append", choices=SCENES, help="only this one")
    options = parser.parse_args()
    names, rows, began = options.job or list(SCENES), list[Row](), time.monotonic()
    print(
        f"{'job':9}{'end':9}{'starts':>8}{'ends':>7}{'segments':>10}{'torn':>6}{'rebought':>10}{'bound':>7}{'wrong':>7}"
    )
    with warm() as fork, tempfile.TemporaryDirectory(prefix="soak-") as scratch:
        for name in names:
            with SCENES[name].serve() as server:
                base = Path(scratch, name)
                whole = SCENES[name].new_job(fork, server, base / "whole")
                whole.calls = whole.run().ended(0).calls
                for how in (*SIGNALS, "random"):
                    row = Row(name, how)
                    if how == "random":
                        die_at_random(SCENES[name], fork, server, whole, row, base, options.kills // len(names))
                    else:
                        die_everywhere(SCENES[name], fork, server, whole, row, base)
                    rows.append(row)
                    print(
                        f"{row.job:9}{row.how:9}{row.starts:8}{row.ends:7}{row.segments:10}{row.torn:6}"
                        f"{row.bought_again:10}{row.bound:7}{len(row.violations):7}",
                        flush=True,
                    )
    found = [violation for row in rows for violation in row.violations]
    for violation in found[:20]:
        print(f"\n{violation}")
    print(f"\n{sum(row.ends for row in rows)} ends, {len(found)} violations, {time.monotonic() - began:.0f} s")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

"""A job that dies and is started again: what must hold after every death, by the server's account of what was paid.

Knows how to run a job and what it promises, but neither where it dies nor what it asks.
"""

from __future__ import annotations

import contextlib
import json
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from distill_data.engine.journal import Journal
from tests.crash import Ending, Fault, Fork
from tests.faultserver import Line, Server
from tests.system.command import Output

Args = Sequence[str | Path]
SETTLE_SECONDS = 0.02


class Asked(Protocol):
    """A loopback server and its account of what it was asked."""

    @property
    def url(self) -> str: ...
    def asked(self) -> int: ...
    def ledger(self) -> list[Line]: ...


def row_of(line: Line) -> str:
    """What a line of the ledger is about, where that is a marked row."""
    return str(line["row"]) if line["paid"] else ""


@dataclass(slots=True)
class Job:
    """One command and where it writes."""

    fork: Fork
    server: Asked
    args: Args
    out: Output
    concurrency: int
    on_disk: Callable[[], set[str]]
    """Marks of the rows whose answers the files hold."""
    row_of: Callable[[Line], str] = row_of
    """Which of these a line of the ledger bought; empty for none."""
    started: int = 0
    deaths: int = 0
    calls: tuple[str, ...] = ()
    """Of a run that was not interrupted."""
    bought_again: int = 0
    """Answers paid and lost, so far."""

    def run(self, *faults: Fault) -> Ending:
        """Run it to wherever that ends, and check what was asked."""
        with self._watched():
            return self.fork(self.out.path.parent, *self.args, faults=faults)

    def die(self, *faults: Fault) -> None:
        """Run it to the last of these faults, of which it must die."""
        ending = self.run(*faults)
        fault = faults[-1]
        assert ending.struck, f"{fault} was never met; exit code {ending.code}:\n{ending.said}\n{ending.calls}"
        assert ending.struck[-1].startswith(f"{fault.when} "), (fault, ending.struck)
        assert ending.code == -signal.Signals[fault.what], (ending.code, ending.said)
        assert "Traceback" not in ending.said

    def die_while_asked(self, requests: int) -> None:
        """Kill it once the server has been asked so often more, and gives no answer."""
        assert isinstance(self.server, Server)
        self.server.replan({"always": "hang"})
        ending = self._killed_after(requests)
        self.server.replan({})
        assert ending.code == -signal.SIGKILL, ending.said
        assert ending.calls[-1] == "ask begun", "it died elsewhere than in the middle of a request"

    def die_at_random(self, rng: random.Random, calls: int, requests: int) -> Ending:
        """Kill it at one of so many first calls, or some time after one of so many first requests."""
        if rng.random() < 0.5:
            return self.run(Fault("*", rng.choice(("before", "half", "after")), "SIGKILL", rng.randrange(1, calls)))
        return self._killed_after(rng.randrange(requests), rng.random() * 0.03)

    def _killed_after(self, requests: int, seconds: float = 0.0) -> Ending:
        with self._watched():
            until = self.server.asked() + requests
            self.fork.start(self.out.path.parent, *self.args)
            deadline = time.monotonic() + 20
            while self.server.asked() < until and not self.fork.has_ended() and time.monotonic() < deadline:
                time.sleep(0.001)
            time.sleep(seconds)
            self.fork.kill()
            return self.fork.wait()

    @property
    def at_risk(self) -> int:
        """How many answers one death may cost: those at the server, and a quarter as many on their way to the disk."""
        return self.concurrency * 5 // 4

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        before, asked = self.on_disk(), self.server.asked()
        yield
        self.started += 1
        self._settle()
        bought, now = self._paid(asked), self.on_disk()
        assert not before & set(bought), "an answer on disk was asked again"
        assert before <= now, "an answer on disk went away"
        lost = bought.total() - len(set(bought) & now)
        assert lost <= self.at_risk, f"more was lost than was in flight: {lost} of {bought}"
        self.bought_again += lost
        journal = Journal(self.out.run / "journal")  # raises where a line is damaged
        try:
            doubt = journal.totals.doubt.requests
        finally:
            journal.close()
        assert self.bought_again <= doubt <= self.started * self.at_risk, (
            f"{self.bought_again} were bought again, and {doubt} are in doubt"
        )

    def _settle(self) -> None:
        """What a killed process sent last may lie unread with the server for a moment: it belongs to this run."""
        seen, deadline = -1, time.monotonic() + 5.0
        while (now := self.server.asked()) != seen:
            assert time.monotonic() < deadline, "somebody goes on asking after the process has ended"
            seen = now
            time.sleep(SETTLE_SECONDS)

    def _paid(self, since: int = 0) -> Counter[str]:
        """How often each row was paid for."""
        return Counter(row for line in self.server.ledger()[since:] if (row := self.row_of(line)))


def compare(job: Job, whole: Job) -> None:
    """Check that a job came to what one did that was never interrupted, byte for byte, and left nothing behind."""
    here, there = job.out.path.parent, whole.out.path.parent
    assert files_of(here) == files_of(there), files_of(here) ^ files_of(there)
    for name in files_of(there):
        if not name.startswith("out.run/"):
            assert without_history(here / name) == without_history(there / name), name
    result = job.out.manifest()["result"]
    assert result["items"] == result["kept"] + result["rejected"] + result["failed"]
    assert result["pending"] == 0


def without_history(path: Path) -> bytes:
    """A file's bytes; of a manifest, the part that is a function of the answers."""
    data = path.read_bytes()
    return json.dumps(json.loads(data)["result"]).encode() if path.name.endswith("manifest.json") else data


def files_of(directory: Path) -> set[str]:
    """All files below a directory, but for those of which every process makes a new one: segments and blobs."""
    found = {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}
    return {name for name in found if not name.startswith(("out.run/journal/0", "out.run/blobs/0"))}

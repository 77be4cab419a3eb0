"""The command line in processes that die, or whose calls to the system fail, exactly where a test says.

    with warm() as fork:
        ending = fork("label", seeds, ..., faults=[Fault("fdatasync out.run/journal/*.jsonl", "after", "SIGKILL")])
        assert ending.struck and ending.code == -SIGKILL

A process is forked from one that has imported the program already, so a run costs milliseconds and not a start of the
interpreter. Nothing in the program knows of this: the child wraps the functions of `os`, `io` and `fcntl` that change
files, and a few of the program's own (`calls.py` has both tables), before it runs the command. Linux and macOS.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from tests.faultserver import ROOT
from tests.system.command import Done, environment

SYSTEM = "|".join(
    f"{name} *"
    for name in ("open", "look", "write", "fsync", "fdatasync", "ftruncate", "posix_fallocate", "replace", "mkdir",
                 "rmdir", "unlink", "chmod", "flock")
)  # fmt: skip
"""A pattern for every call of the system. To `look` is to open for reading."""


class Fault(NamedTuple):
    """What happens at the `nth` call that a pattern fits, counted from 1 in the life of one process."""

    at: str
    """Shell patterns, joined by `|`, over `operation path`, as in `fsync out.run/.run.json.tmp`; paths are relative to
    the directory."""
    when: str
    """`before` the call, `after` it, or `half`: when half of the bytes are written."""
    what: str
    """A signal (`SIGKILL`), an error (`ENOSPC`), or `short`: a part is written and that is no error."""
    nth: int = 1
    for_good: bool = False
    """Whether every later call that fits fails as well."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a forked command ended."""

    code: int
    """The exit code, or minus the signal that killed it."""
    said: str
    """What it wrote on stdout and stderr."""
    calls: tuple[str, ...]
    """Every call, in order."""
    struck: tuple[str, ...]
    """The moments at which a fault happened: `after fsync out.run`."""

    def ended(self, code: int) -> Ending:
        """This, after a check of the exit code that shows what the command said."""
        assert self.code == code, f"exit code {self.code}, not {code}, after {self.struck}:\n{self.said}"
        assert "Traceback" not in self.said, self.said
        return self

    def complained(self, code: int, *words: str) -> None:
        """A check that all that was said is one clear paragraph which holds these words."""
        Done(self.code, "", self.said, 0).complained(code, *words)


@dataclass(slots=True)
class Fork:
    """Runs commands in forks of a warm process, one at a time."""

    process: subprocess.Popen[str]
    pid: int = 0

    def start(self, directory: Path, *args: str | Path, faults: Sequence[Fault] = (), **limits: int) -> None:
        """Start a command with this working directory. `limits` are soft: `NOFILE=40`; of `AS`, beyond
        what the warm process takes."""
        job = {"directory": str(directory), "args": [*map(str, args)], "faults": faults, "limits": limits}
        self.pid = self._ask(job)["pid"]

    def has_ended(self) -> bool:
        """Whether the started command is dead, though nobody has asked yet how it ended."""
        try:
            os.killpg(self.pid, 0)
        except ProcessLookupError:
            return True
        return False

    def kill(self) -> None:
        """Kill the started command and all that it started. Nothing where it has ended."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def wait(self) -> Ending:
        """How the started command ended."""
        told = self._ask({})
        lines = told["log"].splitlines()
        struck = tuple(line[1:] for line in lines if line.startswith("!"))
        return Ending(told["code"], told["said"], tuple(line for line in lines if not line.startswith("!")), struck)

    def __call__(self, directory: Path, *args: str | Path, faults: Sequence[Fault] = (), **limits: int) -> Ending:
        """Run a command to its end."""
        self.start(directory, *args, faults=faults, **limits)
        return self.wait()

    def _ask(self, job: Mapping[str, object]) -> dict[str, Any]:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        told = self.process.stdout.readline()
        assert told, "the warm process has ended: see its message above"
        return dict(json.loads(told))


@contextlib.contextmanager
def warm() -> Iterator[Fork]:
    """A warm process for the length of a `with` block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.crash"],
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Fork(process)
    finally:
        process.communicate()

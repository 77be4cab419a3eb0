"""Calls that change files below one directory, told to a log; one of them fails, or is the last of the process.

Also a few of the program's own functions, for the moments between two calls. Installed in a process that was forked for
one command, so nothing is ever put back. Calls outside the directory pass unseen.
"""

from __future__ import annotations

import builtins
import errno
import fcntl
import functools
import importlib
import io
import os
import re
import signal
from collections import Counter
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from tests.crash import Fault

PROGRAM = {
    "scan": "distill_data.engine.segments follow_sent",
    "ask": "distill_data.teachers.openai OpenAITeacher.send",
    "count": "distill_data.engine.ask Tally.add",
    "outcome": "distill_data.engine.spill Spill.put",
    "verify": "distill_data.engine.publish file_digest",
}
"""Functions of the program by the names they have here: a segment is read, a teacher asked, an answer acknowledged, an
outcome set aside, a file read back."""
AWAITED = ("ask",)
"""Those that are awaited: each is two steps, `ask begun` and `ask ended`."""

OF_PATHS = ("mkdir", "rmdir", "unlink", "chmod")
"""Functions of `os` that take a path first."""
OF_FILES = ("fsync", "fdatasync", "ftruncate", "posix_fallocate")
"""Functions of `os` that take a descriptor first."""
_NUMBERS = re.compile(r"(\.)[0-9]+(?:-[0-9]+)?(\.tmp)\b|(stdin\.)\w+(\.tmp)\b")


class Calls:
    """The calls of this process."""

    def __init__(self, root: Path, log: int, faults: Sequence[Fault]) -> None:
        self._root = root.resolve()
        self._log = log
        self._faults = faults
        self._fitting: Counter[int] = Counter()
        self._names: dict[int, str] = {}
        self._write, self._process = os.write, os.getpid()

    def install(self) -> None:
        """Wrap all that is in the tables."""
        for name in OF_PATHS:
            setattr(os, name, self._of_path(name, getattr(os, name)))
        for name in OF_FILES:
            if hasattr(os, name):
                setattr(os, name, self._of_file(name, getattr(os, name)))
        for name in ("rename", "replace"):
            setattr(os, name, self._of_target(getattr(os, name)))
        fcntl.flock = self._of_file("flock", fcntl.flock)
        os.open, os.write = self._opening(os.open), self._writing(os.write)  # type: ignore[assignment]
        io.open = builtins.open = self._streams(io.open)  # type: ignore[assignment]
        for name, place in PROGRAM.items():
            module, _, rest = place.partition(" ")
            owner = functools.reduce(getattr, rest.split(".")[:-1], importlib.import_module(module))
            last = rest.rpartition(".")[2]
            setattr(owner, last, self._of_program(name, getattr(owner, last)))

    def step(self, name: str, call: Callable[[], Any], half: Callable[[], Any] | None = None) -> Any:
        """Make a call, with what is to happen at it."""
        if os.getpid() != self._process:  # a child of the command is not what dies
            return call()
        self._write(self._log, f"{name}\n".encode())
        fault = self._fault_of(name)
        if fault is None:
            return call()
        if fault.when == "before":
            self._strike(fault, name)
        try:
            return (half or call)() if fault.when == "half" else call()
        finally:  # after one that failed too, such as a look at what is not there
            if fault.when != "before":
                self._strike(fault, name)

    def _fault_of(self, name: str) -> Fault | None:
        for number, fault in enumerate(self._faults):
            if any(fnmatchcase(name, pattern) for pattern in fault.at.split("|")):
                self._fitting[number] += 1
                if self._fitting[number] == fault.nth or (fault.for_good and self._fitting[number] > fault.nth):
                    return fault
        return None

    def _strike(self, fault: Fault, name: str) -> None:
        self._write(self._log, f"!{fault.when} {name}\n".encode())
        if fault.what.startswith("SIG"):
            os.kill(os.getpid(), signal.Signals[fault.what])
        elif fault.what != "short":
            number = getattr(errno, fault.what)
            raise OSError(number, os.strerror(number))

    def _named(self, path: Any) -> str | None:
        """A path as patterns see it, without numbers of processes; None for one that is elsewhere."""
        try:
            relative = Path(os.path.abspath(os.fsdecode(path))).relative_to(self._root)
        except (TypeError, ValueError):
            return None
        return _NUMBERS.sub(r"\1\3\2\4", str(relative)).replace("..tmp", ".tmp")

    def _of_path(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(path: Any, *args: Any, **options: Any) -> Any:
            place = self._named(path)
            call = functools.partial(real, path, *args, **options)
            return call() if place is None else self.step(f"{name} {place}", call)

        return wrapped

    def _of_target(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(source: Any, target: Any, **options: Any) -> Any:
            place = self._named(target)
            call = functools.partial(real, source, target, **options)
            return call() if place is None else self.step(f"replace {place}", call)

        return wrapped

    def _of_file(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(fd: int, *args: Any) -> Any:
            place = self._names.get(fd)
            call = functools.partial(real, fd, *args)
            return call() if place is None else self.step(f"{name} {place}", call)

        return wrapped

    def _opening(self, real: Callable[..., int]) -> Callable[..., int]:
        def wrapped(path: Any, flags: int, *args: Any, **options: Any) -> int:
            place = self._named(path)
            if place is None:
                return real(path, flags, *args, **options)

            def call() -> int:
                fd = real(path, flags, *args, **options)
                self._names[fd] = place
                return fd

            verb = "open" if flags & (os.O_CREAT | os.O_WRONLY | os.O_RDWR) else "look"
            return int(self.step(f"{verb} {place}", call))

        return wrapped

    def _writing(self, real: Callable[..., int]) -> Callable[..., int]:
        def wrapped(fd: int, data: Any) -> int:
            place = self._names.get(fd)
            if place is None:
                return real(fd, data)
            return int(self._written(place, data, functools.partial(real, fd)))

        return wrapped

    def _written(self, place: str, data: Any, real: Callable[[Any], Any]) -> Any:
        part = memoryview(data)[: max(1, len(data) // 2)]
        return self.step(f"write {place}", lambda: real(data), lambda: real(part))

    def _streams(self, real: Callable[..., Any]) -> Callable[..., Any]:
        calls = self

        class Raw(io.FileIO):
            """A file whose writes are told, below the buffer of a stream."""

            place = ""

            def write(self, data: Any) -> Any:
                return calls._written(self.place, data, super().write)

        def wrapped(file: Any, mode: str = "r", buffering: int = -1, *args: Any, **options: Any) -> Any:
            place = self._names.get(file) if isinstance(file, int) else self._named(file)
            if place is None or "b" not in mode:
                return real(file, mode, buffering, *args, **options)
            if mode == "rb":
                return self.step(f"look {place}", lambda: real(file, mode, buffering, *args, **options))

            def call() -> io.FileIO:
                raw = Raw(file, mode.replace("b", ""))
                raw.place = self._names[raw.fileno()] = place
                return raw

            raw = call() if isinstance(file, int) else self.step(f"open {place}", call)
            size = buffering if buffering > 1 else io.DEFAULT_BUFFER_SIZE
            return (io.BufferedRandom if "+" in mode else io.BufferedWriter)(raw, size)

        return wrapped

    def _of_program(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        if name not in AWAITED:
            return lambda *args, **options: self.step(name, functools.partial(real, *args, **options))

        async def wrapped(*args: Any, **options: Any) -> Any:
            self.step(f"{name} begun", lambda: None)
            result = await real(*args, **options)
            self.step(f"{name} ended", lambda: None)
            return result

        return wrapped

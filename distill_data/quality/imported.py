"""A user's own verifier, named `module:function`. Knows nothing about what it does.

It may loop for ever, hold the interpreter's lock, leave by `sys.exit`, crash Python or print. So it is called in child
processes (`caller.py`), in each by its main thread and one call at a time: what waits for a verdict can stop waiting,
and what ends ends a child. A child has this process's environment; it is not shut in.
"""

from __future__ import annotations

import hashlib
import json
import os
import queue
import select
import signal
import subprocess
import sys
import time
import weakref
from contextlib import suppress
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from distill_data.errors import UsageError, VerifierFailed
from distill_data.parsing.arguments import shown
from distill_data.quality.protocol import Verify

AT_ONCE = 4
"""Calls that run at the same time, each in its own process."""

LOADING, CALLING = 300, 30
"""Seconds by the clock for importing the module, and for a call."""


def function(args: Any) -> Verify:
    """A function `(answer: str, gold: str) -> bool` of the user's. `args`: `module:function`.

    The module is looked for in the working directory, then among what is installed; importing runs it. Raises
    UsageError where there is no such function. The verifier waits 30 seconds at most, and raises VerifierFailed where
    the function takes longer, raises, ends its process, or returns anything but True or False.
    """
    module_name, _, name = args.partition(":") if isinstance(args, str) else ("", "", "")
    if not all(map(str.isidentifier, (*module_name.split("."), name))):
        raise UsageError(
            f"verifier 'function' needs module:function, such as my_checks:same_answer, but it is {shown(args)}."
        )
    # A place holds a child, or None where one is still to be started; the last one put back is taken first.
    places: queue.LifoQueue[_Child | None] = queue.LifoQueue()
    for _ in range(AT_ONCE - 1):
        places.put(None)
    try:
        places.put(_Child(args))
    except VerifierFailed as error:
        raise UsageError(f"verifier 'function': {error.detail}.") from None

    def verify(answer: str, gold: str) -> bool:
        child = places.get()
        try:
            if child is None or child.ended:
                child = _Child(args)
            return child.verdict(answer, gold)
        finally:
            places.put(child)

    return verify


def fingerprint(place: str) -> str:
    """SHA-256 of the source file that the function of `module:function` is in; empty where no file is found.

    Runs nothing, and does not look at the modules that the file imports.
    """
    top, *below = names = place.partition(":")[0].split(".")
    if not all(map(str.isidentifier, names)):
        return ""
    finders = [finder for finder in sys.meta_path if hasattr(finder, "find_spec")]
    specs = (finder.find_spec(top, None) for finder in finders)
    spec = PathFinder.find_spec(top, [os.getcwd(), *sys.path]) or next(filter(None, specs), None)  # noqa: PTH109
    if spec is None:
        return ""
    files = [Path(spec.origin)] if spec.has_location and spec.origin else []
    if below:
        folders = [Path(folder, *below) for folder in spec.submodule_search_locations or ()]
        files = [file for folder in folders for file in (folder / "__init__.py", folder.with_name(f"{below[-1]}.py"))]
    source = next(filter(Path.is_file, files), None)
    return hashlib.sha256(source.read_bytes()).hexdigest() if source else ""


class _Child:
    """A process that has imported the module. Raises VerifierFailed where it could not."""

    def __init__(self, place: str) -> None:
        self._place = place
        # By an argument and not by PYTHONPATH, which every Python that the function starts would inherit. No byte code
        # is written: an edit within the same second would not be seen.
        path = json.dumps([entry for entry in sys.path if entry])
        caller = [sys.executable, "-P", "-B", str(Path(__file__).with_name("caller.py"))]
        process = subprocess.Popen(  # noqa: S603
            [*caller, path, place, str(LOADING), str(CALLING)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert process.stdin and process.stdout
        self._asks, self._tells = process.stdin, process.stdout.fileno()
        self._end = weakref.finalize(self, _end, process)
        refused = self._read(f"importing {place.partition(':')[0]!r}", LOADING).get("refused")
        if refused:
            self._end()
            raise VerifierFailed(refused)

    @property
    def ended(self) -> bool:
        """Whether another one is needed."""
        return not self._end.alive

    def verdict(self, answer: str, gold: str) -> bool:
        """What the function says. Raises VerifierFailed; where that is for time or a crash, the process has ended."""
        with suppress(BrokenPipeError):  # it ended between two calls: there is nothing to read then
            self._asks.write(json.dumps([answer, gold]).encode() + b"\n")
            self._asks.flush()
        reply = self._read(self._place, CALLING)
        if "failed" in reply:
            raise VerifierFailed(f"{self._place} {reply['failed']}")
        return bool(reply["verdict"])

    def _read(self, what: str, seconds: float) -> dict[str, Any]:
        """The next line. Raises VerifierFailed where none comes in time."""
        line, end, waiting = b"", time.monotonic() + seconds, select.poll()
        waiting.register(self._tells, select.POLLIN)
        while not line.endswith(b"\n"):
            in_time = waiting.poll(max(0, end - time.monotonic()) * 1000)
            chunk = os.read(self._tells, 1 << 16) if in_time else b""
            if not chunk:
                self._end()
                raise VerifierFailed(f"{what} ended its process" if in_time else f"{what} took longer than {seconds} s")
            line += chunk
        reply: dict[str, Any] = json.loads(line)
        return reply


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill it and what it started."""
    with suppress(ProcessLookupError, PermissionError):  # there is none left
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdin, process.stdout):
        assert pipe
        with suppress(BrokenPipeError):
            pipe.close()

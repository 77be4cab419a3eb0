"""Whether code passes its unit tests, found by running both in a child process (`harness.py`) that is shut in.

Model code is foreign code. What stands between it and this machine:

- Everywhere: processor and wall time, memory of each process, size of each file, open files, number of processes and
  core dumps are limited; the environment is empty, there is no stdin, output goes nowhere, and only the standard
  library can be imported. Under root, the code runs as a user who owns nothing. At the end everything it started is
  killed. Only this process decides, by a token that comes back when every test has passed: printing, leaving with
  status 0, or breaking `assert` passes nothing.
- Where the kernel allows namespaces (most Linux kernels do; `protection` tells): there is no network, no other process
  can be signalled or looked into, every file system is read-only, and files are written to 64 MiB of memory.

What it does not protect from:

- Code that sets out to deceive these very tests. It runs in one interpreter with them, as it must for
  `assert f(1) == 2` to mean anything, so it can return objects that equal everything, read the tests, or look for the
  open file that the token comes through and send it back. A pass is worth something for code that tries to solve the
  task, and nothing for code that tries to fake one.
- Reading. It can read the files that its user can read; under root, every file. Without a network it can tell nobody.
  Unix sockets in the file system that its user may open (a container engine's, say) are not shut off.
- Without namespaces: the network, writing and deleting the user's files, signalling the user's other processes, and
  reading their environment (this process hides its own, API keys and all, on Linux; the shell that started it does
  not); and a tree of directories made to be hard to remove stays in the temporary directory.
- Memory in sum: up to 16 processes may each take the limit. Holes in the kernel and in Python. For code that you have
  reason to fear, run everything in a virtual machine.
"""

from __future__ import annotations

import ast
import atexit
import json
import logging
import os
import re
import secrets
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

from distill_data.errors import SeedError, UsageError, VerifierFailed
from distill_data.parsing.arguments import settings, whole_setting
from distill_data.quality.protocol import Verify

LOG = logging.getLogger(__name__)

LONGEST = 100_000
"""Characters of an answer that is run, and of unit tests."""

_REPORT_BYTES = 4096
_GRACE = 10
"""Seconds by which the harness may be late before it is killed itself."""

_ADDRESS = re.compile("0x[0-9a-fA-F]+")
_STATUS = {3: "it took too long", 4: "it crashed Python"}


@dataclass(frozen=True, slots=True)
class Limits:
    """What a run may use."""

    seconds: int = 5
    """Of processor time; by the clock it is twice that."""
    memory_mb: int = 512
    """MiB of address space of each process."""


@dataclass(frozen=True, slots=True)
class Protection:
    """What is shut off on this machine, beside what is shut off everywhere."""

    network: bool
    """No network, and no other process within reach."""
    files: bool
    """Nothing but the working directory can be written."""


@dataclass(frozen=True, slots=True)
class TestRun:
    """How a run of unit tests ended."""

    __test__ = False

    passed: bool
    error: str
    """What went wrong, in the code's own words where it has any; empty where all passed. Not to be trusted."""
    protection: Protection


def tests(args: Any) -> Verify:
    """The answer, Python code, passes the gold unit tests. `args`: nothing, or `seconds` (5) and `memory_mb` (512).

    Gold is Python: asserts, functions `test…` without parameters, and `unittest.TestCase` classes; it sees the answer's
    names, and can import it as `answer`. Raises UsageError where code cannot be run here. The verifier raises SeedError
    for a gold that is no Python or tests nothing, and VerifierFailed where the sandbox breaks. Hides this process's
    environment for good, and warns where the code will have the network.
    """
    given = settings("verifier 'tests'", args, ("seconds", "memory_mb"))
    chosen = {name: whole_setting("verifier 'tests'", given, name) for name in given}
    limits = Limits(**{name: value for name, value in chosen.items() if value is not None})
    if limits.seconds < 1 or limits.memory_mb < 1:
        raise UsageError("verifier 'tests' needs 'seconds' and 'memory_mb' to be 1 or more.")
    hide_environment()
    if not try_out(limits).network:
        LOG.warning(
            "no namespaces can be had here, so the code that models write has the network, and can send away what it "
            "reads; a container that allows namespaces, or a virtual machine without a network, prevents that"
        )
    free = threading.BoundedSemaphore(os.cpu_count() or 1)

    def verify(answer: str, gold: str) -> bool:
        with free:
            return run_tests(answer, gold, limits).passed

    return verify


def hide_environment() -> None:
    """Keep other processes of this user from reading this one's environment, in which the API keys are. Linux only.

    It lasts for the life of this process, and not for what it starts. /proc/self then belongs to root, no core is
    dumped, and debuggers and profilers that attach from outside (gdb, py-spy) need root.
    """
    if sys.platform == "linux":
        import ctypes

        # Where there are no namespaces, the code under test runs as a user who may look into us. The kernel lets nobody
        # but root look into a process that is not dumpable, and has no finer setting than that.
        ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)  # PR_SET_DUMPABLE


def try_out(limits: Limits) -> Protection:
    """Run a test that must pass, and say what is shut off. Raises UsageError where it does not pass."""
    try:
        run = run_tests("import decimal, json\ndef one(): return json.loads('1')", "assert one() == 1", limits)
    except VerifierFailed as error:
        raise UsageError(f"verifier 'tests' cannot run code here: {error}.") from None
    if not run.passed:
        raise UsageError(
            f"verifier 'tests' cannot run the simplest code here ({run.error}). Give it more memory_mb; if that "
            "doesn't help, run as an ordinary user, with a Python that every user can read."
        )
    return run.protection


def protection() -> Protection:
    """Whether network and files are shut off from code that runs here. Raises UsageError where no code can be run."""
    return try_out(Limits())


def run_tests(code: str, unit_tests: str, limits: Limits, *, namespaces: bool = True) -> TestRun:
    """Run unit tests against code. Blocks; call it from a thread. `namespaces` False does without them.

    Raises SeedError for tests that are no Python or test nothing, VerifierFailed where the sandbox breaks.
    """
    functions, methods = read_tests(unit_tests)
    if len(code) > LONGEST:
        return TestRun(False, f"it has more than {LONGEST} characters", Protection(False, False))
    task: dict[str, Any] = {"code": code, "tests": unit_tests, "functions": functions, "methods": methods}
    task |= {"seconds": limits.seconds, "memory_mb": limits.memory_mb, "namespaces": namespaces}
    text, token = json.dumps(task).encode(), secrets.token_hex(16).encode()
    place = tempfile.mkdtemp(prefix="tests-")
    tidy = partial(shutil.rmtree, place, ignore_errors=True)
    atexit.register(tidy)  # nobody waits at exit for the thread that this may run in
    try:
        report, status, broken = _run_harness(place, len(text).to_bytes(4, "big") + text + token, 2 * limits.seconds)
    finally:
        atexit.unregister(tidy)
        with suppress(RecursionError):
            tidy()
    line, started, said = report.partition(b"\n")
    if not started:
        raise VerifierFailed(f"the sandbox could not be set up: {broken or 'no reason given'}")
    shut = Protection(b"network" in line, b"files" in line)
    if said == token:
        return TestRun(True, "", shut)
    return TestRun(False, _STATUS.get(status) or _words(said), shut)


def read_tests(text: str) -> tuple[list[str], list[tuple[str, str]]]:
    """The test functions, and the test methods with their classes. Raises SeedError for what cannot test anything."""
    if len(text) > LONGEST:
        raise SeedError(f"the unit tests have more than {LONGEST} characters.")
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise SeedError(f"the unit tests are no Python: {error}.") from None
    functions = [node for node in body if isinstance(node, ast.FunctionDef) and node.name.startswith("test")]
    for node in functions:
        if len(node.args.args) > len(node.args.defaults):
            raise SeedError(f"the unit tests have a function {node.name} with parameters, which nobody fills.")
    methods = [
        (node.name, entry.name)
        for node in body
        if isinstance(node, ast.ClassDef) and any("TestCase" in ast.unparse(base) for base in node.bases)
        for entry in node.body
        if isinstance(entry, ast.FunctionDef) and entry.name.startswith("test")
    ]
    loose = [node for node in body if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))]
    works = any(isinstance(part, (ast.Assert, ast.Call)) for node in loose for part in ast.walk(node))
    if not (functions or methods or works):
        raise SeedError("the unit tests test nothing: they need an assert, a call, or a function that is called test….")
    return [node.name for node in functions], methods


def _run_harness(place: str, payload: bytes, seconds: float) -> tuple[bytes, int, str]:
    """What the harness reported, its exit status, and the last line of its own errors."""
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, "-s", "-S", "-P", "-B", "-X", "utf8", str(Path(__file__).with_name("harness.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=place,
        env={"PYTHONHASHSEED": "0"},
        start_new_session=True,
        bufsize=0,
    )
    with process:
        assert process.stdin and process.stdout and process.stderr
        try:
            with suppress(BrokenPipeError):
                while payload:
                    payload = payload[os.write(process.stdin.fileno(), payload) :]
            report = _read(process.stdout, seconds + _GRACE)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        status = process.wait()
        errors = _read(process.stderr, 1).decode("utf-8", "replace").strip()
    return report, status, errors.rpartition("\n")[2]


def _read(pipe: IO[bytes], seconds: float) -> bytes:
    """What comes through a pipe until it ends or the time is over; beyond the first 4096 bytes it is thrown away."""
    data, end, waiting = b"", time.monotonic() + seconds, select.poll()
    waiting.register(pipe, select.POLLIN)
    while (left := end - time.monotonic()) > 0 and waiting.poll(left * 1000):
        chunk = os.read(pipe.fileno(), 1 << 16)
        if not chunk:
            break
        data += chunk[: _REPORT_BYTES - len(data)]
    return data


def _words(said: bytes) -> str:
    """The code's own error, on one line, and the same in every run."""
    text = " ".join(said.decode("utf-8", "replace").split())
    return _ADDRESS.sub("0x…", text) or "it ended before the tests did"

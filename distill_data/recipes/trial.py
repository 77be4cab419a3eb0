"""The first time that a foreign template runs: in a child process that may die of it. Knows no recipe.

What comes after it runs in this process, bounded by `sandbox`: a worker for each row would cost ten times a render.
The trial is for what those bounds forget, and for reading and compiling, which have none.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from distill_data.errors import RecipeError

CPU_SECONDS = 5
WALL_SECONDS = 60.0
"""Much more than the CPU seconds, because a machine may be busy; a template has no way to wait."""
BYTES = 1 << 30
"""Memory beyond what this process has already."""
OUT_OF_MEMORY = 77
"""An exit status that nothing else gives."""


def on_trial(work: Callable[[], object], name: str) -> None:
    """Let a child process do the work under limits, and forget what comes of it: whatever the work raises it will raise
    here too, where it is done again.

    Raises RecipeError, with the name, where the child took too much memory or time, or died. The child is a fork, which
    costs milliseconds. Without fork, on Windows, nothing is tried and the bounds of `sandbox` are all there is; without
    /proc, on macOS, memory has no limit.
    """
    if not hasattr(os, "fork"):
        return
    ours, theirs = os.pipe()  # the child holds the other end: it closes when the child ends, however that comes
    child = os.fork()
    if child == 0:
        _do(work)
    os.close(theirs)
    status = None
    try:
        ended, _, _ = select.select([ours], [], [], WALL_SECONDS)
        if ended:
            status = os.waitpid(child, 0)[1]
    finally:
        os.close(ours)
        if status is None:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    problem = "took too long" if status is None else _problem(status)
    if problem:
        raise RecipeError(
            f"{name}: reading and rendering it {problem}, so it is not used. The limits are {CPU_SECONDS} CPU-seconds "
            f"and {BYTES >> 20} MiB; shorten its loops and what it writes out, or check where it comes from."
        )


def _do(work: Callable[[], object]) -> None:
    """In the child. Does not return, whatever happens: two processes would go on where one was meant to."""
    status = 0
    try:
        _limit()
        work()
    except MemoryError:
        status = OUT_OF_MEMORY
    except RecipeError as error:
        status = OUT_OF_MEMORY if isinstance(error.__context__, MemoryError) else 0
    finally:
        os._exit(status)  # what is raised is raised again in the parent


def _limit() -> None:
    """No output, no more memory and time than allowed."""
    import resource

    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nothing, stream)
    limits = [(resource.RLIMIT_CPU, CPU_SECONDS), (resource.RLIMIT_CORE, 0)]
    with suppress(OSError):
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        limits.append((resource.RLIMIT_AS, pages * os.sysconf("SC_PAGE_SIZE") + BYTES))
    for what, most in limits:
        hard = resource.getrlimit(what)[1]
        least = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (least, hard))


def _problem(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    if code == OUT_OF_MEMORY:
        return "took too much memory"
    if code == -signal.SIGXCPU:
        return "took too long"
    return "" if code == 0 else f"ended a process by {signal.Signals(-code).name}" if code < 0 else f"ended in {code}"

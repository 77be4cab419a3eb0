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
SURVIVED, NO_MEMORY = b"survived", b"memory"
"""What the child says at the end, if it comes to it."""


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
    try:
        child = os.fork()
    except OSError as error:
        os.close(ours)
        os.close(theirs)
        raise RecipeError(f"{name}: no process can be started to try it in: {error.strerror}.") from None
    if child == 0:
        _do(work, theirs)
    os.close(theirs)
    said = b"late"
    try:
        waiting = select.poll()
        waiting.register(ours, select.POLLIN)
        if waiting.poll(WALL_SECONDS * 1000):
            said = os.read(ours, 8)
    finally:
        os.close(ours)
        if said == b"late":
            os.kill(child, signal.SIGKILL)
        with suppress(ChildProcessError):  # where SIGCHLD is ignored, nobody has to wait
            os.waitpid(child, 0)
    if said != SURVIVED:
        problem = "took too much memory" if said == NO_MEMORY else "took too long, or crashed"
        raise RecipeError(
            f"{name}: reading and rendering it {problem}, so it is not used. The limits are {CPU_SECONDS} CPU-seconds "
            f"and {BYTES >> 20} MiB; shorten its loops and what it writes out, or check where it comes from."
        )


def _do(work: Callable[[], object], tell: int) -> None:
    """In the child. Does not return, whatever happens: two processes would go on where one was meant to."""
    said = SURVIVED
    try:
        _limit()
        work()
    except MemoryError:
        said = NO_MEMORY
    except RecipeError as error:
        said = NO_MEMORY if isinstance(error.__context__, MemoryError) else SURVIVED
    finally:  # whatever else is raised is raised again in the parent
        try:
            os.write(tell, said)
        finally:
            os._exit(0)


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
        soft, hard = resource.getrlimit(what)
        least = min(limit for limit in (most, soft, hard) if limit != resource.RLIM_INFINITY)
        resource.setrlimit(what, (least, hard))

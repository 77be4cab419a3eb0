"""The warm process: reads a job a line, forks a child for it, and tells how that ended. Knows no test."""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import resource
import selectors
import sys
import traceback
from pathlib import Path
from typing import Any

from tests.crash import Fault
from tests.crash.calls import Calls

IMPORTED = (
    "uvloop",
    "httptools",
    "aiohappyeyeballs",
    "stringprep",
    "encodings.idna",
    "encodings.unicode_escape",
    "numpy",
    "safetensors.numpy",
    "distill_data.cli.app",
    "distill_data.commands",
    "distill_data.teachers.openai",
    "distill_data.teachers.echo",
)


def prepare() -> None:
    """Import what most commands do, and make the parser of the command line once for all of them."""
    for name in IMPORTED:
        importlib.import_module(name)
    import typer.main

    from distill_data.cli.app import make_app

    made = typer.main.get_command(make_app())
    typer.main.get_command = lambda _: made
    gc.collect()
    gc.freeze()


def memory_taken() -> int:
    """Address space of this process, in bytes. Linux."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def run(job: dict[str, Any], said: int, log: int) -> int:
    """One command, in the child, with pipes for what it says and for its calls; the exit code."""
    from distill_data.cli import main

    os.chdir(job["directory"])
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(said, 1)
    os.dup2(said, 2)
    sys.dont_write_bytecode = bool(job["limits"])  # under a limit it is cut, and found by the next
    for name, limit in job["limits"].items():
        number = getattr(resource, f"RLIMIT_{name}")
        limit += memory_taken() if name == "AS" else 0
        resource.setrlimit(number, (limit, resource.getrlimit(number)[1]))
    Calls(Path.cwd(), log, [Fault(*each) for each in job["faults"]]).install()
    try:
        return main(job["args"])
    except SystemExit as ending:
        return int(ending.code or 0)
    finally:
        if (error := sys.exception()) is not None:
            traceback.print_exception(error)
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()


def serve() -> None:
    """Job after job, until there are no more: the first line starts one, the second asks how it ended."""
    for line in sys.stdin:
        said, log = os.pipe(), os.pipe()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                code = run(json.loads(line), said[1], log[1])
            finally:
                os._exit(code)
        os.setpgid(pid, pid)  # before anybody is told, so that the group can be killed
        for _, writing in (said, log):
            os.close(writing)
        print(json.dumps({"pid": pid}), flush=True)
        texts = [data.decode(errors="replace") for data in drain(said[0], log[0])]
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        sys.stdin.readline()
        print(json.dumps({"code": code, "said": texts[0], "log": texts[1]}), flush=True)


def drain(*pipes: int) -> list[bytes]:
    """All that comes out of pipes, whichever has something, until nobody holds their other ends."""
    found = {fd: bytearray() for fd in pipes}
    with selectors.DefaultSelector() as waiting:
        for fd in pipes:
            waiting.register(fd, selectors.EVENT_READ)
        while waiting.get_map():
            for key, _ in waiting.select():
                if data := os.read(key.fd, 1 << 16):
                    found[key.fd] += data
                else:
                    waiting.unregister(key.fd)
                    os.close(key.fd)
    return [bytes(data) for data in found.values()]


if __name__ == "__main__":
    prepare()
    serve()

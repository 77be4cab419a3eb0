"""The warm process: reads a job a line, forks a child for it, and tells how that ended. Knows no test."""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import resource
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

from tests.crash import Fault
from tests.crash.calls import Calls

IMPORTED = (
    "uvloop",
    "aiohttp",
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


def run(job: dict[str, Any], said: int, log: Path) -> int:
    """One command, in the child; the exit code."""
    from distill_data.cli import main

    os.chdir(job["directory"])
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(said, 1)
    os.dup2(said, 2)
    for name, limit in job["limits"].items():
        number = getattr(resource, f"RLIMIT_{name}")
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
    with tempfile.TemporaryDirectory(prefix="crash-") as scratch:
        said, log = Path(scratch, "said"), Path(scratch, "log")
        for line in sys.stdin:
            for path in (said, log):
                path.write_bytes(b"")
            with said.open("ab") as stream:
                pid = os.fork()
                if pid == 0:
                    code = 1
                    try:
                        code = run(json.loads(line), stream.fileno(), log)
                    finally:
                        os._exit(code)
            os.setpgid(pid, pid)  # before anybody is told, so that the group can be killed
            print(json.dumps({"pid": pid}), flush=True)
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            sys.stdin.readline()
            told = {"code": code, "said": said.read_text(errors="replace"), "log": log.read_text(errors="replace")}
            print(json.dumps(told), flush=True)


if __name__ == "__main__":
    prepare()
    serve()

"""A shard's process, as `--shards` starts it: its task on stdin, what happens on stdout, a line of JSON each.

It ends as on SIGTERM once stdin is closed: then nobody waits for it. Knows no option and no text for people.
"""

import gc
import json
import logging
import os
import signal
import sys
import threading
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING

from distill_data.cli import GARBAGE, stop

if TYPE_CHECKING:
    from distill_data.reporting import Progress


class _Tell(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        _tell("log", [record.levelno, record.getMessage()])


def main() -> None:
    """Run the task that stands on stdin."""
    gc.set_threshold(GARBAGE)
    signal.signal(signal.SIGTERM, stop)
    from distill_data.commands.task import read_task, run_to_end

    logging.getLogger("distill_data").addHandler(_Tell())
    task = read_task(sys.stdin.buffer.readline())
    _tell("ready", True)
    threading.Thread(target=_follow, daemon=True).start()
    gc.freeze()
    try:
        _tell("end", run_to_end(task, _progress))
    except KeyboardInterrupt:
        _tell("end", [128 + signal.SIGINT, "interrupted"])
    except SystemExit as ending:
        _tell("end", [ending.code, "interrupted"])


def _follow() -> None:
    """Stop when stdin ends. Reads around its buffer, whose lock a thread must not hold when Python ends."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _progress(progress: "Progress") -> None:
    _tell("progress", asdict(progress))


def _tell(name: str, value: object) -> None:
    """A line for whoever started this; that nobody reads it is no reason to lose what is being paid for."""
    with suppress(OSError):
        print(json.dumps({name: value}, default=str), flush=True)


if __name__ == "__main__":
    main()

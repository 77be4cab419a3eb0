"""A shard's process, as `--shards` starts it: its task on stdin, what happens on stdout, a line of JSON each.

It ends as on SIGTERM once stdin is closed: then nobody waits for it. What libraries print goes to stderr. Knows no
option and no text for people.
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

from distill_data.cli import EXHAUSTED, GARBAGE, stop
from distill_data.errors import DiskError

if TYPE_CHECKING:
    from distill_data.reporting import Progress


class _Listener(logging.Handler):
    """Whoever started this, at the other end of a pipe that nothing else writes to."""

    def __init__(self) -> None:
        super().__init__()
        self._pipe = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def tell(self, name: str, value: object) -> None:
        """In one write, as several threads do; that nobody reads it is no reason to lose what is being paid for."""
        with suppress(OSError):
            self._pipe.write(json.dumps({name: value}, default=str).encode() + b"\n")
            self._pipe.flush()

    def emit(self, record: logging.LogRecord) -> None:
        self.tell("log", [record.levelno, record.getMessage()])

    def progress(self, progress: "Progress") -> None:
        self.tell("progress", asdict(progress))


def main() -> None:
    """Run the task that stands on stdin."""
    gc.set_threshold(GARBAGE)
    signal.signal(signal.SIGTERM, stop)
    from distill_data.commands.task import read_task, run_to_end

    listener = _Listener()
    logging.getLogger("distill_data").addHandler(listener)
    line = sys.stdin.buffer.readline()
    if not line.endswith(b"\n"):  # who was writing it is dead
        return
    task = read_task(line)
    listener.tell("ready", True)
    threading.Thread(target=_follow, daemon=True).start()
    gc.freeze()
    try:
        end: object = run_to_end(task, listener.progress)
    except KeyboardInterrupt:
        end = [128 + signal.SIGINT, "interrupted"]
    except SystemExit as ending:
        end = [ending.code, "interrupted"]
    except (MemoryError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in EXHAUSTED:
            raise
        again = "What was acknowledged before is safe; run the same command again once there is more."
        end = [DiskError.exit_code, f"{str(error) or 'memory ran out'}. {again}"]
    listener.tell("end", end)


def _follow() -> None:
    """Stop when stdin ends. Reads around its buffer, whose lock a thread must not hold when Python ends."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()

"""The two streams of a command: stdout for what was asked for, stderr for all talk. Knows no command.

All text goes through `plain`, so nothing that a seed, model or server said commands the terminal.
"""

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from distill_data.reporting.plain import plain


def say(*lines: str) -> None:
    """Lines for a person, on stderr. Where nobody reads them, that is no reason for a command to end otherwise."""
    with suppress(BrokenPipeError):
        for line in lines:
            print(plain(line), file=sys.stderr)


def put(*lines: str) -> None:
    """Lines that were asked for, on stdout."""
    for line in lines:
        print(plain(line))


def put_json(value: Any) -> None:
    """JSON on stdout, in ASCII."""
    print(json.dumps(value, indent=2, default=str))


def complain(message: str) -> None:
    """One paragraph on stderr about why the command ends."""
    paragraph = re.sub(r"\n\s*\n", "\n", message.strip())
    say(f"distill-data: {paragraph}")


@contextmanager
def listening(*, quiet: bool, verbose: bool, tty: bool) -> Iterator[None]:
    """What the package logs goes to stderr: warnings, more with `verbose`, only errors with `quiet`."""
    import logging

    from distill_data.reporting.progress import CLEAR

    class Talk(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            sys.stderr.write(CLEAR if tty else "")
            complain(record.getMessage())

    logger, handler = logging.getLogger("distill_data"), Talk()
    before = logger.level, logger.propagate
    logger.setLevel(logging.ERROR if quiet else logging.INFO if verbose else logging.WARNING)
    logger.propagate = False
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.level, logger.propagate = before

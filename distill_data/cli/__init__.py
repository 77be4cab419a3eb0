"""The command line: parse options, call a command, print. The only package that knows Typer."""

import errno
import gc
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType

PROGRAM = "distill-data"
EXHAUSTED = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""What the system says when it has no more to give."""
GARBAGE = 200_000
"""Objects allocated and not freed between two looks for unreachable cycles, of which a run makes few: looking as often
as Python does by default costs a fifth of its CPU."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command, by default the process's own; the exit code. What the user did wrong is told in a paragraph.

    Exceptions that are nobody's mistake but ours pass, with their traceback.
    """
    gc.set_threshold(GARBAGE)
    with suppress(ValueError):  # in another thread signals are somebody else's
        signal.signal(signal.SIGTERM, stop)
    import typer

    from distill_data.cli.talk import complain
    from distill_data.errors import DistillError

    try:
        return _run(sys.argv[1:] if arguments is None else arguments)
    except DistillError as error:
        complain(str(error))
        return error.exit_code
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        command = context.command_path if context else PROGRAM
        message = error.format_message().rstrip(".")
        complain(f"{message}{'' if message.endswith('?') else '.'} Run '{command} --help' for help.")
        return error.exit_code
    except MemoryError:
        complain("memory ran out. What was acknowledged before is safe; give it more, and run the same command again.")
        return 7
    except KeyboardInterrupt:
        complain("interrupted")
        return 130
    except BrokenPipeError:
        # The interpreter flushes once more at exit; nobody is there to read it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        if error.errno not in EXHAUSTED:
            raise
        complain(f"{error}. What was acknowledged before is safe; run the same command again once there is more.")
        return 7


def stop(number: int, frame: FrameType | None) -> None:
    """End as an exception does, so that what is half written is removed."""
    raise SystemExit(128 + number)


def _run(arguments: Sequence[str]) -> int:
    """One command. Streams show what they cannot encode instead of failing on it."""
    import io

    import typer
    from typer.main import get_command

    from distill_data.cli.app import make_app

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    command = get_command(make_app())
    try:
        with command.make_context(PROGRAM, list(arguments)) as context:
            command.invoke(context)
        return 0
    except typer.Exit as ending:
        return ending.exit_code
    finally:
        if sys.stdout is not None:  # where it is closed from the beginning
            sys.stdout.flush()

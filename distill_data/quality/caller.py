"""The child process behind `function`: it imports a user's module and calls its function. Knows not this package.

Run by its path. Arguments: the module search path as JSON, `module:function`, and two limits in seconds, for the import
and for a call. The first line out is {} or {"refused": why}. Then for every line in, [answer, gold], a line out:
{"verdict": bool} or {"failed": why}.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from threading import Thread
from typing import BinaryIO

SPARE = 10
"""Seconds after a limit at which this process ends itself: the parent, who ends it in time, may be gone by then."""


class Refused(Exception):
    """There is no such function, or a call of it gave no verdict."""


def main() -> None:
    """Call until the input ends."""
    path, place, loading, calling = sys.argv[1:]
    sys.path[:] = json.loads(path)
    asked, told = take_streams()
    with suppress(PermissionError):  # the parent sees to it, and nobody else's group may ever end with this process
        os.setsid()
    Thread(target=end_with_parent, args=(asked.fileno(),), daemon=True).start()
    try:
        signal.alarm(int(loading) + SPARE)
        function = load(place)
    except Refused as error:
        return tell(told, {"refused": str(error)})
    signal.alarm(0)
    tell(told, {})
    for line in asked:
        # Not caught: its default is to end the process, which also stops work that never returns to Python.
        signal.alarm(int(calling) + SPARE)
        try:
            tell(told, {"verdict": call(function, *json.loads(line))})
        except Refused as error:
            tell(told, {"failed": str(error)})
        signal.alarm(0)
    return None


def take_streams() -> tuple[BinaryIO, BinaryIO]:
    """The two pipes to the parent. The function reads an empty input, and what it prints goes to standard error."""
    asked, told = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    return asked, told


def end_with_parent(asked: int) -> None:
    """End this process and all that the function started, once nobody is left to ask. The alarm is for code that holds
    the interpreter's lock."""
    waiting = select.poll()
    waiting.register(asked, 0)  # the end alone
    waiting.poll()
    os.killpg(0, signal.SIGKILL)


def tell(told: BinaryIO, reply: Mapping[str, object]) -> None:
    """One line to the parent, at once."""
    told.write(json.dumps(reply).encode() + b"\n")
    told.flush()


def load(place: str) -> Callable[[str, str], object]:
    """What `module:function` names. Raises Refused."""
    module_name, _, name = place.partition(":")
    here = os.getcwd()  # noqa: PTH109
    sys.path.insert(0, here)
    try:
        module = import_module(module_name)
    except BaseException as error:
        missing = isinstance(error, ModuleNotFoundError) and f"{module_name}.".startswith(f"{error.name}.")
        what = f"there is no module {module_name!r}" if missing else f"importing {module_name!r} ends in {named(error)}"
        raise Refused(f"{what}. It is looked for in {here} first, then among what is installed") from error
    found = getattr(module, name, None)
    if not callable(found):
        where = getattr(module, "__file__", None) or "built in"
        what = f"{name!r} is no function" if hasattr(module, name) else f"there is no {name!r}"
        raise Refused(f"{what} in {module_name!r} ({where}). Write there: def {name}(answer: str, gold: str) -> bool")
    checked: Callable[[str, str], object] = found
    return checked


def call(function: Callable[[str, str], object], answer: str, gold: str) -> bool:
    """The verdict. Raises Refused for whatever the function raises, and for what is not True or False."""
    try:
        verdict = function(answer, gold)
    except BaseException as error:  # sys.exit too: it ends no run
        raise Refused(f"raised {named(error)}") from error
    if not isinstance(verdict, bool):
        raise Refused(f"returned {repr(verdict)[:100]}, and not True or False")
    return verdict


def named(error: BaseException) -> str:
    """Type and message of an error, on one line of at most 300 characters."""
    return " ".join(f"{type(error).__name__}: {error}".split()).rstrip(":")[:300]


if __name__ == "__main__":
    main()

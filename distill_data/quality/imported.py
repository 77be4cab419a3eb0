"""A user's own verifier, imported by `module:function`. Knows nothing about what it does."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

from distill_data.errors import UsageError, VerifierFailed
from distill_data.parsing.arguments import shown
from distill_data.quality.protocol import Verify


def function(args: Any) -> Verify:
    """A function `(answer: str, gold: str) -> bool` of the user's. `args`: `module:function`.

    The module is looked for in the working directory, then among what is installed; importing runs it. Raises
    UsageError where there is no such function. The verifier raises VerifierFailed where the function raises, or
    returns anything but True or False.
    """
    call = load_function(args)

    def verify(answer: str, gold: str) -> bool:
        try:
            verdict = call(answer, gold)
        except Exception as error:
            raise VerifierFailed(f"{args} raised {named(error)}") from error
        if not isinstance(verdict, bool):
            raise VerifierFailed(f"{args} returned {shown(verdict)}, and not True or False")
        return verdict

    return verify


def load_function(place: Any) -> Callable[[str, str], object]:
    """What `module:function` names. Raises UsageError."""
    module_name, colon, name = place.partition(":") if isinstance(place, str) else ("", "", "")
    if not colon or not name.isidentifier() or not all(part.isidentifier() for part in module_name.split(".")):
        raise UsageError(
            f"verifier 'function' needs module:function, such as my_checks:same_answer, but it is {shown(place)}."
        )
    here = os.getcwd()  # noqa: PTH109
    sys.path.insert(0, here)
    try:
        module = import_module(module_name)
    except (Exception, SystemExit) as error:
        missing = isinstance(error, ModuleNotFoundError) and f"{module_name}.".startswith(f"{error.name}.")
        what = f"there is no module {module_name!r}" if missing else f"importing {module_name!r} ends in {named(error)}"
        raise UsageError(
            f"verifier 'function': {what}. It is looked for in {here} first, then among what is installed."
        ) from error
    finally:
        # At the end the module's own late imports are still found, and no file here hides a library from us.
        sys.path.remove(here)
        sys.path.append(here)
    found = getattr(module, name, None)
    if not callable(found):
        where = getattr(module, "__file__", None) or "built in"
        what = f"{name!r} is no function" if hasattr(module, name) else f"there is no {name!r}"
        raise UsageError(
            f"verifier 'function': {what} in {module_name!r} ({where}). Write there: "
            f"def {name}(answer: str, gold: str) -> bool."
        )
    checked: Callable[[str, str], object] = found
    return checked


def named(error: BaseException) -> str:
    """Type and message of an error, on one line of at most 300 characters."""
    return " ".join(f"{type(error).__name__}: {error}".split()).rstrip(":")[:300]

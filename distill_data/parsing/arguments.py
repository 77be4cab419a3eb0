"""What a recipe's front matter gives to a parser or a check, looked at once and before anything is sent.

Knows no parser and no check; `what` is how a message names one, such as "parser 'choice'".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeVar

from distill_data.errors import UsageError

Entry = TypeVar("Entry")


def look_up(table: Mapping[str, Entry], name: str, what: str) -> Entry:
    """The entry called `name`. Raises UsageError with the nearest name and all that there are."""
    if name in table:
        return table[name]
    from difflib import get_close_matches

    near = get_close_matches(name, table, n=1, cutoff=0.5)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    raise UsageError(f"There is no {what} {name!r}. {hint}There are: {', '.join(table)}.")


def no_args(what: str, args: Any) -> None:
    """Raises UsageError unless the recipe gave no arguments."""
    if args is not None:
        raise UsageError(f"{what} takes no arguments, but the recipe gives {shown(args)}.")


def texts(what: str, args: Any, noun: str) -> list[str]:
    """A list of distinct non-empty texts, or the keys of a mapping. Raises UsageError."""
    if not isinstance(args, (list, tuple, Mapping)):
        raise UsageError(f"{what} needs a list of {noun}, but the recipe gives {shown(args)}.")
    found = list(args)
    for entry in found:
        if not isinstance(entry, str) or not entry.strip():
            raise UsageError(
                f"{what}: {shown(entry)} is no text. Write each of the {noun} in quotes; "
                "YAML reads a bare yes, no or 1 as something else."
            )
    if not found:
        raise UsageError(f"{what} needs at least one of the {noun}; the recipe gives none.")
    if len(set(found)) < len(found):
        raise UsageError(f"{what}: {shown(found)} names one of the {noun} twice.")
    return found


def settings(what: str, args: Any, names: tuple[str, ...]) -> dict[str, Any]:
    """A mapping with no other keys than `names`; none at all is an empty one. Raises UsageError."""
    if args is None:
        return {}
    if not isinstance(args, Mapping):
        raise UsageError(f"{what} needs a mapping with {', '.join(names)}, but the recipe gives {shown(args)}.")
    for key in args:
        look_up(dict.fromkeys(names), str(key), f"setting of {what} called")
    return dict(args)


def text_setting(what: str, given: Mapping[str, Any], name: str, default: str | None = None) -> str:
    """The setting `name`, a non-empty text. Raises UsageError."""
    value = given.get(name, default)
    if not isinstance(value, str) or not value:
        raise UsageError(f"{what} needs {name!r} to be a name, but the recipe gives {shown(value)}.")
    return value


def whole_setting(what: str, given: Mapping[str, Any], name: str) -> int | None:
    """The setting `name`, a whole number from 0 up, or None where it is absent. Raises UsageError."""
    value = given.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise UsageError(f"{what} needs {name!r} to be a whole number from 0 up, but the recipe gives {shown(value)}.")
    return value


def number_setting(what: str, given: Mapping[str, Any], name: str) -> float | None:
    """The setting `name`, a finite number from 0 up, or None where it is absent. Raises UsageError."""
    value = given.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
        raise UsageError(f"{what} needs {name!r} to be a number from 0 up, but the recipe gives {shown(value)}.")
    return float(value)


def shown(value: Any) -> str:
    """A value for a message, at most 100 characters."""
    text = "nothing" if value is None else repr(value[:100] if isinstance(value, str) else value)
    return text if len(text) <= 100 else text[:97] + "..."

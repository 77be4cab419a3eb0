"""What the shipped functions let in and out: kind and size of every argument, range and form of every number.

Knows no function. Each check gives the value in the form that a function works with, or raises
ParseError("execution-failed") with the argument's name.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from distill_data.errors import ParseError
from distill_data.parsing.arguments import shown

LARGEST = 10**15
"""No number is further from 0: below it a whole number and a float are the same number."""


def refuse(detail: str) -> ParseError:
    """The error of a function that cannot give a result."""
    return ParseError("execution-failed", detail)


def number(name: str, value: Any, least: float = -1e12, most: float = 1e12) -> float:
    """A finite number within the bounds; a whole one stays an int, so that it is calculated with exactly."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise refuse(f"{name} is {shown(value)}, which is no number")
    if not least <= value <= most:
        raise refuse(f"{name} is {shown(value)}, which is not between {least:g} and {most:g}")
    return value


def whole(name: str, value: Any, least: int, most: int) -> int:
    """A whole number within the bounds. As in JSON schema, 3.0 is one."""
    found = number(name, value, least, most)
    if found != int(found):
        raise refuse(f"{name} is {shown(value)}, which is no whole number")
    return int(found)


def numbers(name: str, value: Any, most: int) -> list[float]:
    """A list of 1 to `most` numbers."""
    if not isinstance(value, list) or not 1 <= len(value) <= most:
        raise refuse(f"{name} is no list of 1 to {most} numbers")
    return [number(f"{name}[{position}]", entry) for position, entry in enumerate(value)]


def text(name: str, value: Any, least: int, most: int) -> str:
    """A text of `least` to `most` characters that can be written as UTF-8."""
    if not isinstance(value, str):
        raise refuse(f"{name} is {shown(value)}, which is no text")
    if not least <= len(value) <= most:
        raise refuse(f"{name} has {len(value)} characters, and {least} to {most} are allowed")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise refuse(f"{name} has a lone surrogate") from None
    return value


def one_of(name: str, value: Any, options: Iterable[str]) -> str:
    """One of the options, as it is written there."""
    allowed = list(options)
    if not isinstance(value, str) or value not in allowed:
        raise refuse(f"{name} is {shown(value)}, and may be {', '.join(allowed)}")
    return value


def neat(value: float) -> float:
    """A result as a person would write it: 12 significant digits, and a whole number as an int.

    So 0.1 + 0.2 is 0.3 and 6 / 2 is 3. Raises where the result is no number or larger than `LARGEST`.
    """
    if isinstance(value, float) and not math.isfinite(value):
        raise refuse("the result is no finite number")
    if abs(value) > LARGEST:
        raise refuse(f"the result is larger than {LARGEST:g}")
    rounded = float(f"{value:.12g}") if isinstance(value, float) else value
    return int(rounded) if rounded == int(rounded) else rounded

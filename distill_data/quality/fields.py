"""Fields of a reply and columns of a row, read as text by checks. Knows no check."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from distill_data.data.items import canonical
from distill_data.errors import UsageError


def text_of(what: str, values: Mapping[str, Any], name: str, noun: str = "field") -> str:
    """The value called `name`, as JSON where it is no text. Raises UsageError where there is none: the recipe is wrong.

    `what` is how a message names the check, and `noun` what it reads: a field or a column.
    """
    value = values.get(name)
    if value is None and name not in values:
        raise UsageError(f"{what} reads the {noun} {name!r}, which is not there; there are: {', '.join(values)}.")
    return value if isinstance(value, str) else canonical(value).decode()

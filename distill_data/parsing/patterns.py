"""Regular expressions that a user, a recipe or a row wrote: every search has an end. Knows no recipe.

Python's own `re` backtracks until it is done, which for `(a|a)*$` and fifty letters is never, and takes no limit. The
package `regex` reads the same patterns, and more, and takes one. What it would read as something else is escaped:
`x{e}` is a letter and a word in braces, not an x with any number of errors.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from distill_data.errors import UsageError
from distill_data.parsing.arguments import shown

SECONDS = 1.0
"""For one search of one text."""
LONGEST = 10_000
"""Characters of a pattern."""

_BRACE = re.compile(r"(\\[NpP]\{[^{}]*\}|\\.)|\{(?!\d*,?\d*\})", re.DOTALL)
"""A brace that begins no number of times, after what may hold one."""

Find = Callable[[str], bool]
"""Whether the pattern is found in the text. Raises TooSlow."""


class TooSlow(Exception):
    """A search that did not end in time. Says nothing about whether there is a match."""

    def __init__(self, pattern: str) -> None:
        super().__init__(f"the pattern {shown(pattern)} took longer than {SECONDS:g} s on this text")


@lru_cache(maxsize=1024)
def make_find(pattern: str, *, whole: bool = False) -> Find:
    """A search for the pattern; with `whole` it must match all of the text. Raises UsageError for a broken pattern."""
    search = _search(pattern, "fullmatch" if whole else "search")

    def find(text: str) -> bool:
        try:
            return search(text, timeout=SECONDS) is not None
        except TimeoutError:
            raise TooSlow(pattern) from None

    return find


def _search(pattern: str, method: str) -> Callable[..., Any]:
    import regex  # 30 ms, and most runs have no pattern

    if len(pattern) > LONGEST:
        raise UsageError(f"the pattern {shown(pattern)} is longer than {LONGEST} characters.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of what may mean something else one day
            found: Callable[..., Any] = getattr(regex.compile(_BRACE.sub(_escaped, pattern)), method)
    except (regex.error, ValueError, OverflowError, RecursionError) as error:
        raise UsageError(f"{shown(pattern)} is no pattern: {error}.") from None
    return found


def _escaped(found: re.Match[str]) -> str:
    return found[1] or "\\{"

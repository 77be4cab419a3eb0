"""What a misspelt name was probably meant to be. Knows no recipe."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

LONGEST = 100
"""Characters of a name that somebody may have misspelt: the time that a comparison takes grows with the square."""


def hint(word: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: what was meant, or else what there is to choose from."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6) if len(word) <= LONGEST else []
    if close:
        return f"; did you mean {close[0]}?"
    return f"; known are {', '.join(names)}" if names else "; there are none"

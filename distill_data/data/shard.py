"""Shard: which rows are one process's, where several share a job. Knows neither files nor teachers."""

from __future__ import annotations

import re
from typing import NamedTuple

from distill_data.errors import UsageError

_FORM = re.compile(r"([0-9]{1,9})/([0-9]{1,9})")


class Shard(NamedTuple):
    """One of several equal parts of a job.

    A row belongs to a part by its content and not by its position: equal rows meet in one part, where they are asked
    about once, and rows that are added, removed or moved leave all others where their answers lie.
    """

    number: int
    """From 1."""
    of: int

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    @property
    def name(self) -> str:
        """As its files are called."""
        return f"{self.number}-of-{self.of}"

    def holds(self, mark: int) -> bool:
        """Whether a row is its own, by a number over the row's content."""
        return mark % self.of == self.number - 1


def parse_shard(text: str) -> Shard:
    """`2/7` is the second of seven. Raises UsageError."""
    found = _FORM.fullmatch(text)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise UsageError(f"--shard {text}: this must be I/N, such as 2/7 for the second of seven shards.")
    return Shard(int(found[1]), int(found[2]))

"""Checks on one parsed reply and its seed row. Knows no recipe; a maker takes what the recipe gives.

A check that reads a field or a column which is not there raises UsageError: the recipe is wrong, not the reply.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from distill_data.errors import UsageError
from distill_data.parsing.arguments import settings, text_setting, whole_setting
from distill_data.parsing.folding import fold
from distill_data.quality.fields import text_of
from distill_data.quality.protocol import Check
from distill_data.quality.refusals import is_refusal
from distill_data.quality.words import words


def word_count(args: Any) -> Check:
    """`too-short` below `min` words in `field` (default `text`), `too-long` above `max`; at least one of the two."""
    what = "check 'words'"
    given = settings(what, args, ("field", "min", "max"))
    field = text_setting(what, given, "field", "text")
    low, high = whole_setting(what, given, "min"), whole_setting(what, given, "max")
    if low is None and high is None:
        raise UsageError(f"{what} needs 'min', 'max' or both.")
    if low is not None and high is not None and low > high:
        raise UsageError(f"{what}: min {low} is above max {high}.")

    def check(fields: Mapping[str, Any], row: Mapping[str, Any]) -> str | None:
        count = len(words(text_of(what, fields, field)))
        if low is not None and count < low:
            return "too-short"
        return "too-long" if high is not None and count > high else None

    return check


def refusal(args: Any) -> Check:
    """`refusal` where `field` (default `text`) begins as a refusal does. `args`: nothing, the field, or a mapping."""
    what = "check 'refusal'"
    given = {"field": args} if isinstance(args, str) else settings(what, args, ("field",))
    field = text_setting(what, given, "field", "text")
    return lambda fields, row: "refusal" if is_refusal(text_of(what, fields, field)) else None


def no_echo(args: Any) -> Check:
    """`echo` where `field` (default `text`) has the words of the seed's `column` and no others. Case does not count."""
    what = "check 'no-echo'"
    given = settings(what, args, ("field", "column"))
    field, column = text_setting(what, given, "field", "text"), text_setting(what, given, "column")

    def check(fields: Mapping[str, Any], row: Mapping[str, Any]) -> str | None:
        said, asked = text_of(what, fields, field), text_of(what, row, column, "column")
        return "echo" if asked.strip() and _gist(said) == _gist(asked) else None

    return check


def _gist(text: str) -> list[str]:
    return words(text) or [fold(text).strip()]

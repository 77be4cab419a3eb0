"""`filter`: keep the rows that pass every check; the others go to the rejects with the first reason. Asks no model."""

from __future__ import annotations

from collections.abc import Sequence

from distill_data.commands.rows import Done, Step, Verdict, keep_rows, opened, outputs_of
from distill_data.data.items import Row
from distill_data.errors import UsageError
from distill_data.quality.filters import files_read, make_filter


def filter_rows(source: str, *, checks: Sequence[str], output: str, rejects: str = "") -> Done:
    """Write the rows of a dataset that pass every check, byte for byte.

    A check is `NAME[@COLUMN][:ARGS]` (`quality.filters.FILTERS`). Raises UsageError, SeedError with the place of a row
    that lacks a column, YieldError where nothing is left.
    """
    if not checks:
        raise UsageError("no check is given: name one with --check, such as --check length:1,2000.")
    made = [(spec, make_filter(spec)) for spec in checks]

    def decide(ordinal: int, row: Row) -> Verdict:
        for spec, check in made:
            reason = check(row)
            if reason:
                return reason, spec
        return None

    with opened(source) as sources:
        settings = {"checks": list(checks)}
        outputs = outputs_of(output, rejects)
        return keep_rows(Step("filter", sources, settings, outputs, files_read(tuple(checks))), decide)

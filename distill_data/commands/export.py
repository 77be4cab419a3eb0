"""`export`: a dataset in the shape that its consumer reads: rows, or the arrays beside them. Asks no teacher."""

from __future__ import annotations

from distill_data.commands.export_arrays import ARRAYS, export_arrays
from distill_data.commands.export_rows import export_rows
from distill_data.commands.options import Options
from distill_data.commands.rows import Done
from distill_data.errors import UsageError
from distill_data.formats.targets import TARGETS


def export(
    source: str,
    *,
    to: str,
    output: str,
    tokenizer: str = "",
    options: Options = Options(),  # noqa: B008
) -> Done:
    """Write the dataset for `to`; what its manifest says then.

    `tokenizer` names a model (`transformers/PATH`) whose tokenizer is the dataset's, for targets of arrays that need
    one; without it, it is the teacher's. Raises UsageError, SeedError, YieldError, DamageError, DiskError. Until
    everything is written, nothing of an earlier export has changed.
    """
    if to in TARGETS:
        if tokenizer:
            raise UsageError(f"--tokenizer: {to} is made of text; only {', '.join(ARRAYS)} take one.")
        return export_rows(source, to=to, output=output)
    if to in ARRAYS:
        return Done(export_arrays(source, to=to, output=output, tokenizer=tokenizer, options=options), True, output)
    raise UsageError(f"--to {to}: the targets are {', '.join([*TARGETS, *ARRAYS])}.")

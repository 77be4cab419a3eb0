"""`curate`: the teacher writes x from meta-information, then y. Joins methods.curation to the engine."""

from __future__ import annotations

from collections.abc import Callable

from distill_data.commands.generate import generate
from distill_data.commands.options import Options, Summary
from distill_data.commands.rounds import prepare_rounds, require_rows
from distill_data.reporting import Progress


def curate(
    meta: str,
    *,
    recipe: str,
    output: str,
    options: Options,
    progress: Callable[[Progress], None] | None = None,
) -> Summary:
    """Let the teacher write x about the rows of `meta`, and y for each, until `options.rows` of them are kept.

    Arguments, summary and errors are those of `label`. With fewer rows at the end, the output is partial and the exit
    code 3.
    """
    from distill_data.methods.curation import make_curation

    require_rows(options)
    return generate("curate", meta, recipe, output, options, prepare_rounds(make_curation), progress)

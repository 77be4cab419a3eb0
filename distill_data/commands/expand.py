"""`expand`: the teacher writes x from demonstrations, then y. Joins methods.expansion to the engine."""

from __future__ import annotations

from collections.abc import Callable

from distill_data.commands.generate import generate
from distill_data.commands.options import Options, Summary
from distill_data.commands.rounds import prepare_rounds, require_rows
from distill_data.reporting import Progress


def expand(
    seeds: str,
    *,
    recipe: str,
    output: str,
    options: Options,
    progress: Callable[[Progress], None] | None = None,
) -> Summary:
    """Let the teacher write new x beside the seeds, and y for each, until `options.rows` of them are kept.

    Arguments, summary and errors are those of `label`. With fewer rows at the end, the output is partial and the exit
    code 3.
    """
    from distill_data.methods.expansion import make_expansion

    require_rows(options)
    return generate("expand", seeds, recipe, output, options, prepare_rounds(make_expansion), progress)

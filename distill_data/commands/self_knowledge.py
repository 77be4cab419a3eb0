"""`self-knowledge`: the student gives y and annotates it itself. Joins methods.self_knowledge to the engine."""

from __future__ import annotations

from collections.abc import Callable

from distill_data.commands.generate import generate
from distill_data.commands.options import Options, Summary
from distill_data.reporting import Progress


def self_knowledge(
    seeds: str,
    *,
    recipe: str,
    output: str,
    options: Options = Options(),  # noqa: B008 - frozen
    progress: Callable[[Progress], None] | None = None,
) -> Summary:
    """Have the one student in `options.students` answer every seed, vote, verify, reward or refine, and keep what
    comes of it.

    Arguments, summary and errors are those of `label`.
    """
    from distill_data.commands.annotation import prepare_annotation

    return generate("self-knowledge", seeds, recipe, output, options, prepare_annotation, progress)

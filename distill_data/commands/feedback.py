"""`feedback`: the student gives y, the teacher says what it is worth. Joins methods.feedback to the engine."""

from __future__ import annotations

from collections.abc import Callable

from distill_data.commands.generate import generate
from distill_data.commands.options import Options, Summary
from distill_data.reporting import Progress


def feedback(
    prompts: str,
    *,
    recipe: str,
    output: str,
    options: Options = Options(),  # noqa: B008 - frozen
    progress: Callable[[Progress], None] | None = None,
) -> Summary:
    """Have `options.students` answer every prompt, or take the answers in `options.answers_column`; have the teachers
    judge them; write records of one kind or several.

    Arguments, summary and errors are those of `label`.
    """
    from distill_data.commands.annotation import prepare_annotation

    return generate("feedback", prompts, recipe, output, options, prepare_annotation, progress)

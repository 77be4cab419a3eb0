"""`feature`: the teacher annotates a given y with what it knows. Joins methods.feature to the engine."""

from __future__ import annotations

from collections.abc import Callable

from distill_data.commands.generate import generate
from distill_data.commands.options import Options, Summary
from distill_data.commands.plan import read_recipe
from distill_data.errors import UsageError
from distill_data.reporting import Progress


def feature(
    data: str,
    *,
    recipe: str,
    output: str,
    options: Options = Options(),  # noqa: B008 - frozen
    progress: Callable[[Progress], None] | None = None,
) -> Summary:
    """Have the teacher score y in every row, and write records with side files of arrays, rejects and a manifest.

    `data` is a dataset of another command, or rows with `prompt` and `completion`, `messages`, or `text`. Arguments,
    summary and errors are those of `label`; `data.features.open_features` reads the arrays.
    """
    from distill_data.commands.knowledge import prepare_feature
    from distill_data.methods.feature import has_arrays

    if output == "-" and has_arrays(read_recipe(recipe, "feature", options)):
        raise UsageError(f"{recipe} writes side files beside the dataset, so stdout will not do; give -o OUT.jsonl.")

    return generate("feature", data, recipe, output, options, prepare_feature, progress)

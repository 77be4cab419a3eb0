"""`label`: the data gives x, the teacher gives y. Joins methods.labeling to the engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from distill_data.commands.generate import MakeWork, generate
from distill_data.commands.options import Options, Summary
from distill_data.commands.plan import Seeds
from distill_data.commands.work import OverSeeds
from distill_data.data.items import Row
from distill_data.methods.labeling import make_labeling
from distill_data.recipes import Recipe
from distill_data.reporting import Progress


def label(
    seeds: str,
    *,
    recipe: str,
    output: str,
    options: Options = Options(),  # noqa: B008 - frozen
    progress: Callable[[Progress], None] | None = None,
) -> Summary:
    """Ask the teacher for y on every seed row, and write records, rejects and a manifest.

    `seeds` is a path, `@name` of a shipped set or `-`; `output` ends in `.jsonl`, or is `-` for stdout. The summary
    says how the run ended, with the command line's exit code. Raises DistillError; where it is a UsageError, nothing
    was sent.
    """
    return generate("label", seeds, recipe, output, options, _prepare, progress)


def _prepare(
    recipe: Recipe, teachers: Mapping[str, str], seeds: Seeds, pool: Sequence[Row], options: Options
) -> MakeWork:
    """The work, once the first row's prompt was seen to render."""
    method = make_labeling(recipe, teachers, pool, options.resample)
    shown = pool[: recipe.demonstrations.k] if pool and recipe.demonstrations else []
    recipe.render("main", seeds.first().row, demonstrations=shown)
    return lambda _: OverSeeds(seeds, method)

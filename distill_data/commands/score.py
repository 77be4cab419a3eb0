"""`score`: rows with one more column, none dropped. Joins methods.score to the engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from distill_data.commands.generate import MakeWork, generate
from distill_data.commands.options import Options, Summary
from distill_data.commands.plan import Seeds
from distill_data.commands.work import OverSeeds
from distill_data.data.items import Row
from distill_data.errors import SeedError
from distill_data.methods.score import Scorer
from distill_data.recipes import Recipe
from distill_data.reporting import Progress


def score(
    data: str,
    *,
    recipe: str,
    output: str,
    options: Options = Options(),  # noqa: B008 - frozen
    progress: Callable[[Progress], None] | None = None,
) -> Summary:
    """Measure every row and write it with a column more: a float, or a list of floats that is an embedding.

    `data` is a dataset of another command or rows from elsewhere; all columns stay as they are, in their order.
    Arguments, summary and errors are those of `label`.
    """
    return generate("score", data, recipe, output, options, _prepare, progress)


def _prepare(
    recipe: Recipe, models: Mapping[str, str], seeds: Seeds, pool: Sequence[Row], options: Options
) -> MakeWork:
    """Makes works over every row, once all rows were seen to have what is measured."""
    scorer = open_scorer(recipe, models, options)
    for where, row in seeds.read():
        try:
            scorer.check(row)
        except SeedError as error:
            raise SeedError(f"{where}: {error}.") from None
    return lambda _: OverSeeds(seeds, scorer.score)


def open_scorer(recipe: Recipe, models: Mapping[str, str], options: Options) -> Scorer:
    """The scorer of a run with these models, by role. Raises UsageError."""
    from distill_data.commands.annotation import find_verifier
    from distill_data.methods.panel import make_panel
    from distill_data.methods.score import make_scorer, strategy_of

    student = strategy_of(recipe).asks == "student"
    verify, slow = find_verifier(recipe, options)
    panel = make_panel(
        recipe,
        models,
        options.seed,
        0 if student else options.resample,  # a sample that cannot be read is one that is not right
        judges=[role for role in models if role.startswith("teacher")],
        verify=verify,
        slow=slow,
    )
    return make_scorer(panel, options.rename)

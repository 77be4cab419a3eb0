"""Preparing `feature`: rows that have y, tokenizers that fit, packages that hold arrays. Asks nobody."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from distill_data.commands.generate import MakeWork
from distill_data.commands.options import Options
from distill_data.commands.plan import Seeds
from distill_data.commands.work import OverSeeds, Work
from distill_data.data.fingerprints import matches
from distill_data.data.items import Row
from distill_data.errors import SeedError, UsageError
from distill_data.methods.feature import COMPARING, Run, is_about_x, make_feature
from distill_data.methods.given import Annotator, read_given, read_prompt
from distill_data.recipes import Recipe
from distill_data.teachers import Resolved


def prepare_feature(
    recipe: Recipe, teachers: Mapping[str, str], seeds: Seeds, pool: Sequence[Row], options: Options
) -> MakeWork:
    """Makes works over every row. A `commands.generate.Prepare`."""
    require_arrays(recipe)
    if recipe.strategy in COMPARING and (options.shard or options.shards):
        raise UsageError(
            f"--shard, --shards: {recipe.name} looks at rows beside one another, so several shards would ask about the "
            "same rows and pay for each. Leave them out, and raise --concurrency."
        )
    check_rows(seeds, recipe)

    def make(resolved: Mapping[str, Resolved]) -> Work:
        tokenizers = {role: each.capabilities.tokenizer or {} for role, each in resolved.items()}
        _refuse_mismatch(teachers, tokenizers)
        run = Run(Annotator(recipe, teachers, tokenizers), seeds.items, options.teachers)
        return OverSeeds(seeds, make_feature(recipe, run))

    make({})  # what cannot work is said before anything is asked
    return make


def require_arrays(recipe: Recipe) -> None:
    """Raise UsageError where arrays are wanted and the packages that hold them are not installed."""
    if recipe.record.kind == "prompt":
        return
    try:
        import numpy  # noqa: F401
        import safetensors  # noqa: F401
    except ImportError as error:
        raise UsageError(
            f"{recipe.name} needs the package {error.name}, of the extra `features`: "
            "pip install 'distill-data[features]' (in a checkout: pip install '.[features]')."
        ) from None


def check_rows(seeds: Seeds, recipe: Recipe) -> None:
    """Raise SeedError, with the place, for a row without x and y, and for one of another shape than the first."""
    raw: bool | None = None
    for where, row in seeds.read():
        try:
            if is_about_x(recipe):
                read_prompt(row)
                continue
            given = read_given(row)
        except SeedError as error:
            hint = " `--map completion=COLUMN` renames one." if "are wanted" in str(error) else ""
            raise SeedError(f"{where}: {error}.{hint}") from None
        if raw is not None and given.raw is not raw:
            this, first = ("raw text", "prompt and completion") if given.raw else ("prompt and completion", "raw text")
            raise SeedError(
                f"{where}: this row is {this}, and the first one is {first}; a dataset holds rows of one shape. "
                "Split the file."
            )
        raw = given.raw


def _refuse_mismatch(teachers: Mapping[str, str], tokenizers: Mapping[str, Mapping[str, object]]) -> None:
    """Raise UsageError where distributions are over different tokens, so that no average means anything."""
    known = {role: each for role, each in tokenizers.items() if each}
    first = next(iter(known), "")
    for role, each in known.items():
        if matches(known[first], each) == "mismatch":
            sizes = [f"{one.get('vocab_size') or 'an unknown number of'} ids" for one in (known[first], each)]
            raise UsageError(
                f"{teachers[role]} and {teachers[first]} have different tokenizers ({sizes[1]} and {sizes[0]}): they "
                "split the same text into other tokens, so their distributions cannot be averaged. Name teachers of "
                "one family, or run the command once for each."
            )

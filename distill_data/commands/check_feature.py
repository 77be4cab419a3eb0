"""`check-recipe` for recipes of `feature`: strategy, settings, and an example that is scored as it stands."""

from __future__ import annotations

from collections.abc import Iterator

from distill_data.errors import SeedError, UsageError
from distill_data.methods.feature import STRATEGIES, Run, is_about_x, make_feature
from distill_data.methods.given import Annotator, read_given, read_prompt
from distill_data.recipes import Recipe


def read_settings(recipe: Recipe) -> frozenset[str]:
    """The settings that the recipe's strategy reads."""
    strategy = STRATEGIES.get(recipe.strategy)
    return strategy.settings if strategy else frozenset(recipe.settings)


def problems_of(recipe: Recipe) -> Iterator[str]:
    """What is wrong besides what is wrong with every recipe."""
    try:
        make_feature(recipe, Run(Annotator(recipe, {"teacher": "a teacher"}, {}), lambda: iter(()), ()))
    except UsageError as error:
        yield str(error)
    if recipe.body.names and recipe.strategy != "prompts":
        name, line = min(recipe.body.names.items(), key=lambda pair: pair[1])
        yield f"{recipe.path}:{line}: {name} is not shown to anybody: y is given, so nothing is rendered"
    if not recipe.example:
        yield "there is no example; add example: {row: …}"
        return
    try:
        row = recipe.fill(recipe.example["row"])
        read_prompt(row) if is_about_x(recipe) else read_given(row)
        if recipe.strategy == "prompts":
            recipe.render("main", row)
    except SeedError as error:
        yield str(recipe.front["example"]["row"].error(str(error)))
    except UsageError as error:
        yield str(error)

"""`check-recipe` for recipes of `score`: strategy, settings, and an example that is measured as it stands."""

from __future__ import annotations

from collections.abc import Iterator

from distill_data.commands.check_annotation import shown_example
from distill_data.commands.options import Options
from distill_data.commands.score import open_scorer
from distill_data.errors import ParseError, SeedError, UsageError
from distill_data.methods.score import STRATEGIES, strategy_of
from distill_data.methods.stages import make_stages
from distill_data.parsing import make_parser
from distill_data.recipes import Recipe


def read_settings(recipe: Recipe) -> frozenset[str]:
    """The settings that the recipe's strategy reads."""
    strategy = STRATEGIES.get(recipe.strategy)
    return strategy.settings | {"column"} if strategy else frozenset(recipe.settings)


def problems_of(recipe: Recipe) -> Iterator[str]:
    """What is wrong besides what is wrong with every recipe."""
    try:
        asks = strategy_of(recipe).asks
        scorer = open_scorer(recipe, {asks: "a model"} if asks else {}, Options())
    except UsageError as error:
        yield str(error)
        return
    if not recipe.example:
        yield "there is no example; add example: {row: …}"
        return
    example = recipe.front["example"]
    try:
        row = recipe.fill(recipe.example["row"])
        scorer.check(row)
        stages = make_stages(recipe, 0)
        for block in sorted(recipe.blocks - ({"main"} if not recipe.body.names else set())):
            stages.messages(block, row, shown_example())
        if "reply" in recipe.example:
            make_parser(recipe.parser.name, recipe.parser.args)(recipe.example["reply"])
    except SeedError as error:
        yield str(example["row"].error(str(error)))
    except ParseError as error:
        yield str(example["reply"].error(f"the parser {recipe.parser.name} refuses it: {error}"))
    except UsageError as error:
        yield str(error)

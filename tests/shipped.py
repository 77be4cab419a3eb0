"""The shipped recipes, read once for all the tests of a process: reading all of them takes longer than most tests."""

from __future__ import annotations

from distill_data.recipes import list_recipes
from distill_data.recipes.recipe import Recipe

RECIPES = {f"{recipe.command}/{recipe.name}": recipe for recipe in list_recipes()}


def recipes_of(command: str) -> dict[str, Recipe]:
    """The recipes of one command, by name."""
    return {recipe.name: recipe for recipe in RECIPES.values() if recipe.command == command}

"""Recipes: find, load, check and render them. The only package that knows Jinja and YAML.

`shipped` finds files, `load` cuts them and applies `--set`, `trial` lets a child process die of them, `frontmatter`
reads YAML strictly, `declare` knows its keys, `template` and `sandbox` are the template language, `recipe` is the value
that everybody else sees.
"""

from distill_data.recipes.load import apply_settings, list_recipes, load_recipe, try_row
from distill_data.recipes.recipe import REQUIRED, Demonstrations, Recipe, RecordShape, Spec
from distill_data.recipes.shipped import command_of, recipe_path, seed_path, shipped_seeds

__all__ = [
    "REQUIRED",
    "Demonstrations",
    "Recipe",
    "RecordShape",
    "Spec",
    "apply_settings",
    "command_of",
    "list_recipes",
    "load_recipe",
    "recipe_path",
    "seed_path",
    "shipped_seeds",
    "try_row",
]

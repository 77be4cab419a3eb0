"""Setup: what a strategy is made from, its numbers possible and its seeds with every column. Knows no strategy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from distill_data.data.items import Item
from distill_data.errors import SeedError, UsageError
from distill_data.methods.needs import require
from distill_data.methods.stages import Stages, make_stages
from distill_data.recipes import Recipe

MOST = 10**9
"""No setting that is a number may be larger."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What a strategy is made from."""

    recipe: Recipe
    teachers: Mapping[str, str]
    """Role to the model's name: `teacher`, or `student` where that one writes x; `answerer` where another writes y."""
    seeds: Sequence[Item]
    seed: int
    """The run's random seed."""
    stages: Stages
    answers: bool = True
    """Whether y is asked for."""

    @property
    def answerer(self) -> str:
        return "answerer" if "answerer" in self.teachers else self.stages.role

    def setting(self, name: str, default: Any) -> Any:
        return self.recipe.settings.get(name, default)

    def whole(self, name: str, default: int, least: int, most: int = MOST) -> int:
        """See `whole`."""
        return whole(self.recipe, name, default, least, most)

    def number(
        self, name: str, default: float, least: float = -MOST, most: float = MOST, *, above: bool = False
    ) -> float:
        """See `number`."""
        return number(self.recipe, name, default, least, most, above=above)


def whole(recipe: Recipe, name: str, default: int, least: int, most: int = MOST) -> int:
    """A setting that is a whole number from `least` to `most`; `default` where the recipe doesn't declare it.

    Raises UsageError.
    """
    given = recipe.settings.get(name, default)
    if name not in recipe.settings or (type(given) is int and least <= given <= most):
        return int(given)
    raise UsageError(f"--set {name}={given}: must be a whole number{_range(given, least, most)}")


def number(
    recipe: Recipe, name: str, default: float, least: float = -MOST, most: float = MOST, *, above: bool = False
) -> float:
    """The same for any number. `above`: `least` itself is too small. Raises UsageError."""
    given = recipe.settings.get(name, default)
    if name not in recipe.settings:
        return float(given)
    if type(given) in (int, float) and least <= given <= most and not (above and given == least):
        return float(given)
    raise UsageError(f"--set {name}={given}: must be a number{_range(given, least, most, above)}")


def _range(given: Any, least: float, most: float, above: bool = False) -> str:
    """The bounds for a person; those that every number has only where they are what is wrong."""
    too_large = type(given) in (int, float) and given > most
    low = f" above {least}" if above else f" of at least {least}"
    bounds = [low] * (least > -MOST) + [f" at most {most}"] * (most < MOST or too_large)
    return " and".join(bounds)


def make_setup(
    recipe: Recipe, teachers: Mapping[str, str], seeds: Sequence[Item], seed: int, resample: int, *, answers: bool
) -> Setup:
    """The setup of one pass, its seeds filled with the recipe's defaults.

    Raises UsageError for a recipe that lacks what its strategy needs, SeedError for a row that lacks a column.
    """
    require(recipe)
    return Setup(
        recipe, teachers, [_filled(recipe, item) for item in seeds], seed,
        make_stages(recipe, resample, "teacher" if "teacher" in teachers else "student"), answers,
    )  # fmt: skip


def _filled(recipe: Recipe, item: Item) -> Item:
    try:
        return item._replace(row=recipe.fill(item.row))
    except SeedError as error:
        raise SeedError(f"{item.where}: {error}") from None

"""The exact requests that a row leads to, without sending any. Knows no run."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

from distill_data.commands.options import Options
from distill_data.commands.plan import find_pool, find_profiles, find_seeds, read_recipe
from distill_data.data.exchange import Answer, Request
from distill_data.data.items import Item
from distill_data.engine.ask import Parked
from distill_data.errors import UsageError
from distill_data.methods.labeling import make_labeling
from distill_data.recipes import Recipe


def show(
    recipe: str,
    *,
    command: str = "label",
    seeds: str = "",
    row: int = 1,
    options: Options = Options(),  # noqa: B008
) -> list[dict[str, Any]]:
    """The first requests for a row, one for each sample that is asked at once: messages, sampling, choices, schema.

    `row` counts from 1. Without seeds the row is the recipe's own example. Raises UsageError.
    """
    made = read_recipe(recipe, command, options)
    roles = {role: profile.name for role, profile in find_profiles(options).items()}
    item, pool = _example(made) if not seeds else _row(made, seeds, row, options)
    method = make_labeling(made, roles, pool, options.resample)
    asked: list[dict[str, Any]] = []

    async def record(request: Request, to: str = "teacher") -> Answer:
        asked.append(_describe(request, roles[to]))
        raise Parked

    async def run() -> None:
        try:
            await method(item, record)
        except Parked:
            return

    asyncio.run(run())
    return asked


def _example(recipe: Recipe) -> tuple[Item, list[dict[str, Any]]]:
    if not recipe.example:
        raise UsageError(f"{recipe.path}: has no example; give a row by --seeds FILE.")
    row = dict(recipe.example["row"])
    return Item(0, "0" * 16, row, "the recipe's example"), []


def _row(recipe: Recipe, seeds: str, row: int, options: Options) -> tuple[Item, list[dict[str, Any]]]:
    found = find_seeds(seeds, options, None)
    found.survey(recipe)
    item = next(itertools.islice(found.items(), row - 1, None), None)
    if row < 1 or item is None:
        raise UsageError(f"--row {row}: {seeds} has the rows 1 to {found.rows}.")
    return item, find_pool(recipe.demonstrations, found, recipe)


def _describe(request: Request, teacher: str) -> dict[str, Any]:
    described: dict[str, Any] = {"teacher": teacher, "messages": request.messages, "sampling": dict(request.sampling)}
    if request.choices:
        described["choices"] = list(request.choices)
    if request.schema is not None:
        described["schema"] = dict(request.schema)
    described["sample"] = request.sample
    return described

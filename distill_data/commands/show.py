"""The exact requests that a row leads to, without sending any. Knows no run."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from distill_data.commands.options import Options
from distill_data.commands.plan import find_pool, find_seeds, read_recipe
from distill_data.commands.roles import FROM_STUDENTS, find_profiles
from distill_data.commands.rounds import grows, make_growth_of
from distill_data.data.exchange import Answer, Ask, Request, Wanted, always
from distill_data.data.items import Item
from distill_data.engine.ask import Parked
from distill_data.errors import UsageError
from distill_data.methods.labeling import make_labeling
from distill_data.recipes import Recipe, command_of

First = Callable[[Ask], Awaitable[object]]


def show(
    recipe: str,
    *,
    command: str = "",
    seeds: str = "",
    row: int = 1,
    options: Options = Options(),  # noqa: B008
) -> list[dict[str, Any]]:
    """The first requests for a row, one for each sample that is asked at once: messages, sampling, choices, schema;
    completion and feature where y is given.

    `row` counts from 1; of a growing command it is the proposal in the first round. Without `command` it is the one
    that the recipe is for. Without seeds the row is the recipe's own example, and a growth needs seeds. Raises
    UsageError.
    """
    made = read_recipe(recipe, command or command_of(recipe), options)
    if made.command in (*FROM_STUDENTS, "score") and not options.students:
        roles = {"student": "the student", "teacher": "the teacher"}
    else:
        roles = {role: profile.name for role, profile in find_profiles(options, made).items()}
    ask_first = _grow if grows(made) else _annotate if made.command in FROM_STUDENTS else BY_COMMAND[made.command]
    first = ask_first(made, roles, seeds, row, options)
    asked: list[dict[str, Any]] = []

    async def record(request: Request, to: str = "teacher", *, wanted: Wanted = always) -> Answer:
        asked.append(_describe(request, roles[to]))
        raise Parked

    async def run() -> None:
        try:
            await first(record)
        except Parked:
            return

    asyncio.run(run())
    return asked


def _label(recipe: Recipe, roles: Mapping[str, str], seeds: str, row: int, options: Options) -> First:
    item, pool = _example(recipe) if not seeds else _row(recipe, seeds, row, options)
    method = make_labeling(recipe, roles, pool, options.resample)
    return lambda ask: method(item, ask)


def _annotate(recipe: Recipe, roles: Mapping[str, str], seeds: str, row: int, options: Options) -> First:
    from distill_data.commands.annotation import make_annotation

    item, _ = _example(recipe) if not seeds else _row(recipe, seeds, row, options)
    method, _ = make_annotation(recipe, roles, options)
    return lambda ask: method(item, ask)


def _feature(recipe: Recipe, roles: Mapping[str, str], seeds: str, row: int, options: Options) -> First:
    from distill_data.methods.feature import Run, make_feature
    from distill_data.methods.given import Annotator

    item, _ = _example(recipe) if not seeds else _row(recipe, seeds, row, options)
    alone = item._replace(ordinal=0)
    method = make_feature(recipe, Run(Annotator(recipe, roles, {}), lambda: iter([alone]), options.teachers))
    return lambda ask: method(alone, ask)


def _score(recipe: Recipe, roles: Mapping[str, str], seeds: str, row: int, options: Options) -> First:
    from distill_data.commands.score import open_scorer

    item, _ = _example(recipe) if not seeds else _row(recipe, seeds, row, options)
    scorer = open_scorer(recipe, roles, options)
    return lambda ask: scorer.score(item, ask)


BY_COMMAND: Mapping[str, Callable[[Recipe, Mapping[str, str], str, int, Options], First]] = {
    "label": _label,
    "feature": _feature,
    "score": _score,
}


def _grow(recipe: Recipe, roles: Mapping[str, str], seeds: str, row: int, options: Options) -> First:
    """The proposal number `row` of the first round."""
    if not seeds:
        raise UsageError(f"the recipe {recipe.name} draws from seeds; give them by --seeds FILE.")
    found = find_seeds(seeds, options, None)
    found.survey(recipe)
    growth = make_growth_of(recipe.command)(
        recipe, roles, list(found.items()), options.seed, options.resample, answers=True
    )
    drawn = growth.draw()
    if not 1 <= row <= len(drawn):
        raise UsageError(f"--row {row}: the first round has the proposals 1 to {len(drawn)}.")
    draw = drawn[row - 1]
    return lambda ask: growth.propose(Item(0, "0" * 16, draw.row, "the first round", options.seed), draw, ask)


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
    if request.feature is not None:
        described |= {"completion": list(request.completion), "feature": dict(request.feature)}
    described["sample"] = request.sample
    return described

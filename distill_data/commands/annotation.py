"""Preparing the commands in which a student writes y: the panel, the kinds of record, the canaries. Asks nobody."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from distill_data.commands.generate import MakeWork
from distill_data.commands.lineage import lineage_facts
from distill_data.commands.options import Options
from distill_data.commands.plan import Seeds
from distill_data.commands.rounds import GROWTHS, grows, make_growth_of, prepare_rounds
from distill_data.commands.work import OverSeeds
from distill_data.data.items import Row
from distill_data.engine.schedule import Method
from distill_data.errors import SeedError, UsageError
from distill_data.methods.annotating import Strategy, find_strategy, make_method
from distill_data.methods.panel import Panel, make_panel
from distill_data.quality import BY_JUDGE, SLOW, Verify, make_verifier
from distill_data.recipes import Recipe

LEAST_CANARIES = 4
"""Fewer say nothing about how often they are caught."""


def prepare_annotation(
    recipe: Recipe, models: Mapping[str, str], seeds: Seeds, pool: Sequence[Row], options: Options
) -> MakeWork:
    """Makes works over every seed, or in rounds for a strategy that grows. A `commands.generate.Prepare`."""
    if grows(recipe):
        _refuse_for_growths(recipe, options)
        make_growth = make_growth_of(recipe.command)
        return prepare_rounds(make_growth, lineage_facts(options))(recipe, models, seeds, pool, options)
    if options.rows is not None or options.max_candidates is not None:
        writers = ", ".join(sorted(GROWTHS[recipe.command]))
        raise UsageError(f"--rows is for recipes that write new prompts: {writers}. {recipe.name} doesn't.")
    canaries = _draw_canaries(seeds, options) if options.canaries else frozenset[str]()
    facts: dict[str, Any] = lineage_facts(options)
    method, panel = make_annotation(recipe, models, replace(options, round=facts.get("round", 0)), canaries)
    panel.prompt(seeds.first())
    _check_rows(seeds, panel)
    if canaries:
        facts["canaries"] = len(canaries)
    return lambda _: OverSeeds(seeds, method, facts=facts)


def make_annotation(
    recipe: Recipe, models: Mapping[str, str], options: Options, canaries: frozenset[str] = frozenset()
) -> tuple[Method, Panel]:
    """The method of one run, and the panel that it is made from. Raises UsageError."""
    strategy = find_strategy(_strategies(recipe.command), recipe)
    teachers = [role for role in models if role.startswith("teacher")]
    verify, slow = find_verifier(recipe, options)
    panel = make_panel(
        recipe,
        models,
        options.seed,
        options.resample,
        judges=teachers if strategy.judged and teachers else ["student"],
        column=options.answers_column,
        canaries=canaries,
        verify=verify,
        slow=slow,
        round=options.round,
    )
    kind = options.kind or recipe.record.kind
    if kind in options.other_kinds:
        raise UsageError(
            f"--kind {kind}={options.other_kinds[kind]}: the output is {kind} already; give each kind once."
        )
    return make_method(panel, strategy, [kind, *options.other_kinds]), panel


def _strategies(command: str) -> Mapping[str, Strategy]:
    from distill_data.methods import feedback, self_knowledge

    return {"feedback": feedback.STRATEGIES, "self-knowledge": self_knowledge.STRATEGIES}[command]


def _check_rows(seeds: Seeds, panel: Panel) -> None:
    """Raise SeedError, with the place, for a row without the answers or the gold that the run needs."""
    recipe = panel.recipe
    strategy = find_strategy(_strategies(recipe.command), recipe)
    gold = recipe.gold if strategy.verified or strategy.gold else ""
    if not (panel.column or gold):
        return
    for item in seeds.items():
        try:
            if panel.column:
                panel.given(item)
        except SeedError as error:
            raise SeedError(f"{item.where}: {error}.") from None
        if gold and not str(item.row.get(gold) or "").strip():
            raise SeedError(
                f"{item.where}: the column {gold} holds no right answer, and {panel.recipe.name} needs one."
            )


def find_verifier(recipe: Recipe, options: Options) -> tuple[Verify | None, bool]:
    """The user's own verifier or the recipe's, and whether it takes long. Raises UsageError."""
    if options.verifier and not recipe.gold:
        raise UsageError(f"--verifier: the recipe {recipe.name} compares with no gold column, so nothing is verified.")
    if options.verifier:
        return make_verifier("function", options.verifier, allow_code=True), "function" in SLOW
    if recipe.verifier is None or recipe.verifier.name == BY_JUDGE:
        return None, False
    verify = make_verifier(recipe.verifier.name, recipe.verifier.args, allow_code=options.allow_code)
    return verify, recipe.verifier.name in SLOW


def _draw_canaries(seeds: Seeds, options: Options) -> frozenset[str]:
    """Ids of the items with a planted answer, drawn by the run's random seed and the items' ids."""
    ids = [item.id for item in seeds.items()]
    wanted = max(LEAST_CANARIES, math.ceil(options.canaries * len(ids)))
    drawn = sorted(ids, key=lambda each: hashlib.sha256(f"{options.seed}:canary:{each}".encode()).digest())
    return frozenset(drawn[:wanted])


def _refuse_for_growths(recipe: Recipe, options: Options) -> None:
    """Raise UsageError for options that mean nothing where new prompts are written in rounds."""
    given = {
        "--answers": options.answers_column,
        "--canaries": options.canaries,
        "--kind": options.other_kinds or (options.kind and options.kind != recipe.record.kind),
    }
    for option, value in given.items():
        if value:
            raise UsageError(f"{option}: the recipe {recipe.name} writes new prompts, and takes no such option.")

"""From a strategy to a method: annotate an item's answers, then make the records of every kind that is wanted.

Knows which strategy offers which kinds, and no strategy's steps.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple

from distill_data.data.exchange import Ask
from distill_data.data.items import Item, Outcome, kept, rejected
from distill_data.errors import UsageError
from distill_data.methods.entailing import verified_by_judge
from distill_data.methods.kinds import make_kind
from distill_data.methods.panel import Panel
from distill_data.methods.responses import Annotate
from distill_data.recipes import Recipe

RANKED = ("ranked", "preference", "unpaired", "sft")
"""The kinds that scored answers give."""


class Strategy(NamedTuple):
    """One way to annotate what students write."""

    make: Callable[[Panel], Annotate]
    """Raises UsageError for a recipe or settings that cannot work."""
    kinds: tuple[str, ...] = RANKED
    """The kinds of record that it can give."""
    judged: bool = True
    """Whether a judge is asked: for feedback a teacher."""
    samples: int = 1
    """How many samples it needs at least."""
    verified: bool = False
    """Whether it needs a verifier and the gold column."""
    gold: bool = False
    """Whether it needs the gold column without a verifier."""
    canaries: bool = True
    """Whether its judges, where it has any, can be shown planted answers."""


def find_strategy(strategies: Mapping[str, Strategy], recipe: Recipe) -> Strategy:
    """Raises UsageError for one that there is not."""
    if recipe.strategy not in strategies:
        raise UsageError(f"{recipe.path}: there is no strategy {recipe.strategy!r}; there are {', '.join(strategies)}.")
    return strategies[recipe.strategy]


def make_method(panel: Panel, strategy: Strategy, kinds: Sequence[str]) -> Callable[[Item, Ask], Awaitable[Outcome]]:
    """The method for one run, whose outcomes hold the records of the first kind, and of the `others`.

    Raises UsageError for what cannot work: too few samples, no verifier, a kind that is not offered.
    """
    panel, recipe = verified_by_judge(panel), panel.recipe
    if panel.samples < strategy.samples and not panel.column:
        raise UsageError(
            f"the recipe {recipe.name} compares samples, so it needs at least {strategy.samples}: "
            f"--samples {panel.samples} is too few."
        )
    if panel.samples > 1 and recipe.sampling.get("temperature") == 0 and not panel.column:
        less = ", or --samples 1" if strategy.samples == 1 else ""
        raise UsageError(
            f"the recipe {recipe.name} asks for {panel.samples} samples at temperature 0, which are all the same. "
            f"Give --set temperature=0.7{less}."
        )
    if panel.canaries and not (strategy.judged and strategy.canaries):
        raise UsageError(f"--canaries: the recipe {recipe.name} has no judge whose verdicts could be tested.")
    if strategy.verified and (panel.right is None or not recipe.gold):
        raise UsageError(
            f"the recipe {recipe.name} needs a verifier and the key gold: the column with the right answer."
        )
    annotate = strategy.make(panel)
    makers = [make_kind(recipe, kind, panel.models, strategy.kinds, round=panel.round) for kind in kinds]

    async def method(item: Item, ask: Ask) -> Outcome:
        judged = await annotate(item, ask)
        counting = judged._replace(responses=()) if judged.reason else judged
        made = [(records, judged.reason or why) for records, why in (make(item, counting) for make in makers)]
        if not any(records for records, _ in made):
            refused = rejected(made[0][1], judged.detail, *judged.raw, agrees=judged.agrees)
            return refused._replace(tallies=judged.tallies)
        first, *others = (tuple(records) for records, _ in made)
        without = {f"{kind}: {reason}": 1 for kind, (records, reason) in zip(kinds, made, strict=True) if not records}
        outcome = kept(*first, dropped={**judged.dropped, **without}, agrees=judged.agrees)
        return outcome._replace(others=tuple(others), tallies=judged.tallies)

    return method

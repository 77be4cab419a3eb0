"""Feature: {(x, y, φ_feat(x, y; θ_T))}. The teacher annotates a given y with what it knows (Xu et al. 2024, §3.1.4).

topk, sampled        its distribution at each token of y, in part: the most likely, or drawn
hidden, attention    its states, and what it attends to
relations, triples   how alike its states of the rows of a batch are
generated            y is its own, and its distribution comes with it
prompts              x alone, for a student that answers while it trains
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from distill_data.errors import UsageError
from distill_data.methods.generated import make_generated
from distill_data.methods.given import COLUMNS, Annotator
from distill_data.methods.on_policy import make_prompts
from distill_data.methods.relating import Items, make_relations, make_triples
from distill_data.methods.scored import Method, make_scored
from distill_data.recipes import Recipe


class Run(NamedTuple):
    """What a strategy is made from besides the recipe."""

    annotator: Annotator
    items: Items
    """The rows of the run from the first on, each time it is called."""
    named: Sequence[str]
    """The teachers as the user named them, also where none is asked."""


class Strategy(NamedTuple):
    """A kind of knowledge."""

    make: Callable[[Recipe, Run], Method]
    settings: frozenset[str]
    """The settings that it reads."""
    needs: frozenset[str]
    """What the teacher must be able to; empty where none is asked."""


SCORE = frozenset({"score"})
LENGTH = frozenset({"truncate", "max_length"})
STRATEGIES: Mapping[str, Strategy] = {
    "topk": Strategy(
        lambda recipe, run: make_scored(recipe, run.annotator),
        LENGTH | {"k", "layout", "weights"},
        SCORE,
    ),
    "sampled": Strategy(lambda recipe, run: make_scored(recipe, run.annotator), LENGTH | {"draws", "weights"}, SCORE),
    "hidden": Strategy(
        lambda recipe, run: make_scored(recipe, run.annotator), LENGTH | {"layers", "pool", "dtype"}, SCORE
    ),
    "attention": Strategy(
        lambda recipe, run: make_scored(recipe, run.annotator), LENGTH | {"layers", "heads", "dtype"}, SCORE
    ),
    "relations": Strategy(
        lambda recipe, run: make_relations(recipe, run.annotator, run.items), LENGTH | {"layer", "pool", "batch"}, SCORE
    ),
    "triples": Strategy(
        lambda recipe, run: make_triples(recipe, run.annotator, run.items),
        LENGTH | {"layer", "pool", "batch", "margin"},
        SCORE,
    ),
    "generated": Strategy(
        lambda recipe, run: make_generated(recipe, run.annotator),
        frozenset({"k"}),
        frozenset({"logprobs", "tokenizer"}),
    ),
    "prompts": Strategy(lambda recipe, run: make_prompts(recipe, run.annotator, run.named), frozenset(), frozenset()),
}
"""The strategies that a recipe of `feature` may name."""
COMPARING = frozenset({"relations", "triples"})
"""Strategies that look at rows beside one another."""
GIVEN = frozenset(COLUMNS) | {"teacher_id"}
"""Columns that are read here and not by templates."""


def strategy_of(recipe: Recipe) -> Strategy:
    """Raises UsageError for one that does not exist."""
    if recipe.strategy not in STRATEGIES:
        raise UsageError(f"{recipe.path}: there is no strategy {recipe.strategy!r}; there are {', '.join(STRATEGIES)}.")
    return STRATEGIES[recipe.strategy]


def has_arrays(recipe: Recipe) -> bool:
    """Whether records have a side file."""
    return recipe.record.kind not in ("triple", "prompt")


def is_about_x(recipe: Recipe) -> bool:
    """Whether rows need x alone, as y is the teacher's own or nobody's."""
    return recipe.strategy in ("generated", "prompts")


def make_feature(recipe: Recipe, run: Run) -> Method:
    """The method of one pass. Raises UsageError for settings that cannot work."""
    if recipe.samples > 1 and recipe.strategy != "generated":
        raise UsageError(f"--samples {recipe.samples}: y is given, and {recipe.name} samples none; drop it.")
    return strategy_of(recipe).make(recipe, run)

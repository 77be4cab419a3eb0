"""Preparing what works in rounds: the seeds in memory, a growth for each pass. Knows no method by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from distill_data.commands.generate import MakeWork, Prepare
from distill_data.commands.options import Options
from distill_data.commands.plan import Seeds
from distill_data.commands.work import InRounds, Work
from distill_data.data.growth import Growth
from distill_data.data.items import Item, Row
from distill_data.errors import UsageError
from distill_data.methods.needs import SCORE
from distill_data.recipes import Recipe
from distill_data.teachers import Resolved

IN_ROUNDS = ("expand", "curate")
"""The commands that write x themselves. Their strategies are imported when they run: `label` starts without them."""
GROWTHS: Mapping[str, frozenset[str]] = {
    "feedback": frozenset({"adversarial"}),
    "self-knowledge": frozenset({"self-reward", "instruct"}),
}
"""Command to those of its strategies that write x too."""
CANDIDATES_PER_ROW, LEAST_CANDIDATES = 10, 1000


def grows(recipe: Recipe) -> bool:
    """Whether the recipe writes x itself."""
    return recipe.command in IN_ROUNDS or recipe.strategy in GROWTHS.get(recipe.command, ())


def make_growth_of(command: str) -> MakeGrowth:
    """What makes the growths of a command."""
    if command == "expand":
        from distill_data.methods.expansion import make_expansion

        return make_expansion
    if command == "curate":
        from distill_data.methods.curation import make_curation

        return make_curation
    if command == "feedback":
        from distill_data.methods.feedback import make_feedback_growth

        return make_feedback_growth
    from distill_data.methods.self_knowledge import make_self_growth

    return make_self_growth


class MakeGrowth(Protocol):
    def __call__(
        self,
        recipe: Recipe,
        teachers: Mapping[str, str],
        seeds: Sequence[Item],
        seed: int,
        resample: int,
        *,
        answers: bool,
    ) -> Growth: ...


def require_rows(options: Options) -> int:
    """How many rows are wanted. Raises UsageError where that is not said, or for several teachers."""
    if options.rows is None or options.rows < 1:
        raise UsageError("--rows N says how many rows to keep; it must be at least 1.")
    if len(options.teachers) > 1:
        raise UsageError("one teacher writes x: give -t once. --answer-teacher names another one for y.")
    if options.samples is not None:
        raise UsageError("--samples is for label: here --rows says how much is wanted.")
    if options.answer_teacher and not options.answers:
        raise UsageError("--answer-teacher and --no-answer exclude each other.")
    return options.rows


def prepare_rounds(make_growth: MakeGrowth, facts: Mapping[str, Any] = {}) -> Prepare:
    """Makes works that grow to `options.rows`. `facts` go into the manifest."""

    def prepare(
        recipe: Recipe, teachers: Mapping[str, str], seeds: Seeds, pool: Sequence[Row], options: Options
    ) -> MakeWork:
        rows = require_rows(options)
        if options.answer_teacher and not recipe.stages.keys() - {SCORE}:
            raise UsageError(f"--answer-teacher: the recipe {recipe.name} writes x and y in one call.")
        cap = options.max_candidates or max(LEAST_CANDIDATES, CANDIDATES_PER_ROW * rows)
        if cap < rows:
            raise UsageError(f"--max-candidates {cap} is less than --rows {rows}.")
        items = list(seeds.items())

        def make(_: Mapping[str, Resolved]) -> Work:
            growth = make_growth(recipe, teachers, items, options.seed, options.resample, answers=options.answers)
            return InRounds(growth, rows, cap, options.seed, facts)

        make({})  # what cannot work is said before anything is asked
        return make

    return prepare

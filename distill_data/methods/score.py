"""Score: rows with one more column, what each is worth by a model, a judge, a student or a count. Drops none.

    perplexity   how likely y is given x
    ifd          how much x helps to write y (Li et al., arXiv:2308.12032)
    judge        what a judge gives, 1 to 6: complexity of x, quality of y (DEITA, Liu et al., arXiv:2312.15685)
    length       words of y
    reward       what a reward model gives
    pass-rate    how often a student is right
    embedding    where a text lies among others

A row whose value cannot be had fails: it is among the rejects with the reason, and counted, and never lost in silence.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Literal, NamedTuple

from distill_data.data.exchange import Ask
from distill_data.data.items import Item, Outcome, Row, failed, kept
from distill_data.errors import SeedError, UsageError
from distill_data.methods.measures import (
    Measure,
    make_embedding,
    make_ifd,
    make_judge,
    make_length,
    make_pass_rate,
    make_perplexity,
    make_reward,
)
from distill_data.methods.panel import Panel
from distill_data.recipes import Recipe


class Strategy(NamedTuple):
    """One way to score rows."""

    make: Callable[[Panel], Measure]
    """Raises UsageError for a recipe or settings that cannot work."""
    asks: Literal["teacher", "student", ""] = "teacher"
    """Who is asked; empty is nobody."""
    needs: frozenset[str] = frozenset()
    """What a teacher must be able to besides writing; see `teachers.resolve`."""
    settings: frozenset[str] = frozenset()
    """The settings that it reads, besides `column`."""
    several: bool = False
    """Whether several teachers can be asked."""


STRATEGIES: Mapping[str, Strategy] = {
    "perplexity": Strategy(make_perplexity, needs=frozenset({"score"}), settings=frozenset({"truncate", "max_length"})),
    "ifd": Strategy(make_ifd, needs=frozenset({"score"})),
    "judge": Strategy(make_judge, settings=frozenset({"on", "rationale"}), several=True),
    "length": Strategy(make_length, asks=""),
    "reward": Strategy(make_reward, needs=frozenset({"reward"})),
    "pass-rate": Strategy(make_pass_rate, asks="student", settings=frozenset({"field"})),
    "embedding": Strategy(make_embedding, needs=frozenset({"embed"}), settings=frozenset({"on", "characters"})),
}
"""The strategies that a recipe of `score` may name."""


class Scorer(NamedTuple):
    """A recipe of `score`, ready to run."""

    check: Callable[[Row], None]
    """Raises SeedError, without the place, for a row that cannot be scored or has the column already."""
    score: Callable[[Item, Ask], Awaitable[Outcome]]


def strategy_of(recipe: Recipe) -> Strategy:
    """Raises UsageError for one that does not exist."""
    if recipe.strategy not in STRATEGIES:
        raise UsageError(f"{recipe.path}: there is no strategy {recipe.strategy!r}; there are {', '.join(STRATEGIES)}.")
    return STRATEGIES[recipe.strategy]


def make_scorer(panel: Panel, renamed: Mapping[str, str] = {}) -> Scorer:
    """The scorer of one run. `renamed` maps the columns as they are read to those of the file, which come out.

    Raises UsageError for settings that cannot work.
    """
    recipe, strategy = panel.recipe, strategy_of(panel.recipe)
    column = recipe.settings.get("column")
    if not isinstance(column, str) or not column:
        raise UsageError(f"{recipe.path}: the setting column must name the column that is added.")
    if len(panel.judges) > 1 and not strategy.several:
        raise UsageError(f"{recipe.name} asks one teacher: give -t once, and another --set column=NAME for the next.")
    if recipe.samples > 1 and strategy.asks != "student":
        raise UsageError(f"--samples {recipe.samples}: {recipe.name} asks each question once; drop it.")
    measure = strategy.make(panel)

    def check(row: Row) -> None:
        if column in (renamed.get(name, name) for name in row):
            raise SeedError(f"there is a column {column} already; --set column=NAME gives the new one another name")
        measure.read(row)

    async def score(item: Item, ask: Ask) -> Outcome:
        found = await measure.take(item, ask)
        if found.value is None:
            return failed(found.reason, found.detail)._replace(answers=found.answers, tallies=found.tallies)
        row = {renamed.get(name, name): value for name, value in item.row.items()}
        return kept({**row, column: found.value})._replace(tallies=found.tallies)

    return Scorer(check, score)

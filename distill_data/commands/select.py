"""`select`: keep the rows that are most worth training on, as many as the budget allows. Asks no model.

The rows are read twice: once for the numbers that decide, once to write those that are kept; a third time, in between,
where a strategy compares rows.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from hashlib import blake2b
from typing import Any, NamedTuple

from distill_data.commands.rows import Done, Source, Step, Verdict, keep_rows, opened, outputs_of, with_place
from distill_data.data.columns import make_text, number_at, text_of, value_at
from distill_data.data.items import Row
from distill_data.errors import SeedError, UsageError
from distill_data.parsing.arguments import look_up
from distill_data.quality import selection
from distill_data.quality.likeness import Likeness, is_vector, likeness_of_texts, likeness_of_vectors
from distill_data.quality.selection import Selection

EMBEDDING, WORDS = "embedding", "x+y"
"""What rows are compared by: the column that `score` adds where the first row has it, else these texts."""


@dataclass(frozen=True, slots=True)
class Choosing:
    """What decides beside the budget. None is what the strategy has by default."""

    by: str | None = None
    """A column of numbers, or several with * between, whose product it is."""
    per: str | None = None
    """A column whose values are the groups."""
    min: float | None = None
    max: float | None = None
    on: str | None = None
    """A column of embeddings, or texts as `data.columns.make_text` reads them."""
    alike: float | None = None
    """The cosine from which two rows are too alike."""


class Numbers(NamedTuple):
    """What the rows give a strategy, in their order."""

    scores: array[float]
    ties: array[int]
    groups: array[int]
    budget: int


class Strategy(NamedTuple):
    """One way to select."""

    choose: Callable[[Numbers, Mapping[str, Any], Callable[[], Likeness]], Selection]
    """(numbers, options, how alike the rows are) to what is kept."""
    options: Mapping[str, Any]
    """The options of `Choosing` that it has, with their defaults: ... must be given, None may be left out."""


STRATEGIES: Mapping[str, Strategy] = {
    "top": Strategy(lambda n, o, like: selection.top(n.scores, n.ties, n.budget), {"by": ...}),
    "deita": Strategy(
        lambda n, o, like: selection.deita(n.scores, n.ties, n.budget, like(), o["alike"]),
        {"by": "complexity*quality", "on": None, "alike": 0.9},
    ),
    "ifd": Strategy(lambda n, o, like: selection.ifd(n.scores, n.ties, n.budget), {"by": "ifd"}),
    "balance": Strategy(
        lambda n, o, like: selection.balance(n.groups, n.scores, n.ties, n.budget), {"per": ..., "by": None}
    ),
    "band": Strategy(
        lambda n, o, like: selection.band(n.scores, n.ties, n.budget, o["min"], o["max"]),
        {"by": "pass_rate", "min": 0.2, "max": 0.8},
    ),
    "k-centre": Strategy(lambda n, o, like: selection.k_centre(like(), n.budget), {"on": None}),
}
"""Name to what it does. This is the whole list."""
SCORED = ("perplexity", "ifd", "complexity", "quality", "length", "reward", "pass_rate", EMBEDDING)
"""Columns that `score` adds."""


def select(
    source: str, *, how: str, budget: str | float, output: str, rejects: str = "", choosing: Choosing | None = None
) -> Done:
    """Write the rows of a dataset that a strategy chooses, byte for byte and in their order; the others to rejects.

    `budget` is a number of rows, or a share such as `10%` or 0.1. Raises UsageError for options that the strategy does
    not have and, with its place, for a row that lacks a column, and YieldError where nothing is left.
    """
    options, count = _options(how, choosing or Choosing()), _budget(str(budget))
    with opened(source) as (rows,):
        if "on" in options:
            _require_numpy(how)
            options |= _compared_by(rows, options["on"])
        chosen: list[Selection] = []

        def decide(ordinal: int, row: Row) -> Verdict:
            if not chosen:  # at the first row, so that nothing is read again where all is there already
                chosen.append(_choose(rows, how, options, count))
            return None if ordinal in chosen[0].kept else chosen[0].reason(ordinal)

        settings = {"how": how, "budget": str(budget), **options}
        return keep_rows(Step("select", [rows], settings, outputs_of(output, rejects)), decide)


def _choose(rows: Source, how: str, options: Mapping[str, Any], count: Callable[[int], int]) -> Selection:
    try:
        return STRATEGIES[how].choose(_numbers(rows, options, count), options, lambda: _likeness(rows, options))
    except SeedError as error:
        wanted = next((column for column in SCORED if f"column {column!r}" in str(error)), "")
        hint = f". Add it: distill-data score IN -r {wanted.replace('_', '-')} -o OUT" if wanted else ""
        raise UsageError(f"{error}{hint}") from None  # it has its place, which is not the row that is being decided


def _options(how: str, choosing: Choosing) -> dict[str, Any]:
    """The options that the strategy has. Raises UsageError for others."""
    its = look_up(STRATEGIES, how, "--how").options
    given = {field.name: value for field in fields(choosing) if (value := getattr(choosing, field.name)) is not None}
    for name in given.keys() - its.keys():
        having = [other for other, strategy in STRATEGIES.items() if name in strategy.options]
        raise UsageError(f"--{name} is for --how {' and '.join(having)}, and {how} has no use for it. Leave it out.")
    options = {name: given.get(name, default) for name, default in its.items()}
    for name, value in options.items():
        if value is ...:
            raise UsageError(f"--how {how} needs --{name} COLUMN.")
    if "min" in options and not -math.inf < options["min"] <= options["max"] < math.inf:
        raise UsageError(f"--min {options['min']:g} and --max {options['max']:g} are no two ends of a band.")
    if "alike" in options and not 0 < options["alike"] <= 1:
        raise UsageError(f"--alike {options['alike']:g}: this must be a cosine above 0 and at most 1.")
    return options


def _budget(text: str) -> Callable[[int], int]:
    """How many of so many rows."""
    whole, percent, rest = text.strip().partition("%")
    try:
        value = float(whole) / (100 if percent else 1)
    except ValueError:
        value = math.nan
    if whole.isdecimal() and not percent and value >= 1:
        return lambda rows: int(whole)
    if rest.strip() or not 0 < value <= 1:
        raise UsageError(f"--budget {text}: this must be a number of rows from 1, or a share such as 10% or 0.1.")
    return lambda rows: max(1, math.floor(value * rows + 0.5))


def _numbers(rows: Source, options: Mapping[str, Any], count: Callable[[int], int]) -> Numbers:
    scores, ties, groups = array("d"), array("Q"), array("q")
    names: dict[str, int] = {}
    by, per = options.get("by"), options.get("per")

    def read(row: Row) -> tuple[float, str]:
        return _score(row, by) if by else 0.0, text_of(value_at(row, per)) if per else ""

    for line, (score, group) in with_place(rows, read):
        scores.append(score)
        ties.append(int.from_bytes(blake2b(line.raw.strip(), digest_size=8).digest(), "big"))
        groups.append(names.setdefault(group, len(names)))
    return Numbers(scores, ties, groups, count(len(ties)))


def _score(row: Row, by: str) -> float:
    columns = [by] if by in row else by.split("*")
    score = math.prod(number_at(row, column) for column in columns)
    if not math.isfinite(score):
        raise SeedError(f"{by} is {score}, which is no number to compare")
    return score


def _compared_by(rows: Source, on: str | None) -> dict[str, str]:
    """What rows are compared by, and how, told by the first row."""
    first = next(rows.file.read(), None)
    row = first.row if first else {}
    if on is None:
        on = EMBEDDING if is_vector(row.get(EMBEDDING)) else WORDS
    return {"on": on, "likeness": "embeddings" if is_vector(row.get(on)) else "words"}


def _likeness(rows: Source, options: Mapping[str, Any]) -> Likeness:
    on = options["on"]
    if options["likeness"] == "words":
        return likeness_of_texts(text for _, text in with_place(rows, make_text(on)))
    numbers, dimensions = array("f"), 0

    def read(row: Row) -> Sequence[float]:
        vector: Any = value_at(row, on)
        if not is_vector(vector) or len(vector) != (dimensions or len(vector)):
            raise SeedError(f"the column {on!r} must hold {dimensions:,} numbers, as in the first row")
        return list(vector)

    for _, vector in with_place(rows, read):
        dimensions = len(vector)
        numbers.extend(vector)
    return likeness_of_vectors(numbers, dimensions)


def _require_numpy(how: str) -> None:
    try:
        import numpy  # noqa: F401
    except ImportError:
        raise UsageError(
            f"--how {how} needs the package numpy, of the extra `features`: pip install 'distill-data[features]' "
            "(in a checkout: pip install '.[features]')."
        ) from None

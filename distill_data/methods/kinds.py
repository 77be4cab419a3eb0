"""Records of every kind from a `Judged`: which answers make a row, a pair or a list, and why there is none.

Knows no strategy: what a score means is the annotation's. A score that is not finite is no verdict.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from random import Random
from typing import Any, NamedTuple

from distill_data.data.items import Item, Record
from distill_data.errors import UsageError
from distill_data.formats import COLUMNS, Source, make_row
from distill_data.methods.responses import Judged, Made, Response
from distill_data.methods.setup import number
from distill_data.recipes import Recipe

NO_ANSWER, NO_VERDICT, ONE_ANSWER = "no-answer", "no-verdict", "one-answer"
TIE, SAME_TEXT, BELOW_MARGIN, NONE_GOOD = "tie", "same-text", "below-margin", "none-good"
DIGITS = 9
"""Decimals of a margin: 0.7 - 0.4 is 0.3."""
FLOATS = ("score", "chosen_score", "rejected_score")

Rows = Callable[[Item, Judged], tuple[list[Made], str]]
"""The rows of one kind, or why there are none."""
Make = Callable[[Item, Judged], tuple[list[Record], str]]
"""The same as records."""


class Scored(NamedTuple):
    """A response with a verdict."""

    place: int
    """In the order asked, from 0."""
    score: float
    response: Response


def scored(judged: Judged) -> list[Scored]:
    """The responses that have a score, in the order asked."""
    return [
        Scored(place, float(each.score), each)
        for place, each in enumerate(judged.responses)
        if each.score is not None and math.isfinite(each.score)
    ]


def ranking(judged: Judged) -> list[Scored]:
    """The same, best first, ties in the order asked."""
    return sorted(scored(judged), key=lambda each: -each.score)


# -- one row a response ------------------------------------------------------------------------------------------------


def make_sft(recipe: Recipe) -> Rows:
    """Each good response. The column `answer`, where the recipe declares it, is the text that verifiers compare."""

    def rows(item: Item, judged: Judged) -> tuple[list[Made], str]:
        made = [
            Made({"prompt": judged.prompt, "completion": [each.completion]}, each, details=_told(each))
            for each in judged.responses
            if each.good
        ]
        return made, "" if made else NONE_GOOD if judged.responses else NO_ANSWER

    return rows


def make_unpaired(recipe: Recipe) -> Rows:
    """Each response with a score; the label is whether it reaches the setting `threshold`."""
    if "threshold" not in recipe.settings:
        raise UsageError(
            f"--set threshold: the kind unpaired needs it, and the recipe {recipe.name} doesn't declare it. Add "
            f"`threshold: NUMBER`, the score from which an answer is good, to the settings of {recipe.path}."
        )
    threshold = number(recipe, "threshold", 0)

    def rows(item: Item, judged: Judged) -> tuple[list[Made], str]:
        made = []
        for each in scored(judged):
            columns = {
                "prompt": judged.prompt,
                "completion": [each.response.completion],
                "label": each.score >= threshold,
                "score": each.score,
            }
            made.append(Made(columns, each.response, details={"threshold": threshold, **_told(each.response)}))
        return made, "" if made else _unscored(judged)

    return rows


# -- one row a prompt --------------------------------------------------------------------------------------------------


def make_ranked(recipe: Recipe) -> Rows:
    """All responses with a score, best first, where there are at least two."""

    def rows(item: Item, judged: Judged) -> tuple[list[Made], str]:
        ranked = ranking(judged)
        if len(ranked) < 2:
            return [], ONE_ANSWER if ranked else _unscored(judged)
        columns = {
            "prompt": judged.prompt,
            "responses": [_written(each.response) for each in ranked],
            "scores": [each.score for each in ranked],
        }
        named = [_named(each) for each in ranked]
        return [Made(columns, ranked[0].response, details={"responses": named})], ""

    return rows


# -- pairs -------------------------------------------------------------------------------------------------------------

Pair = tuple[Scored, Scored]
Choose = Callable[[list[Scored], Callable[[Pair], bool], Random], Sequence[Pair]]
"""(ranking, whether a pair may be one, the item's generator) -> the pairs."""


def best_worst(ranked: list[Scored], may: Callable[[Pair], bool], rng: Random) -> Sequence[Pair]:
    """The best with the worst that it may be paired with."""
    return _with_best(ranked, may)[-1:]


def best_random(ranked: list[Scored], may: Callable[[Pair], bool], rng: Random) -> Sequence[Pair]:
    """The best with any one that it may be paired with, as Zephyr has it (arXiv:2310.16944)."""
    pairs = _with_best(ranked, may)
    return [rng.choice(pairs)] if pairs else []


def all_pairs(ranked: list[Scored], may: Callable[[Pair], bool], rng: Random) -> Sequence[Pair]:
    """Every pair, from the best down."""
    return [pair for pair in combinations(ranked, 2) if may(pair)]


def _with_best(ranked: list[Scored], may: Callable[[Pair], bool]) -> list[Pair]:
    return [(ranked[0], other) for other in ranked[1:] if may((ranked[0], other))]


PAIRS: dict[str, Choose] = {"best-worst": best_worst, "best-random": best_random, "all": all_pairs}
"""The setting `pairs`."""


def make_preference(recipe: Recipe) -> Rows:
    """Pairs by the setting `pairs`, whose scores differ, and by at least the setting `margin`."""
    name = recipe.settings.get("pairs", "best-worst")
    if not isinstance(name, str) or name not in PAIRS:
        raise UsageError(f"--set pairs={name}: must be one of {', '.join(PAIRS)}.")
    choose, least = PAIRS[name], number(recipe, "margin", 0, 0)

    def may(pair: Pair) -> bool:
        chosen, rejected = pair
        return _differ(pair) and chosen.score > rejected.score and _margin(pair) >= least

    def rows(item: Item, judged: Judged) -> tuple[list[Made], str]:
        ranked = ranking(judged)
        if len(ranked) < 2:
            return [], ONE_ANSWER if ranked else _unscored(judged)
        pairs = choose(ranked, may, item.rng())
        return [_pair_row(judged, pair) for pair in pairs], "" if pairs else _unpaired(ranked)

    return rows


def _pair_row(judged: Judged, pair: Pair) -> Made:
    chosen, rejected = pair
    columns = {
        "prompt": judged.prompt,
        "chosen": [chosen.response.completion],
        "rejected": [rejected.response.completion],
        "chosen_score": chosen.score,
        "rejected_score": rejected.score,
    }
    details = {"margin": _margin(pair), "chosen": _named(chosen), "rejected": _named(rejected)}
    return Made(columns, chosen.response, f"{chosen.place}-{rejected.place}", details)


def _margin(pair: Pair) -> float:
    return round(pair[0].score - pair[1].score, DIGITS)


def _differ(pair: Pair) -> bool:
    """By what a student would be trained on: two ways to one answer are a pair."""
    return pair[0].response.completion != pair[1].response.completion


def _unpaired(ranked: list[Scored]) -> str:
    """Why no two of them are a pair."""
    if ranked[0].score == ranked[-1].score:
        return TIE
    apart = [pair for pair in combinations(ranked, 2) if pair[0].score > pair[1].score]
    return BELOW_MARGIN if any(map(_differ, apart)) else SAME_TEXT


# -- what all have in common -------------------------------------------------------------------------------------------


def _unscored(judged: Judged) -> str:
    return NO_VERDICT if judged.responses else NO_ANSWER


def _written(response: Response) -> str:
    """The answer as a student would be trained on it."""
    return str(response.completion.get("content", response.text))


def _told(response: Response) -> dict[str, Any]:
    """What the record of one response says of it."""
    score = {} if response.score is None or not math.isfinite(response.score) else {"score": float(response.score)}
    return {"sample": response.sample, **response.details, **score}


def _named(each: Scored) -> dict[str, Any]:
    """The same where a record has several."""
    return {"role": each.response.role, "model": each.response.model, **_told(each.response)}


def make_none(recipe: Recipe) -> Rows:
    """Kinds that do not follow from scores."""
    return lambda item, judged: ([], "")


KINDS: dict[str, Callable[[Recipe], Rows]] = {
    "sft": make_sft,
    "preference": make_preference,
    "unpaired": make_unpaired,
    "ranked": make_ranked,
    "steps": make_none,
    "critique": make_none,
}
"""Kind to what makes its rows where the annotation brings none. Raises UsageError for settings that cannot work."""


def make_kind(
    recipe: Recipe,
    kind: str,
    models: Mapping[str, str],
    offered: Sequence[str] = tuple(KINDS),
    *,
    round: int = 0,  # noqa: A002 - the term of the field
) -> Make:
    """(item, judged) -> its records of this kind, or none and the reason.

    `models` is role to the model as the user named it; a role that is not there is a column of the seeds, and stands
    for itself. Rows in `judged.made` take the place of those that follow from scores. Raises UsageError for a kind
    that is not offered, and for settings that cannot work.
    """
    if kind not in offered or kind not in KINDS:
        raise UsageError(f"--kind {kind}: the recipe {recipe.name} gives {', '.join(offered)}.")
    rows, names = KINDS[kind](recipe), COLUMNS[kind]
    if kind == "sft" and recipe.record.answer:
        names = (*names, "answer")
    facts: dict[str, Any] = {"sampling": dict(recipe.sampling), "checks": [check.name for check in recipe.checks]}
    if round:
        facts["round"] = round

    def make(item: Item, judged: Judged) -> tuple[list[Record], str]:
        made, reason = _brought(judged.made[kind]) if kind in judged.made else rows(item, judged)
        if not made:
            return [], reason or f"no-{kind}"
        records = []
        for row, part in _parted(made, kind):
            response = row.source
            source = Source(
                recipe.command, recipe.name, recipe.digest, item.id, response.role,
                models.get(response.role, response.role), response.model, response.sample, part,
            )  # fmt: skip
            details = {**facts, "sample": response.sample, **judged.details, **row.details}
            records.append(make_row(kind, source, _columns(row, kind, names), details))
        return records, ""

    return make


def _brought(rows: Sequence[Made]) -> tuple[list[Made], str]:
    """The annotation's own rows, with what there is to say of the response that each comes from."""
    return [row._replace(details={**_told(row.source), **row.details}) for row in rows], ""


def _parted(made: Sequence[Made], kind: str) -> Iterator[tuple[Made, str]]:
    """Each row with a part of its own, so that no two records of an item share an id."""
    seen: Counter[tuple[str, int, str]] = Counter()
    for row in made:
        part = row.part or ("" if kind == "sft" else kind)
        place = (row.source.role, row.source.sample, part)
        seen[place] += 1
        yield row, part if seen[place] == 1 else f"{part}#{seen[place]}"


def _columns(row: Made, kind: str, names: tuple[str, ...]) -> dict[str, Any]:
    """The row's columns as every record of the kind has them; `answer` only where the recipe declares it."""
    given = {"answer": row.source.text, **row.columns}
    if given.keys() != {"answer", *names}:
        raise ValueError(f"a row of the kind {kind} has the columns {', '.join(names)}, not {', '.join(row.columns)}")
    columns = {name: float(given[name]) if name in FLOATS else given[name] for name in names}
    if kind == "steps":
        columns["prompt"] = _plain(given["prompt"])
    if kind == "ranked":
        columns["scores"] = [float(score) for score in given["scores"]]
    return columns


def _plain(prompt: Any) -> str:
    """Chat messages as one text: those who train on steps read no messages."""
    return prompt if isinstance(prompt, str) else "\n\n".join(str(said["content"]) for said in prompt)

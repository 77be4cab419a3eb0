"""Rationalising: the student's own solutions, told apart by what is right.

    star       right solutions; where there are none, one that was reasoned again from the right answer, whose hint no
               row shows (STaR, arXiv:2203.14465)
    rest       solutions above a threshold that rises from round to round (ReST, arXiv:2308.08998; arXiv:2312.06585)
    shortest   the shortest right solution against the longest right one (Sky-T1-Flash)

Knows no prompt and no kind of record.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple

from distill_data.data.exchange import Ask
from distill_data.data.items import Item
from distill_data.errors import UsageError
from distill_data.methods.attempts import (
    Tally,
    count_right,
    each_once,
    has_gold,
    require_fields,
    score_by_gold,
    whole_of,
)
from distill_data.methods.judging import RATIONALE
from distill_data.methods.needs import require
from distill_data.methods.panel import Answers, Panel
from distill_data.methods.responses import Annotate, Judged, Response
from distill_data.methods.scoring import JUDGE, Topics, ask_ratings, worths_of
from distill_data.methods.stages import Said
from distill_data.parsing.arguments import texts
from distill_data.quality.words import words

HINT = "hint"
MARKERS = ("hint",)
"""What a solution says that was told the answer."""
KEEP = 10
ALONE: Topics = {"right": {}}
"""The one thing that a judge is asked about."""


def make_star(panel: Panel) -> Annotate:
    """The strategy `star`. Raises UsageError where the block `hint` doesn't give what the record needs."""
    require(panel.recipe)
    require_fields(panel, HINT)
    markers = texts("the setting 'markers'", panel.setting("markers", MARKERS), "markers")

    async def star(item: Item, ask: Ask) -> Judged:
        answers = await panel.answers(item, ask)
        scored = await score_by_gold(panel, answers.responses, item.row, ask)
        different = each_once(scored, lambda each: each.score)
        dropped = answers.dropped + Counter({"same-reasoning": len(scored) - len(different)})
        responses = tuple(each._replace(good=each.score == 1) for each in different)
        judged = Judged(
            panel.prompt(item), responses, dropped=+dropped, raw=answers.raw,
            tallies={"right": count_right(scored)}, agrees=True,
        )  # fmt: skip
        if any(each.good for each in responses):
            return judged
        said = await panel.stages.ask(ask, HINT, panel.open_row(item.row), to=panel.students[0])
        reason, hinted = await _read_hinted(panel, item, ask, said, markers)
        return judged._replace(
            responses=(*responses, *hinted),
            raw=(*answers.raw, said.answer.text),
            reason=reason,
            detail=said.detail,
            tallies={**judged.tallies, "rationalised": (len(hinted), 1)},
            agrees=not reason,
        )

    return star


async def _read_hinted(
    panel: Panel, item: Item, ask: Ask, said: Said, markers: Sequence[str]
) -> tuple[str, tuple[Response, ...]]:
    """What the student wrote when it was shown the right answer: why it doesn't count, or the one response."""
    if said.reason:
        return said.reason, ()
    response = panel.response(said, panel.students[0], panel.samples)
    (hinted,) = await score_by_gold(panel, [response], item.row, ask)
    if not hinted.score:
        return "not-verified", ()
    asked = "\n".join(str(message["content"]) for message in panel.prompt(item))
    told = [marker for marker in markers if _says(whole_of(hinted), marker) and not _says(asked, marker)]
    if told:  # what the question itself says is no sign of a hint
        return "mentions-hint", ()
    return "", (hinted._replace(good=True, details={**hinted.details, "rationalised": True}),)


def _says(text: str, phrase: str) -> bool:
    return f" {' '.join(words(phrase))} " in f" {' '.join(words(text))} "


# -- rest --------------------------------------------------------------------------------------------------------------


class Graded(NamedTuple):
    """Solutions with what they are worth, from 0 to 1."""

    responses: list[Response]
    tallies: Mapping[str, Tally]
    raw: tuple[str, ...] = ()
    """What the judge said."""


Grade = Callable[[Item, Ask, Sequence[Response]], Awaitable[Graded]]


def make_rest(panel: Panel) -> Annotate:
    """The strategy `rest`. Raises UsageError for thresholds that don't rise from 0 to 1, and where neither a verifier
    nor the block `judge` says what a solution is worth."""
    require(panel.recipe)
    threshold, keep, grade = _threshold(panel), panel.whole("keep", KEEP, 1), _make_grade(panel)

    async def rest(item: Item, ask: Ask) -> Judged:
        answers = await panel.answers(item, ask)
        graded = await grade(item, ask, answers.responses)
        different = each_once(graded.responses, lambda each: each.score)
        known = [each for each in different if each.score is not None]
        passing = [each for each in known if (each.score or 0) >= threshold]
        best = {each.sample for each in sorted(passing, key=lambda each: -(each.score or 0))[:keep]}
        reason = "" if best else "below-threshold" if known else "no-verdict" if different else answers.reason
        dropped = answers.dropped + Counter({"same-reasoning": len(graded.responses) - len(different)})
        gold = has_gold(panel, item.row)
        return Judged(
            panel.prompt(item), tuple(each._replace(good=each.sample in best) for each in different),
            details={"threshold": threshold, "round": max(1, panel.round)}, dropped=+dropped,
            raw=(*answers.raw, *graded.raw), reason=reason, tallies=graded.tallies,
            agrees=not reason if gold else None,
        )  # fmt: skip

    return rest


def _threshold(panel: Panel) -> float:
    """That of the round; the last one for all later rounds."""
    given = panel.setting("thresholds", [0.5])
    numbers = isinstance(given, list) and all(type(each) in (int, float) and 0 <= each <= 1 for each in given)
    if not numbers or not given or given != sorted(given):
        raise UsageError(f"--set thresholds={given}: must be a list of numbers from 0 to 1, none below the one before.")
    return float(given[min(max(1, panel.round), len(given)) - 1])


def _make_grade(panel: Panel) -> Grade:
    """By gold where the row has it; else by the student as a judge of itself, each solution alone."""
    judged = JUDGE in panel.recipe.stages
    if panel.right is None and not judged:
        raise UsageError(
            f"{panel.recipe.path}: the strategy rest needs a verifier, or the stage {JUDGE} for rows without gold."
        )
    worths = worths_of(panel).values() if judged else [0.0, 1.0]
    low, high = min(worths), max(worths)

    async def grade(item: Item, ask: Ask, responses: Sequence[Response]) -> Graded:
        if has_gold(panel, item.row) or not judged:
            scored = await score_by_gold(panel, responses, item.row, ask)
            return Graded(scored, {"right": count_right(scored)})
        rated = await ask_ratings(panel, item, ask, list(map(whole_of, responses)), ALONE, apart=True)
        graded = list(responses)
        for number, response in enumerate(responses):
            for rating in (each for each in rated.of(number) if each.worth is not None):
                score = ((rating.worth or 0) - low) / (high - low)
                details = {**response.details, RATIONALE: rating.rationale}
                graded[number] = response._replace(score=score, details=details)
        return Graded(graded, rated.tallies, rated.raw)

    return grade


# -- shortest ----------------------------------------------------------------------------------------------------------


def make_shortest(panel: Panel) -> Annotate:
    """The strategy `shortest`."""

    async def shortest(item: Item, ask: Ask) -> Judged:
        answers = await panel.answers(item, ask)
        scored = await score_by_gold(panel, answers.responses, item.row, ask)
        right = [each for each in scored if each.score == 1]
        lengths = [len(words(whole_of(each))) for each in right]
        reason, detail = _no_pair(answers, scored, lengths)
        chosen = [] if reason else [lengths.index(min(lengths)), lengths.index(max(lengths))]
        pair = tuple(
            right[place]._replace(score=score, details={**right[place].details, "words": lengths[place]})
            for score, place in zip((1.0, 0.0), chosen, strict=False)
        )
        return Judged(
            panel.prompt(item), pair, details={"right": len(right)}, dropped=answers.dropped, raw=answers.raw,
            reason=reason, detail=detail, tallies={"right": count_right(scored)}, agrees=bool(right),
        )  # fmt: skip

    return shortest


def _no_pair(answers: Answers, scored: Sequence[Response], lengths: Sequence[int]) -> tuple[str, str]:
    """Why there is no shorter and no longer one; `lengths` are those of the right answers."""
    if not scored:
        return answers.reason, ""
    if len(lengths) < 2:
        return "too-few-right", f"{len(lengths)} of {len(scored)} answers that count are right"
    if min(lengths) == max(lengths):
        return "same-length", f"all {len(lengths)} right answers have {lengths[0]} words"
    return "", ""

"""Rationalising: the student's own solutions, told apart by what is right.

    star       right solutions; where there are none, one that was reasoned again from the right answer, whose hint no
               row shows (STaR, arXiv:2203.14465)
    rest       solutions above a threshold that rises from round to round (ReST, arXiv:2308.08998; arXiv:2312.06585)
    shortest   the shortest right solution against the longest right one (Sky-T1-Flash)

Knows no prompt and no kind of record.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

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
from distill_data.methods.judging import allowed_by, ask_judge, draws, line_up
from distill_data.methods.needs import require
from distill_data.methods.panel import Answers, Panel, together
from distill_data.methods.responses import Annotate, Judged, Response
from distill_data.methods.stages import Said
from distill_data.parsing.arguments import texts
from distill_data.quality.words import words

HINT, SCORE = "hint", "score"
MARKERS = ("hint",)
KEEP = 10


def make_star(panel: Panel) -> Annotate:
    """The strategy `star`. Raises UsageError where the block `hint` doesn't give what the record needs."""
    require(panel.recipe)
    require_fields(panel, HINT)
    markers = texts("the setting 'markers'", panel.setting("markers", MARKERS), "markers")

    async def star(item: Item, ask: Ask) -> Judged:
        answers = await panel.answers(item, ask)
        scored = await score_by_gold(panel, answers.responses, item.row)
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
        reason, hinted = await _read_hinted(panel, item, said, markers)
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
    panel: Panel, item: Item, said: Said, markers: Sequence[str]
) -> tuple[str, tuple[Response, ...]]:
    """What the student wrote when it was shown the right answer: why it doesn't count, or the one response."""
    if said.reason:
        return said.reason, ()
    response = panel.response(said, panel.students[0], panel.samples)
    (hinted,) = await score_by_gold(panel, [response], item.row)
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

Scoring = Callable[[Item, Ask, Sequence[Response]], Awaitable[tuple[list[Response], dict[str, Tally]]]]


def make_rest(panel: Panel) -> Annotate:
    """The strategy `rest`. Raises UsageError for thresholds that don't rise from 0 to 1, and where neither a verifier
    nor the block `score` says what an answer is worth."""
    require(panel.recipe)
    threshold, keep = _threshold(panel), panel.whole("keep", KEEP, 1)
    score = _make_scoring(panel)

    async def rest(item: Item, ask: Ask) -> Judged:
        answers = await panel.answers(item, ask)
        if not answers.responses:
            return _refused(panel, item, answers, answers.reason)
        scored, tallies = await score(item, ask, answers.responses)
        different = each_once(scored, lambda each: each.score)
        passing = [each for each in different if each.score is not None and each.score >= threshold]
        best = sorted(passing, key=lambda each: -(each.score or 0))[:keep]
        if not best:
            known = any(each.score is not None for each in scored)
            return _refused(panel, item, answers, "below-threshold" if known else "no-verdict")._replace(
                tallies=tallies
            )
        dropped = answers.dropped + Counter({"same-reasoning": len(scored) - len(different)})
        return Judged(
            panel.prompt(item), tuple(each._replace(good=each in best) for each in different),
            details={"threshold": threshold, "round": max(1, panel.round)}, dropped=+dropped, raw=answers.raw,
            tallies=tallies, agrees=True if has_gold(panel, item.row) else None,
        )  # fmt: skip

    return rest


def _threshold(panel: Panel) -> float:
    """That of the round; the last one for all later rounds."""
    given = panel.setting("thresholds", [0.5])
    numbers = isinstance(given, list) and all(type(each) in (int, float) and 0 <= each <= 1 for each in given)
    if not numbers or not given or given != sorted(given):
        raise UsageError(f"--set thresholds={given}: must be a list of numbers from 0 to 1, none below the one before.")
    return float(given[min(max(1, panel.round), len(given)) - 1])


def _make_scoring(panel: Panel) -> Scoring:
    """By gold where the row has it; else by the student, as judge of itself."""
    judged = SCORE in panel.recipe.stages
    if panel.right is None and not judged:
        raise UsageError(
            f"{panel.recipe.path}: the strategy rest needs a verifier, or the stage {SCORE} for rows without gold."
        )
    grades = [grade for grade in allowed_by(panel, SCORE)["score"] if type(grade) is int] if judged else [0, 1]
    low, high = grades[0], grades[-1]

    async def judge(item: Item, ask: Ask, response: Response) -> Response:
        _, candidates = line_up(draws(item, f"rest {response.sample}"), [whole_of(response)])
        allowed = allowed_by(panel, SCORE)
        verdict = await ask_judge(panel, ask, SCORE, item.row, candidates, allowed, to=panel.judge)
        grade = verdict.fields.get("score")
        return response._replace(score=(grade - low) / (high - low)) if isinstance(grade, int) else response

    async def score(item: Item, ask: Ask, responses: Sequence[Response]) -> tuple[list[Response], dict[str, Tally]]:
        if has_gold(panel, item.row) or not judged:
            scored = await score_by_gold(panel, responses, item.row)
            return scored, {"right": count_right(scored)}
        scored = await together(list(map(partial(judge, item, ask), responses)))
        return scored, {"parse_failures": (sum(each.score is None for each in scored), len(scored))}

    return score


# -- shortest ----------------------------------------------------------------------------------------------------------


def make_shortest(panel: Panel) -> Annotate:
    """The strategy `shortest`."""

    async def shortest(item: Item, ask: Ask) -> Judged:
        answers = await panel.answers(item, ask)
        scored = await score_by_gold(panel, answers.responses, item.row)
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


def _refused(panel: Panel, item: Item, answers: Answers, reason: str, detail: str = "") -> Judged:
    wrong = False if has_gold(panel, item.row) else None
    return Judged([], (), dropped=answers.dropped, raw=answers.raw, reason=reason, detail=detail, agrees=wrong)

"""Scoring: asking judges what answers are worth, topic by topic, side by side or each answer alone.

What is asked about, a topic, is an aspect, a rubric or a principle. A verdict that cannot be read and "N/A" count for
nothing. One canary, where the item has one, takes the place of its first answer in a call of its own. Knows no topic's
words, and not what a score is made of.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from distill_data.data.exchange import Answer, Ask
from distill_data.data.items import Item
from distill_data.errors import UsageError
from distill_data.methods.canaries import caught, plant
from distill_data.methods.judging import RATIONALE, Candidate, Verdict, allowed_by, ask_judge, draws, line_up
from distill_data.methods.panel import Panel, together
from distill_data.methods.responses import NOTHING

JUDGE = "judge"
"""The block that judges are asked."""
Topics = Mapping[str, Mapping[str, Any]]
"""Topic to what the template is shown for it."""
Tallies = Mapping[str, tuple[int, int]]


class Call(NamedTuple):
    """One question to one judge."""

    topic: str
    judge: str
    order: Sequence[int]
    """The index of each candidate's answer."""
    candidates: Sequence[Candidate]
    shown: Mapping[str, Any]
    each: bool
    """Whether the verdict is one for each candidate."""


class Rating(NamedTuple):
    """What one judge gave one text on one topic."""

    number: int
    """Of the first answer with this text, from 0."""
    topic: str
    judge: str
    value: Any
    """As the judge wrote it."""
    worth: float | None
    """Higher is better; None for "N/A"."""
    rationale: str
    reply: Answer


class Rated(NamedTuple):
    """All that the judges said of an item's answers."""

    ratings: tuple[Rating, ...] = ()
    firsts: tuple[int, ...] = ()
    """For each answer the number of the first one with the same text."""
    raw: tuple[str, ...] = ()
    """The replies."""
    failure: str = ""
    """Why the first reply that is no verdict is none."""
    tallies: Tallies = NOTHING

    def of(self, number: int) -> list[Rating]:
        """The ratings of one answer."""
        return [rating for rating in self.ratings if rating.number == self.firsts[number]]

    def means(self, number: int) -> dict[str, float]:
        """Topic to the mean over the judges, for one answer; a topic without a rating is not there."""
        worths: dict[str, list[float]] = {}
        for rating in self.of(number):
            if rating.worth is not None:
                worths.setdefault(rating.topic, []).append(rating.worth)
        return {topic: mean(given) for topic, given in worths.items()}


def mean(values: Sequence[float]) -> float:
    """Rounded, so that the same ratings in another order have the same mean."""
    return round(sum(values) / len(values), 4)


def read_topics(panel: Panel, setting: str, name: str) -> Topics:
    """A setting that maps names to meanings; templates see the name as `name`. Raises UsageError for anything else."""
    given = panel.setting(setting, None)
    good = isinstance(given, dict) and given and all(isinstance(text, str) and text.strip() for text in given.values())
    if not good:
        raise UsageError(
            f"{panel.recipe.path}: the setting {setting} must map at least one name to a text that says what it means."
        )
    return {str(topic): {name: str(topic), "meaning": text} for topic, text in given.items()}


async def ask_ratings(
    panel: Panel,
    item: Item,
    ask: Ask,
    texts: Sequence[str],
    topics: Topics,
    *,
    apart: bool = False,
    canary: Mapping[str, Any] | None = None,
) -> Rated:
    """Every judge on every topic, all of them together; equal answers are judged once. `apart`: each answer alone.
    `canary`: what the template is shown with a planted answer, by default the first topic's. Raises AnswerFailed."""
    if not texts:
        return Rated()
    worths, once = worths_of(panel), list(dict.fromkeys(texts))
    calls = list(_calls(panel, item, once, topics, apart))
    asked: list[Any] = [_put(panel, item, ask, call) for call in calls]
    if item.id in panel.canaries:
        shown = next(iter(topics.values())) if canary is None else canary
        asked.append(_ask_canary(panel, item, ask, once, shown, worths, apart))
    done = await together(asked)
    verdicts: list[Verdict] = done[: len(calls)]
    ratings = tuple(
        rating._replace(number=texts.index(once[rating.number]))
        for call, verdict in zip(calls, verdicts, strict=True)
        for rating in _read(call, verdict, worths)
    )
    failures = [verdict.reason for verdict in verdicts if verdict.reason]
    tallies = {"parse_failures": (len(failures), len(calls)), **_agreement(ratings)}
    for planted in done[len(calls) :]:
        tallies |= planted
    raw = tuple(verdict.answer.text for verdict in verdicts)
    return Rated(ratings, tuple(map(texts.index, texts)), raw, next(iter(failures), ""), tallies)


def worths_of(panel: Panel) -> Mapping[Any, float]:
    """What each verdict is worth: a score itself, the first of two choices 1 and the second 0, "N/A" nothing."""
    ((field, values),) = allowed_by(panel, JUDGE).items()
    if field == "verdict":
        return {values[0]: 1.0, values[1]: 0.0}
    return {value: float(value) for value in values if not isinstance(value, str)}


def _calls(panel: Panel, item: Item, texts: Sequence[str], topics: Topics, apart: bool) -> Iterator[Call]:
    """Topic by topic, in each answer by answer where they are apart, in each judge by judge."""
    for topic, shown in topics.items():
        if apart:
            lines = [
                ([index], line_up(draws(item, f"name:{topic}:{index}"), [text])[1]) for index, text in enumerate(texts)
            ]
        else:
            lines = [line_up(draws(item, f"order:{topic}"), texts)]
        for order, candidates in lines:
            for judge in panel.judges:
                yield Call(topic, judge, order, candidates, shown, not apart)


async def _put(panel: Panel, item: Item, ask: Ask, call: Call) -> Verdict:
    allowed = allowed_by(panel, JUDGE)
    return await ask_judge(
        panel, ask, JUDGE, item.row, call.candidates, allowed, call.shown, to=call.judge, each=call.each
    )


async def _ask_canary(
    panel: Panel,
    item: Item,
    ask: Ask,
    texts: Sequence[str],
    shown: Mapping[str, Any],
    worths: Mapping[Any, float],
    apart: bool,
) -> Tallies:
    """A planted answer, alone or among the others; of the judges one is drawn. Noticed: what it got lies below the
    middle of the scale. "N/A" says neither."""
    planted = plant(item, texts[0])
    order, candidates = line_up(draws(item, "order:canary"), [planted.text] if apart else [planted.text, *texts[1:]])
    judge = draws(item, "judge:canary").choice(panel.judges)
    call = Call("", judge, order, candidates, shown, not apart)
    verdict = await _put(panel, item, ask, call)
    worth = next((rating.worth for rating in _read(call, verdict, worths) if rating.number == 0), None)
    middle = (min(worths.values()) + max(worths.values())) / 2
    return caught(planted, noticed=None if worth is None else worth < middle)


def _read(call: Call, verdict: Verdict, worths: Mapping[Any, float]) -> Iterator[Rating]:
    """A rating of each candidate; none where there is no verdict."""
    if verdict.reason:
        return
    for index, candidate in zip(call.order, call.candidates, strict=True):
        fields = verdict.fields[candidate.name] if call.each else verdict.fields
        (value,) = (value for name, value in fields.items() if name != RATIONALE)
        rationale = fields.get(RATIONALE, "")
        yield Rating(index, call.topic, call.judge, value, worths.get(value), rationale, verdict.answer)


def _agreement(ratings: Sequence[Rating]) -> Tallies:
    """On how many of the ratings that several judges gave all of them are the same."""
    given: dict[tuple[str, int], list[Any]] = {}
    for rating in ratings:
        given.setdefault((rating.topic, rating.number), []).append(rating.value)
    several = [values for values in given.values() if len(values) > 1]
    same = sum(all(value == values[0] for value in values) for values in several)
    return {"judges_agree": (same, len(several))} if several else {}

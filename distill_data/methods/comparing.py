"""Comparing: which of two answers is better, asked in both orders (RLAIF, arXiv:2309.00267; Zheng et al.,
arXiv:2306.05685).

Every pair is shown to every judge twice, the second time with the answers in each other's place. The names stay where
they were, so a judge that likes a letter, or the first place, says once the one and once the other, which is a tie. An
answer's score is the mean over its comparisons: 1 for each that it wins, 0.5 for a tie, 0 for a defeat; with the
setting `soft`, the probability that the judge gives to its name. Knows no prompt and no kind of record.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

from distill_data.data.exchange import Ask, Request
from distill_data.data.items import Item
from distill_data.errors import UsageError
from distill_data.methods.canaries import caught, plant
from distill_data.methods.judging import NAMES, RATIONALE, Candidate, ask_judge, draws, fence
from distill_data.methods.likelihood import TOP_LOGPROBS, compare_names
from distill_data.methods.needs import require
from distill_data.methods.panel import Panel, together
from distill_data.methods.responses import Annotate, Judged, Response

BLOCK = "judge"
TIE = "tie"
VERDICTS: Mapping[int | None, str] = {1: "first", 0: TIE, -1: "second", None: "none"}


class Pair(NamedTuple):
    """Two answers and the names that they are shown under."""

    first: str
    second: str
    names: tuple[str, str]
    """The name in the first place and that in the second, whichever answer stands there."""

    def seen(self, *, swapped: bool) -> list[Candidate]:
        texts = (self.second, self.first) if swapped else (self.first, self.second)
        return [Candidate(name, fence(text)) for name, text in zip(self.names, texts, strict=True)]


class Heard(NamedTuple):
    """What a judge said of a pair in one order."""

    chance: float | None
    """That the answer in the first place is the better one: 1, 0.5 for a tie, 0, or anything between; None where there
    is no verdict."""
    rationale: str = ""
    reason: str = ""
    """Why there is no verdict."""
    raw: str = ""
    """The whole reply."""

    def swapped(self) -> Heard:
        return self if self.chance is None else self._replace(chance=1 - self.chance)


class Compared(NamedTuple):
    """What all judges said of a pair."""

    verdict: int | None
    """1 where the first answer is better, -1 where the second is, 0 for a tie; None where there is no verdict."""
    chance: float | None
    """That the first one is better, both orders and all judges averaged."""
    heard: tuple[tuple[Heard, Heard], ...] = ()
    """For each judge both orders, each told from the first answer's side."""


Listen = Callable[[Item, Ask, Pair, str, bool], Awaitable[Heard]]
"""(item, ask, pair, judge, swapped) -> what this judge says of the pair in this order."""


def make_comparing(panel: Panel) -> Annotate:
    """The strategy `compare`. Raises UsageError for fewer than two answers, and for settings that there are not."""
    require(panel.recipe)
    soft, asked = panel.setting("soft", False), panel.setting("pairs_asked", "all")
    if type(soft) is not bool:
        raise UsageError(f"--set soft={soft}: must be true or false.")
    if asked not in PAIRINGS:
        raise UsageError(f"--set pairs_asked={asked}: must be one of {', '.join(PAIRINGS)}.")
    if not panel.column and len(panel.students) * panel.samples < 2:
        raise UsageError(
            f"the recipe {panel.recipe.name} compares answers, so it needs two: --samples 2, or two students."
        )
    listen = _make_listen_soft(panel) if soft else make_listen(panel)

    async def compare(item: Item, ask: Ask) -> Judged:
        answers = await panel.answers(item, ask)
        responses, prompt = answers.responses, panel.prompt(item)
        if len(responses) < 2:
            refused = Judged(prompt, (), dropped=answers.dropped, raw=answers.raw, reason="too-few-answers")
            return refused._replace(detail=answers.reason)
        chosen = PAIRINGS[asked](len(responses))
        pairs = [make_pair(item, f"{i}:{j}", responses[i].text, responses[j].text) for i, j in chosen]
        planted = plant(item, responses[0].text) if item.id in panel.canaries else None
        canary = [make_pair(item, "canary", responses[0].text, planted.text)] if planted else []
        compared = await compare_pairs(panel.judges, item, ask, pairs + canary, listen)
        tallies = dict(_tally(pairs, compared[: len(pairs)]))
        if planted:
            verdict = compared.pop().verdict
            tallies |= caught(planted, noticed=None if verdict is None else verdict == 1)
        scored = _score(responses, chosen, compared, soft=soft)
        told = [_told(responses, *each, soft=soft) for each in zip(chosen, pairs, compared, strict=True)]
        reason, detail = ("", "") if any(each.score is not None for each in scored) else _silence(compared)
        return Judged(
            prompt, scored, details={"judges": list(panel.judges), "comparisons": told}, dropped=answers.dropped,
            raw=(*answers.raw, *_raw(compared)), reason=reason, detail=detail, tallies=tallies,
        )  # fmt: skip

    return compare


def _round_robin(count: int) -> list[tuple[int, int]]:
    return list(combinations(range(count), 2))


def _ring(count: int) -> list[tuple[int, int]]:
    return [(number, (number + 1) % count) for number in range(count)] if count > 2 else [(0, 1)]


PAIRINGS: Mapping[str, Callable[[int], list[tuple[int, int]]]] = {"all": _round_robin, "ring": _ring}
"""Which pairs of n answers are compared: every pair, n (n - 1) / 2 of them; or each answer with the next one, n."""


def make_pair(item: Item, which: str, first: str, second: str) -> Pair:
    """Two answers under names drawn by the item; `which` tells its pairs apart."""
    one, other = draws(item, f"compare:{which}").sample(NAMES, 2)
    return Pair(first, second, (one, other))


async def compare_pairs(
    judges: Sequence[str], item: Item, ask: Ask, pairs: Sequence[Pair], listen: Listen
) -> list[Compared]:
    """Every pair by every judge in both orders, all asked together. Equal texts are a tie, and nobody is asked."""
    asked = [pair for pair in pairs if pair.first != pair.second]
    questions = [(pair, judge, swapped) for pair in asked for judge in judges for swapped in (False, True)]
    heard = iter(await together([listen(item, ask, *question) for question in questions]))
    return [
        _settle([(next(heard), next(heard).swapped()) for _ in judges]) if pair.first != pair.second else EQUAL
        for pair in pairs
    ]


EQUAL = Compared(0, 0.5)


def _settle(heard: list[tuple[Heard, Heard]]) -> Compared:
    """The verdict that most judges give, a tie where none is given most often. A judge that was not understood in one
    of the orders gives none; one that disagrees with itself says that it is a tie."""
    whole = _whole(heard)
    if not whole:
        return Compared(None, None, tuple(heard))
    counts = Counter(_agreed(*orders) for orders in whole).most_common()
    verdict = 0 if len(counts) > 1 and counts[0][1] == counts[1][1] else counts[0][0]
    return Compared(verdict, math.fsum(map(math.fsum, whole)) / (2 * len(whole)), tuple(heard))


def _whole(heard: Sequence[tuple[Heard, Heard]]) -> list[tuple[float, float]]:
    """Both chances of each judge that was understood in both orders."""
    return [(one.chance, other.chance) for one, other in heard if one.chance is not None and other.chance is not None]


def _side(chance: float) -> int:
    return (chance > 0.5) - (chance < 0.5)


def _agreed(one: float, other: float) -> int:
    """The verdict of both orders, a tie where they disagree."""
    return _side(one) if _side(one) == _side(other) else 0


# -- asking ------------------------------------------------------------------------------------------------------------


def make_listen(panel: Panel) -> Listen:
    """Verdicts in JSON: one of the two names, or a tie."""

    async def listen(item: Item, ask: Ask, pair: Pair, judge: str, swapped: bool) -> Heard:
        better = {"better": [*pair.names, TIE]}
        seen = pair.seen(swapped=swapped)
        verdict = await ask_judge(panel, ask, BLOCK, item.row, seen, better, to=judge)
        if verdict.reason:
            return Heard(None, "", verdict.reason, verdict.answer.text)
        chance = {pair.names[0]: 1.0, TIE: 0.5, pair.names[1]: 0.0}[verdict.fields["better"]]
        return Heard(chance, verdict.fields.get(RATIONALE, ""), "", verdict.answer.text)

    return listen


def _make_listen_soft(panel: Panel) -> Listen:
    """The probabilities of the two names, where one of them is all that the judge is asked for."""
    sampling = {**panel.stages.readers[BLOCK].sampling, "logprobs": True, "top_logprobs": TOP_LOGPROBS}

    async def listen(item: Item, ask: Ask, pair: Pair, judge: str, swapped: bool) -> Heard:
        shown = {"answers": [candidate._asdict() for candidate in pair.seen(swapped=swapped)]}
        messages = panel.stages.messages(BLOCK, panel.open_row(item.row), shown)
        answer = await ask(Request(messages, sampling, choices=pair.names), to=judge)
        chance, reason = compare_names(answer, pair.names)
        return Heard(chance, "", reason, answer.text)

    return listen


# -- what follows ------------------------------------------------------------------------------------------------------


def _score(
    responses: Sequence[Response], chosen: Sequence[tuple[int, int]], compared: Sequence[Compared], *, soft: bool
) -> tuple[Response, ...]:
    """Each answer with the mean over its comparisons. The best one is good, unless nothing is better than a tie."""
    points: list[list[float]] = [[] for _ in responses]
    for (i, j), pair in zip(chosen, compared, strict=True):
        if pair.verdict is not None and pair.chance is not None:
            point = pair.chance if soft else (1 + pair.verdict) / 2
            points[i].append(point)
            points[j].append(1 - point)
    scores = [round(math.fsum(each) / len(each), 6) if each else None for each in points]
    best = max((score for score in scores if score is not None), default=0.0)
    good = scores.index(best) if best > 0.5 else -1
    return tuple(
        response._replace(score=score, good=number == good)
        for number, (response, score) in enumerate(zip(responses, scores, strict=True))
    )


def _raw(compared: Sequence[Compared]) -> list[str]:
    return [heard.raw for pair in compared for orders in pair.heard for heard in orders]


def _silence(compared: Sequence[Compared]) -> tuple[str, str]:
    """Why no answer has a score: the judge gave no log-probabilities, or no verdict."""
    reasons = [heard.reason for pair in compared for orders in pair.heard for heard in orders if heard.reason]
    reason = "no-logprobs" if "no-logprobs" in reasons else "no-verdict"
    return reason, ", ".join(sorted(set(reasons)))


def _tally(pairs: Sequence[Pair], compared: Sequence[Compared]) -> Mapping[str, tuple[int, int]]:
    """Flips of a judge, ties, wins of the longer answer, calls without a verdict, pairs that all judges see alike."""
    found: defaultdict[str, list[bool]] = defaultdict(list)
    for pair, result in zip(pairs, compared, strict=True):
        found["parse_failures"] += [heard.chance is None for orders in result.heard for heard in orders]
        whole = _whole(result.heard)
        found["flips"] += [_side(one) != _side(other) for one, other in whole]
        said = [_agreed(*orders) for orders in whole]
        found["judges_agree"] += [len(set(said)) == 1] if len(said) > 1 else []
        found["ties"] += [result.verdict == 0] if whole else []
        longer = len(pair.first) - len(pair.second)
        if result.verdict and longer:
            found["longer_wins"].append((result.verdict > 0) == (longer > 0))
    return {name: (sum(counted), len(counted)) for name, counted in sorted(found.items()) if counted}


def _told(
    responses: Sequence[Response], places: tuple[int, int], pair: Pair, compared: Compared, *, soft: bool
) -> dict[str, Any]:
    """A comparison, for the record."""
    first, second = (f"{responses[place].role}/{responses[place].sample}" for place in places)
    told: dict[str, Any] = {"first": first, "second": second, "verdict": VERDICTS[compared.verdict]}
    if soft and compared.chance is not None:
        told["soft"] = round(compared.chance, 6)
    if compared.heard:
        told["names"] = "".join(pair.names)
        told["heard"] = [[_said(heard) for heard in orders] for orders in compared.heard]
    return told


def _said(heard: Heard) -> dict[str, str]:
    said = heard.reason if heard.chance is None else VERDICTS[_side(heard.chance)]
    return {"said": said, **({RATIONALE: heard.rationale} if heard.rationale else {})}

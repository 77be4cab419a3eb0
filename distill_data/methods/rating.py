"""Rating: a score for each of a student's answers (UltraFeedback, Cui et al., arXiv:2310.01377; Prometheus, Kim et al.,
arXiv:2310.08491).

    rate        all answers side by side, aspect by aspect; the score is the mean over the aspects
    rubric      each answer alone, by a rubric: feedback, then the score
    best-of-n   the same, shorter; the best one is kept. Where the user gives a verifier and the row the right answer,
                that decides instead. No verifier is right for free text, so the shipped recipe has none
    moderate    each answer alone, principle by principle; the score is the share that is kept

An answer without a verdict has no score. Knows no words of a prompt and no kind of record.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from distill_data.data.exchange import Ask
from distill_data.data.items import Item
from distill_data.errors import SeedError, UsageError
from distill_data.methods.attempts import agrees, has_gold
from distill_data.methods.judging import NAMES, allowed_by
from distill_data.methods.needs import require
from distill_data.methods.panel import Answers, Panel, Right, together
from distill_data.methods.responses import Annotate, Judged, Made, Response
from distill_data.methods.scoring import JUDGE, Rated, Rating, ask_ratings, mean, read_topics, worths_of

CRITIC, RUBRIC = "critic", "rubric"
NO_VERDICT = "no-verdict"
Scores = Sequence[float | None]


def make_rating(panel: Panel) -> Annotate:
    """The strategy `rate`. Raises UsageError for aspects that are no texts, and for too many answers."""
    require(panel.recipe)
    aspects = read_topics(panel, "aspects", "aspect")
    least = panel.whole("least_aspects", min(2, len(aspects)), 1, len(aspects))
    if panel.samples * len(panel.students) > len(NAMES):
        raise UsageError(
            f"the recipe {panel.recipe.name} shows all answers side by side, at most {len(NAMES)}: "
            f"--samples {panel.samples} of {len(panel.students)} students are too many."
        )

    async def rate(item: Item, ask: Ask) -> Judged:
        answers = await panel.answers(item, ask)
        if len(answers.responses) > len(NAMES):
            raise SeedError(f"the column {panel.column} may hold at most {len(NAMES)} answers, shown side by side")
        rated = await ask_ratings(panel, item, ask, _texts(answers), aspects)
        means = [rated.means(index) for index in range(len(answers.responses))]
        scores = [mean([*each.values()]) if len(each) >= least else None for each in means]
        return await _judge(panel, item, ask, answers, rated, scores)

    return rate


def make_rubric(panel: Panel) -> Annotate:
    """The strategy `rubric`. Raises UsageError for levels that are not one for each score, and without block critic."""
    require(panel.recipe)
    if CRITIC not in panel.recipe.blocks:
        raise UsageError(f"{panel.recipe.path}: the strategy rubric needs the block critic: the prompt of its rows.")
    scores = [value for value in allowed_by(panel, JUDGE)["score"] if isinstance(value, int)]
    levels = panel.setting("levels", scores)
    if not isinstance(levels, list) or len(levels) != len(scores):
        raise UsageError(
            f"{panel.recipe.path}: the setting levels must be a list of {len(scores)} texts, "
            f"what the scores from {scores[0]} to {scores[-1]} mean."
        )

    async def rubric(item: Item, ask: Ask) -> Judged:
        answers = await panel.answers(item, ask)
        rated = await ask_ratings(panel, item, ask, _texts(answers), {RUBRIC: {}}, apart=True)
        judged = await _judge(panel, item, ask, answers, rated, _rubric_scores(answers, rated))
        return judged._replace(made={"critique": tuple(_critiques(panel, item, answers, rated))})

    return rubric


def make_best(panel: Panel) -> Annotate:
    """The strategy `best-of-n`. Raises UsageError where there is nothing to choose from."""
    require(panel.recipe)
    if panel.students and panel.samples * len(panel.students) < 2:
        raise UsageError(
            f"the recipe {panel.recipe.name} chooses among answers, so one is too few: give --samples 4, or more "
            "students."
        )

    async def best(item: Item, ask: Ask) -> Judged:
        answers = await panel.answers(item, ask)
        if panel.right is not None and has_gold(panel, item.row):
            return await _verify(panel, panel.right, item, ask, answers)
        rated = await ask_ratings(panel, item, ask, _texts(answers), {RUBRIC: {}}, apart=True)
        return await _judge(panel, item, ask, answers, rated, _rubric_scores(answers, rated))

    return best


def make_moderating(panel: Panel) -> Annotate:
    """The strategy `moderate`. Raises UsageError for principles that are no texts, and for other than two choices."""
    require(panel.recipe)
    principles = read_topics(panel, "principles", "principle")
    if len(panel.stages.readers[JUDGE].labels) != 2:
        raise UsageError(f"{panel.recipe.path}: the stage judge needs two choices: a principle is kept, or it is not.")
    sense = str(panel.setting("sense", ""))
    canary = {"principle": "sense", "meaning": sense} if sense else None

    async def moderate(item: Item, ask: Ask) -> Judged:
        answers = await panel.answers(item, ask)
        rated = await ask_ratings(panel, item, ask, _texts(answers), principles, apart=True, canary=canary)
        broken = [_broken(rated.means(index)) for index in range(len(answers.responses))]
        scores = [
            None
            if len(rated.means(index)) < len(principles)
            else mean([float(name not in names) for name in principles])
            for index, names in enumerate(broken)
        ]
        judged = await _judge(panel, item, ask, answers, rated, scores)
        responses = [
            response._replace(good=response.score == 1, details={**response.details, "broken": names})
            for response, names in zip(judged.responses, broken, strict=True)
        ]
        return judged._replace(responses=tuple(responses))

    return moderate


def _texts(answers: Answers) -> list[str]:
    return [response.text for response in answers.responses]


def _rubric_scores(answers: Answers, rated: Rated) -> list[float | None]:
    return [rated.means(index).get(RUBRIC) for index in range(len(answers.responses))]


def _broken(means: Mapping[str, float]) -> list[str]:
    """The principles that not more than half of the judges see kept."""
    return [principle for principle, share in means.items() if share <= 0.5]


async def _judge(panel: Panel, item: Item, ask: Ask, answers: Answers, rated: Rated, scores: Scores) -> Judged:
    """The answers with their scores; the first of the best is good. Rejected where none has a score."""
    judged = Judged(
        panel.prompt(item),
        tuple(
            response._replace(
                score=score, details={**response.details, **_details(rated.of(index), rated.means(index))}
            )
            for index, (response, score) in enumerate(zip(answers.responses, scores, strict=True))
        ),
        dropped=answers.dropped + Counter({NO_VERDICT: scores.count(None)}),
        raw=(*answers.raw, *rated.raw),
        tallies={**rated.tallies, **_length_bias(answers, scores)},
    )
    if not answers.responses:
        return judged._replace(reason=answers.reason)
    known = [(score, -index) for index, score in enumerate(scores) if score is not None]
    if not known:
        return judged._replace(reason=NO_VERDICT, detail=rated.failure)
    best = -max(known)[1]
    right = await agrees(panel, answers.responses[best].text, item.row, ask)
    responses = [each._replace(good=index == best) for index, each in enumerate(judged.responses)]
    return judged._replace(responses=tuple(responses), agrees=right)


def _details(ratings: Sequence[Rating], means: Mapping[str, float]) -> dict[str, Any]:
    """Topic to rating and to what the judges wrote; what each of several gave."""
    rationales: dict[str, list[str]] = {}
    judges: dict[str, dict[str, Any]] = {}
    for rating in ratings:
        if rating.rationale:
            rationales.setdefault(rating.topic, []).append(rating.rationale)
        judges.setdefault(rating.judge, {})[rating.topic] = rating.value
    details: dict[str, Any] = {"ratings": means}
    if rationales:
        details["rationales"] = rationales
    return {**details, "judges": judges} if len(judges) > 1 else details


def _length_bias(answers: Answers, scores: Scores) -> dict[str, tuple[int, int]]:
    """Whether the best of several scored answers is longer than all others, where one alone is best."""
    scored = [(score, len(text)) for score, text in zip(scores, _texts(answers), strict=True) if score is not None]
    top = max(scored, default=(0.0, 0))[0]
    best = [length for score, length in scored if score == top]
    if len(scored) < 2 or len(best) > 1:
        return {}
    others = [length for score, length in scored if score < top]
    return {"longer_best": (int(best[0] > max(others)), 1)}


def _critiques(panel: Panel, item: Item, answers: Answers, rated: Rated) -> Iterator[Made]:
    """A row of each verdict: from what a student of judging is shown to the feedback and the score."""
    for rating in rated.ratings:
        if rating.worth is None:
            continue
        judged, reply = answers.responses[rating.number], rating.reply
        prompt = panel.stages.messages(CRITIC, panel.open_row(item.row), {"response": judged.text})
        text = f"{rating.rationale}\n\nScore: {rating.value}".strip()
        message = {"role": "assistant", "content": text}
        tokens = {"prompt_tokens": reply.prompt_tokens, "completion_tokens": reply.completion_tokens}
        yield Made(
            {"prompt": prompt, "completion": [message]},
            Response(rating.judge, 0, reply.model, message, text, details={"finish": reply.finish, **tokens}),
            f"{judged.role}-{judged.sample}",
            {"score": rating.value},
        )


async def _verify(panel: Panel, right: Right, item: Item, ask: Ask, answers: Answers) -> Judged:
    """The best score for right answers, the worst for wrong ones, and no judge. The first right one is good."""
    judged = Judged(panel.prompt(item), (), dropped=answers.dropped, raw=answers.raw)
    if not answers.responses:
        return judged._replace(reason=answers.reason)
    verdicts = await together([right(text, item.row, ask) for text in _texts(answers)])
    first = verdicts.index(True) if True in verdicts else -1
    worths = worths_of(panel).values()
    responses = [
        each._replace(
            score=max(worths) if verdict else min(worths),
            good=number == first,
            details={**each.details, "right": verdict},
        )
        for number, (each, verdict) in enumerate(zip(answers.responses, verdicts, strict=True))
    ]
    tallies = {"right": (sum(verdicts), len(verdicts))}
    return judged._replace(responses=tuple(responses), tallies=tallies, agrees=first >= 0)

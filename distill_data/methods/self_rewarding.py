"""Self-rewarding: new prompts, several answers to each, and their scores, all by the student (Yuan et al.,
arXiv:2401.10020).

{(x, y+, y-): x ∼ p_S(x | I ⊕ c), y_1 … y_n ∼ p_S(y | I ⊕ x)}, where y+ is the answer with the highest mean of several
scores that the student gives, and y- the one with the lowest. A judgement that cannot be read is none, and the mean is
over the others. The judge sees prompt and answer in fences, for a model wrote both. Knows no prompt, and not how the
record of a pair is made.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import combinations, islice
from typing import Any, NamedTuple

from distill_data.data.exchange import Ask
from distill_data.data.growth import Draft, Growth
from distill_data.data.items import Item, Outcome, kept, rejected
from distill_data.errors import UsageError
from distill_data.methods.drawing import draw_demonstrations
from distill_data.methods.growing import AnswerX, Composed, make_admit, make_propose, make_x_record, student_prompt
from distill_data.methods.judging import NAMES, RATIONALE, Candidate, Verdict, allowed_by, ask_judge, draws, fence
from distill_data.methods.kinds import TIE, Scored, make_kind, ranking
from distill_data.methods.needs import ANSWER, SCORE
from distill_data.methods.panel import Panel, make_panel, together
from distill_data.methods.responses import Judged
from distill_data.methods.setup import Setup

KIND = "preference"
ANSWERS, JUDGEMENTS = 4, 3
"""How many answers to a prompt, and judgements of an answer, where the recipe doesn't say."""
MOST = 64
"""A recipe that asks for more of either has a mistake in it."""


class Opinion(NamedTuple):
    """What the student says of one text, time after time."""

    verdicts: tuple[Verdict, ...]

    @property
    def scores(self) -> list[int]:
        """Those of the verdicts that could be read."""
        found = (verdict.fields.get("score") for verdict in self.verdicts)
        return [score for score in found if type(score) is int]

    @property
    def mean(self) -> float | None:
        """None where there is no score."""
        return sum(self.scores) / len(self.scores) if self.scores else None

    @property
    def details(self) -> dict[str, Any]:
        told = [verdict.fields[RATIONALE] for verdict in self.verdicts if RATIONALE in verdict.fields]
        return {"scores": self.scores, **({"rationales": told} if told else {})}


Judge = Callable[[Item, Judged, Ask], Awaitable[Judged]]
"""(candidate, its answers, ask) -> the same with scores, or with a reason."""


def self_reward(setup: Setup) -> Growth:
    """New prompts from demonstrations; see `make_reward` for their answers. Raises UsageError and SeedError."""
    draw, settle = draw_demonstrations(setup)
    return Composed(draw, make_propose(setup), make_admit(setup), make_reward(setup), settle)


def make_reward(setup: Setup) -> AnswerX:
    """The setting `answers` says how many samples of the stage `answer` a prompt gets, at least 2; the best and the
    worst become a pair, if there is a difference. Raises UsageError for settings that cannot work."""
    answers = _times(setup, "answers", ANSWERS, 2, ANSWER)
    panel = make_panel(setup.recipe, setup.teachers, setup.seed, setup.stages.resample, judges=[setup.stages.role])
    judge, make = make_judge(setup, panel), make_kind(setup.recipe, KIND, setup.teachers, (KIND,))

    async def reward(item: Item, draft: Draft, ask: Ask) -> Outcome:
        if not setup.answers:
            return kept(make_x_record(setup, item, draft))
        said = await panel.answers(item, ask, block=ANSWER, shown={"x": draft.x}, samples=range(answers))
        origin = {"parents": list(draft.draw.parents), "source": draft.draw.source, "x": draft.x}
        judged = Judged(
            student_prompt(setup, draft), said.responses, details={**origin, **draft.notes}, dropped=said.dropped,
            raw=(*draft.answers, *said.raw),
        )  # fmt: skip
        if len(said.responses) < 2:
            detail = f"{len(said.responses)} of {answers} answers count; another one: {said.reason}"
            judged = judged._replace(reason="too-few-answers", detail=detail)
        else:
            judged = await judge(item, judged, ask)
        records, reason = ((), judged.reason) if judged.reason else make(item, judged)
        outcome = kept(*records, dropped=judged.dropped) if records else rejected(reason, judged.detail, *judged.raw)
        return outcome._replace(tallies=judged.tallies)

    return reward


def make_judge(setup: Setup, panel: Panel) -> Judge:
    """The setting `judgements` says how often a text is scored by the stage `score`. Equal texts are one.

    Raises UsageError.
    """
    judgements = _times(setup, "judgements", JUDGEMENTS, 1, SCORE)
    writes, allowed = setup.recipe.writes, allowed_by(panel, SCORE)

    async def judge(item: Item, judged: Judged, ask: Ask) -> Judged:
        texts = list(dict.fromkeys(response.text for response in judged.responses))
        if len(texts) < 2:
            return judged._replace(reason=TIE, detail="all answers are the same", tallies={"ties": (1, 1)})
        row = {**item.row, writes: fence(str(item.row[writes]))}
        asked = []
        for number, text in enumerate(texts):
            candidate = Candidate(draws(item, f"judge:{number}").choice(NAMES), fence(text))
            asked += [
                ask_judge(panel, ask, SCORE, row, [candidate], allowed, to=panel.judge, sample=sample)
                for sample in range(judgements)
            ]
        heard = iter(await together(asked))
        return settle_scores(judged, {text: Opinion(tuple(islice(heard, judgements))) for text in texts})

    return judge


def settle_scores(judged: Judged, opinions: Mapping[str, Opinion]) -> Judged:
    """The answers with the mean scores of their texts."""
    responses = tuple(
        response._replace(score=opinion.mean, details={**response.details, **opinion.details})
        for response in judged.responses
        for opinion in [opinions[response.text]]
    )
    verdicts = [verdict for opinion in opinions.values() for verdict in opinion.verdicts]
    unread = Counter(verdict.reason for verdict in verdicts if verdict.reason)
    means = ["none" if response.score is None else f"{response.score:g}" for response in responses]
    detail = f"the scores are {', '.join(means)}" + "".join(
        f"; {reason}: {unread[reason]}" for reason in sorted(unread)
    )
    raw = (*judged.raw, *(verdict.answer.text for verdict in verdicts))
    judged = judged._replace(responses=responses, detail=detail, raw=raw)
    alike = [one == other for opinion in opinions.values() for one, other in combinations(opinion.scores, 2)]
    tallies = {"parse_failures": (unread.total(), len(verdicts)), "judgements_agree": (sum(alike), len(alike))}
    return judged._replace(tallies={**tallies, **_compare_ends(ranking(judged))})


def _compare_ends(ranked: Sequence[Scored]) -> dict[str, tuple[int, int]]:
    """Whether the best and the worst are a tie, and else whether the best is the longer one."""
    if len(ranked) < 2:
        return {}
    best, worst = ranked[0], ranked[-1]
    if best.score == worst.score:
        return {"ties": (1, 1)}
    longer = len(best.response.text) - len(worst.response.text)
    return {"ties": (0, 1), **({"longer_wins": (int(longer > 0), 1)} if longer else {})}


def _times(setup: Setup, name: str, default: int, least: int, stage: str) -> int:
    """How often a stage is asked the same, by the setting `name`. Raises UsageError where once would do."""
    times = setup.whole(name, default, least, MOST)
    if times > 1 and setup.stages.readers[stage].sampling.get("temperature") == 0:
        raise UsageError(
            f"{setup.recipe.path}: the stage {stage} is asked {times} times ({name}) at temperature 0, which gives "
            f"{times} times the same. Give the stage a temperature above 0."
        )
    return times

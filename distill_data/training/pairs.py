"""Which pairs, judged answers and ranked lists teach something; the others are counted. Knows no trainer and no file.

A row is left out where its scores do not say which answer is better, where the answers are one and the same, and where
no room is left for an answer.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from distill_data.data.items import Row
from distill_data.errors import SeedError, UsageError
from distill_data.formats.trl import refuse_beside
from distill_data.formats.turns import kind_of, prompt_of, ranked_of
from distill_data.teachers.spans import Pair, TemplateRefused, encode_pairs
from distill_data.training.jobs import Job
from distill_data.training.rows import converted, encode_chat

LOG = logging.getLogger(__name__)

TIED = "no answer has the higher score"
SAME = "the answers are the same"
LONG = "longer than --max-length"
"""Why a row is left out."""


class Ranking(NamedTuple):
    """One prompt's answers, the best first."""

    answers: list[Pair]
    """Tokens of prompt and answer."""
    scores: list[float]
    cut: bool
    """Whether an answer is longer than `max_length`, and its end is not there."""


def pairs_of(rows: Sequence[Row], job: Job, left_out: Counter[str], *, whole: bool = False) -> Iterator[Row]:
    """prompt, chosen, rejected and margin, which is None where nobody gave scores; of ranked answers the best and the
    worst.

    Left out are those whose prompt alone fills `max_length`, or, where the pair must be whole, those that are longer.
    """
    made = list(converted("trl-reward", rows, job))
    if tied := len(rows) - len(made):
        left_out[TIED] += tied
    for pair in made:
        margin = pair.setdefault("margin", None)
        if margin is not None and not 0 < margin < float("inf"):
            left_out[TIED] += 1
        elif pair["chosen"] == pair["rejected"]:
            left_out[SAME] += 1
        elif _is_long(pair, job, whole):
            left_out[LONG] += 1
        else:
            yield pair


def judged_of(rows: Sequence[Row], job: Job, left_out: Counter[str]) -> Iterator[Row]:
    """prompt, completion and label, whether it is good; of a pair both answers."""
    alone = [row for row in rows if kind_of(row) == "unpaired"]
    for row in alone:
        if type(row.get("label")) is not bool:
            raise UsageError(f"{job.place(row)}: label must be true or false, and is {row.get('label')!r}.")
    for row in converted("trl-kto", alone, job):
        if _is_long(row, job, False):
            left_out[LONG] += 1
        else:
            yield row
    for pair in pairs_of([row for row in rows if kind_of(row) != "unpaired"], job, left_out):
        beside = {key: value for key, value in pair.items() if key not in ("chosen", "rejected", "margin")}
        yield {**beside, "completion": pair["chosen"], "label": True}
        yield {**beside, "completion": pair["rejected"], "label": False}


def rankings_of(rows: Sequence[Row], job: Job, left_out: Counter[str]) -> Iterator[Ranking]:
    """Ranked answers in tokens. An answer that stands twice in a list counts once, with its highest score.

    Raises UsageError for rows and chat templates that cannot be read.
    """
    for row in rows:
        try:
            refuse_beside(row, "a ranking objective")
            scored = {text: score for score, text in reversed(ranked_of(row))}
            texts = sorted(scored, key=lambda text: -scored[text])
            answers = encode_pairs(job.student.tokenizer, prompt_of(row), map(_turn, texts))
        except (SeedError, TemplateRefused) as error:
            raise UsageError(f"{job.place(row)}: {error}") from None
        fitting = [_cut(answer, job.loop.max_length) for answer in answers if answer]
        if len(fitting) < len(texts):
            raise UsageError(
                f"{job.place(row)}: the student's chat template does not begin a whole conversation with its prompt."
            )
        scores = [scored[text] for text in texts]
        if len(texts) < 2:
            left_out[SAME] += 1
        elif not scores[-1] < scores[0]:
            left_out[TIED] += 1
        elif any(answer.end <= answer.start for answer in fitting):
            left_out[LONG] += 1
        else:
            yield Ranking(fitting, scores, any(answer and len(answer.ids) > job.loop.max_length for answer in answers))


def tell_of_left_out(rows: Sequence[Any], left_out: Counter[str]) -> None:
    """Warn of rows that are left out. Raises UsageError where no others are there."""
    why = "; ".join(f"{count:,}: {reason}" for reason, count in left_out.items() if count)
    if not rows:
        raise UsageError(f"no row is left to learn from ({why}).")
    if why:
        LOG.warning(f"rows left out, {why}")


def _is_long(row: Row, job: Job, whole: bool) -> bool:
    """Whether the prompt leaves no room for an answer, or an answer does not fit whole."""
    most = job.loop.max_length
    if not whole:
        return _count(job, row["prompt"], row, add_generation_prompt=True) >= most
    return any(_count(job, [*row["prompt"], *row[name]], row) > most for name in ("chosen", "rejected"))


def _count(job: Job, messages: Iterable[Any], row: Row, **more: Any) -> int:
    return len(encode_chat(job.student.tokenizer, list(messages), tools=row.get("tools") or None, **more))


def _turn(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def _cut(answer: Pair, most: int) -> Pair:
    return Pair(answer.ids[:most], answer.start, min(answer.end, most))

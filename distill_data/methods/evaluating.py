"""Evaluating: a student, and a baseline beside it, on held-out rows; a record says what each row brought each of them.

    text         one greedy answer of each model: exact, numeric, rouge-l
    likelihood   teacher forcing: choice (of every option after x), perplexity (of y after x)
    judge        which of two answers is better, asked in both orders (methods.comparing): of the model and the
                 baseline, or of the model and the reference where there is no baseline

Metrics that read the same answers share them. Knows no means over rows and no file.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple

from distill_data.data.exchange import Answer, Ask, Message, Request
from distill_data.data.items import Item, Outcome, Record, failed, kept
from distill_data.errors import SeedError, UsageError
from distill_data.methods.comparing import Compared, Heard, compare_pairs, make_listen, make_pair
from distill_data.methods.given import rejection_of
from distill_data.methods.held_out import WANTED, HeldOut, read_held_out
from distill_data.methods.panel import Panel, together
from distill_data.methods.stages import UNFINISHED
from distill_data.parsing import make_parser
from distill_data.quality.metrics import exact_match, is_number, likeliest, numeric_match, rouge_l, spoken
from distill_data.quality.numbers import last_number

DIGITS = 6
"""Decimals of what a row is worth."""
NATS = 4
"""Decimals of log-likelihoods: what follows depends on which rows shared a batch."""
LIKELIHOOD: Mapping[str, Any] = {"of": "likelihood", "truncate": False, "max_length": 0}
MODEL, BASELINE, JUDGE = "student", "student-2", "teacher"
"""Roles."""
SIDES = {MODEL: "model", BASELINE: "baseline"}
"""Role to the record's column of what it brought."""
VERDICTS: Mapping[int | None, str] = {1: "win", 0: "tie", -1: "loss", None: "none"}


class Metric(NamedTuple):
    """A measure that a user may ask for."""

    asks: str
    """What of the models: `text`, `likelihood` or `judge`."""
    lacks: Callable[[HeldOut, bool], str]
    """(row, whether there is a baseline) -> what the row lacks for it, in words; empty where it lacks nothing."""


def _no_answer(row: HeldOut, baseline: bool) -> str:
    return "" if row.answer.strip() else WANTED


def _no_short_answer(row: HeldOut, baseline: bool) -> str:
    try:
        make_parser("choice", list(row.choices)) if row.choices else None
    except UsageError as error:
        return f"the metric exact cannot read these choices out of an answer: {error} `--metric choice` scores them"
    return _no_answer(row, baseline)


def _no_number(row: HeldOut, baseline: bool) -> str:
    if not row.answer.strip() or last_number(row.answer) is not None:
        return _no_answer(row, baseline)
    return f"the right answer {row.answer[:60]!r} holds no number. `--metric exact` compares texts"


def _no_y(row: HeldOut, baseline: bool) -> str:
    return "" if row.text.strip() else WANTED


def _no_choices(row: HeldOut, baseline: bool) -> str:
    return "" if row.choices else (
        "the metric choice needs the column choices, a list of texts, and the right one in answer or label. "
        "`--map choices=COLUMN` reads another column as it, and `--metric exact` asks for the answer in words"
    )  # fmt: skip


METRICS: Mapping[str, Metric] = {
    "exact": Metric("text", _no_short_answer),
    "numeric": Metric("text", _no_number),
    "rouge-l": Metric("text", _no_y),
    "choice": Metric("likelihood", _no_choices),
    "perplexity": Metric("likelihood", _no_y),
    "judge": Metric("judge", lambda row, baseline: "" if baseline else _no_y(row, baseline)),
}
"""The metrics that there are."""


def usual_metric(rows: Sequence[HeldOut]) -> str:
    """The metric of rows for which nobody names one: `choice` where all have options, `numeric` where every right
    answer is a number, `exact` where each is told apart from y or has at most five words, else `rouge-l`."""
    if all(row.choices for row in rows):
        return "choice"
    if all(is_number(row.answer) for row in rows):
        return "numeric"
    short = all(row.answer != row.text or ("\n" not in row.text and len(row.text.split()) <= 5) for row in rows)
    return "exact" if short else "rouge-l"


def check_held_out(row: HeldOut, metrics: Sequence[str], *, baseline: bool) -> None:
    """Raise SeedError, without the place, for a row that lacks what a metric needs."""
    for name in metrics:
        if lack := METRICS[name].lacks(row, baseline):
            raise SeedError(lack)


def needs_of(role: str, metrics: Sequence[str]) -> frozenset[str]:
    """What the model in this role must be able to besides writing; see `teachers.resolve`."""
    scored = role in SIDES and any(METRICS[name].asks == "likelihood" for name in metrics)
    return frozenset({"score"} if scored else ())


def make_evaluating(
    panel: Panel | None, models: Mapping[str, str], metrics: Sequence[str], sampling: Mapping[str, Any]
) -> Callable[[Item, Ask], Awaitable[Outcome]]:
    """The method of one run: rows in, a record for each out.

    `models`: role to name, of which MODEL is one and BASELINE may be. `panel`: who judges and by which prompt, where
    `judge` is among the metrics. `sampling`: of the models' answers.
    """
    roles = [role for role in SIDES if role in models]
    asks = {METRICS[name].asks for name in metrics}
    listen = make_listen(panel) if panel else None

    async def answers(row: HeldOut, ask: Ask, role: str) -> Answer | None:
        if asks.isdisjoint({"text", "judge"}):
            return None
        return await ask(Request(list(row.prompt), sampling), to=role)

    async def evaluate(item: Item, ask: Ask) -> Outcome:
        row = read_held_out(item.row)
        asked: list[Awaitable[Any]] = [answers(row, ask, role) for role in roles]
        asked += [_likelihoods(row, ask, role, metrics) for role in roles]
        found = await together(asked)
        said, scored = found[: len(roles)], found[len(roles) :]
        reason, detail = rejection_of([answer for each in scored for answer in each])
        if reason:
            return failed(reason, detail)
        texts = [spoken(answer.text) if answer else "" for answer in said]
        record: Record = {"id": item.id, "prompt": list(row.prompt), "answer": row.answer, "reference": row.text}
        for role, answer, likelihoods in zip(roles, said, scored, strict=True):
            record[SIDES[role]] = {**_of_text(row, answer, metrics), **_of_likelihood(row, likelihoods, metrics)}
        tallies = _unfinished(roles, said)
        if panel and listen:
            other = texts[1] if len(texts) > 1 else row.text
            pair = make_pair(item, "evaluate", texts[0], other)
            about = item._replace(row={"instruction": row.asked()})
            (compared,) = await compare_pairs(panel.judges, about, ask, [pair], listen)
            record["judge"] = _verdict(compared)
        return kept(record)._replace(tallies=tallies)

    return evaluate


async def _likelihoods(row: HeldOut, ask: Ask, role: str, metrics: Sequence[str]) -> list[Answer]:
    """How likely the role's model finds each option, then y: as far as metrics ask for it."""
    wanted: list[tuple[Message, ...]] = []
    if "choice" in metrics:
        wanted += [({"role": "assistant", "content": text},) for text in row.choices]
    if "perplexity" in metrics:
        wanted.append(row.completion)
    prompt = list(row.prompt)
    requests = [Request(prompt, kind="score", completion=each, feature=LIKELIHOOD) for each in wanted]
    return await together([ask(request, to=role) for request in requests]) if requests else []


def _of_text(row: HeldOut, answer: Answer | None, metrics: Sequence[str]) -> dict[str, Any]:
    """A model's answer with what it is worth."""
    if answer is None:
        return {}
    found: dict[str, Any] = {"answer": answer.text}
    if "exact" in metrics:
        found["exact"] = exact_match(answer.text, row.answer, row.choices)
    if "numeric" in metrics:
        found["numeric"] = numeric_match(answer.text, row.answer)
    if "rouge-l" in metrics:
        found["rouge-l"] = round(rouge_l(spoken(answer.text), row.text), DIGITS)
    return found


def _of_likelihood(row: HeldOut, answers: Sequence[Answer], metrics: Sequence[str]) -> dict[str, Any]:
    """What the likelihoods say: options chosen and whether these are right, and of y the sums that perplexity is of."""
    found: dict[str, Any] = {}
    logprobs = [round(float((answer.feature or {})["logprob"]), NATS) for answer in answers]
    if "choice" in metrics:
        options = logprobs[: len(row.choices)]
        best = likeliest(options, row.choices)
        found |= {"choice": float(best.by_bytes == row.right), "choice-raw": float(best.raw == row.right)}
        found |= {"chosen": row.choices[best.by_bytes], "logprobs": options}
    if "perplexity" in metrics:
        tokens = int((answers[-1].feature or {})["tokens"])
        found |= {"logprob": logprobs[-1], "tokens": tokens, "bytes": row.size()}
    return found


def _unfinished(roles: Sequence[str], said: Sequence[Answer | None]) -> dict[str, tuple[int, int]]:
    """How many answers were cut off or withheld; they are scored as they are."""
    return {
        f"unfinished_{SIDES[role]}": (int(answer.finish in UNFINISHED), 1)
        for role, answer in zip(roles, said, strict=True)
        if answer is not None
    }


def _verdict(compared: Compared) -> dict[str, Any]:
    """A win, a loss or a tie of the model, and what was said in each order; none of these where one cannot be read."""
    orders = [_said(heard) for heard in (compared.heard[0] if compared.heard else ())]
    return {"verdict": VERDICTS[compared.verdict], "orders": orders}


def _said(heard: Heard) -> str:
    return heard.reason if heard.chance is None else VERDICTS[(heard.chance > 0.5) - (heard.chance < 0.5)]

"""What one column of `score` says of a row: how likely y is, how hard, how good, how long, or where it lies.

A measure reads a row, asks for what it needs, and gives the value, or why there is none. Knows no file and no column.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple

from distill_data.data.columns import TextOf, make_text, text_of, x_of, y_of
from distill_data.data.exchange import Answer, Ask, Request
from distill_data.data.items import Item, Row
from distill_data.errors import SeedError, UsageError
from distill_data.methods.given import Given, read_given, rejection_of
from distill_data.methods.judging import Candidate, allowed_by, ask_judge, fence
from distill_data.methods.needs import require
from distill_data.methods.panel import Panel, together, written
from distill_data.methods.responses import NOTHING
from distill_data.methods.setup import whole
from distill_data.parsing import fields_of
from distill_data.quality.words import words
from distill_data.recipes.template import MAIN

DIGITS = 6
"""Decimals of every number, so that rounding errors of a machine are in none."""
MOST_NATS = 700.0
"""No mean negative log-likelihood is larger: its exponential would be no float."""
JUDGE = "judge"
TITLES = {"x": "The request", "y": "The response"}
SPEAKERS = {"human": "user", "gpt": "assistant"}
"""ShareGPT's names of roles."""
SILENCE = {"role": "user", "content": ""}


class Measured(NamedTuple):
    """The value of a row, or why it has none."""

    value: float | list[float] | None
    reason: str = ""
    detail: str = ""
    answers: tuple[str, ...] = ()
    """Raw texts that gave no value."""
    tallies: Mapping[str, tuple[int, int]] = NOTHING


class Measure(NamedTuple):
    """One way to measure rows."""

    read: Callable[[Row], Any]
    """What of a row is measured. Raises SeedError, without the place, where the row does not have it."""
    take: Callable[[Item, Ask], Awaitable[Measured]]
    """Raises AnswerFailed where a model refuses the row for good."""


# -- x and y -----------------------------------------------------------------------------------------------------------


def read_pair(row: Row) -> Given:
    """x and y as chat messages, whatever the columns are called; raw text where there is a column `text` alone.

    A column that is null is none, and an x that is empty is an empty turn of the user. Raises SeedError.
    """
    row = {name: value for name, value in row.items() if value is not None}
    if not ("prompt" in row and "completion" in row):
        if isinstance(row.get("conversations"), list):
            return read_given({"messages": [_turn(each) for each in row["conversations"]]})
        if "messages" in row:
            return read_given(row)
        x = row["prompt"] if "prompt" in row else x_of(row)
        y = row["chosen"] if "chosen" in row else y_of(row)
        if "text" in row and x == y == text_of(row["text"]):
            return read_given({"text": y})
        row = {"prompt": x, "completion": y}
    return read_given({**row, "prompt": row["prompt"] or [SILENCE]})


def read_asked(row: Row) -> Given:
    """The same. Raises SeedError for raw text too, which nobody asked for."""
    given = read_pair(row)
    if given.raw:
        raise SeedError("x and y are wanted, and this row is raw text")
    return given


def _turn(said: Any) -> Any:
    if not isinstance(said, Mapping) or "from" not in said:
        return said
    return {"role": SPEAKERS.get(str(said["from"]), str(said["from"])), "content": said.get("value")}


# -- how likely y is ---------------------------------------------------------------------------------------------------


def make_perplexity(panel: Panel) -> Measure:
    """The strategy `perplexity`: exp of the mean negative log-likelihood of y's tokens given x."""
    truncate = panel.setting("truncate", False)
    if type(truncate) is not bool:
        raise UsageError(f"--set truncate={truncate}: must be true or false.")
    feature = {"of": "likelihood", "truncate": truncate, "max_length": panel.whole("max_length", 0, 0)}

    async def take(item: Item, ask: Ask) -> Measured:
        given = read_pair(item.row)
        answer = await ask(_request(given, feature), to=panel.judge)
        return _refusal(answer) or Measured(round(math.exp(min(_nats(answer), MOST_NATS)), DIGITS))

    return Measure(read_pair, take)


def make_ifd(panel: Panel) -> Measure:
    """The strategy `ifd`: the mean negative log-likelihood of y given x over that of y alone (Li et al.,
    arXiv:2308.12032; a small model ranks alike, arXiv:2402.00530). Above 1 x does not help to write y.

    y alone follows an empty turn of the user, so that both are means over the same tokens. That is why nothing is cut:
    beside a long x less of y would be left than alone.
    """
    feature = {"of": "likelihood", "truncate": False, "max_length": 0}

    async def take(item: Item, ask: Ask) -> Measured:
        given = read_asked(item.row)
        alone = given._replace(messages=(SILENCE,))
        answers = await together([ask(_request(each, feature), to=panel.judge) for each in (given, alone)])
        if refusal := _refusal(*answers):
            return refusal
        with_x, without = map(_nats, answers)
        if not without:
            return Measured(None, "certain", "y is certain without x, so no share of that can be told")
        return Measured(round(with_x / without, DIGITS))

    return Measure(read_asked, take)


def make_reward(panel: Panel) -> Measure:
    """The strategy `reward`: the number that a reward model gives x and y under its chat template."""
    feature = {"of": "reward", "truncate": False, "max_length": 0}

    async def take(item: Item, ask: Ask) -> Measured:
        answer = await ask(_request(read_asked(item.row), feature), to=panel.judge)
        return _refusal(answer) or Measured(round((answer.feature or {})["reward"], DIGITS))

    return Measure(read_asked, take)


def _request(given: Given, feature: Mapping[str, Any]) -> Request:
    return Request(list(given.messages), kind="score", completion=given.completion, feature=feature)


def _refusal(*answers: Answer) -> Measured | None:
    reason, detail = rejection_of(answers)
    return Measured(None, reason, detail) if reason else None


def _nats(answer: Answer) -> float:
    """The mean negative log-likelihood of y's tokens."""
    said = answer.feature or {}
    return -float(said["logprob"]) / int(said["tokens"])


# -- what judges and students say of it --------------------------------------------------------------------------------


def make_judge(panel: Panel) -> Measure:
    """The strategy `judge`: a whole number for the texts that the setting `on` names, the mean over several judges.

    Each text stands in a fence (methods.judging), so nothing in it is a verdict. Raises UsageError.
    """
    require(panel.recipe)
    _require_limit(panel, panel.stages.readers[JUDGE].sampling)
    names = str(panel.setting("on", "x+y")).split("+")
    read = _texts_of(names)

    async def take(item: Item, ask: Ask) -> Measured:
        texts = read(item.row)
        if not all(map(str.strip, texts)):
            return _blank(names, texts)
        shown = [Candidate(TITLES.get(name, name), fence(text)) for name, text in zip(names, texts, strict=True)]
        allowed = allowed_by(panel, JUDGE)
        asked = [ask_judge(panel, ask, JUDGE, item.row, shown, allowed, to=judge) for judge in panel.judges]
        verdicts = await together(asked)
        scores = [each.fields["score"] for each in verdicts if isinstance(each.fields.get("score"), int)]
        unread = {"unreadable_verdicts": (len(verdicts) - len(scores), len(verdicts))}
        if not scores:
            first, raw = verdicts[0], tuple(each.answer.text for each in verdicts)
            return Measured(None, first.reason or "no-verdict", first.detail, raw, unread)
        return Measured(round(sum(scores) / len(scores), DIGITS), tallies=unread)

    return Measure(read, take)


def make_pass_rate(panel: Panel) -> Measure:
    """The strategy `pass-rate`: of n samples of the student, the share that the verifier finds right.

    A reply that cannot be read is a sample that is not right, and is not asked again. Raises UsageError.
    """
    recipe, samples = panel.recipe, range(panel.samples)
    field = str(panel.setting("field", "answer"))
    _require_limit(panel, recipe.sampling)
    if panel.right is None or not recipe.gold:
        raise UsageError(f"{recipe.path}: the strategy pass-rate needs `verifier` and `gold` in the front matter.")
    if field not in (known := fields_of(recipe.parser.name, recipe.parser.args)):
        raise UsageError(f"--set field={field}: the parser gives {', '.join(known) or 'no field'}.")
    if len(samples) > 1 and recipe.sampling.get("temperature") == 0:
        raise UsageError(
            f"the recipe {recipe.name} asks for {len(samples)} samples at temperature 0, which are all the same. "
            "Give --set temperature=0.7, or --samples 1."
        )
    right = panel.right

    def read(row: Row) -> str:
        if row.get(recipe.gold) in (None, ""):
            raise SeedError(f"the column {recipe.gold} holds no right answer, and {recipe.name} needs one")
        return x_of(row)

    async def take(item: Item, ask: Ask) -> Measured:
        asked = read(item.row)
        if not asked.strip():
            return _blank(["x"], [asked])
        student = panel.students[0]
        said = await together(
            [panel.stages.ask(ask, MAIN, item.row, {"asked": asked}, sample=number, to=student) for number in samples]
        )
        answers = [written(each.fields[field]) for each in said if not each.reason]
        verdicts = await together([right(text, item.row, ask) for text in answers]) if answers else []
        tallies = {
            "right": (sum(verdicts), len(said)),
            "unreadable_samples": (len(said) - len(answers), len(said)),
        }
        return Measured(round(sum(verdicts) / len(said), DIGITS), tallies=tallies)

    return Measure(read, take)


def _require_limit(panel: Panel, sampling: Mapping[str, Any]) -> None:
    if "max_tokens" not in sampling:
        raise UsageError(f"{panel.recipe.path}: sampling lacks max_tokens; every request carries a token limit.")


# -- the text itself ---------------------------------------------------------------------------------------------------


def make_length(panel: Panel) -> Measure:
    """The strategy `length`: the words of y (quality.words). Nobody is asked."""

    async def take(item: Item, ask: Ask) -> Measured:
        return Measured(float(len(words(y_of(item.row)))))

    return Measure(y_of, take)


def make_embedding(panel: Panel) -> Measure:
    """The strategy `embedding`: the vector of the text that the setting `on` names, of length 1."""
    names = str(panel.setting("on", "x")).split("+")
    characters = whole(panel.recipe, "characters", 0, 0) or None
    read = _texts_of(names)

    async def take(item: Item, ask: Ask) -> Measured:
        texts = read(item.row)
        text = "\n".join(texts)[:characters]
        if not text.strip():
            return _blank(names, texts)
        messages = [{"role": "user", "content": text}]
        answer = await ask(Request(messages, panel.recipe.sampling, kind="embed"), to=panel.judge)
        size = math.hypot(*answer.embedding)
        if not 0 < size < math.inf:
            return Measured(None, "no-embedding", "the reply holds no vector, or one whose length is no number above 0")
        return Measured([round(number / size, DIGITS) + 0.0 for number in answer.embedding])  # -0.0 is 0.0

    return Measure(read, take)


def _texts_of(names: Sequence[str]) -> Callable[[Row], list[str]]:
    """A row's texts by these names. Raises UsageError for a name that is empty."""
    if not all(names):
        raise UsageError(f"--set on={'+'.join(names)}: must be x, y or a column, or several with + between.")
    parts: list[TextOf] = [make_text(name) for name in names]
    return lambda row: [part(row) for part in parts]


def _blank(names: Sequence[str], texts: Sequence[str]) -> Measured:
    name = next(name for name, text in zip(names, texts, strict=True) if not text.strip())
    return Measured(None, "empty", f"{name} is empty, so there is nothing to measure")

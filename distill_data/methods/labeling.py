"""Labeling: {(x, y): x ∼ X, y ∼ p_T(y | I ⊕ c ⊕ x)}. The data gives x, the teacher gives y (Xu et al. 2024, §3.1.1).

Three strategies, which a recipe names in its front matter:

    single      every sample of every teacher that parses and passes the checks is a record
    vote        the answer that most samples agree on (self-consistency, arXiv:2203.11171)
    rejection   the samples that a verifier finds right, each different reasoning once (RFT, arXiv:2308.01825)

Several teachers answer each for themselves, or, by the setting `teachers`, `vote` or give the `best` by agreement.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from distill_data.data.exchange import RESAMPLED, Answer, Ask, Message, Request
from distill_data.data.items import Item, Outcome, Record, Row, kept, rejected
from distill_data.errors import ParseError, UsageError
from distill_data.formats import Source, make_record
from distill_data.methods.demonstrations import Choose, make_choose
from distill_data.methods.stages import TEACHER_REASONING, UNFINISHED
from distill_data.methods.waves import Sample, ask_until
from distill_data.parsing import Parser, fields_of, make_parser
from distill_data.quality import Check, Verify, make_check, make_verifier
from distill_data.quality.similarity import most_agreed
from distill_data.quality.solutions import same_reasoning_key
from distill_data.quality.verifiers import normal_form
from distill_data.quality.votes import RULES, Decision, decide
from distill_data.recipes import REQUIRED, Recipe


class Sampled(NamedTuple):
    """One sample: the answer and what was read from it, or why it doesn't count."""

    role: str
    sample: int
    answer: Answer
    fields: Mapping[str, Any]
    messages: list[Message]
    """What the teacher was asked."""
    reason: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Labeler:
    """What all strategies share: a recipe made ready to run."""

    recipe: Recipe
    teachers: Mapping[str, str]
    """Role to the model's name."""
    voters: Sequence[tuple[str, int]]
    """Every (role, sample) pair: sample by sample, and in each the teachers in order."""
    resample: int
    choose: Choose
    parse: Parser
    checks: Sequence[Check]
    verify: Verify | None
    facts: Mapping[str, Any]
    """What every record says of how it was made."""

    async def sample(self, item: Item, ask: Ask, voters: Sequence[tuple[str, int]]) -> list[Sampled]:
        """Ask for these (role, sample) pairs at once and wait for all of them; in the order given."""
        request = self.request(item)
        if len(voters) == 1:
            return [await self._sample_one(item, ask, request, *voters[0])]
        asked = [self._sample_one(item, ask, request, role, number) for role, number in voters]
        done = await asyncio.gather(*asked, return_exceptions=True)
        for result in done:
            if isinstance(result, BaseException):
                raise result
        return [result for result in done if isinstance(result, Sampled)]

    async def sample_until(
        self, item: Item, ask: Ask, voters: Sequence[tuple[str, int]], decided: Callable[[Sequence[Sampled]], bool]
    ) -> list[Sampled]:
        """The same, and no more of them than it takes to decide."""
        request = self.request(item)

        def sample(role: str, number: int) -> Sample[Sampled]:
            return lambda ask: self._sample_one(item, ask, request, role, number)

        return await ask_until(ask, [sample(role, number) for role, number in voters], decided)

    def drawn(self, item: Item) -> dict[str, Any]:
        """What this item draws of the recipe's settings: the same for every sample, and for what the record shows."""
        return self.recipe.drawn(item.rng()) if self.recipe.draw else {}

    def request(self, item: Item) -> Request:
        """I ⊕ c ⊕ x."""
        recipe = self.recipe
        messages = recipe.render("main", item.row, demonstrations=self.choose(item), **self.drawn(item))
        return Request(messages, recipe.sampling, "chat", recipe.choices, recipe.schema)

    async def _sample_one(self, item: Item, ask: Ask, request: Request, role: str, number: int) -> Sampled:
        """One sample; a reply that the parser refuses is asked again where another one can come of it."""
        tries = 1 if request.sampling.get("temperature") == 0 else 1 + self.resample
        for attempt in range(tries):
            again = number + attempt * RESAMPLED
            answer = await ask(request._replace(sample=again) if again else request, to=role)
            fields, reason, detail = self._judge(item, answer)
            if not reason or fields or answer.finish in UNFINISHED:
                break
        return Sampled(role, number, answer, fields, request.messages, reason, detail)

    def _judge(self, item: Item, answer: Answer) -> tuple[Mapping[str, Any], str, str]:
        """The fields that a reply holds, and why it doesn't count, if it doesn't. No fields: it could not be read."""
        unfinished = UNFINISHED.get(answer.finish)
        if unfinished:
            return {}, unfinished, f"finish reason {answer.finish}"
        try:
            fields = {TEACHER_REASONING: answer.reasoning, **self.parse(answer.text)}
        except ParseError as error:
            return {}, error.reason, error.detail
        for check in self.checks:
            reason = check(fields, item.row)
            if reason:
                return fields, reason, ""
        return fields, "", ""

    def records(self, item: Item, sampled: Sampled, details: Mapping[str, Any] = {}) -> list[Record]:
        """(x, y): what the student is shown, and what it is to say; one record for each part that the recipe tells."""
        rows = self.recipe.record.rows()
        return [self.record(item, sampled, details, part, shown) for part, shown in rows.items()]

    def record(
        self, item: Item, sampled: Sampled, details: Mapping[str, Any], part: str, shown: Mapping[str, str]
    ) -> Record:
        recipe, shape, answer = self.recipe, self.recipe.record, sampled.answer
        completion: Message = {"role": "assistant"}
        for key, field in shown.items():
            completion[key] = written(sampled.fields[field])
        source = Source(
            recipe.command, recipe.name, recipe.digest, item.id, sampled.role, self.teachers[sampled.role],
            answer.model, sampled.sample, part,
        )  # fmt: skip
        facts = {
            "sample": sampled.sample,
            "finish": answer.finish,
            "prompt_tokens": answer.prompt_tokens,
            "completion_tokens": answer.completion_tokens,
            **self.facts,
        }
        if recipe.draw:
            facts["drawn"] = {name: recipe.settings[name].index(entry) for name, entry in self.drawn(item).items()}
        if part:
            facts["part"] = part
        facts.update(details)
        said = self.text_of(sampled) if shape.answer else None
        privileged = None
        if shape.privileged_context:
            hidden = [turn["content"] for turn in sampled.messages if turn["role"] == shape.privileged_context]
            privileged = "\n\n".join(hidden)
        return make_record(shape.kind, self.prompt(item, sampled, part), completion, source, facts, said, privileged)

    def prompt(self, item: Item, sampled: Sampled, part: str) -> list[Message]:
        """The student's block where there is one; else what the teacher was asked, demonstrations aside."""
        recipe = self.recipe
        block = f"student_{part}" if part else "student"
        if block in recipe.blocks:
            return recipe.render(block, item.row, **self.drawn(item))
        if recipe.demonstrations is not None and recipe.demonstrations.k:
            return recipe.render("main", item.row, **self.drawn(item))
        return sampled.messages

    def text_of(self, sampled: Sampled) -> str:
        """The answer that votes, verifiers and gold compare."""
        shape = self.recipe.record
        return written(sampled.fields[shape.answer or shape.completion["content"]])

    def agrees(self, item: Item, sampled: Sampled) -> bool | None:
        """Whether the answer is the seed's gold, where there is one."""
        if self.verify is None or not self.recipe.gold:
            return None
        gold = item.row.get(self.recipe.gold)
        if gold is None or gold == "":
            return None
        return self.verify(self.text_of(sampled), str(gold))

    def refuse(self, item: Item, samples: Sequence[Sampled], reason: str = "", detail: str = "") -> Outcome:
        """A reject, with the first sample's reason unless another is given, and every raw answer."""
        first = next((sampled for sampled in samples if sampled.reason), None)
        if not reason and first is not None:
            reason, detail = first.reason, first.detail
        agrees = False if self.recipe.gold and item.row.get(self.recipe.gold) and self.verify else None
        return rejected(reason, detail, *(sampled.answer.text for sampled in samples), agrees=agrees)


def written(value: Any) -> str:
    """A field as text; a score of 4.0 is written 4."""
    if isinstance(value, str):
        return value
    return f"{value:g}" if isinstance(value, float) else str(value)


def _dropped(samples: Sequence[Sampled]) -> Counter[str]:
    return Counter(sampled.reason for sampled in samples if sampled.reason)


async def single(labeler: Labeler, item: Item, ask: Ask) -> Outcome:
    """Each sample for itself."""
    samples = await labeler.sample(item, ask, labeler.voters)
    good = [sampled for sampled in samples if not sampled.reason]
    if not good:
        return labeler.refuse(item, samples)
    records: list[Record] = []
    for sampled in good:
        records += labeler.records(item, sampled)
    dropped = _dropped(samples) if len(good) < len(samples) else {}
    return kept(*records, dropped=dropped, agrees=labeler.agrees(item, good[0]))


async def best(labeler: Labeler, item: Item, ask: Ask) -> Outcome:
    """The one answer that is most like all the others."""
    samples = await labeler.sample(item, ask, labeler.voters)
    good = [sampled for sampled in samples if not sampled.reason]
    if not good:
        return labeler.refuse(item, samples)
    index, agreement = most_agreed([labeler.text_of(sampled) for sampled in good])
    dropped = _dropped(samples) + Counter({"not-best": len(good) - 1})
    records = labeler.records(item, good[index], {"agreement": agreement, "answers": len(good)})
    return kept(*records, dropped=+dropped, agrees=labeler.agrees(item, good[index]))


async def vote(labeler: Labeler, item: Item, ask: Ask) -> Outcome:
    """Samples in waves until the vote is decided; what waits for its turn then is not sent. The record is the first
    sample that gave the winning answer; its `asked` says how many the waves had come to."""
    settings = labeler.recipe.settings
    voters, samples, asked = labeler.voters, list[Sampled](), 0
    waves, decision = list(settings.get("waves", ())) or [labeler.recipe.samples], None

    def decision_on(some: Sequence[Sampled]) -> Decision | None:
        votes = [None if sampled.reason else normal_form(labeler.text_of(sampled)) for sampled in some]
        return decide(votes, settings.get("rule", "exact"), len(voters))

    def decides(more: Sequence[Sampled]) -> bool:
        return decision_on([*samples, *more]) is not None

    while decision is None:
        size = (waves.pop(0) if len(waves) > 1 else waves[0]) * len(labeler.teachers)
        wave = voters[asked : asked + size]
        samples += await labeler.sample_until(item, ask, wave, decides)
        asked, decision = asked + len(wave), decision_on(samples)
    counted = samples[: decision.used]
    if not decision.winner:
        return labeler.refuse(item, counted, "" if all(each.reason for each in counted) else "tie")
    agreeing = [each for each in counted if not each.reason and normal_form(labeler.text_of(each)) == decision.winner]
    threshold = settings.get("agreement", 0.5)
    if decision.agreement < threshold:
        return labeler.refuse(item, counted, "disagreement", f"agreement {decision.agreement:.2f} is below {threshold}")
    details = {"agreement": decision.agreement, "decided_after": decision.used, "asked": asked}
    dropped = _dropped(counted) + Counter(disagrees=sum(1 for each in counted if not each.reason) - len(agreeing))
    dropped += Counter({"same-answer": len(agreeing) - 1})
    records = labeler.records(item, agreeing[0], details)
    return kept(*records, dropped=+dropped, agrees=labeler.agrees(item, agreeing[0]))


async def rejection(labeler: Labeler, item: Item, ask: Ask) -> Outcome:
    """The verified samples, in sample order, each different reasoning once, at most `keep` of them."""
    samples = await labeler.sample(item, ask, labeler.voters)
    dropped, records, seen = _dropped(samples), list[Record](), set[str]()
    for sampled in samples:
        if sampled.reason:
            continue
        reasoning = same_reasoning_key(str(sampled.fields.get("reasoning", "")) or labeler.text_of(sampled))
        if not labeler.agrees(item, sampled):
            dropped["not-verified"] += 1
        elif reasoning in seen:
            dropped["same-reasoning"] += 1
        elif len(seen) == labeler.recipe.settings.get("keep", len(samples)):
            dropped["surplus"] += 1
        else:
            seen.add(reasoning)
            records += labeler.records(item, sampled, {"verified": True})
    if not records:
        return labeler.refuse(item, samples, "not-verified" if dropped["not-verified"] else "")
    return kept(*records, dropped=dropped, agrees=True)


Strategy = Callable[[Labeler, Item, Ask], Awaitable[Outcome]]
STRATEGIES: dict[str, Strategy] = {"single": single, "vote": vote, "rejection": rejection}
TEACHERS: dict[str, Strategy | None] = {"each": None, "vote": vote, "best": best}
"""What several teachers do, by the setting `teachers`; None leaves it to the recipe's strategy."""


def make_labeling(
    recipe: Recipe, teachers: Mapping[str, str], pool: Sequence[Row], resample: int
) -> Callable[[Item, Ask], Awaitable[Outcome]]:
    """The method for one run. Raises UsageError for settings that cannot work."""
    labeler = Labeler(
        recipe,
        teachers,
        [(role, sample) for sample in range(recipe.samples) for role in teachers],
        resample,
        make_choose(
            recipe.demonstrations, pool, [name for name, default in recipe.columns.items() if default is REQUIRED]
        ),
        make_parser(recipe.parser.name, recipe.parser.args),
        [make_check(check.name, check.args) for check in recipe.checks],
        make_verifier(recipe.verifier.name, recipe.verifier.args) if recipe.verifier else None,
        {"sampling": dict(recipe.sampling), "checks": [check.name for check in recipe.checks]},
    )
    strategy = _strategy(recipe)
    if recipe.samples > 1 and recipe.sampling.get("temperature") == 0:
        raise UsageError(
            f"the recipe {recipe.name} asks for {recipe.samples} samples at temperature 0, which are all the same. "
            "Give --set temperature=0.7, or --samples 1."
        )
    _check_settings(recipe, strategy)
    _check_record(recipe)
    return partial(strategy, labeler)


def _strategy(recipe: Recipe) -> Strategy:
    if recipe.strategy not in STRATEGIES:
        raise UsageError(f"{recipe.path}: there is no strategy {recipe.strategy!r}; there are {', '.join(STRATEGIES)}.")
    combine = recipe.settings.get("teachers", "each")
    if combine not in TEACHERS:
        raise UsageError(f"--set teachers={combine}: must be one of {', '.join(TEACHERS)}.")
    return TEACHERS[combine] or STRATEGIES[recipe.strategy]


def _check_settings(recipe: Recipe, strategy: Strategy) -> None:
    settings = recipe.settings
    if strategy is rejection and (recipe.verifier is None or not recipe.gold):
        raise UsageError(f"{recipe.path}: the strategy rejection needs `verifier` and `gold` in the front matter.")
    if strategy is not vote:
        return
    if settings.get("rule", "exact") not in RULES:
        raise UsageError(f"--set rule={settings['rule']}: must be one of {', '.join(RULES)}.")
    waves = settings.get("waves", [])
    if not all(type(size) is int and size > 0 for size in waves):
        raise UsageError(f"--set waves={waves}: must be a list of whole numbers above 0.")
    if not 0 <= settings.get("agreement", 0.5) <= 1:
        raise UsageError(f"--set agreement={settings['agreement']}: must be between 0 and 1.")


def _check_record(recipe: Recipe) -> None:
    shape, fields = recipe.record, (*fields_of(recipe.parser.name, recipe.parser.args), TEACHER_REASONING)
    wanted = [field for completion in shape.rows().values() for field in completion.values()]
    for field in (*wanted, *filter(None, [shape.answer])):
        if field not in fields:
            raise UsageError(f"{recipe.path}: the record wants the field {field}; there are: {', '.join(fields)}.")

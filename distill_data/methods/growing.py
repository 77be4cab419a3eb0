"""What expansion and curation have in common: x from a reply, whether it is new, y for it, and the record.

Each function here takes a `Setup` and gives one part of a `Composed` growth; a strategy takes the parts as they are or
puts its own in their place. Knows no run.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from distill_data.data.exchange import Ask, Message
from distill_data.data.growth import Draft, Draw
from distill_data.data.items import Item, Outcome, Record, Row, canonical, kept, rejected
from distill_data.errors import ParseError
from distill_data.formats import Source, make_record
from distill_data.methods.needs import ANSWER, SCORE, fields_of_x
from distill_data.methods.setup import Setup
from distill_data.methods.stages import TEACHER_REASONING, Said
from distill_data.parsing.folding import fold
from distill_data.quality import make_check
from distill_data.quality.minhash import NearDuplicates
from distill_data.quality.rouge import RougePool
from distill_data.recipes import Recipe, Spec
from distill_data.recipes.template import MAIN

ROUND = 64
"""Candidates in a round, where the recipe doesn't set `round`."""
KEEP_FROM = 5
"""The score from which an answer is kept, where the recipe doesn't say."""

Drawer = Callable[[], Sequence[Draw]]
Propose = Callable[[Item, Draw, Ask], Awaitable[list[Draft]]]
Admit = Callable[[Item, Draft], Draft]
AnswerX = Callable[[Item, Draft, Ask], Awaitable[Outcome]]
Settle = Callable[[Item, Draft, bool], None]


@dataclass(frozen=True, slots=True)
class Composed:
    """A growth out of five functions."""

    draw: Drawer
    propose: Propose
    admit: Admit
    answer: AnswerX
    settle: Settle


# -- x -----------------------------------------------------------------------------------------------------------------


def read_x(recipe: Recipe, fields: Mapping[str, Any]) -> list[Row]:
    """The candidates in a parsed reply: every element of a list, every object of a JSON array, or all fields as one.

    What is null in JSON is absent.
    """
    if "items" in fields:
        return [{recipe.writes: text} for text in fields["items"]]
    value = fields.get("value")
    if isinstance(value, list):
        return [_present(each) if isinstance(each, Mapping) else {recipe.writes: each} for each in value]
    if isinstance(value, Mapping):
        return [_present(value)]
    if "value" not in fields and "text" in fields:
        return [{recipe.writes: fields["text"]}]
    return [{name: value for name, value in fields.items() if name != TEACHER_REASONING}]


def _present(value: Mapping[str, Any]) -> Row:
    return {name: inner for name, inner in value.items() if inner is not None}


def make_check_x(setup: Setup) -> Callable[[Row, Row], str]:
    """Why an x doesn't count, by the recipe's own checks; nothing where it does.

    A field that a check reads and a reply in JSON may lack is the teacher's fault, not the recipe's: `no-FIELD`. One
    that the record is made of, where no stage writes y, and that is missing or blank: `empty-FIELD`.
    """
    checks = [make_check(check.name, check.args) for check in setup.recipe.checks]
    needed = dict.fromkeys(_field_of(check) for check in setup.recipe.checks)
    writes, y = setup.recipe.writes, fields_of_x(setup.recipe) if setup.answers else ()

    def check_x(x: Row, row: Row) -> str:
        if not isinstance(x.get(writes), str) or not x[writes].strip():
            return "no-" + writes
        fields = {"text": x[writes], **x}
        for name in needed:
            if fields.get(name) is None:
                return "no-" + name
        reasons = (reason for check in checks if (reason := check(fields, row)))
        empty = (f"empty-{name}" for name in y if _blank(x.get(name)))
        return next(chain(reasons, empty), "")

    return check_x


def _blank(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _field_of(check: Spec) -> str:
    """The field that a check reads, as checks are written: alone, or under `field`."""
    if isinstance(check.args, str):
        return check.args
    return str(check.args.get("field", "text")) if isinstance(check.args, Mapping) else "text"


def make_propose(setup: Setup) -> Propose:
    """One request for one drawing; each x in the reply is a candidate."""
    check_x = make_check_x(setup)

    async def propose(item: Item, draw: Draw, ask: Ask) -> list[Draft]:
        said = await setup.stages.ask(ask, MAIN, draw.row, draw.shown, sample=draw.sample)
        if said.reason == "truncated":
            said = without_last(setup, said)
        if said.reason:
            return [Draft(draw, {}, said.reason, said.detail, (said.answer.text,))]
        return drafts_of(setup, draw, said, check_x)

    return propose


def without_last(setup: Setup, said: Said) -> Said:
    """A list that was cut short, without its last element: the others are whole (Self-Instruct, arXiv:2212.10560)."""
    if setup.recipe.parser.name != "list":
        return said
    try:
        fields = setup.stages.readers[MAIN].parse(f"{said.answer.text} …")  # what is cut off may be all of the last
    except ParseError:
        return said
    whole = fields["items"][:-1]
    return said._replace(fields={**fields, "items": whole}, reason="", detail="") if whole else said


def drafts_of(setup: Setup, draw: Draw, said: Said, check_x: Callable[[Row, Row], str]) -> list[Draft]:
    """The candidates in a reply that could be read, checked one by one."""
    found = read_x(setup.recipe, said.fields)
    if not found:
        return [Draft(draw, {}, "empty", "the reply holds nothing", (said.answer.text,))]
    return [Draft(draw, x, check_x(x, draw.row), "", (said.answer.text,), notes_of(said)) for x in found]


def notes_of(said: Said, part: str = "") -> dict[str, Any]:
    """What a record says about one request behind it."""
    answer = said.answer
    return {
        f"{part}prompt_tokens": answer.prompt_tokens,
        f"{part}completion_tokens": answer.completion_tokens,
        f"{part}model": answer.model,
    }


def make_admit(setup: Setup, seeds: Sequence[Item] | None = None) -> Admit:
    """Refuse what was there already, as a seed or an admitted candidate: the same text, one that by ROUGE-L is more
    like it than `rouge`, or one that shares as many of its words as `minhash` says.

    Where `neighbours` is set, the most similar ones are noted with the draft.
    """
    writes, neighbours = setup.recipe.writes, bool(setup.setting("neighbours", False))
    limit, share = setup.number("rouge", 0.7, 0, 1), setup.number("minhash", 1, 0, 1, above=True)
    texts = [str(item.row[writes]) for item in (setup.seeds if seeds is None else seeds) if item.row.get(writes)]
    pool, seen = RougePool(), {_same(text) for text in texts}
    near = NearDuplicates(share, ngram=1) if share < 1 else None
    for text in texts:
        pool.add(text)
        if near is not None:
            near.add(text)

    def admit(item: Item, draft: Draft) -> Draft:
        text = str(draft.x[writes])
        key = _same(text) + str(draft.x.get("input", ""))
        if key in seen:
            return draft._replace(reason="duplicate", detail="the same text was there before")
        most = pool.most(text, limit) if limit < 1 else None
        if most is not None:
            return draft._replace(reason="similar", detail=f"ROUGE-L {most[0]:.2f} to number {most[1] + 1} of the pool")
        twin = near.find(text) if near is not None else None
        if twin is not None:
            return draft._replace(reason="near-duplicate", detail=f"the words of number {twin + 1} of the pool")
        similar = pool.nearest(text, 10) if neighbours else []
        seen.add(key)
        pool.add(text)
        if near is not None:
            near.add(text)
        if not similar:
            return draft
        mean = sum(score for score, _ in similar) / len(similar)
        return draft._replace(notes={**draft.notes, "similar": [[round(s, 4), n] for s, n in similar], "mean": mean})

    return admit


def _same(text: str) -> str:
    return " ".join(fold(text).split())


def admit_all(item: Item, draft: Draft) -> Draft:
    """For candidates that cannot be equal."""
    return draft


def settle_nothing(item: Item, draft: Draft, kept: bool) -> None:
    """For pools that do not grow."""


# -- y -----------------------------------------------------------------------------------------------------------------


def make_answer(setup: Setup) -> AnswerX:
    """y ∼ p_T(y | I ⊕ x) by the stage `answer`; without one, or where none is wanted, x holds all of it.

    Where there is a stage `score`, an answer that it gives less than `keep_from` is rejected.
    """
    asked = setup.answers and setup.stages.has(ANSWER)
    score = make_score(setup)

    async def answer(item: Item, draft: Draft, ask: Ask) -> Outcome:
        if not asked:
            return kept(make_x_record(setup, item, draft))
        shown = {**draft.draw.shown, "x": draft.x}
        said = await setup.stages.ask(ask, ANSWER, draft.draw.row, shown, to=setup.answerer)
        if said.reason:
            return rejected(said.reason, said.detail, *draft.answers, said.answer.text)
        notes = {**draft.notes, **notes_of(said, "answer_")}
        noted = draft._replace(notes=notes, answers=(*draft.answers, said.answer.text))
        if setup.stages.has(SCORE):
            noted = await score(noted, {**shown, "said": said.fields}, ask)
        if noted.reason:
            return rejected(noted.reason, noted.detail, *noted.answers)
        return kept(make_x_record(setup, item, noted, said.fields, said.answer.model))

    return answer


def make_score(setup: Setup) -> Callable[[Draft, Mapping[str, Any], Ask], Awaitable[Draft]]:
    """The stage `score`: (draft, what the block is shown) -> the draft with its score noted, or with a reason."""
    scale = setup.recipe.stages[SCORE].parser.args if setup.stages.has(SCORE) else None
    least = setup.number("keep_from", min(KEEP_FROM, scale[1]) if scale else KEEP_FROM)

    async def score(draft: Draft, shown: Mapping[str, Any], ask: Ask) -> Draft:
        said = await setup.stages.ask(ask, SCORE, draft.draw.row, shown)
        judged = draft._replace(answers=(*draft.answers, said.answer.text))
        if said.reason:
            return judged._replace(reason=said.reason, detail=said.detail)
        given = float(said.fields["score"])
        if given < least:
            return judged._replace(reason="low-score", detail=f"{given:g} is below {least:g}")
        return judged._replace(notes={**draft.notes, **notes_of(said, "score_"), "score": given})

    return score


def make_x_record(
    setup: Setup,
    item: Item,
    draft: Draft,
    said: Mapping[str, Any] = {},
    model: str = "",
    *,
    prompt: list[Message] | None = None,
    extra: Mapping[str, Any] = {},
) -> Record:
    """The record of a candidate: x as the student sees it, and y, or nothing where none was asked for.

    `extra` are columns of the record beside the ones that every record has.
    """
    recipe, shape = setup.recipe, setup.recipe.record
    values = {**draft.x, **said}
    if prompt is None:
        prompt = student_prompt(setup, draft)
    completion: Message = {"role": "assistant"}
    completion |= {key: _text(values.get(field, "")) for key, field in shape.completion.items()}
    role = setup.answerer if said else setup.stages.role
    source = Source(
        recipe.command, recipe.name, recipe.digest, item.id, role, setup.teachers[role],
        model or str(draft.notes.get("model", "")), draft.draw.sample,
    )  # fmt: skip
    facts = {
        "parents": list(draft.draw.parents),
        "source": draft.draw.source,
        "x": draft.x,
        "sampling": dict(recipe.sampling),
        "checks": [check.name for check in recipe.checks],
        **draft.notes,
    }
    text = _text(values.get(shape.answer, "")) if shape.answer else None
    kind = shape.kind if setup.answers else "prompt"
    record = make_record(kind, prompt, completion, source, facts, text)
    if not setup.answers:
        del record["completion"]
    return {**record, **extra}


def student_prompt(setup: Setup, draft: Draft) -> list[Message]:
    """The block `student`; without one the column that the teacher wrote, and under it `input`, as the user's turn."""
    if "student" in setup.recipe.blocks:
        return setup.stages.messages("student", draft.draw.row, {**draft.draw.shown, "x": draft.x})
    parts = [_text(draft.x.get(name, "")) for name in (setup.recipe.writes, "input")]
    return [{"role": "user", "content": "\n\n".join(part for part in parts if part)}]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else canonical(value).decode()

"""Data with planted truth: instructions of which it is known which are paraphrases, junk, or taken from a benchmark.

    planted = plant(rows=2000, seed=0, language="en")
    planted.rows        {"id", "prompt": [message], "completion": [message]}
    planted.truth       id -> Truth("distinct" | "twin" | "paraphrase" | "junk" | "contaminated", of)
    planted.benchmark   {"id", "question", "answer"}; the contaminated rows hold some of these questions
    control(1000)       clean rows of the same shape that share common phrases with the benchmark, and none of its items

A paraphrase has another opener, one or two synonyms, other punctuation, another case or its clauses turned round, one
to three of these. It stands anywhere after the row that it says again. A twin is a hard negative: a distinct row with
the template of another one (`of`) and other content. Junk has a bad answer; the kind is in `of`. All is drawn from one
seed. The words are our own, and two distinct rows never share more than two of the parts they are put together from,
unless they are twins.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from tests.planted_words import BENCHMARK, COMMON, ENGLISH, JUNK, MANDARIN, Words

PARAPHRASES, JUNK_ROWS, CONTAMINATED, TWINS = 0.30, 0.10, 0.01, 0.12
"""Shares of all rows."""


class Truth(NamedTuple):
    kind: str
    of: str = ""
    """The id of the row that is paraphrased or has the same template, of the benchmark's item, or the kind of junk."""


class Planted(NamedTuple):
    rows: list[dict[str, Any]]
    truth: dict[str, Truth]
    benchmark: list[dict[str, str]]


class Task(NamedTuple):
    """An instruction in parts."""

    shape: str
    slots: tuple[str, ...]
    """What fills the shape; the first three are the content, and twins share the others."""


def plant(rows: int = 2000, seed: int = 0, language: str = "en", openers: Sequence[str] = ()) -> Planted:
    """Instructions with 30 % paraphrases, 10 % junk and 1 % contamination; by the language's openers, or by others."""
    rng, words = random.Random(seed), _words(language)
    words = words._replace(openers=openers or words.openers)
    taken = round(rows * CONTAMINATED)
    twins, junk, again = (round(rows * share) for share in (TWINS, JUNK_ROWS, PARAPHRASES))
    tasks = _distinct(rng, words, rows - taken - twins - again)
    truth = [Truth("junk", rng.choice(list(JUNK))) for _ in range(junk)]
    truth += [Truth("distinct")] * (len(tasks) - junk)
    held = _held(tasks)
    for _ in range(twins):
        at = rng.randrange(len(tasks))
        while not _add(_twin(rng, words, tasks[at]), tasks, held):
            at = rng.randrange(len(tasks))
        truth.append(Truth("twin", str(at)))
    texts = [_text(rng, words, task) for task in tasks]
    benchmark = [dict(item) for item in BENCHMARK]
    for item in rng.sample(benchmark, taken):
        texts.append(_leaked(rng, item["question"]))
        truth.append(Truth("contaminated", item["id"]))
    for _ in range(again):
        at = rng.randrange(len(tasks))
        texts.append(_paraphrase(rng, words, tasks[at], texts[at]))
        truth.append(Truth("paraphrase", str(at)))
    return _shuffled(rng, words, texts, truth, benchmark)


def control(rows: int = 1000, seed: int = 1) -> list[dict[str, Any]]:
    """Clean rows that begin or end as items of the benchmark do, and ask for something else."""
    rng = random.Random(seed)
    texts = [_text(rng, ENGLISH, task) for task in _distinct(rng, ENGLISH, rows)]
    phrased = [f"{rng.choice(COMMON)} {text[:1].lower()}{text[1:]}" for text in texts]
    return [_row(f"c{at}", text, _answer(rng, ENGLISH)) for at, text in enumerate(phrased)]


def said_again(rng: random.Random, text: str, words: Words = ENGLISH) -> str:
    """A text with one or two synonyms of the list put in, where it has such words."""
    places = [match for match in re.finditer(words.token, text) if match.group().lower() in words.synonyms]
    for match in sorted(rng.sample(places, min(len(places), rng.randint(1, 2))), key=lambda match: -match.start()):
        other = rng.choice(words.synonyms[match.group().lower()])
        text = text[: match.start()] + other + text[match.end() :]
    return text


def _words(language: str) -> Words:
    return {"en": ENGLISH, "zh": MANDARIN}[language]


Held = dict[str, list[frozenset[str]]]
"""Each piece of content to the parts of the tasks that have it."""


def _distinct(rng: random.Random, words: Words, count: int) -> list[Task]:
    tasks: list[Task] = []
    held: Held = {}
    while len(tasks) < count:
        _add(_draw(rng, words), tasks, held)
    return tasks


def _add(task: Task, tasks: list[Task], held: Held) -> bool:
    """Take a task that shares no more than two parts with any that shares content with it."""
    parts = frozenset({task.shape, *task.slots})
    fits = all(len(parts & other) <= 2 for slot in task.slots[:3] for other in held.get(slot, ()))
    if fits:
        tasks.append(task)
        for slot in task.slots[:3]:
            held.setdefault(slot, []).append(parts)
    return fits


def _held(tasks: Sequence[Task]) -> Held:
    held: Held = {}
    for task in tasks:
        for slot in task.slots[:3]:
            held.setdefault(slot, []).append(frozenset({task.shape, *task.slots}))
    return held


def _draw(rng: random.Random, words: Words) -> Task:
    shape, kinds = rng.choice(words.shapes)
    return Task(shape, tuple(_slot(rng, words, kind) for kind in kinds))


def _slot(rng: random.Random, words: Words, kind: str) -> str:
    return str(rng.randint(3, 97)) if kind == "number" else rng.choice(words.slots[kind])


def _twin(rng: random.Random, words: Words, task: Task) -> Task:
    kinds = dict(words.shapes)[task.shape]
    content = []
    for slot, kind in zip(task.slots[:3], kinds, strict=False):
        other = slot
        while other == slot:
            other = _slot(rng, words, kind)
        content.append(other)
    return Task(task.shape, (*content, *task.slots[3:]))


def _text(rng: random.Random, words: Words, task: Task) -> str:
    opener = rng.choice(words.openers) if rng.random() < 0.25 else ""
    return _written(words, task, opener, turned=rng.random() < 0.2)


def _written(words: Words, task: Task, opener: str, turned: bool) -> str:
    main, _, aside = task.shape.format(*task.slots).partition("|")
    clauses = [opener + main, aside] if not turned else [aside, opener + main]
    text = words.between[turned].join(filter(None, clauses))
    return text[:1].upper() + text[1:] + words.end


def _paraphrase(rng: random.Random, words: Words, task: Task, text: str) -> str:
    """The task in other words, one to three changes away from the text."""
    changes: dict[str, Callable[[str], str]] = {
        "synonyms": lambda said: said_again(rng, said, words),
        "punctuation": lambda said: _punctuated(rng, words, said),
        "case": lambda said: rng.choice([str.lower, str.upper])(said),
    }
    for _ in range(100):
        chosen = set(rng.sample(["opener", "clauses", *changes], rng.randint(1, 3)))
        said = text
        if chosen & {"opener", "clauses"}:
            opener = rng.choice(words.openers) if "opener" in chosen else ""
            said = _written(words, task, opener, turned="clauses" in chosen and "|" in task.shape)
        for name in changes:
            said = changes[name](said) if name in chosen else said
        if said != text:
            return said
    raise AssertionError(f"no paraphrase of {text!r}")


def _punctuated(rng: random.Random, words: Words, text: str) -> str:
    bare = re.sub(r"[,.:;!?，。：；！？]", "", text)
    return rng.choice([bare, bare + words.marks[0], text[:-1] + words.marks[1], f"{words.marks[2]}{text}"])


def _leaked(rng: random.Random, question: str) -> str:
    before, after = rng.choice([("", ""), ("Question: ", ""), ("Solve this. ", " Show each step."), ("", " Thanks!")])
    return before + rng.choice([str, str.lower, str.upper])(question) + after


def _shuffled(
    rng: random.Random,
    words: Words,
    texts: Sequence[str],
    truth: Sequence[Truth],
    benchmark: list[dict[str, str]],
) -> Planted:
    """Rows in an order in which a paraphrase stands after what it says again, with ids that tell nothing."""
    place = [rng.random() for _ in texts]
    for at, told in enumerate(truth):
        if told.kind == "paraphrase":
            place[at] = rng.uniform(place[int(told.of)], 1)
    order = sorted(range(len(texts)), key=place.__getitem__)
    ids = {at: f"r{number}" for number, at in enumerate(order)}
    named: Mapping[str, Truth] = {
        ids[at]: Truth(told.kind, ids[int(told.of)]) if told.kind in ("paraphrase", "twin") else told
        for at, told in enumerate(truth)
    }
    answers = {at: _answer(rng, words) for at in order}
    for at, told in enumerate(truth):
        if told.kind == "junk":
            answers[at] = JUNK[told.of](answers[at])
    rows = [_row(ids[at], texts[at], answers[at]) for at in order]
    return Planted(rows, {row["id"]: named[row["id"]] for row in rows}, benchmark)


def _answer(rng: random.Random, words: Words) -> str:
    """Some sentences that pass every filter."""
    chosen = rng.sample(words.sentences, 3)
    return words.space.join(each.format(*(rng.choice(words.slots["subject"]) for _ in range(2))) for each in chosen)


def _row(name: str, asked: str, answered: str) -> dict[str, Any]:
    return {
        "id": name,
        "prompt": [{"role": "user", "content": asked}],
        "completion": [{"role": "assistant", "content": answered}],
    }

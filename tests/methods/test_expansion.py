"""Expansion grows what it should from what a teacher says, and nothing that a teacher says stops it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_data.commands.work import InRounds
from distill_data.data.exchange import Answer, Ask, Request
from distill_data.data.growth import Draw
from distill_data.data.items import Item, Outcome, canonical
from distill_data.data.seeds import make_items, open_seeds, read_rows
from distill_data.engine.outcomes import encode_outcome
from distill_data.errors import SeedError, UsageError
from distill_data.methods.expansion import bad_instance, make_expansion
from distill_data.methods.growing import make_propose
from distill_data.methods.setup import make_setup
from distill_data.quality.words import words
from distill_data.recipes import Recipe, apply_settings, load_recipe, seed_path
from distill_data.recipes.recipe import REQUIRED
from tests.methods.scripted import answer
from tests.methods.test_any_reply import META, replies, values
from tests.shipped import recipes_of

RECIPES = recipes_of("expand")
Ended = list[tuple[Item, Outcome]]


def _refuse(error: Exception) -> None:
    raise error


def grow(
    recipe: Recipe,
    seeds: list[Item],
    ask: Ask,
    rows: int,
    *,
    cap: int = 10_000,
    width: int = 1,
    answers: bool = True,
    answerer: str = "",
) -> Ended:
    """What ended, in order."""
    teachers = {"teacher": "scripted"} | ({"answerer": answerer} if answerer else {})
    growth = make_expansion(recipe, teachers, seeds, 0, 1, answers=answers)
    ended: Ended = []
    work = InRounds(growth, rows, cap, 0)
    asyncio.run(work.run(lambda owner: ask, lambda *end: ended.append(end), width, lambda: False, _refuse))
    ended.sort(key=lambda end: end[0].ordinal)
    assert [item.ordinal for item, _ in ended] == list(range(len(ended))) and work.items == len(ended)
    return ended


def items_of(*rows: dict[str, Any]) -> list[Item]:
    return [Item(index, f"{index:016x}", row, f"seeds.jsonl:{index + 1}") for index, row in enumerate(rows)]


def saying(reply: Callable[[str], str]) -> Ask:
    """A teacher whose reply depends on the last message."""

    async def ask(request: Request, to: str = "teacher") -> Answer:
        return answer(reply(request.messages[-1]["content"]), f"{to}-model")

    return ask


def reasons(ended: Ended) -> Counter[str]:
    return Counter(outcome.reason for _, outcome in ended if outcome.status == "rejected")


# -- a teacher that repeats itself -------------------------------------------------------------------------------------

FRAMES = (
    "Explain to {} why the {} of a {} may {} the {} when the {} is {} {}.",
    "Write a {} in which {} and {} argue about the {} {} of {} {} {}.",
    "What would {} change about {} {} if every {} had {} {} and no {}?",
    "Compare {} {} with {} {} under the heading {}, and say which {} suits {} {} better.",
    "List {} {} reasons for which {} {} keeps {} in the {} until {} becomes {}.",
)
"""Two tasks of one frame have a ROUGE-L of about 0.55."""
JUNK = (
    "Sing.",
    "Draw a picture of a {} beside a {}.",
    "Write a program that counts each {} in the {}.",
    "! Tell me everything about {} and {} now.",
    "Answer the given prompt about {} in the manner of {}.",
    "Say {} " + "again and " * 80 + "again.",
)
JUNK_REASONS = {"too-short", "too-long", "keyword", "opens-with-phrase", "opens-with-punctuation", "leak"}
SHOWN = re.compile(r"^\d+\. (.+)$", re.MULTILINE)


@dataclass(slots=True)
class Repeating:
    """Of its tasks, 30 % are others with a few words changed and 10 % are junk. Each reply depends on the request
    alone; when it comes does not."""

    vocabulary: list[str]
    order: random.Random
    wrote: dict[str, str] = field(default_factory=dict)
    """Task to `near`, `junk` or `fresh`."""

    async def __call__(self, request: Request, to: str = "teacher") -> Answer:
        for _ in range(self.order.randrange(8)):
            await asyncio.sleep(0)
        content = request.messages[-1]["content"]
        rng = random.Random(hashlib.sha256(canonical([content, request.sample])).digest())
        if content.startswith("The list below"):
            return answer(self._tasks(content, rng))
        if content.endswith("Answer yes or no."):
            return answer(rng.choice(["yes", "no", "No."] * 5 + ["maybe"]))
        good = json.dumps({"output": f"The {self._word(rng)}.", "input": f"A {self._word(rng)} and more."})
        return answer(rng.choice([good] * 9 + ['{"output": "As follows:", "input": ""}', "I don't know."]))

    def _tasks(self, content: str, rng: random.Random) -> str:
        _, _, first = content.partition("numbered from ")
        known = [text for text in SHOWN.findall(first) if len(text.split()) >= 10]
        tasks: list[str] = []
        for _ in range(8):
            kind = rng.choices(["near", "junk", "fresh"], [0.3, 0.1, 0.6])[0] if known else "fresh"
            text = self._near(rng.choice(known), rng) if kind == "near" else self._new(kind, rng)
            if kind == "fresh":
                known.append(text)
            self.wrote[text] = kind
            tasks.append(text)
        start = int(first.split(" ", 1)[0])
        return "\n".join(f"{start + index}. {text}" for index, text in enumerate(tasks))

    def _new(self, kind: str, rng: random.Random) -> str:
        form = rng.choice(JUNK if kind == "junk" else FRAMES)
        return re.sub(r"\{\}", lambda _: self._word(rng), form)

    def _near(self, text: str, rng: random.Random) -> str:
        """The text with up to three words replaced, added or taken away; at times only louder."""
        parts = text.split()
        for _ in range(rng.choice([0, 1, 1, 2, 2, 3])):
            place = rng.randrange(1, len(parts))
            parts[place : place + rng.randrange(2)] = [self._word(rng)] * rng.randrange(2)
        return " ".join(parts) if parts != text.split() else text.upper()

    def _word(self, rng: random.Random) -> str:
        return rng.choice(self.vocabulary)


@pytest.fixture(scope="module")
def tasks() -> list[Item]:
    return list(make_items(read_rows(open_seeds(seed_path("@tasks"))), 0))


def repeating(tasks: list[Item], order: int) -> Repeating:
    known = {word for item in tasks for word in words(item.row["instruction"]) if word.isascii() and len(word) > 3}
    beyond = {
        "draw",
        "file",
        "files",
        "image",
        "images",
        "music",
        "photo",
        "photos",
        "picture",
        "video",
        "graph",
        "plot",
    }
    return Repeating(sorted(known - beyond), random.Random(order))


def test_near_duplicates_and_junk_are_found(tasks: list[Item]) -> None:
    teacher = repeating(tasks, 1)
    ended = grow(load_recipe("self-instruct", "expand"), tasks, teacher, 200, width=8)
    assert sum(outcome.status == "kept" for _, outcome in ended) == 200
    kinds = [(teacher.wrote[item.row["instruction"]], outcome.reason) for item, outcome in ended]
    total = Counter(kind for kind, _ in kinds)
    assert total["near"] / len(ended) == pytest.approx(0.3, abs=0.05)
    assert total["junk"] / len(ended) == pytest.approx(0.1, abs=0.03)
    found = Counter(kind for kind, reason in kinds if reason in ("similar", "duplicate"))
    assert found["near"] / total["near"] >= 0.95
    assert found["near"] / found.total() >= 0.95
    assert all((reason in JUNK_REASONS) is (kind == "junk") for kind, reason in kinds)
    assert {"not-a-choice", "not-json", "breaks-off"} <= set(reasons(ended))


def test_the_order_of_answers_changes_nothing(tasks: list[Item]) -> None:
    recipe = load_recipe("self-instruct", "expand")
    written = {
        b"".join(encode_outcome(*end) for end in grow(recipe, tasks, repeating(tasks, width), 200, width=width))
        for width in (1, 8, 64)
    }
    assert len(written) == 1
    details = [json.loads(line)["meta"]["details"] for line in written.pop().split(b"\n") if b'"details"' in line]
    assert len(details) == 200 and all(len(json.loads(detail)["similar"]) == 10 for detail in details)


# -- whatever a teacher says -------------------------------------------------------------------------------------------

ROUND = {"round": "4", "human": "2", "machine": "1", "per_call": "2"}
OBJECTS = st.dictionaries(
    st.sampled_from(["instruction", "input", "output", "text", "else"]),
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=20) | st.lists(st.text(max_size=3), max_size=2),
)


def said(recipe: Recipe) -> st.SearchStrategy[Answer]:
    """Besides any text: what the stages of the recipe ask for, JSON of all kinds, lists of any text."""
    wanted = [str(recipe.example["reply"]), *(choice for stage in recipe.stages.values() for choice in stage.choices)]
    objects = (OBJECTS | st.lists(OBJECTS, max_size=4)).map(json.dumps)
    numbered = st.lists(st.text(max_size=40), min_size=1, max_size=4).map(
        lambda texts: "\n".join(f"{number}. {text}" for number, text in enumerate(texts, 1))
    )
    return replies(recipe) | (st.sampled_from(wanted) | objects | numbered).map(answer)


@st.composite
def seed_rows(draw: st.DrawFn, recipe: Recipe) -> list[Item]:
    """Rows with the columns that the recipe needs, at least two of them with different values in each."""
    text = st.text(max_size=30)
    rows = []
    for index in range(draw(st.integers(3, 5))):
        row = {name: draw(text) + str(index) for name, default in recipe.columns.items() if default is REQUIRED}
        row |= {name: draw(text) for name in recipe.columns if name not in row and draw(st.booleans())}
        rows.append(row | draw(st.sampled_from([{}, {"note": 1, "tags": ["a"]}])))
    return items_of(*rows)


@pytest.mark.parametrize("name", RECIPES)
@settings(max_examples=15)
@given(data=st.data())
def test_any_reply_ends_in_records_or_rejects(name: str, data: st.DataObject) -> None:
    recipe = RECIPES[name]
    recipe = apply_settings(recipe, {key: value for key, value in ROUND.items() if key in recipe.settings})
    drawn = said(recipe)

    async def ask(request: Request, to: str = "teacher") -> Answer:
        canonical(request.messages)
        return data.draw(drawn)

    answers = data.draw(st.booleans())
    ended = grow(recipe, data.draw(seed_rows(recipe)), ask, 2, cap=8, width=2, answers=answers)
    completion, label = ["completion"] * answers, ["answer"] * bool(recipe.record.answer)
    for item, outcome in ended:
        assert outcome.status in {"kept", "rejected"}, outcome
        assert bool(outcome.reason) is (outcome.status == "rejected")
        assert encode_outcome(item, outcome).count(b"\n") == 2
        for record in outcome.records:
            assert list(record) == ["id", "kind", "prompt", *completion, *label, "meta"]
            assert record["kind"] == ("sft" if answers else "prompt")
            assert list(record["meta"]) == META and all(type(value) is str for value in values(record))


@pytest.mark.parametrize("name", RECIPES)
def test_an_example_reply_gives_a_candidate(name: str) -> None:
    """Or the test above would say nothing about records."""
    recipe = RECIPES[name]
    recipe = apply_settings(recipe, {key: value for key, value in ROUND.items() if key in recipe.settings})
    rows = [{**recipe.example["row"], "label": label} for label in ("positive", "negative", "mixed")]
    reply = str(recipe.example["reply"])
    ask = saying(lambda content: "different" if content.startswith("Are these two") else reply)
    ended = grow(recipe, items_of(*rows), ask, 1, answers=False)
    assert next(outcome.status for _, outcome in ended if outcome.reason != "surplus") == "kept"


# -- each strategy -----------------------------------------------------------------------------------------------------


def test_a_child_that_fails_sends_its_parent_back_and_one_that_is_kept_is_evolved() -> None:
    recipe = apply_settings(load_recipe("evol-depth", "expand"), {"round": "1", "depth": "2", "tries": "2"})
    asked: list[str] = []

    def reply(content: str) -> str:
        if content.startswith("Are these two tasks"):
            return "equal" if len(asked) == 1 else "different"
        if not content.startswith("Rewrite"):
            return "Because it is so."
        asked.append(content.partition("\nTask:\n")[2])
        return f"{asked[-1].split(chr(10))[0]} And why, number {len(asked)}?"

    seeds = items_of({"instruction": "Explain tides.", "input": "At sea."})
    ended = grow(recipe, seeds, saying(reply), 9)
    assert asked == ["Explain tides.\n\nAt sea.", "Explain tides.\n\nAt sea.", "Explain tides. And why, number 2?"]
    assert [outcome.reason for _, outcome in ended] == ["no-gain", "", ""]
    last = ended[2][1].records[0]
    assert last["prompt"][0]["content"] == "Explain tides. And why, number 2? And why, number 3?"
    details = json.loads(last["meta"]["details"])
    assert details["parents"] == [ended[1][0].id, seeds[0].id] and details["depth"] == 2
    assert details["operation"] in recipe.settings["operations"]


def test_json_that_lacks_a_field_is_rejected_one_by_one() -> None:
    recipe = apply_settings(load_recipe("alpaca", "expand"), {"round": "1", "per_call": "6"})
    triples: list[Any] = [
        {"instruction": "Name the capital of a country.", "input": "Peru", "output": "Lima"},
        {"instruction": "Name the river of a city.", "output": "the Seine"},
        {"instruction": "Count the letters of the word.", "input": "tent", "output": 4},
        {"instruction": ["a"], "input": "", "output": "b"},
        {"instruction": "Say which is heavier, and why.", "input": None, "output": "lead"},
        "Spell it.",
    ]
    seeds = items_of(*({"instruction": f"Do it {n}.", "output": "Done."} for n in range(3)))
    ended = grow(recipe, seeds, saying(lambda _: json.dumps(triples)), 2)
    assert [outcome.reason for _, outcome in ended] == ["", "no-input", "", "no-instruction", "no-input", "no-input"]
    assert [outcome.records[0]["answer"] for _, outcome in ended if outcome.records] == ["Lima", "4"]


@pytest.mark.parametrize(
    ("reply", "whole"),
    [
        ("1. Dogs run fast.\n2. Cats sleep all day.\n3. A hor", ["Dogs run fast.", "Cats sleep all day."]),
        ("1. Dogs run fast.\n2. Cats sleep all day.\n3.", ["Dogs run fast.", "Cats sleep all day."]),
        ("1. Dogs run fa", []),
        ("Here they come", []),
    ],
)
def test_of_a_list_that_was_cut_short_only_the_last_is_lost(reply: str, whole: list[str]) -> None:
    recipe = apply_settings(load_recipe("topics", "curate"), {"round": "1", "per_call": "3"})
    setup = make_setup(recipe, {"teacher": "scripted"}, items_of({"topic": "animals"}), 0, 0, answers=False)

    async def ask(request: Request, to: str = "teacher") -> Answer:
        return answer({"text": reply, "finish": "length"})

    drafts = asyncio.run(make_propose(setup)(setup.seeds[0], Draw(setup.seeds[0].row), ask))
    assert [draft.x["instruction"] for draft in drafts if draft.x] == whole
    assert [draft.reason for draft in drafts if not draft.x] == ([] if whole else ["truncated"])


def test_pairs_are_of_different_classes_and_labelled_anew_by_the_answerer() -> None:
    recipe = apply_settings(load_recipe("boundary", "expand"), {"round": "2"})
    seeds = items_of(*({"text": f"Text {n}.", "label": "positive" if n < 3 else "negative"} for n in range(6)))

    async def ask(request: Request, to: str = "teacher") -> Answer:
        content = request.messages[-1]["content"]
        if to == "answerer":
            return answer("negative", "judge")
        assert content.count('A text of the class "positive"') == content.count('A text of the class "negative"') == 1
        return answer(f"Fine but dull, case {request.sample}, {'so ' * request.sample}it was.")

    ended = grow(recipe, seeds, ask, 2, answerer="judge")
    records = [outcome.records[0] for _, outcome in ended if outcome.records]
    assert [record["answer"] for record in records] == ["negative"] * 2
    assert {record["meta"]["teacher"] for record in records} == {"judge"}


@pytest.mark.parametrize(
    ("given_input", "output", "reason"),
    [
        ("", " ", "empty-output"),
        ("same ", "same", "echo"),
        ("", "As follows:", "breaks-off"),
        ("如下：", "好", "breaks-off"),
        ("", "yes", ""),
    ],
)
def test_bad_instances(given_input: str, output: str, reason: str) -> None:
    assert bad_instance({"input": given_input, "output": output}) == reason


def test_what_cannot_work_is_said_at_once() -> None:
    seeds = items_of({"instruction": "a", "text": "a", "label": "x"})
    with pytest.raises(SeedError, match="8 demonstrations are wanted"):
        make_expansion(RECIPES["self-instruct"], {"teacher": "t"}, seeds, 0, 1, answers=True)
    with pytest.raises(SeedError, match="needs 2 different values in the column label, and there are 1"):
        make_expansion(RECIPES["boundary"], {"teacher": "t"}, seeds, 0, 1, answers=True)
    with pytest.raises(UsageError, match="needs at least one"):
        recipe = apply_settings(RECIPES["evol-code"], {"operations": "{}"})
        make_expansion(recipe, {"teacher": "t"}, seeds, 0, 1, answers=True)

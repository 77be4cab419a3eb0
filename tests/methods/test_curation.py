"""Curation without conversations: any reply ends as a record or a reject, and what code verifies is verified."""

from __future__ import annotations

import asyncio
import base64
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_data.commands.curate import curate
from distill_data.commands.options import Options
from distill_data.commands.seating import needs_of, resolve_teachers
from distill_data.commands.work import InRounds
from distill_data.data.exchange import Answer, Ask, Request
from distill_data.data.growth import Draft, Draw
from distill_data.data.items import Item, Outcome, canonical
from distill_data.data.seeds import make_items
from distill_data.engine.outcomes import encode_outcome
from distill_data.errors import SeedError, UsageError
from distill_data.methods.curation import make_curation
from distill_data.methods.fragments import fragment
from distill_data.methods.grounding import citations, holds
from distill_data.methods.growing import make_admit
from distill_data.methods.recommending import judge_item
from distill_data.methods.setup import Setup
from distill_data.methods.stages import make_stages
from distill_data.recipes import Recipe, apply_settings, load_recipe
from distill_data.teachers.lowering import chat_body
from distill_data.teachers.protocol import Capabilities, Profile
from tests.methods.scripted import answer

NAMES = (
    "topics", "textbook", "persona", "oss-instruct", "document-qa", "recommend", "backtranslate", "constraints",
    "rag", "vision-qa",
)  # fmt: skip
PNG = b"\x89PNG\r\n\x1a\n"
Reply = Callable[[Request], str]


def recipe_of(name: str, **given: str) -> Recipe:
    return apply_settings(load_recipe(name, "curate"), given)


def grow(
    recipe: Recipe, rows: list[dict[str, Any]], reply: Callable[[Request], Answer], wanted: int = 2, cap: int = 8,
    answers: bool = True,
) -> list[tuple[Item, Outcome]]:  # fmt: skip
    """The candidates and what became of them, in order."""
    seeds = list(make_items(((f"seeds.jsonl:{n}", row) for n, row in enumerate(rows, 1)), 0))
    ended: list[tuple[Item, Outcome]] = []

    async def ask(request: Request, to: str = "teacher") -> Answer:
        canonical(request.messages)
        return reply(request)

    def ask_for(owner: str) -> Ask:
        return ask

    def refuse(error: Exception) -> None:
        raise error

    growth = make_curation(recipe, {"teacher": "scripted"}, seeds, 0, 1, answers=answers)
    work = InRounds(growth, wanted, cap, 0)
    asyncio.run(work.run(ask_for, lambda *end: ended.append(end), 1, lambda: False, refuse))
    return sorted(ended, key=lambda end: end[0].ordinal)


def says(reply: Reply) -> Callable[[Request], Answer]:
    return lambda request: answer(reply(request))


def asked(request: Request) -> str:
    content = request.messages[-1]["content"]
    return content if isinstance(content, str) else content[-1]["text"]


# -- any text ----------------------------------------------------------------------------------------------------------

TEXTS = st.text(st.characters(codec="utf-8"), max_size=40).map(lambda text: text + "a")
LISTS = st.lists(TEXTS, min_size=1, max_size=4)
BITS = st.sampled_from(
    [
        *("<problem>", "</problem>", "<solution>", "</solution>", "<quote>", "</quote>", "<answer>", "</answer>"),
        *("<rationale>", "</rationale>", "<item>", "</item>", "1. ", "2. ", "[1]", "[2]", "[0]", "[99999]", "Score: 5"),
        *("\n", "\0", "\u2028", "\ud800", "```", "The passages do not say.", "null", "🙂", "a few words of text"),
    ]
)


def column(recipe: Recipe, name: str) -> st.SearchStrategy[Any]:
    if name in recipe.lists:
        return LISTS | LISTS.map(lambda texts: orjson.dumps(texts).decode())
    return TEXTS | st.integers(-3, 3) if name not in ("text", "code") else TEXTS


def tables(recipe: Recipe) -> st.SearchStrategy[list[dict[str, Any]]]:
    columns = {name: column(recipe, name) for name in recipe.columns}
    if recipe.strategy == "vision":
        columns["image"] = st.sampled_from(["images/dots.png", "images/circle.png"])
    least = 6 if recipe.strategy == "cited" else 1
    return st.lists(st.fixed_dictionaries(columns), min_size=least, max_size=least + 2)


def replies(recipe: Recipe) -> st.SearchStrategy[Answer]:
    example = str(recipe.example["reply"])
    pieces = st.lists(BITS | st.text(max_size=5), max_size=8).map("".join)
    texts = st.one_of(
        st.just(example), st.text(st.characters(codec=None), max_size=60), pieces, pieces.map(lambda end: example + end)
    )
    finish = st.sampled_from(["stop"] * 8 + ["length", "content_filter", "refusal", "tool_calls", "", "else"])
    return st.builds(lambda text, end: answer({"text": text, "finish": end}), texts, finish)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_any_reply_is_kept_or_rejected(name: str, data: st.DataObject) -> None:
    recipe = recipe_of(name, round="4")
    rows, answers = data.draw(tables(recipe)), data.draw(st.booleans())
    said = replies(recipe)
    ended = grow(recipe, rows, lambda request: data.draw(said), cap=4, answers=answers)
    columns: set[tuple[str, ...]] = set()
    for item, outcome in ended:
        assert outcome.status in {"kept", "rejected"}
        assert bool(outcome.records) is (outcome.status == "kept")
        assert bool(outcome.reason) is (outcome.status == "rejected")
        columns |= {tuple(record) for record in outcome.records}
        encode_outcome(item, outcome)
    assert len(columns) < 2


@pytest.mark.parametrize("name", NAMES)
def test_without_answers_the_example_is_a_prompt(name: str) -> None:
    recipe = recipe_of(name, round="1", per_call="1") if "per_call" in recipe_of(name).settings else recipe_of(name)
    rows = [dict(recipe.example["row"]) | {"image": "images/dots.png", "text": f"{n} bells ring."} for n in range(6)]
    ((_, outcome), *_) = grow(recipe, rows, says(lambda request: recipe.example["reply"]), 1, answers=False)
    (record,) = outcome.records
    assert record["kind"] == "prompt"
    assert "completion" not in record
    assert record["prompt"][-1]["role"] == "user"


# -- grounding ---------------------------------------------------------------------------------------------------------


def test_citations_are_numbers_in_square_brackets_only() -> None:
    assert citations("So it is [2]. And [1, 3][2], not (4), [x] or [a5]; in 1999 [123456] too.") == [1, 2, 3]
    assert citations("") == []


def test_a_quote_holds_whole_words_in_their_order() -> None:
    text = "Rust — the red kind — eats\nthrough iron."
    assert holds(text, "the red kind eats through")
    assert not holds(text, "red the kind")
    assert not holds(text, "the red kin")
    assert not holds(text, "…")


DOCUMENTS = [
    {"title": f"Bell {n}", "text": f"Bell {n} was cast in the year {1700 + n} by the founder {n}."} for n in range(8)
]


def rag_reply(request: Request) -> str:
    """A question for each bell; an honest answer to it."""
    text = asked(request)
    if "Question: " not in text:
        return f"1. When was the bell of the founder {text.split('founder ')[1].split('.')[0]} cast, in which year?"
    number = text.split("Question: ")[1].split("founder ")[1].split(" cast")[0]
    place = next((line[1] for line in text.split("\n") if f"founder {number}." in line), "")
    return f"It was cast in {1700 + int(number)} [{place}]." if place else "The passages do not say."


def test_an_honest_teacher_loses_nothing_and_a_share_is_unanswerable() -> None:
    recipe = recipe_of("rag", round="8", per_call="1", passages="3", unanswerable="0.4", rouge="1")
    ended = grow(recipe, [dict(row) for row in DOCUMENTS], says(rag_reply), wanted=8)
    assert [outcome.status for _, outcome in ended] == ["kept"] * 8
    records = [outcome.records[0] for _, outcome in ended]
    oracles = [orjson.loads(record["meta"]["details"])["oracle"] for record in records]
    assert 0 < oracles.count(0) < 8
    assert len(set(oracles)) > 2
    for record, oracle in zip(records, oracles, strict=True):
        assert len({document["title"] for document in record["documents"]}) == 3
        said = record["completion"][0]["content"]
        assert (f"[{oracle}]" in said) if oracle else (said == "The passages do not say.")


@pytest.mark.parametrize(
    ("share", "said", "reason"),
    [
        ("1.0", "Bell 3 [1].", "answers-unanswerable"),
        ("1.0", "The passages do not say. It was 1703.", "answers-unanswerable"),
        ("0.0", "The passages do not say.", "declines-answerable"),
        ("0.0", "It was in 1703.", "no-citation"),
        ("0.0", "It was in 1703 [1][2].", "wrong-citation"),
        ("0.0", "It was in 1703 [9].", "wrong-citation"),
    ],
)
def test_a_wrong_citation_is_a_reason(share: str, said: str, reason: str) -> None:
    recipe = recipe_of("rag", round="1", per_call="1", passages="3", unanswerable=share)
    rows = [dict(row) for row in DOCUMENTS]
    reply = says(lambda request: said if "Question: " in asked(request) else rag_reply(request))
    ((_, outcome), *_) = grow(recipe, rows, reply, cap=1)
    assert outcome.reason == reason


def test_too_few_documents_for_distractors_are_an_error() -> None:
    with pytest.raises(SeedError, match="takes 5 documents, and there are 4"):
        grow(recipe_of("rag"), DOCUMENTS[:4], says(rag_reply))


def test_long_documents_are_split_and_the_span_is_noted() -> None:
    recipe = recipe_of("document-qa", round="2", per_call="1", passage_words="8", passage_overlap="0", rouge="1")
    text = "The north mill grinds rye for bread. The south mill saws oak for the boats."

    def reply(request: Request) -> str:
        shown, _, question = asked(request).partition("Question: ")
        trade = "rye for bread" if "rye" in shown else "oak for the boats"
        work = "grind" if "rye" in shown else "saw"
        return f"<quote>{trade}</quote><answer>It is {trade}.</answer>" if question else f"1. What does a mill {work}?"

    ended = grow(recipe, [{"title": "Mills", "text": text}], says(reply))
    spans = [orjson.loads(outcome.records[0]["meta"]["details"])["span"] for _, outcome in ended]
    assert sorted(text[start:end] for start, end in spans) == [
        "The north mill grinds rye for bread.", "The south mill saws oak for the boats."
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "column"), [("document-qa", "text"), ("backtranslate", "text"), ("oss-instruct", "code")]
)
def test_a_blank_text_is_named_before_anything_is_asked(name: str, column: str) -> None:
    with pytest.raises(SeedError, match=r"seeds\.jsonl:2: the column .* is blank"):
        grow(recipe_of(name), [{column: "words"}, {column: " \n"}], says(lambda request: pytest.fail("asked")))


# -- backtranslation ---------------------------------------------------------------------------------------------------


def test_a_text_is_tried_until_one_instruction_is_kept() -> None:
    recipe = recipe_of("backtranslate", round="4", tries="3")
    numbers = iter(range(100))

    def reply(request: Request) -> str:
        if "how good an example" not in asked(request).lower():
            return f"How is tea made, please, in kitchen {next(numbers)}?"
        return "Score: 5" if "kitchen 2" in asked(request) else "Score: 4"

    rows = [{"text": "Boil water and pour it on leaves."}, {"text": "Bake the bread until it is brown."}]
    ended = grow(recipe, rows, says(reply), wanted=5, cap=100)
    assert [outcome.status for _, outcome in ended].count("kept") == 1
    assert len(ended) == 2 + 2 + 1, "two tries of both, and the third of the one that was not kept"
    (record,) = next(outcome.records for _, outcome in ended if outcome.records)
    assert record["completion"][0]["content"] in {row["text"] for row in rows}
    assert {outcome.reason for _, outcome in ended if outcome.reason} == {"low-score"}


# -- fragments, constraints, recommendation ----------------------------------------------------------------------------


@given(
    st.lists(st.sampled_from(["", "  ", "a = 1", "\tb()"]), min_size=1, max_size=20), st.integers(1, 15), st.integers()
)
def test_a_fragment_is_consecutive_lines(lines: list[str], most: int, seed: int) -> None:
    code = "\n".join([*lines, "end"])
    cut = fragment(random.Random(seed), code, most)
    assert cut in code
    assert cut.strip()
    assert cut.count("\n") < most


def test_two_problems_with_one_solution_are_one() -> None:
    problems = iter(
        [
            "Write a function that adds the numbers of a list, in any language that you know well, and test it.",
            "Somebody sells pears and wants to know what came in on one market day, in a program of a few lines.",
        ]
    )
    recipe = recipe_of("oss-instruct", round="2")
    solution = "Add them one after the other, which takes linear time and needs no library at all: sum(values)."
    reply = says(lambda request: f"<problem>{next(problems)}</problem><solution>{solution}</solution>")
    ended = grow(recipe, [{"code": "x = 1"}, {"code": "y = 2"}], reply, cap=2)
    assert [outcome.reason for _, outcome in ended] == ["", "duplicate-solution"]


def test_required_words_are_verified_on_the_answer() -> None:
    recipe = recipe_of("textbook", round="1", vocabulary="['kettle, folded', 'folded, kettle']")
    commission = (
        "Write a textbook section for beginners on steam, with a kettle on a stove, and end with one exercise on it."
    )
    text = "Steam is water that has become a gas. " * 12
    for said, reason in ((text, "violates-contains"), (text + "A kettle makes it; the letter is folded.", "")):
        reply = says(lambda request, said=said: said if "exactly as they are written" in asked(request) else commission)
        ((_, outcome), *_) = grow(recipe, [{"topic": "steam"}], reply, wanted=1, cap=1)
        assert outcome.reason == reason


def test_constraints_are_noted_and_shown_to_the_student() -> None:
    recipe = recipe_of("constraints", round="1", count="1")
    reply = says(lambda request: "Describe how a loaf of bread rises in the oven.")
    ((_, outcome), *_) = grow(recipe, [{"topic": "bread"}], reply, wanted=1, cap=1, answers=False)
    (record,) = outcome.records
    details = orjson.loads(record["meta"]["details"])
    assert len(details["constraints"]) == 1
    assert details["x"]["constraints"][0] in record["prompt"][0]["content"]


@pytest.mark.parametrize(
    ("said", "gold", "reason"),
    [
        ('"red apple"', "Red Apple", ""),
        ("Green Pear", "Red Apple", "wrong-item"),
        ("Green Pear", "", ""),
        ("Plum", "", "not-a-candidate"),
        ("", "", "not-a-candidate"),
    ],
)
def test_an_item_is_a_candidate_and_the_right_one(said: str, gold: str, reason: str) -> None:
    draft = Draft(Draw({"next": gold}), {"candidates": ["Red Apple", "Green Pear"]})
    assert judge_item(draft, {"item": said})[0] == reason


def test_candidates_come_in_another_order_for_each_request() -> None:
    titles = [f"Title {n}" for n in range(9)]
    recipe, orders, number = recipe_of("recommend", round="4", rouge="1"), set(), iter(range(9))

    def reply(request: Request) -> str:
        if "choose next" not in asked(request):
            return f"I would like something quiet for evening {next(number)}."
        orders.add(tuple(line for line in asked(request).split("\n") if line.startswith("- Title")))
        return "<rationale>It is the title that comes last in the row of all nine.</rationale><item>Title 8</item>"

    ended = grow(recipe, [{"history": titles[:2], "candidates": titles, "next": "Title 8"}], says(reply), wanted=4)
    assert [outcome.status for _, outcome in ended] == ["kept"] * 4
    assert len(orders) == 4


# -- vision ------------------------------------------------------------------------------------------------------------


def test_the_image_travels_and_the_record_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cat.png").write_bytes(PNG + b"cat")
    monkeypatch.chdir(tmp_path)
    requests: list[Request] = []

    def reply(request: Request) -> str:
        requests.append(request)
        return "1. What is there?" if len(requests) == 1 else "A cat is there."

    ((_, outcome), *_) = grow(
        recipe_of("vision-qa", round="1", per_call="1"), [{"image": "cat.png", "caption": "A cat."}], says(reply), 1
    )
    for request in requests:
        part, text = request.messages[0]["content"]
        assert base64.b64decode(part["image_url"]["url"].removeprefix("data:image/png;base64,")) == PNG + b"cat"
        assert text["type"] == "text"
    (record,) = outcome.records
    assert record["images"] == ["cat.png"]
    assert record["prompt"][0]["content"] == [{"type": "image"}, {"type": "text", "text": "What is there?"}]


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({}, "column image must be"),
        ({"image": 3}, "column image must be"),
        ({"image": "gone.png"}, "gone.png cannot be read: No such file"),
        ({"image": "."}, "cannot be read"),
        ({"image": "notes.txt"}, "no PNG, JPEG, GIF or WebP"),
    ],
)
def test_a_bad_image_is_named_with_its_row(
    row: dict[str, Any], problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "notes.txt").write_text("secret")
    monkeypatch.chdir(tmp_path)
    good = {"image": "images/dots.png", "caption": "Dots."}
    with pytest.raises(SeedError, match=rf"seeds\.jsonl:2: .*{problem}"):
        grow(recipe_of("vision-qa"), [good, {"caption": "Nothing.", **row}], says(lambda request: pytest.fail("asked")))


def test_a_teacher_that_is_not_known_to_see_is_refused_before_it_is_asked() -> None:
    needs = dict.fromkeys(("teacher", "answerer"), needs_of(recipe_of("vision-qa")))
    local = {"base_url": "http://127.0.0.1:9/v1"}
    seeing = Profile("eyes", "openai/eyes", capabilities={"vision": True}, **local)
    assert asyncio.run(resolve_teachers({"teacher": seeing}, needs, {}))["teacher"].capabilities.vision
    with pytest.raises(UsageError, match=r"blind: .*vision = true"):
        asyncio.run(resolve_teachers({"teacher": seeing, "answerer": Profile("blind", "openai/b", **local)}, needs, {}))


def test_an_image_is_never_lowered_for_a_blind_teacher() -> None:
    part = {"type": "image_url", "image_url": {"url": "data:image/png;base64,"}}
    request = Request([{"role": "user", "content": [part]}], {"max_tokens": 1})
    with pytest.raises(UsageError, match="not known to see"):
        chat_body("blind", Capabilities(), request)
    assert chat_body("eyes", Capabilities(vision=True), request)["messages"] == request.messages


def test_a_run_over_the_shipped_images_ends(tmp_path: Path) -> None:
    options = Options(teachers=("echo",), rows=2, max_candidates=4, settings={"round": "4"})
    summary = curate("@images", recipe="vision-qa", output=str(tmp_path / "out.jsonl"), options=options)
    assert summary.exit_code == 3
    with pytest.raises(UsageError, match="vision = true"):
        blind = Options(teachers=("openai/m",), base_url="http://127.0.0.1:9/v1", rows=2)
        curate("@images", recipe="vision-qa", output=str(tmp_path / "blind.jsonl"), options=blind)


def test_candidates_of_nearly_the_same_words_are_refused_where_the_recipe_says_so() -> None:
    recipe = load_recipe("persona", "curate")
    assert recipe.settings["minhash"] == 0.9
    for share, reason in (("0.9", "near-duplicate"), ("1.0", "")):
        made = apply_settings(recipe, {"rouge": "1.0", "minhash": share})
        admit = make_admit(Setup(made, {"teacher": "any"}, (), 0, make_stages(made, 0)), ())
        item, one = Item(0, "0" * 16, {}, "a test"), "Name one two three four five six seven eight nine rivers"
        drafts = [Draft(Draw({}), {"instruction": text}) for text in (one, " ".join(reversed(one.split())))]
        assert [admit(item, draft).reason for draft in drafts] == ["", reason]

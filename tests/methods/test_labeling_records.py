"""What one answer becomes beyond one plain row: parts, drawn settings, hidden prompts, scores and orders."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from distill_data.data.items import Item, Outcome
from distill_data.errors import UsageError
from distill_data.methods.labeling import make_labeling
from distill_data.recipes import apply_settings, load_recipe
from tests.methods.scripted import Said, Scripted, outcome_of


def label(name: str, row: dict[str, Any], *said: Said, item: str = "0" * 16, **settings: str) -> tuple[Outcome, Any]:
    """The outcome of one row, and the teacher that said so."""
    teacher = Scripted({"teacher": [[text, text] for text in said]})
    recipe = apply_settings(load_recipe(name, "label"), {**settings, "samples": str(len(said))})
    method = make_labeling(recipe, {"teacher": "teacher-name"}, [], 1)
    return outcome_of(method, Item(0, item, row, "seeds.jsonl:1"), teacher), teacher


def details(record: dict[str, Any]) -> dict[str, Any]:
    return dict(json.loads(record["meta"]["details"]))


def reasoned(why: str, label: str) -> str:
    return f"<rationale>{why}</rationale><label>{label}</label>"


TEXT = {"text": "The bread was stale.", "label": "negative"}


# parts


def test_one_answer_makes_a_label_row_and_a_rationale_row() -> None:
    outcome, teacher = label("step-by-step", TEXT, reasoned("Stale bread is a fault.", "Negative"))
    first, second = outcome.records
    assert first["prompt"][0]["content"].startswith("[label] ")
    assert second["prompt"] == [
        {"role": "user", "content": first["prompt"][0]["content"].replace("[label]", "[rationale]")}
    ]
    assert first["completion"] == [{"role": "assistant", "content": "negative"}]
    assert second["completion"] == [{"role": "assistant", "content": "Stale bread is a fault."}]
    assert first["answer"] == second["answer"] == "negative" and outcome.agrees is True
    assert first["id"] != second["id"]
    assert [details(record)["part"] for record in outcome.records] == ["label", "rationale"]
    assert len(teacher.asked) == 1 and "[label]" not in teacher.requests[0].messages[-1]["content"]


def test_prefixes_and_labels_are_settings() -> None:
    settings = {"prefixes": "{label: 'predict:', rationale: 'explain:'}", "labels": "{ham: '', spam: adverts}"}
    outcome, teacher = label("step-by-step", TEXT, reasoned("It sells nothing.", "ham"), **settings)
    assert [record["prompt"][0]["content"].split()[0] for record in outcome.records] == ["predict:", "explain:"]
    assert '"ham", "spam".\n- spam: adverts\n' in teacher.requests[0].messages[-1]["content"]
    rejected, _ = label("step-by-step", TEXT, reasoned("It is bad.", "negative"), **settings)
    assert (rejected.status, rejected.reason) == ("rejected", "not-a-choice")


def test_a_vote_over_parts_keeps_every_part_of_the_winner(tmp_path: Path) -> None:
    source = load_recipe("step-by-step", "label").path.read_text()
    path = tmp_path / "voted.jinja"
    path.write_text(source.replace("about:", "strategy: vote\nabout:", 1).replace("temperature: 0,", "temperature: 1,"))
    said = [
        reasoned("The loaf was warm.", "positive"),
        reasoned("It was not fresh.", "negative"),
        reasoned("It is stale.", "negative"),
    ]
    outcome, _ = label(str(path), TEXT, *said)
    assert [record["completion"][0]["content"] for record in outcome.records] == ["negative", "It was not fresh."]
    assert outcome.dropped == {"disagrees": 1, "same-answer": 1}


def test_rejection_counts_solutions_and_not_rows(tmp_path: Path) -> None:
    source = load_recipe("step-by-step", "label").path.read_text()
    path = tmp_path / "sampled.jinja"
    source = source.replace("about:", "strategy: rejection\nabout:", 1).replace("temperature: 0,", "temperature: 1,")
    source = source.replace("teachers: each\n", "keep: 2\n").replace("  agreement: 0.5\n", "")
    path.write_text(source.replace("rationale", "reasoning"))
    said = [
        f"<reasoning>It says {word} fault.</reasoning><label>negative</label>"
        for word in ("one", "one", "some", "every")
    ]
    outcome, _ = label(str(path), TEXT, *said)
    assert len(outcome.records) == 4 and len({record["id"] for record in outcome.records}) == 4
    assert outcome.dropped == {"same-reasoning": 1, "surplus": 1}


@pytest.mark.parametrize(
    ("old", "new"),
    [("rationale: {content: rationale}}", "rationale: {content: rational}}"), ("answer: label", "answer: lable")],
)
def test_a_field_that_the_parser_lacks_is_found_before_anything_is_asked(tmp_path: Path, old: str, new: str) -> None:
    source = load_recipe("step-by-step", "label").path.read_text()
    assert source.count(old) == 1
    path = tmp_path / "own.jinja"
    path.write_text(source.replace(old, new))
    with pytest.raises(UsageError, match=r"own\.jinja: the record wants the field .*; there are: rationale, label"):
        make_labeling(load_recipe(str(path), "label"), {"teacher": "t"}, [], 1)


# draw


def systems(item: str, seed: int = 0) -> tuple[str, int]:
    """The system message that an item draws, and which of the pool it is."""
    teacher = Scripted({"teacher": ["A river is water that flows."] * 2})
    recipe = apply_settings(load_recipe("explain", "label"), {"samples": "2"})
    method = make_labeling(recipe, {"teacher": "t"}, [], 1)
    row = {"instruction": "What is a river?"}
    outcome = outcome_of(method, Item(0, item, row, "seeds.jsonl:1", seed), teacher)
    messages = {json.dumps(request.messages) for request in teacher.requests}
    assert len(messages) == 1, "all samples of an item draw the same"
    assert {json.dumps(record["prompt"]) for record in outcome.records} == messages
    system, user = outcome.records[0]["prompt"]
    assert (system["role"], user) == ("system", {"role": "user", "content": "What is a river?"})
    number = details(outcome.records[0])["drawn"]["system"]
    assert recipe.settings["system"][number] == system["content"]
    return system["content"], number


def test_each_item_draws_its_own_system_message_and_always_the_same() -> None:
    ids = [f"{number:016x}" for number in range(200)]
    drawn = [systems(item) for item in ids]
    assert drawn[:20] == [systems(item) for item in ids[:20]]
    assert drawn[:20] != [systems(item, seed=1) for item in ids[:20]]
    counts = Counter(number for _, number in drawn)
    assert len(counts) == len(load_recipe("explain", "label").settings["system"]) >= 8
    assert max(counts.values()) < 50, "200 draws from 10 are about 20 each"


def test_the_pool_is_a_setting() -> None:
    outcome, _ = label("explain", {"instruction": "Go."}, "I go where the road goes.", system="[Be brief.]")
    assert outcome.records[0]["prompt"][0] == {"role": "system", "content": "Be brief."}


# erase


def test_the_hidden_prompt_is_kept_beside_the_row_and_not_in_it() -> None:
    outcome, teacher = label("erase", {"instruction": "Name a river."}, "The Elbe.")
    (record,) = outcome.records
    hidden = teacher.requests[0].messages[0]
    assert hidden == {"role": "system", "content": record["privileged_context"]}
    assert len(hidden["content"]) > 500
    generic = load_recipe("erase", "label").settings["generic"]
    assert record["prompt"] == [{"role": "system", "content": generic}, {"role": "user", "content": "Name a river."}]
    assert list(record) == ["id", "kind", "prompt", "completion", "privileged_context", "meta"]


def test_the_student_may_see_no_system_message_at_all() -> None:
    outcome, _ = label("erase", {"instruction": "Name a river."}, "The Elbe.", generic='""', guide="Say one word.")
    assert outcome.records[0]["prompt"] == [{"role": "user", "content": "Name a river."}]
    assert outcome.records[0]["privileged_context"] == "Say one word."


# summarize, translate, rewrite


@pytest.mark.parametrize(
    ("name", "settings", "reply", "reason"),
    [
        ("summarize", {"words": "5"}, "One two three four five.", ""),
        ("summarize", {"words": "5"}, "One two three four five six.", "too-long"),
        ("summarize", {}, "The bread was stale.", "echo"),
        ("translate", {}, "Das Brot war altbacken.", ""),
        ("translate", {}, "the bread was stale", "echo"),
        (
            "translate",
            {"to": "fr"},
            "Das Brot war alt und die Suppe war nicht warm, aber der Wein ist gut.",
            "language",
        ),
        ("translate", {"to": "zh"}, "面包不新鲜，我们都不想再吃第二口了。", ""),
        ("translate", {"to": "zh"}, "The bread is not fresh, and we did not want to eat more of it.", "language"),
        ("rewrite", {}, "I am sorry to say that the bread was not fresh.", ""),
        ("rewrite", {}, "The bread was STALE!", "echo"),
        ("rewrite", {}, "I'm sorry, but I can't help with that.", "refusal"),
    ],
)
def test_texts_about_texts(name: str, settings: dict[str, str], reply: str, reason: str) -> None:
    outcome, _ = label(name, {"text": "The bread was stale."}, reply, **settings)
    assert (outcome.status, outcome.reason) == ("rejected" if reason else "kept", reason)


def test_settings_stand_in_the_prompt() -> None:
    for name, settings, part in (
        ("summarize", {"words": "7"}, "at most 7 words"),
        ("translate", {"to": "el"}, "into Greek"),
        ("rewrite", {"style": "like a sailor: loud"}, "this style: like a sailor: loud."),
    ):
        _, teacher = label(name, {"text": "The bread was stale."}, "", **settings)
        assert part in teacher.requests[0].messages[0]["content"]


def test_a_language_that_cannot_be_told_is_refused() -> None:
    with pytest.raises(UsageError, match=r"no language 'German'\. .*There are: en, de"):
        label("translate", {"text": "x"}, "y", to="German")


# rank


DOCUMENTS = ["Ships sail.", "Dogs bark.", "Cats purr."]


@pytest.mark.parametrize("documents", [DOCUMENTS, json.dumps(DOCUMENTS), json.dumps([*DOCUMENTS, "Cows moo."])])
def test_rank_numbers_the_documents_and_reads_an_order(documents: object) -> None:
    row = {"query": "what does a cat do", "documents": documents, "best": "3"}
    outcome, teacher = label("rank", row, "3 > 2 > 1", size="3")
    (record,) = outcome.records
    assert "[1] Ships sail.\n[2] Dogs bark.\n[3] Cats purr.\n\nQuery:" in teacher.requests[0].messages[0]["content"]
    assert "Cows" not in str(record["prompt"])
    assert (record["completion"][0]["content"], record["answer"], outcome.agrees) == ("[3] > [2] > [1]", "3", True)
    assert label("rank", row, "[2] > [3] > [1]", size="3")[0].agrees is False
    assert label("rank", row, "[2] > [3]", size="3")[0].reason == "incomplete"


# grade


def test_grade_takes_the_rubric_from_the_row_or_the_settings() -> None:
    said = "<feedback>It gives no reason at all.</feedback><score>2</score>"
    outcome, teacher = label("grade", {"text": "Fine.", "score": "2"}, said)
    (record,) = outcome.records
    assert record["completion"] == [
        {"role": "assistant", "content": "2", "reasoning_content": "It gives no reason at all."}
    ]
    assert (record["answer"], outcome.agrees) == ("2", True)
    levels = load_recipe("grade", "label").settings["levels"]
    for asked in (teacher.requests[0].messages, record["prompt"]):
        assert all(f"{score}: {meaning}" in asked[0]["content"] for score, meaning in levels.items())
    outcome, teacher = label("grade", {"text": "Fine.", "rubric": "5: it rhymes"}, said)
    for asked in (teacher.requests[0].messages, outcome.records[0]["prompt"]):
        assert "5: it rhymes" in asked[0]["content"] and levels["5"] not in asked[0]["content"]


@pytest.mark.parametrize("score", ["0", "6", "4.5", "four", "3 or 4"])
def test_a_score_off_the_scale_is_rejected(score: str) -> None:
    said = f"<feedback>It gives no reason at all.</feedback><score>{score}</score>"
    assert label("grade", {"text": "Fine."}, said)[0].reason == "not-a-choice"


def test_a_number_is_written_as_people_write_it(tmp_path: Path) -> None:
    path = tmp_path / "scored.jinja"
    path.write_text(
        "---\nabout: Score it.\ncolumns: {text: required}\nparser: {score: [1, 10]}\n"
        "sampling: {temperature: 0, max_tokens: 8}\n"
        "record: {kind: sft, completion: {content: score}, answer: score}\n---\n{{ text }}\n"
    )
    for said, written in (("7", "7"), ("7.5", "7.5"), ("10/10", "10")):
        record = label(str(path), {"text": "Fine."}, said)[0].records[0]
        assert record["answer"] == record["completion"][0]["content"] == written

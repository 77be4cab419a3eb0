"""The labeling strategies, against a scripted teacher."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from distill_data.data.exchange import Answer, Request
from distill_data.data.items import Item, Outcome
from distill_data.errors import AnswerFailed, UsageError
from distill_data.methods.labeling import make_labeling
from distill_data.recipes import apply_settings, load_recipe
from distill_data.recipes.recipe import Recipe
from tests.methods.scripted import Said, Scripted, outcome_of

ROWS: dict[str, dict[str, Any]] = {
    "annotate": {"text": "The bread was stale.", "label": "negative"},
    "answer": {"instruction": "Name a river."},
    "cot": {"question": "What is 2 + 3?", "answer": "5"},
    "self-consistency": {"question": "What is 2 + 3?", "answer": "5"},
    "rejection": {"question": "What is 2 + 3?", "answer": "5"},
    "extract": {"text": "Ida Berg of Oslo orders 4 lamps."},
}
Script = Sequence[Said | Sequence[Said]]
PANEL = """---
about: Name something.
columns: {instruction: required}
settings: {teachers: each, rule: exact, agreement: 0.5}
parser: text
sampling: {temperature: 0.7, max_tokens: 16}
record: {kind: sft, completion: {content: text}}
---
{% message "user" %}
{{ instruction }}
{% endmessage %}
"""


def solution(value: str, reasoning: str = "2 + 3 = 5") -> str:
    return f"<reasoning>{reasoning}</reasoning><answer>{value}</answer>"


def label(
    name: str,
    script: Script | Mapping[str, Script],
    row: Mapping[str, Any] | None = None,
    resample: int = 1,
    **settings: str,
) -> tuple[Outcome, Scripted]:
    """The outcome of one item, and what was asked for it."""
    teacher = Scripted(script if isinstance(script, Mapping) else {"teacher": script})
    recipe = apply_settings(load_recipe(name, "label"), settings)
    return run(recipe, teacher, {**ROWS[name], **(row or {})}, resample), teacher


def run(recipe: Recipe, teacher: Scripted, row: dict[str, Any], resample: int = 1) -> Outcome:
    method = make_labeling(recipe, {role: f"{role}-name" for role in teacher.script}, [], resample)
    return outcome_of(method, Item(0, "0123456789abcdef", row, "seeds.jsonl:1"), teacher)


def panel(tmp_path: Path, *said: str, **settings: str) -> tuple[Outcome, Scripted]:
    """What becomes of one answer of each of several teachers; asked again, they say the same."""
    (tmp_path / "panel.jinja").write_text(PANEL)
    recipe = apply_settings(load_recipe(str(tmp_path / "panel.jinja"), "label"), settings)
    roles = ["teacher", *(f"teacher-{number}" for number in range(2, len(said) + 1))]
    teacher = Scripted({role: [[text, text]] for role, text in zip(roles, said, strict=True)})
    return run(recipe, teacher, ROWS["answer"]), teacher


def contents(outcome: Outcome) -> list[str]:
    return [record["completion"][0]["content"] for record in outcome.records]


def details(outcome: Outcome, index: int = 0) -> dict[str, Any]:
    return dict(json.loads(outcome.records[index]["meta"]["details"]))


class SlowAfterFirst(Scripted):
    """Says the first sample at once and the others later."""

    landed = 0

    async def __call__(self, request: Request, to: str = "teacher", **_: Any) -> Answer:
        if request.sample:
            await asyncio.sleep(0.01)
        said = await Scripted.__call__(self, request, to)
        self.landed += 1
        return said


# single


def test_single_keeps_what_parses() -> None:
    outcome, teacher = label("annotate", ["negative"])
    assert (outcome.status, contents(outcome), outcome.agrees) == ("kept", ["negative"], True)
    record = outcome.records[0]
    assert record["answer"] == "negative"
    assert record["prompt"] == teacher.requests[0].messages
    assert teacher.requests[0].choices == ("positive", "negative")
    assert record["meta"]["teacher"] == "teacher-name" and record["meta"]["model"] == "teacher-model"
    assert details(outcome) == {
        "sample": 0,
        "finish": "stop",
        "prompt_tokens": 10,
        "completion_tokens": 1,
        "sampling": {"temperature": 0, "max_tokens": 16},
        "checks": [],
    }


def test_gold_tells_whether_the_answer_agrees_but_never_rejects() -> None:
    assert label("annotate", ["positive"])[0].agrees is False
    assert label("annotate", ["positive"], {"label": ""})[0].agrees is None
    assert label("annotate", ["positive"], {"label": None})[0].agrees is None
    rejected, _ = label("annotate", ["neither of these"])
    assert (rejected.status, rejected.agrees) == ("rejected", False)


def test_single_makes_each_sample_a_record_and_counts_the_dropped() -> None:
    outcome, _ = label("answer", ["The Elbe.", "I'm sorry, but I can't help with that.", "The Rhône."], samples="3")
    assert contents(outcome) == ["The Elbe.", "The Rhône."]
    assert outcome.dropped == {"refusal": 1}
    assert [details(outcome, index)["sample"] for index in (0, 1)] == [0, 2]
    assert len({record["id"] for record in outcome.records}) == 2


def test_reject_says_why_and_keeps_every_answer() -> None:
    outcome, _ = label("cot", ["5"])
    assert (outcome.status, outcome.reason, outcome.answers) == ("rejected", "no-tag", ("5",))
    assert "<reasoning>" in outcome.detail


def test_the_student_sees_the_question_and_not_the_instructions() -> None:
    outcome, teacher = label("cot", [solution("5")])
    record = outcome.records[0]
    assert record["prompt"] == [{"role": "user", "content": "What is 2 + 3?"}]
    assert record["completion"] == [{"role": "assistant", "content": "5", "reasoning_content": "2 + 3 = 5"}]
    assert "<reasoning>" in teacher.requests[0].messages[-1]["content"]


def test_extract_asks_with_a_schema() -> None:
    text = '{"buyer": "Ida Berg", "item": "lamps", "quantity": 4, "city": "Oslo"}'
    outcome, teacher = label("extract", [text])
    assert json.loads(contents(outcome)[0]) == json.loads(text)
    assert teacher.requests[0].schema is not None
    assert label("extract", ['{"buyer": "Ida Berg"}'])[0].status == "rejected"


# Asking again


def test_a_reply_that_does_not_parse_is_asked_again() -> None:
    outcome, teacher = label("cot", [["no tags", solution("5")]], temperature="0.7")
    assert contents(outcome) == ["5"]
    assert teacher.asked == [("teacher", 0, 0), ("teacher", 0, 1)]
    assert details(outcome)["sample"] == 0


@pytest.mark.parametrize("resample", [0, 1, 3])
def test_it_is_asked_again_so_often_and_no_more(resample: int) -> None:
    outcome, teacher = label("cot", [["no tags"] * 5], temperature="0.7", resample=resample)
    assert outcome.reason == "no-tag"
    assert teacher.asked == [("teacher", 0, attempt) for attempt in range(resample + 1)]


def test_asking_again_at_temperature_0_is_pointless() -> None:
    outcome, teacher = label("cot", [["no tags"]])
    assert outcome.reason == "no-tag"
    assert teacher.asked == [("teacher", 0, 0)]


@pytest.mark.parametrize(
    ("finish", "reason"),
    [("length", "truncated"), ("refusal", "refusal"), ("content_filter", "content-filter")],
)
@pytest.mark.parametrize("text", ["no tags", solution("5")])
def test_an_unfinished_reply_is_rejected_and_not_asked_again(finish: str, reason: str, text: str) -> None:
    outcome, teacher = label("cot", [{"text": text, "finish": finish}], temperature="0.7", resample=3)
    assert (outcome.status, outcome.reason, outcome.answers) == ("rejected", reason, (text,))
    assert len(teacher.asked) == 1


def test_a_failed_check_is_final() -> None:
    outcome, teacher = label("answer", ["I'm sorry, but I can't help with that."], resample=3)
    assert outcome.reason == "refusal"
    assert len(teacher.asked) == 1


def test_a_refused_request_is_not_the_methods_business() -> None:
    with pytest.raises(AnswerFailed):
        label("answer", ["The Elbe.", {"fails": "bad-request"}], samples="2")


def test_all_samples_land_before_a_refused_request_is_told() -> None:
    """They are paid for, so a sibling's refusal must not lose them."""
    slow = SlowAfterFirst({"teacher": [{"fails": "bad-request"}, "The Elbe.", "The Po."]})
    recipe = apply_settings(load_recipe("answer", "label"), {"samples": "3"})
    with pytest.raises(AnswerFailed):
        run(recipe, slow, ROWS["answer"])
    assert slow.landed == 2


# vote


def test_vote_stops_when_it_is_decided() -> None:
    outcome, teacher = label("self-consistency", [solution("5", f"way {n}") for n in range(8)])
    assert contents(outcome) == ["5"]
    assert len(teacher.asked) == 4
    assert details(outcome)["agreement"] == 1.0 and details(outcome)["decided_after"] == 4
    assert outcome.records[0]["completion"][0]["reasoning_content"] == "way 0"
    assert (outcome.dropped, outcome.agrees) == ({"same-answer": 3}, True)


def test_vote_goes_on_in_waves() -> None:
    votes = [solution(value) for value in ("6", "5", "5", "5", "5", "5", "9", "9")]
    outcome, teacher = label("self-consistency", votes)
    assert contents(outcome) == ["5"]
    assert len(teacher.asked) == 5  # of the two in the second wave the first decides
    assert details(outcome) | {"decided_after": 5, "asked": 6, "agreement": 0.8} == details(outcome)
    assert outcome.dropped == {"disagrees": 1, "same-answer": 3}


def test_vote_counts_equal_forms_as_one_and_keeps_the_first() -> None:
    votes = [solution(value) for value in ("five.", "Five", "FIVE", " five ")]
    outcome, _ = label("self-consistency", votes, {"answer": "five"}, samples="4")
    assert contents(outcome) == ["five."]
    assert outcome.agrees is True


def test_a_tie_is_rejected() -> None:
    votes = [solution(value) for value in "55665566"]
    outcome, teacher = label("self-consistency", votes)
    assert (outcome.reason, len(outcome.answers)) == ("tie", 8)
    assert len(teacher.asked) == 8


def test_a_winner_with_too_few_votes_is_rejected() -> None:
    votes = [solution(value) for value in "55561234"]
    outcome, _ = label("self-consistency", votes, agreement="0.6")
    assert (outcome.status, outcome.reason) == ("rejected", "disagreement")
    assert outcome.detail == "agreement 0.38 is below 0.6"


def test_a_sample_that_does_not_parse_has_no_vote() -> None:
    votes: Script = [["no tags", "none again"], solution("5"), solution("5"), solution("5")]
    outcome, _ = label("self-consistency", votes, samples="4", waves="[4]")
    assert contents(outcome) == ["5"]
    assert details(outcome)["agreement"] == 1.0
    assert outcome.dropped == {"no-tag": 1, "same-answer": 2}


def test_a_vote_that_nobody_cast_has_the_first_reason() -> None:
    votes: Script = [{"text": "…", "finish": "length"}, *[["no tags", "none again"]] * 3]
    outcome, _ = label("self-consistency", votes, samples="4")
    assert outcome.reason == "truncated"


# rejection


def test_rejection_keeps_what_is_right_once() -> None:
    replies = [
        solution("5", "2 + 3 = 5"),
        solution("6", "2 * 3 = 6"),
        solution("5", "So we see that 2 + 3 = 5."),
        solution("5.0", "3 + 2 = 5"),
    ]
    outcome, _ = label("rejection", replies)
    assert contents(outcome) == ["5", "5.0"]
    assert outcome.dropped == {"not-verified": 1, "same-reasoning": 1}
    assert [details(outcome, index)["sample"] for index in (0, 1)] == [0, 3]
    assert outcome.agrees is True


def test_rejection_keeps_no_more_than_wanted() -> None:
    replies = [solution("5", f"{n} - {n} + 5 = 5") for n in range(4)]
    outcome, _ = label("rejection", replies, keep="1")
    assert contents(outcome) == ["5"]
    assert outcome.dropped == {"surplus": 3}


def test_rejection_without_a_right_sample() -> None:
    outcome, _ = label("rejection", [solution("6"), solution("7"), ["x", "x"], ["x", "x"]])
    assert (outcome.status, outcome.reason, outcome.agrees) == ("rejected", "not-verified", False)
    assert len(outcome.answers) == 4
    outcome, _ = label("rejection", [["x", "x"]] * 4)
    assert outcome.reason == "no-tag"


# Several teachers


def test_each_teacher_makes_its_records() -> None:
    outcome, _ = label("answer", {"teacher": ["The Elbe."], "teacher-2": ["The Po."]})
    assert contents(outcome) == ["The Elbe.", "The Po."]
    assert [record["meta"]["teacher"] for record in outcome.records] == ["teacher-name", "teacher-2-name"]
    assert [record["meta"]["model"] for record in outcome.records] == ["teacher-model", "teacher-2-model"]
    assert len({record["id"] for record in outcome.records}) == 2


def test_teachers_sample_in_turn() -> None:
    script = {"teacher": ["a", "b"], "teacher-2": ["c", "d"]}
    outcome, teacher = label("answer", script, samples="2")
    assert contents(outcome) == ["a", "c", "b", "d"]
    assert teacher.asked == [("teacher", 0, 0), ("teacher-2", 0, 0), ("teacher", 1, 0), ("teacher-2", 1, 0)]


def test_each_is_what_teachers_do_unless_told(tmp_path: Path) -> None:
    assert contents(panel(tmp_path, "Elbe", "Po", "Elbe")[0]) == ["Elbe", "Po", "Elbe"]


def test_teachers_vote(tmp_path: Path) -> None:
    outcome, teacher = panel(tmp_path, "Po", "Elbe", "elbe.", teachers="vote")
    assert contents(outcome) == ["Elbe"]
    assert outcome.records[0]["meta"]["teacher"] == "teacher-2-name"
    assert outcome.dropped == {"disagrees": 1, "same-answer": 1}
    assert len(teacher.asked) == 3
    assert panel(tmp_path, "Po", "Elbe", teachers="vote")[0].reason == "tie"


def test_teachers_give_the_best_by_agreement(tmp_path: Path) -> None:
    outcome, _ = panel(tmp_path, "bananas", "a long river", "a long and wide river", teachers="best")
    assert contents(outcome) == ["a long river"]
    assert outcome.dropped == {"not-best": 2}
    assert details(outcome)["answers"] == 3
    assert 0 < details(outcome)["agreement"] < 1


def test_best_of_one_that_counts(tmp_path: Path) -> None:
    outcome, _ = panel(tmp_path, "", "Po", teachers="best")
    assert contents(outcome) == ["Po"]
    assert sum(outcome.dropped.values()) == 1
    assert panel(tmp_path, "", "", teachers="best")[0].status == "rejected"


# Settings that cannot work


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("cot", {"samples": "2"}, "temperature 0"),
        ("self-consistency", {"rule": "most"}, "rule=most"),
        ("self-consistency", {"waves": "[4, 0]"}, "waves"),
        ("self-consistency", {"waves": "[x]"}, "waves"),
        ("self-consistency", {"agreement": "1.5"}, "agreement"),
    ],
)
def test_settings_that_cannot_work(name: str, settings: dict[str, str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        make_labeling(apply_settings(load_recipe(name, "label"), settings), {"teacher": "t"}, [], 1)


def test_an_unknown_way_for_several_teachers(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="each, vote, best"):
        panel(tmp_path, "Po", teachers="most")


@pytest.mark.parametrize("line", ["strategy: guess", "strategy: rejection"])
def test_a_strategy_that_is_unknown_or_lacks_its_verifier(tmp_path: Path, line: str) -> None:
    path = tmp_path / "own.jinja"
    path.write_text(PANEL.replace("about:", f"{line}\nabout:"))
    with pytest.raises(UsageError, match=r"own\.jinja"):
        make_labeling(load_recipe(str(path), "label"), {"teacher": "t"}, [], 1)

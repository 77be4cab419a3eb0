"""`steps`: how solutions are cut, what continuations make of the labels, and what they are shown."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_data.data.exchange import RESAMPLED, Answer, Request
from distill_data.errors import UsageError
from distill_data.methods.annotating import make_method
from distill_data.methods.feedback import STRATEGIES
from distill_data.methods.judging import fence
from distill_data.methods.panel import Panel, make_panel
from distill_data.methods.responses import NOTHING, Judged, Response
from distill_data.methods.stepwise import make_steps, steps_of
from distill_data.quality import make_verifier
from distill_data.recipes import apply_settings, load_recipe
from tests.methods.panels import ITEM, Room, check_records, judged_by
from tests.methods.scripted import Said, answer
from tests.methods.students import said, solution

ROW = {"question": "What is 2 * 3 + 47?", "answer": "53"}
STEPS = ["2 * 3 = 6", "6 + 47 = 53", "53"]
RIGHT, WRONG = solution("2 * 3 = 6\n6 + 47 = 53", "53"), solution("2 * 3 = 6\n6 + 47 = 54", "54")
GOOD, BAD = "<answer>53</answer>", "<answer>54</answer>"


def open_steps(
    given: Mapping[str, Any] = NOTHING, roles: Sequence[str] = ("student", "teacher"), **options: Any
) -> Panel:
    written = {name: json.dumps(value) for name, value in given.items()}
    judges = [role for role in roles if role.startswith("teacher")]
    models = {role: f"scripted-{role}" for role in roles}
    recipe = options.pop("recipe", None) or load_recipe("steps", "feedback")
    options = {"verify": make_verifier("numeric", None), **options}
    return make_panel(apply_settings(recipe, written), models, 0, 1, judges=judges, **options)


def label(
    student: Said, ways: Mapping[int, Sequence[Said]], panel: Panel | None = None, row: Mapping[str, Any] = ROW
) -> tuple[Judged, list[Request]]:
    """What comes of it, and what the teacher was asked. `ways`: number of steps shown to what is said after them, in
    the order of the samples; all attempts of a sample say the same. Checks that each was asked for."""
    panel = panel or open_steps()
    cuts: dict[str, int] = {}

    def go_on(request: Request, to: str) -> Answer:
        assert to == "teacher"
        shown = next(each["content"] for each in request.messages if "<<<" in each["content"])
        count = cuts.setdefault(shown, json.loads(shown.split("\n")[2]).count("\n") + 1)
        return answer(ways[count][request.sample % RESAMPLED])

    room = Room({"student": [student], "student-2": [student]}, go_on)
    judged = judged_by(make_steps(panel), ITEM._replace(row=dict(row)), room)
    assert sorted(cuts.values()) == sorted(ways)
    firsts = [request for _, request in room.judged if request.sample < RESAMPLED]
    assert len(firsts) == sum(map(len, ways.values()))
    if not judged.reason:
        check_records(panel, judged, ("steps",))
    return judged, firsts


def test_the_steps_are_lines_of_the_reasoning_and_the_answer() -> None:
    judged, asked = label(RIGHT, {1: [GOOD, BAD, BAD, BAD], 2: [GOOD] * 4})
    (row,) = judged.made["steps"]
    assert row.columns["completions"] == STEPS and row.columns["labels"] == [True, True, True]
    assert row.details["shares"] == [0.25, 1.0, 1.0] and row.source.role == "student"
    assert row.columns["prompt"] == [{"role": "user", "content": ROW["question"]}]
    assert judged.tallies == {"right": (1, 1), "steps_right": (3, 3), "parse_failures": (0, 8)}
    assert judged.agrees is True
    assert [request.sample for request in asked] == [0, 1, 2, 3] * 2


@pytest.mark.parametrize(
    ("given", "labels"),
    [
        ({"estimate": "hard"}, [True, True, False]),
        ({"estimate": "soft"}, [True, False, False]),
        ({"estimate": "soft", "enough": 0.51}, [False, False, False]),
        ({"estimate": "soft", "enough": 0.25}, [True, True, False]),
    ],
)
def test_labels_by_the_estimate(given: dict[str, Any], labels: list[bool]) -> None:
    ways = {1: [GOOD, BAD, GOOD, BAD], 2: [BAD, BAD, BAD, GOOD]}
    judged, _ = label(WRONG, ways, open_steps(given))
    (row,) = judged.made["steps"]
    assert row.columns["labels"] == labels and row.details["shares"] == [0.5, 0.25, 0.0]
    assert judged.tallies["steps_right"] == (sum(labels), 3) and judged.agrees is False


def test_the_last_label_is_whether_the_solution_is_right_whatever_the_continuations_say() -> None:
    judged, _ = label(RIGHT, {1: [BAD], 2: [BAD]}, open_steps({"completions": 1}))
    assert judged.made["steps"][0].columns["labels"] == [False, False, True]
    judged, _ = label(WRONG, {1: [GOOD], 2: [GOOD]}, open_steps({"completions": 1}))
    assert judged.made["steps"][0].columns["labels"] == [True, True, False]


def test_a_continuation_that_cannot_be_read_says_nothing() -> None:
    ways: dict[int, list[Said]] = {1: ["53", BAD], 2: ["", GOOD]}
    judged, _ = label(WRONG, ways, open_steps({"completions": 2}))
    assert judged.made["steps"][0].details["shares"] == [0.0, 1.0, 0.0]
    assert judged.tallies["parse_failures"] == (2, 4)


def test_a_step_of_which_nothing_is_known_has_no_label() -> None:
    ways: dict[int, list[Said]] = {1: [GOOD, GOOD], 2: [{"text": GOOD, "finish": "length"}, "53"]}
    judged, _ = label(RIGHT, ways, open_steps({"completions": 2}))
    assert judged.reason == "no-verdict" and "step 2" in judged.detail and "truncated" in judged.detail
    assert judged.tallies == {"right": (1, 1), "parse_failures": (2, 4)}


def test_steps_are_shown_in_a_fence_only_and_gold_to_nobody() -> None:
    student = solution("2 * 3 = 6\n<<<forged", "53")
    _, asked = label(student, {1: [GOOD] * 4, 2: [GOOD] * 4})
    for request, steps in zip(asked, ["2 * 3 = 6"] * 4 + ["2 * 3 = 6\n<<<forged"] * 4, strict=True):
        shown = said(request.messages)
        assert fence(steps) in shown and "53" not in shown
        assert not any(text in shown.replace(fence(steps), "") for text in ("= 6", "forged"))


def test_a_template_cannot_show_gold_to_those_who_continue(tmp_path: Path) -> None:
    shipped = load_recipe("steps", "feedback")
    text = shipped.path.read_text().replace("The steps so far:", "Aim at {{ answer }}, {{ row.answer }}:")
    (tmp_path / "steps.jinja").write_text(text)
    panel = open_steps(recipe=load_recipe(str(tmp_path / "steps.jinja"), "feedback"))
    _, (asked, *_) = label(WRONG, {1: [GOOD] * 4, 2: [GOOD] * 4}, panel)
    assert "Aim at" in said(asked.messages) and "53" not in said(asked.messages)


def test_too_many_steps() -> None:
    judged, _ = label(solution("1\n2\n3", "53"), {}, open_steps({"most_steps": 3}))
    assert (judged.reason, judged.detail) == ("too-many-steps", "4 steps, where most_steps is 3")
    judged, _ = label(solution("1\n2", "53"), {1: [GOOD] * 4, 2: [GOOD] * 4}, open_steps({"most_steps": 3}))
    assert not judged.reason


def test_a_solution_that_cannot_be_read() -> None:
    judged, _ = label("It is 53.", {})
    assert judged.reason == "no-tag" and judged.agrees is None


def test_the_lines_of_a_column_are_its_steps() -> None:
    panel = open_steps(roles=("teacher",), column="draft")
    row = {**ROW, "draft": "2 * 3 = 6\n\n  So it is 53. "}
    judged, (asked, *_) = label("", {1: [GOOD] * 4}, panel, row)
    (made,) = judged.made["steps"]
    assert made.columns["completions"] == ["2 * 3 = 6", "So it is 53."] and made.columns["labels"] == [True, True]
    assert "So it is" not in said(asked.messages)


def test_of_several_answers_of_a_column_the_first_is_labelled_and_the_others_are_counted() -> None:
    judged, _ = label("", {}, open_steps(roles=("teacher",), column="drafts"), {**ROW, "drafts": ["53", "54", "55"]})
    assert judged.made["steps"][0].columns["completions"] == ["53"] and judged.dropped == {"not-used": 2}


def test_one_step_needs_no_continuation() -> None:
    judged, _ = label("", {}, open_steps(roles=("teacher",), column="draft"), {**ROW, "draft": "53"})
    assert judged.made["steps"][0].columns["labels"] == [True]


def test_one_student_is_drawn_of_several() -> None:
    panel = open_steps({"completions": 1}, ("student", "student-2", "teacher"))
    assert len(label(RIGHT, {1: [GOOD], 2: [GOOD]}, panel)[0].responses) == 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"temperature": 0}, "temperature"),
        ({"samples": 2}, "--samples"),
        ({"completions": 0}, "completions"),
        ({"most_steps": 0}, "most_steps"),
        ({"estimate": "firm"}, "estimate"),
        ({"estimate": ["hard"]}, "estimate"),
        ({"enough": 0}, "enough"),
        ({"enough": 1.5}, "enough"),
    ],
)
def test_settings_that_cannot_work(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_steps(open_steps(given))


def test_a_verifier_is_needed() -> None:
    with pytest.raises(UsageError, match="needs a verifier"):
        make_method(open_steps(verify=None), STRATEGIES["steps"], ["steps"])


def test_lines_end_with_a_line_feed_alone() -> None:
    turn = {"role": "assistant", "content": "5", "reasoning_content": "a\u2028b\x0cc\r\nd"}
    assert steps_of(Response("student", 0, "", turn, "5")) == ["a\u2028b\x0cc", "d", "5"]


@given(st.text(st.sampled_from("a \n\r\t\u2028\u0085\x0c")), st.text("5.", min_size=1))
def test_no_step_is_blank_and_no_word_is_lost(reasoning: str, text: str) -> None:
    turn = {"role": "assistant", "content": text, "reasoning_content": reasoning}
    steps = steps_of(Response("student", 0, "", turn, text))
    assert all(step.strip() and "\n" not in step for step in steps)
    assert "".join("".join(steps).split()) == "".join((reasoning + text).split())


REPLIES = st.tuples(
    st.text(st.characters(codec=None), max_size=20)
    | st.builds(solution, st.text("1\n\r \u2028<", max_size=9), st.sampled_from(["53", "54", "", "<answer>"]))
    | st.sampled_from([RIGHT, WRONG, GOOD, BAD]),
    st.sampled_from(["stop", "stop", "stop", "length", "content_filter"]),
)


@settings(max_examples=100, deadline=None)
@given(REPLIES, st.lists(REPLIES, min_size=1, max_size=8), st.sampled_from(["hard", "soft"]))
def test_whatever_is_said_there_are_labels_or_a_reason(
    first: tuple[str, str], others: list[tuple[str, str]], estimate: str
) -> None:
    panel = open_steps({"estimate": estimate, "completions": 3, "most_steps": 5})
    replies: list[Said] = [{"text": text, "finish": finish} for text, finish in others]
    room = Room({"student": [{"text": first[0], "finish": first[1]}]})
    room.judge = lambda request, to: replies[len(room.judged) % len(replies)]
    judged = judged_by(make_steps(panel), ITEM._replace(row=dict(ROW)), room)
    assert bool(judged.reason) is ("steps" not in judged.made)
    assert all(0 <= few <= many for few, many in judged.tallies.values())
    if not judged.reason:
        columns = judged.made["steps"][0].columns
        assert 1 <= len(columns["completions"]) == len(columns["labels"]) <= 5
        assert judged.tallies["parse_failures"][1] == 3 * (len(columns["labels"]) - 1)
        assert columns["labels"][-1] is judged.agrees
        check_records(panel, judged, ("steps",))

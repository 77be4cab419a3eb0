"""`correct`: what is right already, fixes that count, what the teacher is shown, code with unit tests."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_data.data.exchange import Request
from distill_data.errors import UsageError
from distill_data.methods.annotating import make_method
from distill_data.methods.feedback import STRATEGIES
from distill_data.methods.judging import fence
from distill_data.methods.panel import Panel, make_panel
from distill_data.methods.repairing import make_correcting
from distill_data.methods.responses import NOTHING, Judged
from distill_data.quality import make_verifier
from distill_data.recipes import Recipe, apply_settings, load_recipe
from tests.methods.panels import ITEM, Room, check_records, judged_by
from tests.methods.scripted import Said
from tests.methods.students import said, solution

ROW = {"question": "What is 20 + 31?", "answer": "51"}
RIGHT, WRONG = solution("20 + 31 = 51", "51"), solution("31 - 20 = 11", "11")
WHOLE = "31 - 20 = 11\n\n11"
KINDS = STRATEGIES["correct"].kinds
CODE = """---
about: Repair code.
strategy: correct
columns: {task: required, tests: required}
settings: {pairs: best-worst, margin: 0}
parser: code
verifier: tests
gold: tests
sampling: {max_tokens: 100}
stages:
  repair: {parser: code}
record: {kind: sft, completion: {content: code}}
---
{% block main %}{% message "user" %}{{ task }}{% endmessage %}{% endblock %}
{% block repair %}{% message "user" %}{{ task }} {{ tests }}
{{ response }}
{{ error }}{% endmessage %}{% endblock %}
{% block student_repair %}{% message "user" %}{{ task }} {{ tests }}
{{ response }}
{{ error }}{% endmessage %}{% endblock %}
"""


def open_recipe(recipe: Recipe, roles: Sequence[str] = ("student", "teacher"), **options: Any) -> Panel:
    assert recipe.verifier is not None
    verify = make_verifier(recipe.verifier.name, recipe.verifier.args, allow_code=True)
    judges = [role for role in roles if role.startswith("teacher")]
    models = {role: f"scripted-{role}" for role in roles}
    return make_panel(recipe, models, 0, 0, judges=judges, **{"verify": verify, **options})


def open_correct(given: Mapping[str, Any] = NOTHING, **options: Any) -> Panel:
    written = {name: json.dumps(value) for name, value in given.items()}
    return open_recipe(apply_settings(load_recipe("correct", "feedback"), written), **options)


def correct(
    student: Said, fixes: Sequence[Said] = (), panel: Panel | None = None, row: Mapping[str, Any] = ROW
) -> tuple[Judged, list[Request]]:
    """What comes of it, and what the teacher was asked. Checks that all fixes were asked for, and every record."""
    turn, panel = iter(fixes), panel or open_correct()
    room = Room({"student": [student], "student-2": [student]}, lambda request, to: next(turn))
    judged = judged_by(make_correcting(panel), ITEM._replace(row=dict(row)), room)
    assert len(room.judged) == len(fixes)
    if not judged.reason:
        check_records(panel, judged, KINDS)
    return judged, [request for _, request in room.judged]


def test_a_fix_is_two_rows_and_preferred_to_the_wrong_answer() -> None:
    judged, _ = correct(WRONG, [RIGHT])
    assert [(each.role, each.text, each.score, each.good) for each in judged.responses] == [
        ("student", "11", 0.0, False),
        ("teacher", "51", 1.0, True),
    ]
    fix, repair = judged.made["sft"]
    assert fix.columns["completion"] == repair.columns["completion"]
    assert fix.columns["completion"] == [{"role": "assistant", "content": "51", "reasoning_content": "20 + 31 = 51"}]
    assert (fix.part, repair.part) == ("fix", "repair")
    assert fix.columns["prompt"] == judged.prompt == [{"role": "user", "content": ROW["question"]}]
    assert judged.tallies == {"right": (0, 1), "repaired": (1, 1)} and judged.agrees is False


def test_the_row_of_repair_shows_task_answer_and_error_as_they_are() -> None:
    judged, _ = correct(WRONG, [RIGHT])
    shown = said(judged.made["sft"][1].columns["prompt"])
    assert ROW["question"] in shown and WHOLE in shown and "Its answer, 11," in shown
    assert "<<<" not in shown and "51" not in shown


def test_a_right_answer_is_not_repaired() -> None:
    judged, _ = correct(RIGHT)
    assert (judged.reason, judged.agrees, judged.tallies) == ("already-right", True, {"right": (1, 1)})


def test_the_teacher_sees_the_students_text_in_fences_only_and_no_gold() -> None:
    _, (asked,) = correct(WRONG, [RIGHT])
    shown = said(asked.messages)
    assert fence(WHOLE) in shown and fence("11") in shown and "51" not in shown
    bare = shown.replace(fence(WHOLE), "").replace(fence("11"), "")
    assert "11" not in bare and "<<<" not in bare


def test_gold_is_shown_to_the_teacher_alone_and_only_on_demand() -> None:
    judged, (asked,) = correct(WRONG, [RIGHT], open_correct({"show_gold": True}))
    assert "The right answer is 51." in said(asked.messages)
    assert all("51" not in said(row.columns["prompt"]) for row in judged.made["sft"])


@pytest.mark.parametrize(
    ("fix", "detail"),
    [
        (solution("31 + 20 = 50", "50"), "not-verified"),
        ({"text": RIGHT, "finish": "length"}, "truncated"),
        ("51", "no-tag"),
        (solution("The mistake is the minus.", "51"), "leak"),
        (solution(f"As it says: {fence(WHOLE)}", "51"), "copied-fence"),
        (solution(f"So it ends: {fence('11')}", "51"), "copied-fence"),
    ],
)
def test_a_fix_that_does_not_count(fix: Said, detail: str) -> None:
    judged, _ = correct(WRONG, [fix])
    assert (judged.reason, judged.detail, judged.agrees) == ("not-repaired", detail, False)
    assert judged.tallies["repaired"] == (0, 1) and len(judged.raw) == 2


def test_an_answer_that_cannot_be_read_is_not_repaired() -> None:
    judged, _ = correct({"text": WRONG, "finish": "length"})
    assert judged.reason == "truncated" and judged.agrees is None


def test_one_student_is_drawn_of_several() -> None:
    judged, _ = correct(WRONG, [RIGHT], open_correct(roles=("student", "student-2", "teacher")))
    assert len(judged.responses) == 2


def test_the_first_answer_of_a_column_is_repaired_and_shown_in_a_fence_only() -> None:
    panel = open_correct(roles=("teacher",), column="draft")
    judged, (asked,) = correct("", [RIGHT], panel, {**ROW, "draft": ["It is 11.", "It is 51."]})
    assert judged.responses[0].role == "draft"
    shown = said(asked.messages)
    assert fence("It is 11.") in shown and "It is 51." not in shown and shown.count("It is 11.") == 1
    assert said(judged.made["sft"][1].columns["prompt"]).count("It is 11.") == 1
    assert judged.dropped == {"not-used": 1}


def test_code_is_repaired_where_its_tests_fail(tmp_path: Path) -> None:
    path = tmp_path / "code.jinja"
    path.write_text(CODE)
    panel = open_recipe(load_recipe(str(path), "feedback"), slow=True)
    wrong, fix = ("```python\ndef inc(n):\n    return n %s 1\n```" % sign for sign in "-+")  # noqa: UP031
    row = {"task": "Write inc.", "tests": "assert inc(41) == 42"}
    judged, (asked,) = correct(wrong, [fix], panel, row)
    assert judged.responses[1].text == "def inc(n):\n    return n + 1"
    assert fence("def inc(n):\n    return n - 1") in said(asked.messages) and "42" not in said(asked.messages)
    assert "42" not in said(judged.made["sft"][1].columns["prompt"])  # though the templates have it
    assert correct(wrong, [wrong], panel, row)[0].detail == "not-verified"
    assert correct(fix, (), panel, row)[0].reason == "already-right"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("block student_repair", "block other", "student_repair"),
        ("repair: {parser: code}", "repair: {parser: text}", "needs code from the stage repair"),
        ("  repair: {parser: code}", "  student_repair: {parser: code}", "needs the stage repair"),
    ],
)
def test_what_a_recipe_must_have(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "code.jinja"
    path.write_text(CODE.replace(old, new))
    with pytest.raises(UsageError, match=message):
        make_correcting(open_recipe(load_recipe(str(path), "feedback"), verify=lambda answer, gold: True))


@pytest.mark.parametrize("given", [{"samples": 2}, {"show_gold": "yes"}])
def test_settings_that_cannot_work(given: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(given))):
        make_correcting(open_correct(given))


def test_a_verifier_is_needed() -> None:
    with pytest.raises(UsageError, match="needs a verifier"):
        make_method(open_correct(verify=None), STRATEGIES["correct"], ["sft"])


REPLIES = st.tuples(
    st.text(st.characters(codec=None), max_size=20)
    | st.builds(solution, st.text(max_size=9), st.sampled_from(["51", "11", "", "<answer>", "\u2028"]))
    | st.sampled_from([RIGHT, WRONG, solution(fence(WHOLE), "51")]),
    st.sampled_from(["stop", "stop", "stop", "length", "content_filter"]),
)


@settings(max_examples=150, deadline=None)
@given(REPLIES, REPLIES)
def test_whatever_is_said_there_is_a_right_fix_or_a_reason(first: tuple[str, str], second: tuple[str, str]) -> None:
    panel = open_correct()
    student, fix = ({"text": text, "finish": finish} for text, finish in (first, second))
    asked: list[Request] = []
    room = Room({"student": [student]}, lambda request, to: asked.append(request) or fix)  # type: ignore[func-returns-value]
    judged = judged_by(make_correcting(panel), ITEM._replace(row=dict(ROW)), room)
    assert bool(judged.reason) is (len(judged.responses) < 2) is ("sft" not in judged.made)
    assert all(few <= many for few, many in judged.tallies.values())
    if not judged.reason:
        assert judged.responses[1].text.rstrip(".").endswith("51") and "<<<" not in said(
            judged.made["sft"][1].columns["prompt"]
        )
        check_records(panel, judged, KINDS)

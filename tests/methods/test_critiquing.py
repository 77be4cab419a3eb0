"""`critique`: rounds of critique and revision, rows of critiques, what ends a round early."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_data.data.exchange import Request
from distill_data.data.items import Item
from distill_data.errors import UsageError
from distill_data.methods.annotating import make_method
from distill_data.methods.critiquing import make_critiquing
from distill_data.methods.feedback import STRATEGIES
from distill_data.methods.judging import fence
from distill_data.methods.responses import NOTHING, Judged
from tests.methods.panels import Room, check_records, judged_by, open_panel
from tests.methods.scripted import Said, outcome_of

ITEM = Item(0, "0" * 16, {"instruction": "May I mix bleach and vinegar?"}, "seeds:1")
FIRST, SECOND, THIRD = (
    "Sure, go ahead.",
    "No: that makes chlorine gas.",
    "No. It makes chlorine, which burns the lungs.",
)
CRITIQUE = "It puts people in danger."


def critique(said: Sequence[Said], given: Mapping[str, Any] = NOTHING, **options: Any) -> tuple[Judged, list[Request]]:
    """What comes of it, and what the teacher was asked."""
    turn = iter(said)
    room = Room({"student": [FIRST], "student-2": [FIRST]}, lambda request, to: next(turn))
    panel = open_panel("critique", given, options.pop("roles", ("student", "teacher")), **options)
    judged = judged_by(make_critiquing(panel), ITEM._replace(row={**ITEM.row, "draft": FIRST}), room)
    return judged, [request for _, request in room.judged]


def text(request: Request) -> str:
    return "\n".join(message["content"] for message in request.messages)


def test_the_revision_is_preferred_to_the_answer() -> None:
    judged, asked = critique([CRITIQUE, SECOND])
    assert [(each.role, each.text, each.score, each.good) for each in judged.responses] == [
        ("student", FIRST, 0.0, False),
        ("teacher", SECOND, 1.0, True),
    ]
    assert judged.prompt == [{"role": "user", "content": ITEM.row["instruction"]}] and not judged.reason
    assert len(asked) == 2
    assert fence(FIRST) in text(asked[0]) and fence(FIRST) in text(asked[1]) and fence(CRITIQUE) in text(asked[1])


def test_what_models_wrote_stands_in_fences_only() -> None:
    _, asked = critique([CRITIQUE, SECOND])
    for request in asked:
        bare = text(request)
        for written in (FIRST, CRITIQUE):
            bare = bare.replace(fence(written), "")
            assert written not in bare


def test_each_round_starts_from_the_last_revision_and_draws_another_principle() -> None:
    judged, asked = critique([CRITIQUE, SECOND, "Say why it is so.", THIRD], {"rounds": 2})
    assert [each.text for each in judged.responses] == [FIRST, THIRD]
    assert fence(SECOND) in text(asked[2]) and fence(FIRST) not in text(asked[2])
    told = judged.details["rounds"]
    assert [each["critique"] for each in told] == [CRITIQUE, "Say why it is so."]
    assert told[0]["principle"] != told[1]["principle"]
    assert all(each["principle"] in text(asked[2 * number]) for number, each in enumerate(told))


def test_every_principle_is_drawn_by_some_item() -> None:
    panel = open_panel("critique")
    drawn = set()
    for number in range(80):
        turn = iter([CRITIQUE, SECOND])
        room = Room({"student": [FIRST]}, lambda request, to, turn=turn: next(turn))  # type: ignore[misc]
        judged = judged_by(make_critiquing(panel), ITEM._replace(id=f"{number:016x}"), room)
        drawn.add(judged.details["rounds"][0]["principle"])
    assert drawn == set(panel.setting("principles", []))


def test_critiques_are_rows_of_their_own() -> None:
    judged, _ = critique([CRITIQUE, SECOND, "Say why it is so.", THIRD], {"rounds": 2})
    first, second = judged.made["critique"]
    assert first.columns["completion"] == [{"role": "assistant", "content": CRITIQUE}]
    (asked,) = first.columns["prompt"]
    assert FIRST in asked["content"] and "<<<" not in asked["content"] and ITEM.row["instruction"] in asked["content"]
    assert SECOND in second.columns["prompt"][0]["content"]
    assert (first.source.role, first.part, second.part) == ("teacher", "critique-1", "critique-2")


def test_an_unchanged_answer_is_rejected() -> None:
    judged, _ = critique([CRITIQUE, f" {FIRST}\n"])
    assert judged.reason == "unchanged" and judged.raw == (FIRST, CRITIQUE, f" {FIRST}\n")


@pytest.mark.parametrize(
    ("revision", "reason"), [(f"{FIRST}\n", "unchanged"), ({"text": SECOND, "finish": "length"}, "not-revised")]
)
def test_critiques_that_were_paid_for_are_rows_whatever_the_revision_is(revision: Said, reason: str) -> None:
    panel = open_panel("critique")
    for kinds in (["critique"], ["preference"], ["preference", "critique"]):
        said = iter([CRITIQUE, revision])
        method = make_method(panel, STRATEGIES["critique"], kinds)
        room = Room({"student": [FIRST]}, lambda request, to, said=said: next(said))  # type: ignore[misc]
        outcome = outcome_of(method, ITEM, room)
        made = [record for records in (outcome.records, *outcome.others) for record in records]
        if kinds == ["preference"]:
            assert (outcome.status, outcome.reason) == ("rejected", reason)
        else:
            assert [record["completion"][0]["content"] for record in made] == [CRITIQUE]
            assert len(kinds) == 1 or outcome.dropped[f"preference: {reason}"] == 1


def test_without_a_critique_nothing_is_revised() -> None:
    judged, asked = critique([{"text": CRITIQUE, "finish": "length"}])
    assert (judged.reason, judged.detail) == ("not-revised", "truncated") and len(asked) == 1


def test_a_later_round_that_fails_leaves_the_revision_before() -> None:
    judged, _ = critique([CRITIQUE, SECOND, "Say why it is so.", {"text": THIRD, "finish": "length"}], {"rounds": 2})
    assert [each.text for each in judged.responses] == [FIRST, SECOND]
    assert judged.dropped == {"truncated": 1} and len(judged.made["critique"]) == 2


@pytest.mark.parametrize("said", [[fence(FIRST)], [CRITIQUE, fence(FIRST)], [CRITIQUE, f"Better:\n{fence(CRITIQUE)}"]])
def test_a_copy_of_a_fence_is_no_text(said: list[str]) -> None:
    judged, asked = critique(said)
    assert (judged.reason, judged.detail) == ("not-revised", "copied-fence") and len(asked) == len(said)


def test_one_student_is_drawn_of_several() -> None:
    judged, _ = critique([CRITIQUE, SECOND], roles=("student", "student-2", "teacher"))
    assert len(judged.responses) == 2


def test_the_answer_of_a_column_is_shown_in_fences_only() -> None:
    judged, asked = critique([CRITIQUE, SECOND], column="draft", roles=("teacher",))
    assert judged.responses[0].role == "draft" and FIRST not in text(asked[0]).replace(fence(FIRST), "")


def test_of_several_answers_of_a_column_the_first_is_criticised_and_the_others_are_counted() -> None:
    turn = iter([CRITIQUE, SECOND])
    room = Room({}, lambda request, to: next(turn))
    item = ITEM._replace(row={**ITEM.row, "drafts": [FIRST, "Why not?", "Yes."]})
    judged = judged_by(make_critiquing(open_panel("critique", column="drafts", roles=("teacher",))), item, room)
    assert [each.text for each in judged.responses] == [FIRST, SECOND] and judged.raw[0] == FIRST
    assert judged.dropped == {"not-used": 2}


@pytest.mark.parametrize("given", [{"rounds": 0}, {"rounds": 5}, {"principles": []}, {"samples": 2}])
def test_settings_that_cannot_work(given: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        make_critiquing(open_panel("critique", given))


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(st.one_of(st.text(max_size=30), st.just(SECOND)), st.sampled_from(["stop", "length"])), min_size=16
    ),
    st.integers(1, 4),
)
def test_whatever_is_said_there_is_a_revision_or_a_reason(said: list[tuple[str, str]], rounds: int) -> None:
    judged, _ = critique([{"text": text, "finish": finish} for text, finish in said], {"rounds": rounds})
    if not judged.reason:
        check_records(open_panel("critique"), judged, ("preference", "sft", "critique"))
    assert bool(judged.reason) == (len(judged.responses) < 2)
    assert len(judged.made["critique"]) <= rounds and sum(judged.dropped.values()) <= 1

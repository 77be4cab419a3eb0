"""Majority and consistency, against a scripted student."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_data.errors import UsageError
from distill_data.methods.annotating import make_method
from distill_data.methods.self_knowledge import STRATEGIES
from tests.methods.students import check_any_reply, open_student, play, said, solution

ROW = {"question": "What is 2 + 3?", "answer": "5"}
RIGHT = [solution("2 + 3 = 5", "5"), solution("3 + 2 = 5", "5."), solution("four and one", "5"), solution("5!", "5")]
WRONG = solution("2 * 3 = 6", "6")
CUT = {"text": "<reasoning>2 +", "finish": "length"}
FORMATS = ["First way.", "Second way.", "Third way."]


def majority(replies: list[Any], row: dict[str, str] = ROW, **given: Any) -> Any:
    return play("majority", replies, row, {"samples": len(replies), "waves": [len(replies)], **given})


def test_all_paths_that_agree_are_kept() -> None:
    judged, asked = majority([RIGHT[0], WRONG, RIGHT[1], RIGHT[2]], rule="exact")
    assert [(each.sample, each.score, each.good) for each in judged.responses] == [
        (0, 1.0, True), (1, 0.0, False), (2, 1.0, True), (3, 1.0, True),
    ]  # fmt: skip
    assert judged.tallies == {"majority": (3, 4)} and judged.agrees is True
    assert judged.prompt == [{"role": "user", "content": ROW["question"]}]
    assert judged.details["agreement"] == 0.75 and len(asked) == 4


def test_the_same_reasoning_is_kept_once() -> None:
    judged, _ = majority([RIGHT[0], solution("So: 2 + 3 = 5.", "5"), RIGHT[1], solution("2 + 3 = 5", "6")])
    assert [each.sample for each in judged.responses] == [0, 2, 3]
    assert judged.dropped == {"same-reasoning": 1}


def test_waves_end_where_the_vote_is_decided() -> None:
    """Four in the first wave, one more in the second; the sixth of the plan is never asked for."""
    judged, asked = play("majority", [RIGHT[0], WRONG, *RIGHT[1:]], ROW, {"samples": 6, "waves": [4, 1]})
    assert len(asked) == 5 and judged.details["decided_after"] == 5
    judged, asked = play("majority", RIGHT, ROW, {"samples": 6, "waves": [4, 1]})
    assert len(asked) == 4 and judged.tallies == {"majority": (4, 4)}


def test_a_wave_ends_where_the_vote_is_decided() -> None:
    """The fifth of the wave is not even asked for, where nothing has to be waited for."""
    judged, _ = play("majority", RIGHT, ROW, {"samples": 5, "waves": [5]})
    assert judged.details["asked"] == 5 and judged.details["decided_after"] == 4
    assert len(judged.responses) == 4 and judged.tallies == {"majority": (4, 4)}


@pytest.mark.parametrize(
    ("replies", "reason"),
    [
        ([RIGHT[0], WRONG], "tie"),
        ([RIGHT[0], CUT], "too-few-votes"),
        ([CUT, CUT], "truncated"),
        ([RIGHT[0], RIGHT[1], WRONG, solution("7", "7"), solution("8", "8")], "disagreement"),
    ],
)
def test_no_majority_is_a_reason(replies: list[Any], reason: str) -> None:
    judged, _ = majority(replies)
    assert (judged.reason, judged.agrees, len(judged.raw)) == (reason, False, len(replies))


def test_the_threshold_is_reached_by_being_equal_to_it() -> None:
    replies = [RIGHT[0], RIGHT[1], WRONG, solution("7", "7")]
    assert majority(replies, agreement=0.5)[0].reason == ""
    assert majority(replies, agreement=0.51)[0].reason == "disagreement"


def test_nobody_needs_to_know_the_answer() -> None:
    judged, _ = majority(RIGHT, {"question": ROW["question"]})
    assert judged.agrees is None and len(judged.responses) == 4
    assert majority(RIGHT, {**ROW, "answer": "6"})[0].agrees is False


def test_what_cannot_be_a_vote_is_refused() -> None:
    with pytest.raises(UsageError, match="at least 2: --samples 1"):
        make_method(open_student("majority", {"samples": 1}), STRATEGIES["majority"], ["sft"])
    with pytest.raises(UsageError, match="temperature 0, which are all the same"):
        make_method(open_student("majority", {"temperature": 0}), STRATEGIES["majority"], ["sft"])
    with pytest.raises(UsageError, match="no judge"):
        make_method(open_student("majority", canaries=["0" * 16]), STRATEGIES["majority"], ["sft"])
    for bad in ({"rule": "loud"}, {"waves": [0]}, {"waves": 4}, {"agreement": 1.5}):
        with pytest.raises(UsageError):
            STRATEGIES["majority"].make(open_student("majority", bad))


# -- consistency -------------------------------------------------------------------------------------------------------


def consistency(replies: list[Any], **given: Any) -> Any:
    return play("consistency-filter", replies, ROW, {"formats": FORMATS, "agreement": 0.6, **given})


def test_each_form_is_asked_once_and_one_answer_is_kept() -> None:
    judged, asked = consistency([WRONG, RIGHT[1], RIGHT[2]])
    assert [wording in said(messages) for wording, messages in zip(FORMATS, asked, strict=True)] == [True] * 3
    assert all(wording not in said(asked[0]) for wording in FORMATS[1:])
    (only,) = judged.responses
    assert (only.text, only.sample, only.good) == ("5.", 1, True)
    assert judged.prompt == [{"role": "user", "content": ROW["question"]}]
    assert judged.dropped == {"disagrees": 1, "same-answer": 1} and judged.tallies == {"majority": (2, 3)}
    assert judged.details == {"agreement": 2 / 3, "formats": 3, "format": 1} and judged.agrees is True


def test_the_share_is_one_of_all_forms() -> None:
    """A form whose reply can't be read does not agree."""
    assert consistency([RIGHT[0], RIGHT[1], CUT])[0].reason == ""
    assert consistency([RIGHT[0], RIGHT[1], CUT], agreement=0.7)[0].reason == "disagreement"


@pytest.mark.parametrize(
    ("replies", "reason"),
    [
        ([RIGHT[0], WRONG, CUT], "tie"),
        ([RIGHT[0], WRONG, solution("7", "7")], "tie"),
        ([RIGHT[0], CUT, CUT], "too-few-votes"),
        ([CUT, CUT, CUT], "truncated"),
    ],
)
def test_inconsistent_answers_are_rejected(replies: list[Any], reason: str) -> None:
    assert consistency(replies)[0].reason == reason


@pytest.mark.parametrize("bad", [{"formats": FORMATS[:2]}, {"formats": FORMATS[:1] * 3}, {"formats": "one"}])
def test_formats_that_cannot_work(bad: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="formats"):
        STRATEGIES["consistency"].make(open_student("consistency-filter", bad))


def test_several_samples_of_a_form_are_refused() -> None:
    with pytest.raises(UsageError, match="--samples 2 is too many"):
        STRATEGIES["consistency"].make(open_student("consistency-filter", {"samples": 2, "temperature": 0.5}))


@pytest.mark.parametrize("name", ["majority", "consistency-filter"])
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_reply_is_kept_or_rejected(name: str, data: st.DataObject) -> None:
    check_any_reply(name, data)

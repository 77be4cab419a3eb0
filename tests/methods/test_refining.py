"""SPIN, Self-Refine and Self-Align, against a scripted student."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_data.errors import SeedError, UsageError
from distill_data.methods.judging import fence
from distill_data.methods.refining import make_refine, make_self_align
from tests.methods.students import ID, check_any_reply, open_student, play, said

ROW = {"instruction": "Name a river."}
PAIR = {**ROW, "response": " The Danube. "}
CUT = {"text": "The", "finish": "length"}


# -- spin --------------------------------------------------------------------------------------------------------------


def test_the_reference_is_chosen_and_the_students_answer_rejected() -> None:
    judged, asked = play("spin", ["The Moon."], PAIR)
    chosen, rejected = judged.responses
    assert (chosen.role, chosen.model, chosen.text, chosen.score) == ("response", "", "The Danube.", 1.0)
    assert (rejected.role, rejected.text, rejected.score) == ("student", "The Moon.", 0.0)
    assert "Danube" not in said(asked[0]) and "Danube" not in said(judged.prompt)


def test_the_same_text_is_no_pair() -> None:
    assert play("spin", ["The Danube.\n"], PAIR)[0].reason == "same-text"
    judged, _ = play("spin", ["The Danube.", "The Rhine."], PAIR, {"samples": 2})
    assert len(judged.responses) == 2 and judged.dropped == {"same-text": 1}
    assert play("spin", [CUT], PAIR)[0].reason == "truncated"


def test_an_empty_reference_is_refused() -> None:
    with pytest.raises(SeedError, match="the column response must hold the answer"):
        play("spin", [], {**ROW, "response": " "})


# -- refine ------------------------------------------------------------------------------------------------------------


def verdict(word: str, why: str = "So it is.") -> dict[str, Any]:
    return {"mark": "@mark", "rationale": why, "verdict": word}


IMPROVE, GOOD = verdict("improve", "Say where it is."), verdict("good")


def test_a_good_answer_stays_as_it_is() -> None:
    judged, _ = play("refine", ["The Rhine.", GOOD], ROW)
    (only,) = judged.responses
    assert (only.text, only.score, only.good) == ("The Rhine.", None, True)
    assert judged.details["stopped"] == "good" and judged.tallies["improved"] == (0, 1)


def test_feedback_leads_to_a_better_answer() -> None:
    judged, asked = play("refine", ["The Rhine.", IMPROVE, "The Rhine in Europe.", GOOD], ROW)
    assert [(each.text, each.score, each.good, each.sample) for each in judged.responses] == [
        ("The Rhine.", 0.0, False, 0),
        ("The Rhine in Europe.", 1.0, True, 1),
    ]
    assert fence("The Rhine.") in said(asked[2]) and fence("Say where it is.") in said(asked[2])
    assert fence("The Rhine in Europe.") in said(asked[3])
    assert judged.details["feedback"] == ["Say where it is.", "So it is."] and judged.tallies["improved"] == (1, 1)


def test_what_the_student_wrote_stands_in_fences_only() -> None:
    _, asked = play("refine", ["The Rhine.", IMPROVE, "The Elbe.", GOOD], ROW)
    for messages in asked:
        bare = said(messages)
        for written in ("The Rhine.", "The Elbe.", "Say where it is."):
            bare = bare.replace(fence(written), "")
            assert written not in bare


def test_rounds_have_an_end() -> None:
    replies = ["One.", IMPROVE, "Two.", IMPROVE, "Three."]
    judged, _ = play("refine", replies, ROW, {"rounds": 2})
    assert [(each.text, each.score) for each in judged.responses] == [("One.", 0.0), ("Two.", None), ("Three.", 1.0)]
    assert judged.details["stopped"] == "rounds" and not judged.reason


def test_a_text_that_no_longer_changes_is_the_last() -> None:
    judged, _ = play("refine", ["The Rhine.", IMPROVE, " The Rhine.\n"], ROW)
    assert judged.details["stopped"] == "unchanged" and len(judged.responses) == 1 and not judged.reason


@pytest.mark.parametrize(
    ("replies", "reason"),
    [
        ([CUT], "truncated"),
        (["The Rhine.", "Fine!"], "no-verdict"),
        (["The Rhine.", {**GOOD, "mark": "0" * 16}], "no-verdict"),
        (["The Rhine.", verdict("excellent")], "no-verdict"),
        (["The Rhine.", IMPROVE, CUT], "truncated"),
        (["The Rhine.", IMPROVE, fence("The Rhine.")], "copied-fence"),
        (["The Rhine.", IMPROVE, fence("Say where it is.")], "copied-fence"),
        (["The Rhine.", IMPROVE, "Improved version: the Rhine."], "leak"),
        (["The Rhine.", IMPROVE, "The Elbe.", "Fine!"], "no-verdict"),
    ],
)
def test_replies_that_do_not_count_are_reasons(replies: list[Any], reason: str) -> None:
    judged, _ = play("refine", replies, ROW)
    assert judged.reason == reason and len(judged.raw) == len(replies)


def test_without_a_rationale_there_is_no_feedback_to_show() -> None:
    improve = {"mark": "@mark", "verdict": "improve"}
    replies = ["The Rhine.", improve, "The Elbe.", {**improve, "verdict": "good"}]
    judged, asked = play("refine", replies, ROW, {"rationale": False})
    assert len(judged.responses) == 2 and judged.details["feedback"] == []
    assert "feedback" not in said(asked[2]) and "rationale" not in said(asked[1])


@pytest.mark.parametrize(
    ("canary", "tally"),
    [(GOOD, ("canaries_caught", 0)), (IMPROVE, ("canaries_caught", 1)), ("Well.", ("canaries_unread", 1))],
)
def test_a_planted_answer_is_noticed_where_it_is_not_called_good(canary: Any, tally: tuple[str, int]) -> None:
    judged, asked = play("refine", ["The Rhine is a river.", GOOD, canary], ROW, canaries=[ID])
    assert judged.tallies[tally[0]] == (tally[1], 1)
    assert [each.text for each in judged.responses] == ["The Rhine is a river."]
    assert fence("The Rhine is a river.") not in said(asked[2])


@pytest.mark.parametrize("bad", [{"rounds": 0}, {"samples": 2}])
def test_refine_settings_that_cannot_work(bad: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        make_refine(open_student("refine", bad))


# -- self-align --------------------------------------------------------------------------------------------------------


def test_principles_are_asked_with_and_not_kept() -> None:
    reply = "<thoughts>Use.</thoughts><answer>The Rhine is a river.</answer>"
    judged, asked = play("self-align", [reply], ROW, {"principles": ["Be kind to rivers.", "Be brief."]})
    assert "1. Be kind to rivers.\n2. Be brief." in said(asked[0])
    assert judged.prompt == [{"role": "user", "content": "Name a river."}]
    (only,) = judged.responses
    assert only.completion == {"role": "assistant", "content": "The Rhine is a river."} and only.good
    assert judged.details == {"principles": 2}


def test_an_answer_that_fails_the_checks_is_none() -> None:
    for answer, reason in (("Rhine.", "too-short"), ("I'm sorry, but I can't help with that.", "refusal")):
        reply = f"<thoughts>Use.</thoughts><answer>{answer}</answer>"
        assert play("self-align", [reply], ROW)[0].reason == reason


def test_no_principles_are_refused() -> None:
    with pytest.raises(UsageError, match="principles"):
        make_self_align(open_student("self-align", {"principles": []}))


@pytest.mark.parametrize("name", ["spin", "refine", "self-align"])
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_reply_is_kept_or_rejected(name: str, data: st.DataObject) -> None:
    check_any_reply(name, data)

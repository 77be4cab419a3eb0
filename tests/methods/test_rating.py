"""`rate`, `rubric`, `best-of-n`, `moderate`: what is asked, what counts as a score, several judges, canaries."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_data.data.exchange import Answer, Ask, Request
from distill_data.data.items import Item, Row
from distill_data.errors import SeedError, UsageError
from distill_data.methods.annotating import RANKED
from distill_data.methods.feedback import STRATEGIES
from distill_data.methods.judging import NAMES
from distill_data.methods.panel import Panel
from distill_data.methods.rating import make_best, make_moderating, make_rating, make_rubric
from distill_data.methods.responses import Judged
from tests.methods.panels import ITEM, Room, check_records, judged_by, mark, open_panel, shown
from tests.methods.scripted import Said

GOOD, LONG = "The Rhine.", "A river is a large stream of water."
TWO = {"student": [GOOD, LONG]}
JUDGES = ("student", "teacher", "teacher-2")
Give = Callable[[str, Request, str], Any]
"""(text, request, judge) -> the score or verdict of the text."""


def judge_by(give: Give) -> Callable[[Request, str], str]:
    """A judge that says so in the form that the request wants."""

    def judge(request: Request, to: str) -> str:
        fields = (request.schema or {})["properties"]
        found = shown(request)
        said: dict[str, Any]
        if found[0][0] in fields:
            said = {name: {"rationale": f"of {text}", "score": give(text, request, to)} for name, text in found}
        else:
            field = "score" if "score" in fields else "verdict"
            said = {"rationale": f"of {found[0][1]}", field: give(found[0][1], request, to)}
        return json.dumps({"mark": mark(request), **said})

    return judge


def by_text(values: Mapping[str, Any], otherwise: Any = 1) -> Callable[[Request, str], str]:
    return judge_by(lambda text, request, to: values.get(text, otherwise))


def aspect(request: Request) -> str:
    return str(request.messages[-1]["content"]).partition("Rate every answer by ")[2].partition(".")[0]


def played(name: str, room: Room, item: Item = ITEM, panel: Panel | None = None, **options: Any) -> Judged:
    """The recipe's own strategy on one item; two samples unless `settings` says otherwise."""
    options["settings"] = {"samples": 2, **options.get("settings", {})}
    panel = panel or open_panel(name, **options)
    return judged_by(STRATEGIES[name].make(panel), item, room)


def scores(judged: Judged) -> list[float | None]:
    return [each.score for each in judged.responses]


# -- rate --------------------------------------------------------------------------------------------------------------


def test_every_aspect_is_one_question_with_all_answers() -> None:
    room = Room(TWO, by_text({GOOD: 5, LONG: 2}))
    judged = played("rate", room)
    asked = [(aspect(request), sorted(text for _, text in shown(request))) for _, request in room.judged]
    names = ["instruction-following", "honesty", "truthfulness", "helpfulness"]
    assert asked == [(name, sorted([GOOD, LONG])) for name in names]
    assert scores(judged) == [5.0, 2.0]
    assert [each.good for each in judged.responses] == [True, False]
    assert judged.responses[0].details["ratings"] == dict.fromkeys(names, 5.0)
    assert judged.responses[1].details["rationales"]["honesty"] == [f"of {LONG}"]
    assert judged.tallies == {"parse_failures": (0, 4), "longer_best": (0, 1)}


def test_order_and_names_are_drawn_for_each_aspect_and_item() -> None:
    orders, names = set(), set()
    for number in range(12):
        room = Room(TWO, by_text({}))
        played("rate", room, ITEM._replace(id=f"{number:016x}"))
        orders |= {tuple(text for _, text in shown(request)) for _, request in room.judged}
        lines = [tuple(name for name, _ in shown(request)) for _, request in room.judged]
        assert len(set(lines)) > 1
        names |= set(lines)
    assert len(orders) == 2
    assert len(names) > 20


def test_an_aspect_that_does_not_apply_counts_for_nothing() -> None:
    give = judge_by(lambda text, request, to: "N/A" if aspect(request) == "honesty" and text == GOOD else 4)
    judged = played("rate", Room(TWO, give))
    assert scores(judged) == [4.0, 4.0]
    assert "honesty" not in judged.responses[0].details["ratings"]
    assert judged.tallies["parse_failures"] == (0, 4)


def test_na_is_no_verdict_where_the_setting_is_off() -> None:
    judged = played("rate", Room(TWO, by_text({}, "N/A")), settings={"na": False})
    assert (judged.reason, judged.detail) == ("no-verdict", "not-a-verdict")
    assert judged.tallies["parse_failures"] == (4, 4)


@pytest.mark.parametrize(("least", "known"), [(1, [3.0, 3.0]), (2, [None, 3.0]), (4, [None, 3.0])])
def test_too_few_aspects_are_no_score(least: int, known: list[float | None]) -> None:
    give = judge_by(lambda text, request, to: 3 if text == LONG or aspect(request) == "helpfulness" else "N/A")
    judged = played("rate", Room(TWO, give), settings={"least_aspects": least})
    assert scores(judged) == known
    assert judged.dropped == ({"no-verdict": 1} if None in known else {})


@pytest.mark.parametrize("written", [10, "10", 1.0, True, 0, "1", "5/5", 6, -1, None, [5]])
def test_a_ten_that_was_a_one_is_no_verdict(written: Any) -> None:
    """UltraFeedback read 2,628 ones as tens. Whatever is not a whole number of the scale is none of its scores."""
    judged = played("rate", Room(TWO, by_text({LONG: written}, 4)))
    assert judged.reason == "no-verdict"
    assert scores(judged) == [None, None]
    assert judged.tallies == {"parse_failures": (4, 4)}


def test_one_aspect_that_cannot_be_read_leaves_the_others() -> None:
    give = judge_by(lambda text, request, to: 10 if aspect(request) == "truthfulness" else 3)
    judged = played("rate", Room(TWO, give))
    assert scores(judged) == [3.0, 3.0]
    assert judged.tallies == {"parse_failures": (1, 4)}


def test_several_judges_are_averaged_and_compared() -> None:
    give = judge_by(lambda text, request, to: 5 if text == GOOD else 2 if to == "teacher" else 3)
    room = Room(TWO, give)
    judged = played("rate", room, roles=JUDGES)
    assert [to for to, _ in room.judged] == ["teacher", "teacher-2"] * 4
    assert scores(judged) == [5.0, 2.5]
    assert judged.tallies["judges_agree"] == (4, 8)
    assert judged.responses[1].details["judges"]["teacher-2"]["honesty"] == 3


def test_the_longest_answer_being_the_best_is_counted() -> None:
    assert played("rate", Room(TWO, by_text({LONG: 5}))).tallies["longer_best"] == (1, 1)
    assert "longer_best" not in played("rate", Room(TWO, by_text({}))).tallies
    three = Room({"student": ["Elbe", "Oder", "No"]}, by_text({"Elbe": 5}))
    assert played("rate", three, settings={"samples": 3}).tallies["longer_best"] == (0, 1)


def test_one_answer_is_enough_and_a_column_brings_them() -> None:
    judged = played("rate", Room({"student": [GOOD]}, by_text({}, 5)), settings={"samples": 1})
    assert scores(judged) == [5.0]
    assert "longer_best" not in judged.tallies
    item = ITEM._replace(row={"instruction": "Name a river.", "said": [GOOD, LONG, "Elbe"]})
    judged = played("rate", Room({}, by_text({"Elbe": 4})), item, column="said", roles=("teacher",))
    assert scores(judged) == [1.0, 1.0, 4.0]
    assert [each.role for each in judged.responses] == ["said"] * 3


def test_more_answers_than_names_are_refused() -> None:
    with pytest.raises(UsageError, match="--samples 24 of 1 students are too many"):
        played("rate", Room({}), settings={"samples": 24})
    item = ITEM._replace(row={"instruction": "Name a river.", "said": ["a"] * (len(NAMES) + 1)})
    with pytest.raises(SeedError, match="at most 23 answers"):
        played("rate", Room({}), item, column="said", roles=("teacher",))


def test_aspects_that_are_none_are_refused() -> None:
    for aspects in ({}, {"honesty": ""}, {"honesty": 3}):
        with pytest.raises(UsageError, match="setting aspects"):
            played("rate", Room({}), settings={"aspects": aspects})
    with pytest.raises(UsageError, match="least_aspects=2"):
        played("rate", Room({}), settings={"aspects": {"honesty": "Is it so?"}})


# -- rubric ------------------------------------------------------------------------------------------------------------


def test_rubric_and_reference_come_from_the_row_or_the_settings() -> None:
    room = Room(TWO, by_text({GOOD: 4}))
    played("rubric", room, ITEM._replace(row={**ITEM.row, "rubric": "Is it a river?", "reference": "The Elbe."}))
    played("rubric", room)
    with_row, without = (json.dumps(room.judged[place][1].messages) for place in (0, 2))
    assert "Is it a river?" in with_row
    assert "The Elbe." in with_row
    assert "It misses the request" not in with_row
    assert "It misses the request" in without
    assert "reference answer" not in without


def test_each_answer_is_judged_alone_and_gives_a_critique() -> None:
    room = Room(TWO, by_text({GOOD: 4, LONG: 2}))
    judged = played("rubric", room)
    assert [[text for _, text in shown(request)] for _, request in room.judged] == [[GOOD], [LONG]]
    assert scores(judged) == [4.0, 2.0]
    rows = judged.made["critique"]
    assert [row.columns["completion"][0]["content"] for row in rows] == [
        f"of {GOOD}\n\nScore: 4",
        f"of {LONG}\n\nScore: 2",
    ]
    assert [(row.source.role, row.part) for row in rows] == [("teacher", "student-0"), ("teacher", "student-1")]
    assert GOOD in rows[0].columns["prompt"][-1]["content"]


def test_without_a_rationale_the_critique_is_the_score() -> None:
    def judge(request: Request, to: str) -> str:
        return json.dumps({"mark": mark(request), "score": 3})

    room = Room(TWO, judge)
    judged = played("rubric", room, settings={"rationale": False})
    assert [row.columns["completion"][0]["content"] for row in judged.made["critique"]] == ["Score: 3"] * 2
    assert "feedback" not in json.dumps(room.judged[0][1].messages)
    assert "rationales" not in judged.responses[0].details


def test_levels_must_be_one_for_each_score() -> None:
    with pytest.raises(UsageError, match="levels must be a list of 5"):
        played("rubric", Room({}), settings={"levels": ["bad", "good"]})


# -- best-of-n ---------------------------------------------------------------------------------------------------------


def test_the_best_is_good_and_the_first_of_equals() -> None:
    judged = played("best-of-n", Room(TWO, by_text({LONG: 5})))
    assert [each.good for each in judged.responses] == [False, True]
    judged = played("best-of-n", Room(TWO, by_text({})))
    assert [each.good for each in judged.responses] == [True, False]


def verified() -> Panel:
    async def right(text: str, row: Row, ask: Ask) -> bool:
        return str(row["answer"]) in text

    return replace(open_panel("best-of-n", {"samples": 2}), right=right)


@pytest.mark.parametrize(
    ("gold", "known", "good", "agrees"),
    [("stream", [1.0, 5.0], [False, True], True), ("Elbe", [1.0, 1.0], [False, False], False)],
)
def test_a_verifier_takes_the_judge_s_place(gold: str, known: list[float], good: list[bool], agrees: bool) -> None:
    room = Room(TWO)
    judged = played("best-of-n", room, ITEM._replace(row={**ITEM.row, "answer": gold}), verified())
    assert room.judged == []
    assert scores(judged) == known
    assert [each.good for each in judged.responses] == good
    assert judged.agrees is agrees
    assert judged.tallies == {"right": (sum(good), 2)}


def test_the_shipped_recipe_judges_even_where_there_is_gold() -> None:
    """The right answer to a free question is a text that no verifier finds in another one."""
    room = Room(TWO, by_text({GOOD: 3}))
    panel = open_panel("best-of-n", {"samples": 2})
    judged = played("best-of-n", room, ITEM._replace(row={**ITEM.row, "answer": "Rhine"}), panel)
    assert panel.recipe.verifier is None and panel.recipe.gold == "answer"
    assert scores(judged) == [3.0, 1.0] and judged.agrees is None and len(room.judged) == 2


def test_a_row_without_gold_is_judged() -> None:
    room = Room(TWO, by_text({GOOD: 3}))
    assert scores(played("best-of-n", room, panel=verified())) == [3.0, 1.0]
    assert len(room.judged) == 2


def test_one_answer_leaves_no_choice() -> None:
    with pytest.raises(UsageError, match="one is too few"):
        played("best-of-n", Room({}), settings={"samples": 1})
    several = open_panel("best-of-n", {"samples": 1}, ("student", "student-2", "teacher"))
    room = Room({"student": [GOOD], "student-2": [LONG]}, by_text({LONG: 2}))
    assert scores(played("best-of-n", room, panel=several)) == [1.0, 2.0]


# -- moderate ----------------------------------------------------------------------------------------------------------

THREE = {"kind": "It is kind.", "true": "It is true.", "short": "It is short."}


def principle(request: Request) -> str:
    system = str(request.messages[0]["content"])
    return next((name for name, text in THREE.items() if text in system), "sense")


def moderated(give: Give, **options: Any) -> Judged:
    return played("moderate", Room(TWO, judge_by(give)), settings={"principles": THREE}, **options)


def test_the_share_of_principles_that_are_kept() -> None:
    judged = moderated(lambda text, request, to: "no" if text == LONG and principle(request) == "short" else "yes")
    assert scores(judged) == [1.0, 0.6667]
    assert [each.good for each in judged.responses] == [True, False]
    assert [each.details["broken"] for each in judged.responses] == [[], ["short"]]
    assert judged.tallies["parse_failures"] == (0, 6)


def test_no_verdict_on_one_principle_is_no_score() -> None:
    judged = moderated(lambda text, request, to: "maybe" if text == GOOD and principle(request) == "true" else "yes")
    assert scores(judged) == [None, 1.0]
    assert [each.good for each in judged.responses] == [False, True]


def test_judges_who_are_divided_break_a_principle() -> None:
    judged = moderated(lambda text, request, to: "yes" if to == "teacher" else "no", roles=JUDGES)
    assert scores(judged) == [0.0, 0.0]
    assert judged.tallies["judges_agree"] == (0, 6)


def test_principles_and_choices_that_cannot_work() -> None:
    with pytest.raises(UsageError, match="setting principles"):
        played("moderate", Room({}), settings={"principles": {}})


# -- canaries ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["rate", "rubric", "best-of-n", "moderate"])
@pytest.mark.parametrize("noticed", [True, False])
def test_a_canary_is_one_call_more_and_no_row(name: str, noticed: bool) -> None:
    high, low = ("yes", "no") if name == "moderate" else (3, 2)
    real = {GOOD: high, LONG: high}
    for number in range(8):
        item = ITEM._replace(id=f"{number:016x}")
        plain, room = (Room(TWO, by_text(real, low if noticed else high)) for _ in range(2))
        without, judged = played(name, plain, item), played(name, room, item, canaries=[item.id])
        assert len(room.judged) == len(plain.judged) + 1
        assert [request.messages for _, request in room.judged[:-1]] == [r.messages for _, r in plain.judged]
        planted = [text for _, text in shown(room.judged[-1][1]) if text not in real]
        assert len(planted) == 1
        counts = {key: count for key, count in judged.tallies.items() if key not in without.tallies}
        injected = "\n\n" in planted[0]
        caught = ["canaries_caught", *(["injections_caught"] if injected else [])]
        assert counts == {"canaries_unread": (0, 1), **dict.fromkeys(caught, (int(noticed), 1))}
        assert judged._replace(tallies=without.tallies) == without


@pytest.mark.parametrize("name", ["rate", "rubric", "best-of-n", "moderate"])
def test_no_verdict_on_a_canary_proves_nothing(name: str) -> None:
    tallies = played(name, Room(TWO), canaries=[ITEM.id]).tallies
    assert tallies["canaries_unread"] == (1, 1) and "canaries_caught" not in tallies


def test_a_canary_to_which_nothing_applies_proves_nothing() -> None:
    tallies = played("rate", Room(TWO, by_text({GOOD: 3, LONG: 3}, "N/A")), canaries=[ITEM.id]).tallies
    assert tallies["canaries_unread"] == (1, 1) and "canaries_caught" not in tallies


# -- equal answers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "calls"), [("rate", 4), ("rubric", 2), ("best-of-n", 2), ("moderate", 16)])
def test_equal_answers_are_judged_once_and_have_one_score(name: str, calls: int) -> None:
    high, low = ("yes", "no") if name == "moderate" else (4, 2)
    room = Room({"student": [LONG, GOOD, LONG, GOOD]}, by_text({LONG: low, GOOD: high}))
    judged = played(name, room, settings={"samples": 4})
    seen = [[text for _, text in shown(request)] for _, request in room.judged]
    assert len(seen) == calls and all(len(texts) == len(set(texts)) for texts in seen)
    worse, better = (0.0, 1.0) if name == "moderate" else (2.0, 4.0)
    assert scores(judged) == [worse, better] * 2
    assert judged.responses[2].details["rationales"] == judged.responses[0].details["rationales"]
    assert judged.tallies["parse_failures"] == (0, calls)
    assert [each.good for each in judged.responses] == [False, True, False, name == "moderate"]
    assert len(judged.made.get("critique", ())) == (2 if name == "rubric" else 0)


# -- any reply ---------------------------------------------------------------------------------------------------------

VALUES = st.sampled_from([1, 2, 3, 4, 5, 0, 10, "5", "N/A", "yes", "no", None, 3.0, True])
BROKEN = st.sampled_from(["", "{}", "[]", "10", '{"score": 5}', '{"mark": "0123456789abcdef", "score": 5}', "\ud800"])


@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from(["rate", "rubric", "best-of-n", "moderate"]))
def test_any_reply_ends_in_records_that_trainers_read_or_a_reason(data: st.DataObject, name: str) -> None:
    def judge(request: Request, to: str) -> str | Answer:
        text = data.draw(BROKEN | st.text(max_size=9)) if data.draw(st.integers(0, 3)) == 0 else ""
        text = text or judge_by(lambda text, request, to: data.draw(VALUES))(request, to)
        return Answer(text, "", data.draw(st.sampled_from(["stop", "stop", "stop", "length"])), "m", 1, 1)

    said: st.SearchStrategy[Said] = st.sampled_from(
        [GOOD, LONG, "", {"text": GOOD, "finish": "length"}, "I'm sorry, I can't help with that."]
    )
    students = {"student": data.draw(st.lists(said, min_size=2, max_size=2))}
    panel = open_panel(name, {"samples": 2}, JUDGES, canaries=[ITEM.id] * data.draw(st.integers(0, 1)))
    judged = played(name, Room(students, judge), panel=panel)
    for often, of in judged.tallies.values():
        assert 0 <= often <= of
    for each in judged.responses:
        assert each.score is None or 0 <= each.score <= 5
        assert not each.good or each.score is not None
    if not judged.reason:
        check_records(panel, judged, STRATEGIES[name].kinds)
    assert len(judged.responses) + sum(judged.dropped.values()) >= 2


def test_what_is_offered() -> None:
    made = {make_rating: RANKED, make_rubric: ("critique", *RANKED), make_best: RANKED, make_moderating: RANKED}
    assert {strategy.make: strategy.kinds for strategy in STRATEGIES.values() if strategy.make in made} == made

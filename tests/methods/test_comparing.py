"""`compare`: both orders, ties, scores, soft labels, several judges, canaries."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_data.data.exchange import Answer, Request
from distill_data.errors import UsageError
from distill_data.methods.annotating import RANKED
from distill_data.methods.comparing import PAIRINGS, make_comparing
from tests.methods.panels import ITEM, Room, check_records, judged_by, open_panel, shown, verdict

TWO = {"student": ["The Rhine.", "A river is a large stream of water."]}


def prefers(choose: Callable[[list[str]], int | None]) -> Callable[[Request, str], str]:
    """A judge that picks a place by the texts in it; None is a tie."""

    def judge(request: Request, to: str) -> str:
        names, texts = zip(*shown(request), strict=True)
        place = choose(list(texts))
        return verdict(request, "tie" if place is None else names[place])

    return judge


SHORTER = prefers(lambda texts: texts.index(min(texts, key=len)))
FIRST = prefers(lambda texts: 0)


def logprobs(request: Request, chances: dict[str, float], *, listed: bool = True) -> Answer:
    """A judge's one-letter reply with the log-probabilities of the texts' names."""
    found: list[dict[str, Any]] = [{"token": name, "logprob": math.log(chances[text])} for name, text in shown(request)]
    best = max(found, key=lambda each: each["logprob"])
    entry = {**best, "top_logprobs": [{"token": "The", "logprob": -0.1}, *(found if listed else [])]}
    return Answer(best["token"], "", "stop", "judge", 5, 1, logprobs={"content": [entry]})


def compare(room: Room, roles: tuple[str, ...] = ("student", "teacher"), **options: Any) -> Any:
    panel = open_panel("compare", options.pop("settings", {}), roles, **options)
    return judged_by(make_comparing(panel), options.get("item", ITEM), room)


def test_both_orders_are_asked_with_the_same_names_in_the_same_places() -> None:
    room = Room(TWO, SHORTER)
    judged = compare(room)
    one, other = (shown(request) for _, request in room.judged)
    assert [name for name, _ in one] == [name for name, _ in other]
    assert [text for _, text in one] == [text for _, text in other][::-1] == TWO["student"]
    assert [each.score for each in judged.responses] == [1.0, 0.0]
    assert [each.good for each in judged.responses] == [True, False]
    assert judged.tallies == {"parse_failures": (0, 2), "flips": (0, 1), "ties": (0, 1), "longer_wins": (0, 1)}


def test_the_names_are_drawn_from_item_and_pair() -> None:
    names = set()
    for number in range(20):
        room = Room(TWO, SHORTER)
        judged_by(make_comparing(open_panel("compare")), ITEM._replace(id=f"{number:016x}"), room)
        names.add(tuple(name for name, _ in shown(room.judged[0][1])))
    assert len(names) > 10


@pytest.mark.parametrize("letter", [None, 0, 1])
def test_who_likes_a_place_or_a_letter_says_that_it_is_a_tie(letter: int | None) -> None:
    """Names stay in their places, so the first letter is the first place."""
    judged = compare(Room(TWO, prefers(lambda texts: letter or 0)))
    assert [each.score for each in judged.responses] == [0.5, 0.5]
    assert not any(each.good for each in judged.responses)
    assert judged.tallies["flips"] == (1, 1) == judged.tallies["ties"]
    assert "longer_wins" not in judged.tallies


def test_a_tie_in_one_order_is_a_flip_and_a_tie() -> None:
    said = iter([0, None])
    judged = compare(Room(TWO, prefers(lambda texts: next(said))))
    assert [each.score for each in judged.responses] == [0.5, 0.5]
    assert (judged.tallies["flips"], judged.tallies["ties"]) == ((1, 1), (1, 1))


def test_a_tie_in_both_orders_is_no_flip() -> None:
    judged = compare(Room(TWO, prefers(lambda texts: None)))
    assert (judged.tallies["flips"], judged.tallies["ties"]) == ((0, 1), (1, 1))


def test_a_missing_verdict_in_one_order_is_no_verdict() -> None:
    turn = iter([True, False])
    judged = compare(Room(TWO, lambda request, to: SHORTER(request, to) if next(turn) else "B"))
    assert (judged.reason, judged.detail) == ("no-verdict", "not-json")
    assert [each.score for each in judged.responses] == [None, None]
    assert judged.tallies == {"parse_failures": (1, 2)}


def test_equal_texts_are_a_tie_and_nobody_is_asked() -> None:
    room = Room({"student": ["The Rhine.", "The Rhine."]}, SHORTER)
    judged = compare(room)
    assert [each.score for each in judged.responses] == [0.5, 0.5] and not room.judged


def test_every_pair_of_four_is_compared() -> None:
    texts = {"student": ["aaaa", "aaa"], "student-2": ["aa", "a"]}
    room = Room(texts, SHORTER)
    judged = compare(room, ("student", "student-2", "teacher"))
    assert len(room.judged) == 12
    scores = {each.text: each.score for each in judged.responses}
    assert scores == pytest.approx({"a": 1.0, "aa": 2 / 3, "aaa": 1 / 3, "aaaa": 0.0}, abs=1e-6)
    assert [each.text for each in judged.responses if each.good] == ["a"]
    assert judged.tallies["longer_wins"] == (0, 6)


def test_a_ring_compares_each_with_the_next() -> None:
    assert PAIRINGS["ring"](4) == [(0, 1), (1, 2), (2, 3), (3, 0)]
    assert PAIRINGS["ring"](3) == [(0, 1), (1, 2), (2, 0)] and PAIRINGS["ring"](2) == [(0, 1)] == PAIRINGS["all"](2)
    room = Room({"student": ["aaaa", "aaa", "aa", "a"]}, SHORTER)
    compare(room, settings={"pairs_asked": "ring", "samples": 4})
    assert len(room.judged) == 8


def test_answers_may_come_in_a_column_and_are_shown_in_fences_only() -> None:
    item = ITEM._replace(row={**ITEM.row, "drafts": ["The Rhine.", "A river is a stream."]})
    room = Room({}, SHORTER)
    judged = judged_by(make_comparing(open_panel("compare", column="drafts")), item, room)
    assert [(each.role, each.score) for each in judged.responses] == [("drafts", 1.0), ("drafts", 0.0)]


def test_one_answer_is_too_few() -> None:
    room = Room({"student": ["The Rhine.", {"text": "A riv", "finish": "length"}]}, SHORTER)
    judged = compare(room)
    assert judged.reason == "too-few-answers" and "truncated" in judged.detail and not room.judged


def test_the_majority_of_judges_decides_and_agreement_is_counted() -> None:
    def judge(request: Request, to: str) -> str:
        return FIRST(request, to) if to == "teacher-2" else SHORTER(request, to)

    judged = compare(Room(TWO, judge), ("student", "teacher", "teacher-2", "teacher-3"))
    assert [each.score for each in judged.responses] == [1.0, 0.0]
    assert judged.tallies["judges_agree"] == (0, 1) and judged.tallies["flips"] == (1, 3)


def test_two_judges_that_disagree_are_a_tie() -> None:
    longer = prefers(lambda texts: texts.index(max(texts, key=len)))

    def judge(request: Request, to: str) -> str:
        return longer(request, to) if to == "teacher-2" else SHORTER(request, to)

    judged = compare(Room(TWO, judge), ("student", "teacher", "teacher-2"))
    assert [each.score for each in judged.responses] == [0.5, 0.5] and judged.tallies["judges_agree"] == (0, 1)


# -- soft labels -------------------------------------------------------------------------------------------------------


def test_soft_labels_are_the_names_probabilities_over_both_orders() -> None:
    odds = iter([(0.8, 0.2), (0.4, 0.4)])

    def judge(request: Request, to: str) -> Answer:
        assert request.sampling["logprobs"] is True and request.sampling["top_logprobs"] == 20
        assert request.choices == tuple(name for name, _ in shown(request)) and request.schema is None
        return logprobs(request, dict(zip(TWO["student"], next(odds), strict=True)))

    judged = compare(Room(TWO, judge), settings={"soft": True})
    assert [each.score for each in judged.responses] == pytest.approx([0.65, 0.35])
    assert judged.details["comparisons"][0]["soft"] == pytest.approx(0.65)
    assert judged.details["comparisons"][0]["verdict"] == "tie" and judged.tallies["flips"] == (1, 1)


def test_without_logprobs_there_is_no_soft_label() -> None:
    judged = compare(Room(TWO, lambda request, to: shown(request)[0][0]), settings={"soft": True})
    assert (judged.reason, judged.detail) == ("no-logprobs", "no-logprobs")


def test_a_name_that_is_not_listed_counts_as_the_least_likely_that_is() -> None:
    def judge(request: Request, to: str) -> Answer:
        return logprobs(request, {"The Rhine.": 0.6, TWO["student"][1]: 0.01}, listed=False)

    judged = compare(Room(TWO, judge), settings={"soft": True})
    assert judged.responses[0].score == pytest.approx(
        0.5
    )  # "The" is the more likely one, and the name itself the least


@pytest.mark.parametrize(
    "content", [None, 7, [], [{"token": "x"}], [{"token": 3}], [{"token": "@", "logprob": "high", "top_logprobs": [1]}]]
)
def test_odd_logprobs_are_no_verdict(content: Any) -> None:
    def judge(request: Request, to: str) -> Answer:
        written = json.loads(json.dumps(content).replace("@", request.choices[0]))
        return Answer("x", "", "stop", "judge", 5, 1, logprobs={"content": written})

    assert compare(Room(TWO, judge), settings={"soft": True}).reason in ("no-logprobs", "no-verdict")


# -- canaries ----------------------------------------------------------------------------------------------------------


def test_a_canary_is_caught_when_the_real_answer_wins_in_both_orders() -> None:
    texts = {"student": [" ".join(["the long river"] * 9), "a brook"]}
    first = texts["student"][0]
    knows = prefers(lambda shown: shown.index(first) if first in shown else 0)
    room = Room(texts, knows)
    judged = compare(room, canaries=[ITEM.id])
    assert len(room.judged) == 4 and judged.tallies["canaries_caught"] == (1, 1)
    assert len(judged.responses) == 2 and judged.tallies["parse_failures"] == (0, 2)
    assert len(judged.details["comparisons"]) == 1
    fooled = compare(Room(texts, FIRST), canaries=[ITEM.id])
    assert fooled.tallies["canaries_caught"] == (0, 1)


# -- what cannot work --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "complaint"),
    [({"samples": 1}, "--samples 2"), ({"soft": "often"}, "soft"), ({"pairs_asked": "some"}, "all, ring")],
)
def test_settings_that_cannot_work(given: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        make_comparing(open_panel("compare", given))


def test_two_students_need_one_sample_each() -> None:
    make_comparing(open_panel("compare", {"samples": 1}, ("student", "student-2", "teacher")))


# -- anything may be said ----------------------------------------------------------------------------------------------

ANY = st.one_of(
    st.text(max_size=30), st.sampled_from(["", "null", "[]", "{}", '{"better": "tie"}', "\ud800", "{" * 99])
)


@settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(st.text(min_size=1, max_size=20), min_size=3, max_size=3),
    said=st.lists(st.tuples(st.sampled_from(["any", "ok", "length", "nobody"]), ANY), min_size=6, max_size=6),
    soft=st.booleans(),
)
def test_whatever_is_said_the_sums_hold(texts: list[str], said: list[tuple[str, str]], soft: bool) -> None:
    turn = iter(said)

    def judge(request: Request, to: str) -> Any:
        kind, text = next(turn, ("any", ""))
        if kind == "ok" and not soft:
            return verdict(request, shown(request)[0][0])
        return {"text": text, "finish": "length" if kind == "length" else "stop"}

    panel = open_panel("compare", {"soft": soft, "samples": 3})
    judged = judged_by(make_comparing(panel), ITEM, Room({"student": texts}, judge))
    if not judged.reason:
        check_records(panel, judged, RANKED)
    scores = [each.score for each in judged.responses]
    assert all(score is None or 0 <= score <= 1 for score in scores)
    assert bool(judged.reason) == all(score is None for score in scores)
    assert sum(each.good for each in judged.responses) <= 1
    assert all(0 <= count <= total for count, total in judged.tallies.values())

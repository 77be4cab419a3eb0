"""`contrast`: a good and a bad answer by construction, the prompt without either affix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_data.data.exchange import Answer, Request
from distill_data.data.items import Item
from distill_data.errors import UsageError
from distill_data.methods.annotating import RANKED
from distill_data.methods.contrasting import make_contrasting
from distill_data.methods.responses import NOTHING, Judged
from tests.methods.panels import Room, check_records, judged_by, open_panel
from tests.methods.scripted import Said

ITEM = Item(0, "0" * 16, {"instruction": "How is glass made?"}, "seeds:1")


def contrast(texts: Sequence[Said], given: Mapping[str, Any] = NOTHING, item: Item = ITEM) -> Judged:
    return judged_by(make_contrasting(open_panel("contrast", given, ("student",))), item, Room({"student": texts}))


def test_the_positive_answer_is_the_better_one() -> None:
    judged = contrast(["Sand is melted.", "It just is."])
    assert [(each.text, each.score, each.good) for each in judged.responses] == [
        ("Sand is melted.", 1.0, True),
        ("It just is.", 0.0, False),
    ]
    assert len({(each.role, each.sample) for each in judged.responses}) == 2


def test_both_affixes_are_about_the_same_thing_and_neither_is_stored() -> None:
    panel = open_panel("contrast", {}, ("student",))
    sides = list(zip(panel.setting("positive", []), panel.setting("negative", []), strict=True))
    drawn = set()
    for number in range(30):
        asked: list[str] = []

        async def ask(request: Request, to: str = "teacher", asked: list[str] = asked) -> Answer:
            asked.append(request.messages[0]["content"])
            return Answer(f"answer {len(asked)}", "", "stop", to, 1, 1)

        judged = judged_by(make_contrasting(panel), ITEM._replace(id=f"{number:016x}"), ask)
        (which,) = [i for i, (good, bad) in enumerate(sides) if good in asked[0] and bad in asked[1]]
        drawn.add(which)
        assert judged.details == {"affix": which}
        assert judged.prompt == [{"role": "user", "content": "How is glass made?"}]
    assert drawn == set(range(len(sides)))


def test_the_same_text_twice_is_no_contrast() -> None:
    judged = contrast(["It is melted.", " It is melted.\n"])
    assert (judged.reason, judged.dropped) == ("same-answer", {"same-answer": 2})


def test_with_more_samples_only_what_both_sides_say_is_left_out() -> None:
    judged = contrast(["a", "b", "b", "c"], {"samples": 2})  # good, bad, good, bad
    assert [(each.text, each.score) for each in judged.responses] == [("a", 1.0), ("c", 0.0)]
    assert judged.dropped == {"same-answer": 2} and not judged.reason


def test_both_answers_are_one_student_s_and_the_item_draws_which() -> None:
    panel = open_panel("contrast", {}, ("student", "student-2"))
    drawn = set()
    for number in range(20):
        room = Room({"student": ["a", "b"], "student-2": ["c", "d"]})
        judged = judged_by(make_contrasting(panel), ITEM._replace(id=f"{number:016x}"), room)
        (role,) = {each.role for each in judged.responses}
        drawn.add(role)
        assert len(judged.responses) == 2
    assert drawn == {"student", "student-2"}


def test_more_samples_ask_again_for_none_of_those_before() -> None:
    asked: list[list[tuple[str, int]]] = []
    for samples in (1, 3):
        found: list[tuple[str, int]] = []

        async def ask(request: Request, to: str = "teacher", found: list[tuple[str, int]] = found) -> Answer:
            found.append((request.messages[0]["content"], request.sample))
            return Answer(f"answer {len(found)}", "", "stop", to, 1, 1)

        judged_by(make_contrasting(open_panel("contrast", {"samples": samples}, ("student",))), ITEM, ask)
        asked.append(found)
    assert len(asked[1]) == len(set(asked[1])) == 6 and set(asked[0]) < set(asked[1])
    assert len({sample for _, sample in asked[1]}) == 6


def test_a_side_without_an_answer_is_a_reject_with_its_reason() -> None:
    judged = contrast(["a", {"text": "b", "finish": "length"}])
    assert judged.reason == "truncated" and judged.raw == ("a", "b")


@pytest.mark.parametrize("given", [{"positive": []}, {"negative": ["only one"]}, {"positive": "text"}])
def test_affixes_that_are_no_pairs(given: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        make_contrasting(open_panel("contrast", given, ("student",)))


def test_answers_of_a_column_cannot_be_contrasted() -> None:
    with pytest.raises(UsageError, match="--answers"):
        make_contrasting(open_panel("contrast", {}, (), column="drafts"))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.text(max_size=4), st.sampled_from(["stop", "length"])), min_size=4, max_size=4))
def test_whatever_is_said_there_are_two_sides_or_a_reason(said: list[tuple[str, str]]) -> None:
    judged = contrast([{"text": text, "finish": finish} for text, finish in said], {"samples": 2})
    if not judged.reason:
        check_records(open_panel("contrast", {}, ("student",)), judged, RANKED)
    assert bool(judged.reason) == (len({each.score for each in judged.responses}) < 2)
    assert len(judged.responses) + sum(judged.dropped.values()) == 4

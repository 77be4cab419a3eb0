"""`relations` and `triples`: who is in a batch, how alike its rows are, and that no order of answers changes a byte."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_data.commands.check_arrays import check_arrays
from distill_data.data.arrays import decode
from distill_data.data.exchange import Ask
from distill_data.data.items import Item, Outcome
from distill_data.engine.outcomes import encode_outcome
from distill_data.errors import AnswerFailed, UsageError
from distill_data.formats import COLUMNS
from distill_data.methods.relating import Batches
from distill_data.methods.scored import Method
from tests.methods.knowing import TOKENIZER, Array, Knowing, items_of, open_method, open_recipe, stored, text_of

COLOURS = ["Blue.", "Azure.", "Red.", "Green.", "Black.", "White.", "Grey."]


def rows(completions: Sequence[str]) -> list[Item]:
    return items_of(*({"prompt": f"Colour {at}?", "completion": y} for at, y in enumerate(completions)))


def run(method: Method, items: Sequence[Item], ask: Ask) -> list[Outcome]:
    """All of them at once, as the engine does."""

    async def main() -> list[Outcome]:
        return list(await asyncio.gather(*(method(item, ask) for item in items)))

    return asyncio.run(main())


def related(name: str, items: Sequence[Item], ask: Ask, **options: Any) -> list[Outcome]:
    return run(open_method(name, items=items, **options), items, ask)


def similarity(outcome: Outcome) -> Array:
    return stored(outcome.arrays[0])["similarity"]


def cosines(ask: Knowing) -> Array:
    """Of every two rows, in the order in which their states were first asked for."""
    states: dict[str, Array] = {}
    for (_, request), answer in zip(ask.asked, ask.answers, strict=True):
        assert answer.feature is not None and answer.blob is not None
        states[text_of(request)] = decode(answer.feature["arrays"], answer.blob.read())["hidden"][0].astype(float)
    each = np.array(list(states.values()))
    lengths = np.linalg.norm(each, axis=1)
    return each @ each.T / np.outer(lengths, lengths)


# -- batches -----------------------------------------------------------------------------------------------------------


@given(st.integers(0, 40), st.integers(1, 9), st.randoms(use_true_random=False))
def test_every_row_has_its_batch_and_none_is_held_at_the_end(count: int, size: int, rng: random.Random) -> None:
    items = rows([str(number) for number in range(count)])
    batches, order, left = Batches(iter(items), size), rng.sample(items, count), Counter[int]()
    for item in items:
        left[item.ordinal // size] += 1
    seen: set[int] = set()
    for item in order:
        number = item.ordinal // size
        assert batches.of(item).rows == items[number * size : (number + 1) * size]
        left[number] -= 1
        seen |= set(range(number + 1))
        assert set(batches._held) == {each for each in seen if left[each]}
    assert batches._held == {}


def test_rows_are_read_no_further_than_their_batch() -> None:
    items = iter(rows(COLOURS))
    Batches(items, 3).of(rows(COLOURS)[1])
    assert next(items).ordinal == 3


# -- relations ---------------------------------------------------------------------------------------------------------


def test_what_is_asked(tmp_path: Path) -> None:
    """Each row once, where one comes after the other; at once, all that is not there yet, which the engine shares."""
    items, ask, turns = rows(COLOURS[:5]), Knowing(tmp_path), Knowing(tmp_path)
    settings: dict[str, Any] = {"batch": 3, "layer": 4, "pool": "last", "truncate": True}
    method = open_method("relations", items=items, **settings)
    for item in items:
        run(method, [item], turns)
    assert Counter(text_of(request) for _, request in turns.asked) == dict.fromkeys(COLOURS[:5], 1)
    related("relations", items, ask, **settings)
    assert {text_of(request) for _, request in ask.asked} == set(COLOURS[:5])
    requests = {str(request): request for _, request in ask.asked}
    assert len(requests) == 5
    assert [request.messages[0]["content"] for request in requests.values()] == [f"Colour {at}?" for at in range(5)]
    hidden = {"of": "hidden", "layers": [4], "pool": "last", "dtype": "float32", "truncate": True, "max_length": 0}
    assert all(request.kind == "score" and request.feature == hidden for request in requests.values())


@pytest.mark.parametrize("batch", [2, 3, 7, 32])
def test_similarities_are_the_cosines_of_states(tmp_path: Path, batch: int) -> None:
    items, ask = rows(COLOURS), Knowing(tmp_path)
    outcomes = related("relations", items, ask, batch=batch)
    whole = cosines(ask)
    ids = [outcome.records[0]["id"] if outcome.records else "" for outcome in outcomes]
    for item, outcome in zip(items, outcomes, strict=True):
        first = item.ordinal // batch * batch
        if batch in (2, 3) and item.ordinal == 6:
            assert (outcome.status, outcome.reason) == ("rejected", "alone")
            continue
        found = similarity(outcome)
        assert found.dtype == np.float32
        assert np.abs(found - whole[item.ordinal, first : first + batch]).max() < 1e-6
        assert found[item.ordinal - first] == pytest.approx(1, abs=1e-6)
        assert outcome.records[0]["batch"] == ids[first : first + batch]
        feature = json.loads(outcome.records[0]["meta"]["details"])["feature"]
        assert list(check_arrays(stored(outcome.arrays[0]), feature, outcome.records[0])) == []
        for other in items[first : first + batch]:
            mirrored = similarity(outcomes[other.ordinal])[item.ordinal - first]
            assert found[other.ordinal - first] == pytest.approx(mirrored, abs=1e-6)


def test_a_record(tmp_path: Path) -> None:
    items = items_of({"prompt": "x", "completion": "Blue.", "id": "b" * 16}, {"prompt": "x", "completion": "Red."})
    first, second = related("relations", items, Knowing(tmp_path), batch=4)
    [record] = first.records
    assert list(record) == ["id", "kind", *COLUMNS["relations"], "meta"]
    assert record["kind"] == "relations"
    assert record["batch"] == [record["id"], second.records[0]["id"]]
    assert len(set(record["batch"])) == 2
    assert record["features"] == {"file": "", "tokens": 5, "tokenizer": TOKENIZER, "kind": "relations"}
    details = json.loads(record["meta"].pop("details"))
    assert record["meta"] == {
        "method": "feature",
        "recipe": "relations",
        "recipe_digest": open_recipe("relations").digest[:16],
        "seed_id": items[0].id,
        "teacher": "toy/teacher",
        "model": "teacher-model",
    }
    relations = {"of": "relations", "layers": [-1], "pool": "mean", "dtype": "float32"}
    assert details == {
        "feature": {**relations, "truncate": False, "max_length": 0},
        "batch": 4,
        "truncated": False,
        "parent": "b" * 16,
    }


def test_a_row_without_a_state_is_left_out_for_the_others(tmp_path: Path) -> None:
    items, ask = rows(COLOURS[:4]), Knowing(tmp_path, rejects={"Azure.": ("too-long", "600 tokens")})
    outcomes = related("relations", items, ask)
    assert (outcomes[1].status, outcomes[1].reason, outcomes[1].detail) == ("rejected", "too-long", "600 tokens")
    others = [outcomes[at] for at in (0, 2, 3)]
    for outcome in others:
        assert outcome.records[0]["batch"] == [each.records[0]["id"] for each in others]
        assert similarity(outcome).shape == (3,)


def test_a_row_with_no_other_is_alone(tmp_path: Path) -> None:
    items, ask = rows(COLOURS[:3]), Knowing(tmp_path, rejects=dict.fromkeys(["Blue.", "Red."], ("too-long", "")))
    reasons = [outcome.reason for outcome in related("relations", items, ask)]
    assert reasons == ["too-long", "alone", "too-long"]
    assert [outcome.reason for outcome in related("triples", items[:1], Knowing(tmp_path))] == ["alone"]


def test_a_refusal_passes_through_after_all_were_asked(tmp_path: Path) -> None:
    items, ask = rows(COLOURS[:3]), Knowing(tmp_path, refuses=["Red."])
    method = open_method("relations", items=items)
    with pytest.raises(AnswerFailed, match="bad-request"):
        run(method, items[:1], ask)
    assert [text_of(request) for _, request in ask.asked] == COLOURS[:3]


def test_equal_rows_are_alike_and_a_state_of_nothing_is_like_none(tmp_path: Path) -> None:
    items = items_of(*({"text": y} for y in ("Blue.", "Blue.", "Red.", "None.")))
    outcomes = related("relations", items, Knowing(tmp_path, states={"None.": [0.0] * 6}))
    assert similarity(outcomes[0])[1] == pytest.approx(1, abs=1e-6)
    assert similarity(outcomes[3]).tolist() == [0, 0, 0, 0]
    assert len({outcome.records[0]["id"] for outcome in outcomes}) == 4
    assert [outcome.records[0]["text"] for outcome in outcomes] == ["Blue.", "Blue.", "Red.", "None."]


# -- triples -----------------------------------------------------------------------------------------------------------

STATES = {"Blue.": (4, 3, 0), "Azure.": (5, 0, 0), "Red.": (0, 5, 0), "Green.": (0, 0, 5), "Black.": (0, 0, -5)}


def test_the_most_and_the_least_similar(tmp_path: Path) -> None:
    items = rows(list(STATES))
    outcomes = related("triples", items, Knowing(tmp_path, states=STATES))
    made = [outcome.records[0] for outcome in outcomes]
    names = ("anchor", "positive", "negative", "positive_score", "negative_score")
    assert [tuple(record[name] for name in names) for record in made] == [
        ("Blue.", "Azure.", "Green.", 0.8, 0.0),
        ("Azure.", "Blue.", "Red.", 0.8, 0.0),
        ("Red.", "Blue.", "Azure.", 0.6, 0.0),
        ("Green.", "Blue.", "Black.", 0.0, -1.0),
        ("Black.", "Blue.", "Green.", 0.0, -1.0),
    ]
    assert list(made[0]) == ["id", "kind", *COLUMNS["triple"], "meta"]
    assert made[0]["kind"] == "triple"
    assert not any(outcome.arrays for outcome in outcomes)
    assert json.loads(made[0]["meta"]["details"]) == {
        "feature": {
            "of": "relations", "layers": [-1], "pool": "mean", "dtype": "float32", "truncate": False, "max_length": 0
        },
        "batch": 32,
        "truncated": False,
    }  # fmt: skip


@pytest.mark.parametrize("order", [[0, 1, 2], [1, 2, 0], [2, 1, 0]])
def test_of_equally_similar_rows_the_first_is_taken(tmp_path: Path, order: list[int]) -> None:
    near, far = ["Red.", "Green.", "Black."], ["Azure.", "White.", "Grey."]
    completions = ["Blue.", *(near[at] for at in order), *(far[at] for at in order)]
    states = {"Blue.": (1, 0), **dict.fromkeys(near, (1, 0)), **dict.fromkeys(far, (0, 1))}
    [record] = related("triples", rows(completions), Knowing(tmp_path, states=states))[0].records
    assert (record["positive"], record["negative"]) == (completions[1], completions[4])


@pytest.mark.parametrize(("margin", "kept"), [(0.0, True), (0.7, True), (0.8, False), (1.5, False)])
def test_a_margin_lies_between_the_two(tmp_path: Path, margin: float, kept: bool) -> None:
    items = rows(["Blue.", "Azure.", "Green."])
    outcome = related("triples", items, Knowing(tmp_path, states=STATES), margin=margin)[0]
    assert (outcome.status == "kept") is kept
    if not kept:
        assert outcome.reason == "below-margin"
        assert outcome.detail == "the most similar y has 0.8, the least similar 0"


def test_no_difference_and_no_third_row_are_no_triple(tmp_path: Path) -> None:
    states = dict.fromkeys(COLOURS, (1, 0))
    outcomes = related("triples", rows(COLOURS[:3]), Knowing(tmp_path, states=states))
    outcomes += related("triples", rows(COLOURS[:2]), Knowing(tmp_path))
    assert [outcome.reason for outcome in outcomes] == ["below-margin"] * 5


def test_y_as_one_text(tmp_path: Path) -> None:
    turns = [{"role": "assistant", "content": "One."}, {"role": "assistant", "content": "Two."}]
    items = items_of({"prompt": "x", "completion": turns}, {"text": "Azure."}, {"text": "Green."})
    [record] = related("triples", items, Knowing(tmp_path))[0].records
    assert record["anchor"] == "One.\n\nTwo."
    assert {record["positive"], record["negative"]} == {"Azure.", "Green."}


# -- any order ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["relations", "triples"])
@settings(max_examples=12, deadline=None)
@given(
    completions=st.lists(st.text("ab", min_size=1, max_size=3), min_size=1, max_size=11),
    batch=st.integers(2, 5),
    rejected=st.sets(st.text("ab", min_size=1, max_size=2), max_size=2),
    seed=st.integers(0, 2**32),
)
def test_no_order_of_answers_changes_a_byte(
    tmp_path_factory: pytest.TempPathFactory,
    name: str, completions: list[str], batch: int, rejected: set[str], seed: int,
) -> None:  # fmt: skip
    rng = random.Random(seed)
    items, rejects = rows(completions), dict.fromkeys(rejected, ("too-long", ""))
    folder = tmp_path_factory.getbasetemp()

    def blobs(order: Sequence[Item], delays: random.Random | None) -> dict[str, bytes]:
        method = open_method(name, items=items, batch=batch)
        outcomes = run(method, order, Knowing(folder, rejects=rejects, delays=delays))
        return {item.id: encode_outcome(item, outcome) for item, outcome in zip(order, outcomes, strict=True)}

    one_by_one, ask = open_method(name, items=items, batch=batch), Knowing(folder, rejects=rejects)
    plain = {item.id: encode_outcome(item, run(one_by_one, [item], ask)[0]) for item in items}
    assert blobs(items, rng) == plain
    assert blobs(rng.sample(items, len(items)), rng) == plain


# -- settings ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["relations", "triples"])
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"teachers": 2}, "one teacher's states are compared"),
        ({"batch": 1}, "batch=1: must be a whole number of at least 2"),
        ({"layer": 1.5}, "layer=1.5: must be a whole number"),
        ({"pool": "none"}, "pool=none: must be one of mean, last"),
        ({"max_length": -1}, "max_length"),
        ({"samples": 2}, "samples 2"),
    ],
)
def test_settings_that_cannot_be(name: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        open_method(name, **options)


@pytest.mark.parametrize("margin", [-0.1, 2.1])
def test_a_margin_that_cannot_be(margin: float) -> None:
    with pytest.raises(UsageError, match="margin"):
        open_method("triples", margin=margin)

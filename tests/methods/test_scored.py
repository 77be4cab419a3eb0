"""`topk`, `sampled`, `hidden`, `attention`: what is asked, what is kept of one teacher and of several, what is not."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_data.commands.check_arrays import check_arrays
from distill_data.data.arrays import logprobs_of, topk_of
from distill_data.data.exchange import Answer, Request
from distill_data.data.items import Item, Outcome
from distill_data.errors import AnswerFailed, DamageError, UsageError
from distill_data.formats import COLUMNS
from distill_data.methods.given import Annotator
from distill_data.methods.scored import make_scored
from tests.methods.knowing import (
    TOKENIZER,
    Array,
    Knowing,
    items_of,
    logprobs,
    open_method,
    open_recipe,
    stored,
)
from tests.methods.scripted import outcome_of
from tests.scoring_server import VOCAB_SIZE
from tests.scoring_server import encode as ids_of

Y = "Blue, mostly."
ROW = {"prompt": "Name a colour.", "completion": Y}
[ITEM] = items_of(ROW)
TOKENS = len(ids_of(Y))


def scored(ask: Knowing, name: str, item: Item = ITEM, **options: Any) -> Outcome:
    return outcome_of(open_method(name, **options), item, ask)


def details_of(outcome: Outcome) -> dict[str, Any]:
    return dict(json.loads(outcome.records[0]["meta"]["details"]))


def problems(outcome: Outcome) -> list[str]:
    """What the command `check` would find."""
    [record], [arrays] = outcome.records, outcome.arrays
    return list(check_arrays(stored(arrays), details_of(outcome)["feature"], record))


def mixture(ask: Knowing, weights: list[float]) -> Array:
    """The teachers' mean distribution over the whole vocabulary, by hand."""
    return sum(weight * np.exp(logprobs(*asked)) for weight, asked in zip(weights, ask.asked, strict=True))


# -- one teacher -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("topk", {"k": 64, "temperature": 1.0}),
        ("sampled", {"draws": 50, "temperature": 1.0, "seed": 7}),
        ("hidden", {"layers": [-1], "pool": "none", "dtype": "float16"}),
        ("attention", {"layers": [-1], "heads": "mean", "dtype": "float16"}),
    ],
)
def test_one_request_and_the_records_arrays_are_the_answers_own(tmp_path: Path, name: str, asked: Any) -> None:
    """They are not even read: the file is gone."""
    answers = []

    async def ask(request: Request, to: str = "teacher") -> Answer:
        answers.append(await knowing(request, to))
        (tmp_path / "arrays.bin").unlink()
        return answers[-1]

    knowing = Knowing(tmp_path)
    [item] = items_of(ROW, seed=7)
    outcome = outcome_of(open_method(name), item, ask)
    [(to, request)] = knowing.asked
    assert to == "teacher"
    assert request == Request(
        [{"role": "user", "content": "Name a colour."}],
        kind="score",
        completion=({"role": "assistant", "content": Y},),
        feature={"of": name, **asked, "truncate": False, "max_length": 0},
    )
    [answer], [arrays] = answers, outcome.arrays
    assert outcome.status == "kept" and answer.feature is not None
    assert (arrays.header, arrays.source) == (answer.feature["arrays"], answer.blob)


def test_a_record_of_one_teacher(tmp_path: Path) -> None:
    recipe = open_recipe("topk", k=4)
    ask = Knowing(tmp_path)
    [item] = items_of({**ROW, "id": "b" * 16, "note": "mine"})
    [record] = scored(ask, "topk", item, k=4).records
    assert list(record) == ["id", "kind", *COLUMNS["logits"], "meta"]
    tail = 1 - np.sort(np.exp(logprobs(*ask.asked[0])), axis=1)[:, -4:].sum(axis=1)
    features = record["features"]
    assert features.pop("tail") == pytest.approx(tail.mean(), abs=1e-3)
    assert features == {"file": "", "tokens": TOKENS, "tokenizer": TOKENIZER, "kind": "topk"}
    assert next(iter(record["features"])) == "file"
    assert record["kind"] == "logits"
    assert record["prompt"] == [{"role": "user", "content": "Name a colour."}]
    assert record["completion"] == [{"role": "assistant", "content": Y}]
    details = json.loads(record["meta"].pop("details"))
    assert record["meta"] == {
        "method": "feature",
        "recipe": "topk",
        "recipe_digest": recipe.digest[:16],
        "seed_id": item.id,
        "teacher": "toy/teacher",
        "model": "teacher-model",
    }
    assert details == {
        "feature": {"of": "topk", "k": 4, "temperature": 1.0, "truncate": False, "max_length": 0},
        "layout": "plain",
        "truncated": False,
        "prompt_tokens": len("Name a colour."),
        "parent": "b" * 16,
    }


def test_what_only_some_records_have(tmp_path: Path) -> None:
    """A parent is a text, a tokenizer is known, numbers were clipped; raw text is a column of its own."""
    [item] = items_of({"text": Y, "id": 7})
    outcome = scored(Knowing(tmp_path, says={"clipped": 3, "truncated": True}), "hidden", item, known=False)
    details = details_of(outcome)
    assert "parent" not in details and "layout" not in details and "weights" not in details
    assert (details["clipped"], details["truncated"]) == (3, True)
    [record] = outcome.records
    assert list(record) == ["id", "kind", "text", "features", "meta"]
    assert (record["kind"], record["text"]) == ("hidden", Y)
    assert record["features"] == {"file": "", "tokens": TOKENS, "kind": "hidden"}
    assert "clipped" not in details_of(scored(Knowing(tmp_path, says={"clipped": 0}), "hidden"))
    assert scored(Knowing(tmp_path), "attention").records[0]["kind"] == "attention"


def test_ids_of_records_tell_rows_and_recipes_apart(tmp_path: Path) -> None:
    items = items_of(ROW, {**ROW, "completion": "Red."})
    made = [scored(Knowing(tmp_path), name, item) for name in ("topk", "hidden") for item in items]
    assert len({outcome.records[0]["id"] for outcome in made}) == 4
    assert made[0].records[0]["id"] == scored(Knowing(tmp_path), "topk", k=3).records[0]["id"]


def test_packed_arrays_are_smaller_and_the_tail_is_theirs(tmp_path: Path) -> None:
    plain, packed = (scored(Knowing(tmp_path), "topk", k=VOCAB_SIZE, layout=layout) for layout in ("plain", "packed"))
    assert details_of(packed)["layout"] == "packed"
    wide, narrow = topk_of(stored(plain.arrays[0])), topk_of(stored(packed.arrays[0]))
    assert (wide.ids[:, 0] == narrow.ids[:, 0]).all()
    assert isinstance(packed.arrays[0].source, bytes)
    assert len(packed.arrays[0].source) < sum(array.nbytes for array in stored(plain.arrays[0]).values()) * 0.8
    assert narrow.tail.sum() > wide.tail.sum()
    assert packed.records[0]["features"]["tail"] == pytest.approx(narrow.tail.mean(), abs=1e-6)
    assert plain.records[0]["features"]["tail"] == pytest.approx(wide.tail.mean(), abs=1e-6)
    assert not problems(packed)


def test_packed_ids_of_an_unknown_vocabulary_take_three_bytes(tmp_path: Path) -> None:
    known, unknown = (scored(Knowing(tmp_path), "topk", layout="packed", known=known) for known in (True, False))
    assert stored(known.arrays[0])["ids"].dtype == np.uint16
    assert stored(unknown.arrays[0])["ids"].dtype == np.uint8
    assert (topk_of(stored(known.arrays[0])).ids == topk_of(stored(unknown.arrays[0])).ids).all()


def test_arrays_that_are_read_must_be_those_that_were_written(tmp_path: Path) -> None:
    async def ask(request: Request, to: str = "teacher") -> Answer:
        answer = await Knowing(tmp_path)(request, to)
        assert answer.blob is not None
        return answer._replace(blob=answer.blob._replace(offset=answer.blob.offset + 1))

    with pytest.raises(DamageError, match="bytes at"):
        outcome_of(open_method("topk", layout="packed"), ITEM, ask)


# -- several teachers --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["plain", "packed"])
@pytest.mark.parametrize(("given", "weights"), [([], [1 / 3] * 3), ([2, 1, 0.5], [4 / 7, 2 / 7, 1 / 7])])
def test_the_whole_vocabulary_averages_to_the_mixture(
    tmp_path: Path, layout: str, given: list[float], weights: list[float]
) -> None:
    ask = Knowing(tmp_path)
    outcome = scored(ask, "topk", teachers=3, k=VOCAB_SIZE, layout=layout, weights=given)
    assert [to for to, _ in ask.asked] == ["teacher", "teacher-2", "teacher-3"]
    assert len({str(request) for _, request in ask.asked}) == 1
    assert details_of(outcome)["weights"] == pytest.approx(weights)
    wanted, found = mixture(ask, weights), topk_of(stored(outcome.arrays[0]))
    own = np.arange(TOKENS), ids_of(Y)
    assert np.abs(np.exp(found.chosen) - wanted[own]).max() < 1e-3
    dense = np.zeros_like(wanted)
    at, place = np.nonzero(found.ids >= 0)
    dense[at, found.ids[at, place]] = np.exp(found.logprobs[at, place])
    near = 1e-3 if layout == "plain" else 1 / 50
    assert np.abs(dense - wanted).max() < near
    assert (np.abs(dense.sum(axis=1) + found.tail - 1) < near).all()
    assert not problems(outcome)


def test_the_most_likely_of_the_mean_are_kept(tmp_path: Path) -> None:
    """Each teacher's own k are asked for; what one left out of them stays in the tail."""
    ask = Knowing(tmp_path)
    outcome = scored(ask, "topk", teachers=2, k=5, weights=[3, 1])
    dense = np.zeros((TOKENS, VOCAB_SIZE))
    for weight, asked in zip([0.75, 0.25], ask.asked, strict=True):
        each = np.exp(logprobs(*asked))
        dense += weight * np.where(each >= np.sort(each, axis=1)[:, -5:-4], each, 0)
    found = topk_of(stored(outcome.arrays[0]))
    assert found.ids.shape == (TOKENS, 5)
    assert np.abs(np.exp(found.logprobs) - np.sort(dense, axis=1)[:, : -5 - 1 : -1]).max() < 1e-3
    assert outcome.records[0]["features"]["tail"] == pytest.approx(
        1 - np.exp(found.logprobs).sum(axis=1).mean(), abs=2e-3
    )
    assert not problems(outcome)


def test_a_record_of_several_teachers(tmp_path: Path) -> None:
    outcome = scored(Knowing(tmp_path), "topk", teachers=2)
    [record] = outcome.records
    assert record["meta"]["teacher"] == "toy/teacher + toy/teacher-2"
    assert record["meta"]["model"] == "teacher-model"
    assert record["id"] != scored(Knowing(tmp_path), "topk").records[0]["id"]
    assert record["features"]["tokenizer"] == TOKENIZER
    assert details_of(outcome)["weights"] == [0.5, 0.5]


def test_vocabularies_that_are_padded_to_other_sizes(tmp_path: Path) -> None:
    sizes = {"teacher": TOKENIZER, "teacher-2": {**TOKENIZER, "vocab_size": 1 << 17}}
    annotator = Annotator(open_recipe("topk"), dict.fromkeys(sizes, "toy"), sizes)
    outcome = outcome_of(make_scored(annotator.recipe, annotator), ITEM, Knowing(tmp_path))
    assert outcome.records[0]["features"]["tokenizer"] == {**TOKENIZER, "vocab_size": 1 << 17}
    assert stored(outcome.arrays[0])["ids"].dtype == np.int32


def test_temperature_is_the_teachers(tmp_path: Path) -> None:
    ask = Knowing(tmp_path)
    outcome = scored(ask, "topk", teachers=2, k=VOCAB_SIZE, temperature=4)
    assert [(request.feature or {})["temperature"] for _, request in ask.asked] == [4.0, 4.0]
    assert (
        np.abs(
            np.exp(topk_of(stored(outcome.arrays[0])).chosen) - mixture(ask, [0.5] * 2)[range(TOKENS), ids_of(Y)]
        ).max()
        < 1e-3
    )


# -- draws -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("draws", "weights", "shares"), [(50, [], [25, 25]), (51, [], [26, 25]), (10, [3, 1], [8, 2]), (7, [1, 6], [1, 6])]
)
def test_draws_are_shared_out_and_add_up(tmp_path: Path, draws: int, weights: Any, shares: list[int]) -> None:
    ask = Knowing(tmp_path)
    [item] = items_of(ROW, seed=5)
    outcome = scored(ask, "sampled", item, teachers=2, draws=draws, weights=weights)
    assert [(request.feature or {})["draws"] for _, request in ask.asked] == shares
    assert [(request.feature or {})["seed"] for _, request in ask.asked] == [5, 5 + (1 << 32)]
    arrays = stored(outcome.arrays[0])
    place = np.repeat(np.arange(TOKENS), arrays["counts_per_token"])
    assert np.bincount(place, weights=arrays["counts"]).tolist() == [draws] * TOKENS
    feature = {"of": "sampled", "draws": draws, "temperature": 1.0, "truncate": False, "max_length": 0, "seed": 5}
    assert details_of(outcome)["feature"] == feature
    assert "tail" not in outcome.records[0]["features"] and "layout" not in details_of(outcome)
    assert not problems(outcome)


def test_merged_draws_are_an_unbiased_estimate_of_the_mixture(tmp_path: Path) -> None:
    method, ask, runs, draws = open_method("sampled", 2, draws=60, weights=[2, 1]), Knowing(tmp_path), 200, 60
    total = np.zeros((1, VOCAB_SIZE))
    for seed in range(runs):
        [item] = items_of({"prompt": "x", "completion": "y"}, seed=seed)
        arrays = stored(outcome_of(method, item, ask).arrays[0])
        total[0, arrays["ids"]] += arrays["counts"] / (runs * draws)
        own = np.exp(logprobs_of(arrays["chosen"])[0])
    both = [np.exp(logprobs(*asked)) for asked in ask.asked[:2]]
    wanted = (2 * both[0] + both[1]) / 3
    deviations = np.abs(total - wanted) / np.sqrt(wanted / (runs * draws))
    assert deviations[wanted > 1e-3].max() < 5
    assert np.abs(total - (both[0] + both[1]) / 2).max() > 0.02  # or weights would not matter here
    assert own == pytest.approx(wanted[0, ord("y")], rel=1e-3)


# -- what is not kept --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["topk", "sampled"])
def test_other_tokens_are_no_average(tmp_path: Path, name: str) -> None:
    outcome = scored(Knowing(tmp_path, endings={"teacher-2": "<|im_end|>"}), name, teachers=2)
    assert (outcome.status, outcome.reason) == ("rejected", "tokens-differ")
    assert outcome.detail == "the teachers' chat templates end y at different tokens"
    ask = Knowing(tmp_path, endings={"teacher": "<|im_end|>", "teacher-2": "</s>"})
    outcome = scored(ask, name, teachers=2)
    assert (outcome.reason, outcome.detail) == ("tokens-differ", "the teachers make other tokens of y")


@pytest.mark.parametrize("teachers", [1, 2])
def test_why_a_teacher_does_not_score_is_the_rejects_reason(tmp_path: Path, teachers: int) -> None:
    outcome = scored(Knowing(tmp_path, rejects={Y: ("too-long", "600 tokens")}), "topk", teachers=teachers)
    assert (outcome.status, outcome.reason, outcome.detail) == ("rejected", "too-long", "600 tokens")
    assert not outcome.records and not outcome.arrays


def test_a_reply_without_arrays_is_a_reject() -> None:
    async def ask(request: Request, to: str = "teacher") -> Answer:
        return Answer("Blue.", "", "stop", "m", 1, 1)

    outcome = outcome_of(open_method("topk"), ITEM, ask)
    assert (outcome.reason, outcome.detail) == ("no-feature", "the reply holds no arrays")


def test_a_refusal_passes_through_when_all_have_answered(tmp_path: Path) -> None:
    """What the other teachers' answers cost is on disk then."""
    knowing = Knowing(tmp_path, delays=random.Random(0))

    async def ask(request: Request, to: str = "teacher") -> Answer:
        if to == "teacher":
            raise AnswerFailed("bad-request")
        return await knowing(request, to)

    with pytest.raises(AnswerFailed, match="bad-request"):
        outcome_of(open_method("topk", 3), ITEM, ask)
    assert sorted(answer.model for answer in knowing.answers) == ["teacher-2-model", "teacher-3-model"]
    with pytest.raises(AnswerFailed, match="bad-request"):
        scored(Knowing(tmp_path, refuses=[Y]), "topk")


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("topk", {"k": 0}, "k=0: must be a whole number of at least 1"),
        ("topk", {"k": 2.5}, "k=2.5"),
        ("topk", {"layout": "tight"}, "layout=tight: must be one of plain, packed"),
        ("topk", {"weights": [1]}, None),
        ("topk", {"weights": [1, 1], "teachers": 2, "temperature": 0}, "temperature=0"),
        ("topk", {"weights": [1, 1, 1], "teachers": 2}, "a number above 0 for each of the 2 teachers"),
        ("topk", {"weights": [1, 0], "teachers": 2}, "weights="),
        ("topk", {"weights": [1, -1], "teachers": 2}, "weights="),
        ("topk", {"weights": [1, True], "teachers": 2}, "weights="),
        ("topk", {"weights": ["1", 1], "teachers": 2}, "weights="),
        ("sampled", {"weights": [1, 1]}, "each of the 1 teachers"),
        ("sampled", {"draws": 0}, "draws=0"),
        ("sampled", {"draws": 70000}, "draws=70000: must be a whole number of at least 1 and at most 65535"),
        ("sampled", {"draws": 65535}, None),
        ("sampled", {"temperature": 0}, "temperature=0.*must be above 0"),
        ("sampled", {"top_p": 0.9}, "top_p: y is given, so nothing is sampled"),
        ("hidden", {"layers": []}, "must be a list of layers"),
        ("hidden", {"layers": [1, 1]}, "names a layer twice"),
        ("hidden", {"layers": [1.5]}, "must be a list of layers"),
        ("hidden", {"layers": [True]}, "must be a list of layers"),
        ("hidden", {"pool": "max"}, "pool=max: must be one of none, mean, last"),
        ("hidden", {"dtype": "bfloat16"}, "dtype=bfloat16"),
        ("hidden", {"teachers": 2}, "states of several models cannot be averaged"),
        ("hidden", {"max_length": -1}, "max_length=-1"),
        ("attention", {"heads": "first"}, "heads=first: must be one of all, mean"),
        ("attention", {"teachers": 2}, "cannot be averaged"),
        ("topk", {"samples": 2}, "samples 2: y is given"),
    ],
)
def test_settings_that_cannot_be(name: str, options: dict[str, Any], words: str | None) -> None:
    if words is None:
        open_method(name, **options)
        return
    with pytest.raises(UsageError, match=words):
        open_method(name, **options)


# -- any text ----------------------------------------------------------------------------------------------------------

LAYOUTS = st.sampled_from(["plain", "packed"])
OPTIONS: Mapping[str, st.SearchStrategy[dict[str, Any]]] = {
    "topk": st.fixed_dictionaries({"k": st.integers(1, 300), "layout": LAYOUTS, "temperature": st.floats(0.1, 9)})
    | st.fixed_dictionaries({"k": st.just(VOCAB_SIZE), "layout": LAYOUTS, "teachers": st.integers(2, 3)}),
    "sampled": st.fixed_dictionaries({"draws": st.integers(3, 500), "teachers": st.integers(1, 3)}),
    "hidden": st.fixed_dictionaries({"pool": st.sampled_from(["none", "mean", "last"]), "layers": st.just([0, -1])}),
    "attention": st.fixed_dictionaries({"heads": st.sampled_from(["all", "mean"])}),
}


@pytest.mark.parametrize("name", OPTIONS)
@settings(max_examples=20, deadline=None)
@given(x=st.text(min_size=1, max_size=12), y=st.text(min_size=1, max_size=12), data=st.data(), known=st.booleans())
def test_any_text_gives_arrays_with_nothing_wrong(
    tmp_path_factory: pytest.TempPathFactory, name: str, x: str, y: str, data: st.DataObject, known: bool
) -> None:
    [item] = items_of({"prompt": x, "completion": y})
    ask = Knowing(tmp_path_factory.getbasetemp())
    outcome = scored(ask, name, item, known=known, **data.draw(OPTIONS[name]))
    assert outcome.status == "kept"
    assert problems(outcome) == []
    assert outcome.records[0]["features"]["tokens"] == len(ids_of(y))


@settings(max_examples=30, deadline=None)
@given(
    y=st.text(min_size=1, max_size=12),
    k=st.integers(1, 40),
    layout=st.sampled_from(["plain", "packed"]),
    weights=st.lists(st.floats(0.01, 9), min_size=2, max_size=3),
)
def test_any_average_has_nothing_wrong(
    tmp_path_factory: pytest.TempPathFactory, y: str, k: int, layout: str, weights: list[float]
) -> None:
    """Also where y's token is among one teacher's k and not among another's."""
    [item] = items_of({"prompt": "x", "completion": y})
    ask = Knowing(tmp_path_factory.getbasetemp())
    outcome = scored(ask, "topk", item, teachers=len(weights), k=k, layout=layout, weights=weights)
    assert problems(outcome) == []


@pytest.mark.parametrize(("draws", "weights"), [(1, []), (50, [99, 1])])
def test_a_teacher_without_a_draw_is_refused(draws: int, weights: list[int]) -> None:
    with pytest.raises(UsageError, match="at least once"):
        open_method("sampled", 2, draws=draws, weights=weights)


def test_a_wrong_array_is_something_wrong(tmp_path: Path) -> None:
    """Or the test above would say nothing."""
    outcome = scored(Knowing(tmp_path, says={"tokens": 3}), "topk")
    assert problems(outcome)

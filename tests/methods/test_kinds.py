"""Records of every kind from annotated answers: by examples, and over arbitrary annotations."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from distill_data.data.items import Item, Record
from distill_data.errors import UsageError
from distill_data.formats import COLUMNS, TRAINERS, faults
from distill_data.methods.kinds import KINDS, PAIRS, make_kind
from distill_data.methods.responses import Judged, Made, Response
from distill_data.recipes import load_recipe

RECIPE = load_recipe("answer", "label")
MODELS = {"student": "mine", "student-2": "other", "teacher": "big"}
PROMPT = [{"role": "user", "content": "Why?"}]
SCORED = ("preference", "unpaired", "ranked")


def item(identity: str = "0" * 16, seed: int = 0) -> Item:
    return Item(0, identity, {}, "seeds.jsonl:1", seed)


def response(text: str, score: float | None = None, sample: int = 0, **other: Any) -> Response:
    said = {"role": "assistant", "content": text}
    return Response(other.pop("role", "student"), sample, "mine-1", said, text, score, **other)


def judged(*scores: float | None, **other: Any) -> Judged:
    """Answers `a`, `b`, … with these scores."""
    answers = tuple(response("abcdefgh"[at], score, at) for at, score in enumerate(scores))
    return Judged(PROMPT, answers, **other)


def made(kind: str, given: Judged, at: Item | None = None, **settings: Any) -> tuple[list[Record], str]:
    recipe = replace(RECIPE, settings=settings)
    return make_kind(recipe, kind, MODELS)(at or item(), given)


def rows(kind: str, given: Judged, **settings: Any) -> list[Record]:
    records, reason = made(kind, given, **settings)
    assert records and not reason
    return records


def details(record: Record) -> dict[str, Any]:
    return dict(json.loads(record["meta"]["details"]))


def pairs(given: Judged, at: Item | None = None, **settings: Any) -> list[str]:
    """Each pair as two letters."""
    records, _ = made("preference", given, at, **settings)
    return [record["chosen"][0]["content"] + record["rejected"][0]["content"] for record in records]


# ranked


def test_ranked_goes_from_best_to_worst_and_ties_stay_in_the_order_asked() -> None:
    (record,) = rows("ranked", judged(1, 3, None, 3, 2))
    assert (record["responses"], record["scores"]) == (["b", "d", "e", "a"], [3.0, 3.0, 2.0, 1.0])
    assert all(type(score) is float for score in record["scores"])
    assert [each["sample"] for each in details(record)["responses"]] == [1, 3, 4, 0]


def test_responses_are_what_a_student_is_trained_on_and_not_what_verifiers_compare() -> None:
    long = response("so it is 4", 1)._replace(text="4")
    (record,) = rows("ranked", Judged(PROMPT, (long, response("5", 0, 1))))
    assert record["responses"] == ["so it is 4", "5"]


# preference


@pytest.mark.parametrize(
    ("scores", "settings", "found"),
    [
        ((1, 3, 2), {}, ["ba"]),
        ((1, 3, 2), {"pairs": "all"}, ["bc", "ba", "ca"]),
        ((1, 3, 2), {"pairs": "all", "margin": 2}, ["ba"]),
        ((3, 1, 3, 1), {"pairs": "all"}, ["ab", "ad", "cb", "cd"]),
        ((3, 1, 3, 1), {}, ["ad"]),
        ((None, 2, 5, None), {}, ["cb"]),
        ((0.7, 0.4), {"margin": 0.3}, ["ab"]),
        ((1, 0), {"pairs": "best-random", "margin": 1}, ["ab"]),
    ],
)
def test_pairs(scores: tuple[float | None, ...], settings: Mapping[str, Any], found: list[str]) -> None:
    assert pairs(judged(*scores), **settings) == found


def test_a_pair_has_the_facts_of_both() -> None:
    given = Judged(
        PROMPT,
        (
            response("a", 1, 0, details={"why": "short"}),
            response("b", 4.5, 0, role="student-2", details={"why": "good"}),
        ),
        details={"judge": "big"},
    )
    (record,) = rows("preference", given)
    assert (record["chosen_score"], record["rejected_score"]) == (4.5, 1.0)
    assert type(record["rejected_score"]) is float
    assert (record["meta"]["teacher"], record["meta"]["model"]) == ("other", "mine-1")
    assert details(record) == {
        "margin": 3.5,
        "judge": "big",
        "sample": 0,
        "chosen": {"role": "student-2", "model": "mine-1", "sample": 0, "score": 4.5, "why": "good"},
        "rejected": {"role": "student", "model": "mine-1", "sample": 0, "score": 1.0, "why": "short"},
        "sampling": dict(RECIPE.sampling),
        "checks": ["words", "refusal"],
    }


def test_best_random_takes_any_that_is_worse_and_the_same_for_the_same_item() -> None:
    given = judged(5, 1, 5, 4, 2)
    drawn = [pairs(given, item(f"{number:016x}"), pairs="best-random") for number in range(60)]
    assert {each for (each,) in drawn} == {"ab", "ad", "ae"}, "never a tie with the best"
    assert drawn == [pairs(given, item(f"{number:016x}"), pairs="best-random") for number in range(60)]
    assert drawn != [pairs(given, item(f"{number:016x}", seed=1), pairs="best-random") for number in range(60)]


def same(*scores: float) -> Judged:
    """Answers that are all one text."""
    return Judged(PROMPT, tuple(response("a", score, at) for at, score in enumerate(scores)))


@pytest.mark.parametrize("rule", PAIRS)
@pytest.mark.parametrize(
    ("given", "margin", "reason"),
    [
        (judged(), 0, "no-answer"),
        (judged(None, None), 0, "no-verdict"),
        (judged(float("nan"), float("inf")), 0, "no-verdict"),
        (judged(None, 2), 0, "one-answer"),
        (judged(2, 2, 2), 0, "tie"),
        (judged(2, 1.5), 0.6, "below-margin"),
        (same(2, 1), 0, "same-text"),
        (same(2, 1), 5, "same-text"),
        (same(2, 2), 0, "tie"),
    ],
)
def test_why_there_is_no_pair(rule: str, given: Judged, margin: float, reason: str) -> None:
    assert made("preference", given, pairs=rule, margin=margin) == ([], reason)


def test_two_ways_to_one_answer_are_a_pair_and_twice_the_same_way_is_none() -> None:
    short, long = (
        response(text, score, at)._replace(text="4") for at, (text, score) in enumerate([("4", 1), ("2+2=4", 0)])
    )
    assert pairs(Judged(PROMPT, (short, long))) == ["42+2=4"]
    again = Judged(PROMPT, (short, long, short._replace(score=-1, sample=2)))
    assert pairs(again) == ["42+2=4"], "the worst is the same text, so the next worst is taken"


# unpaired, sft


def test_unpaired_labels_by_the_threshold() -> None:
    records = rows("unpaired", judged(2, None, 3, 4), threshold=3)
    assert [(each["completion"][0]["content"], each["label"], each["score"]) for each in records] == [
        ("a", False, 2.0),
        ("c", True, 3.0),
        ("d", True, 4.0),
    ]
    assert [type(each["score"]) for each in records] == [float] * 3
    assert made("unpaired", judged(None), threshold=3) == ([], "no-verdict")


def test_sft_takes_the_good_ones_and_scores_do_not_matter() -> None:
    given = Judged(PROMPT, (response("a", 5), response("b", None, 1, good=True), response("c", 1, 2, good=True)))
    records = rows("sft", given)
    assert [each["completion"] for each in records] == [[given.responses[at].completion] for at in (1, 2)]
    assert [details(each).get("score") for each in records] == [None, 1.0]
    assert made("sft", judged(5)) == ([], "none-good") and made("sft", judged()) == ([], "no-answer")


def test_sft_has_the_column_answer_where_the_recipe_declares_it() -> None:
    recipe = replace(RECIPE, settings={"threshold": 1}, record=replace(RECIPE.record, answer="text"))
    said = response("so it is 4", 1, good=True)._replace(text="4")
    for kind in ("sft", "unpaired"):
        ((record,), _) = make_kind(recipe, kind, MODELS)(item(), Judged(PROMPT, (said,)))
        assert record.get("answer") == ("4" if kind == "sft" else None)
        assert list(record)[-1] == "meta"
    row = Made({"completion": [said.completion], "prompt": PROMPT}, said)
    ((record,), _) = make_kind(recipe, "sft", MODELS)(item(), Judged(PROMPT, (), {"sft": (row,)}))
    assert list(record) == ["id", "kind", "prompt", "completion", "answer", "meta"] and record["answer"] == "4"


def test_a_role_that_nobody_plays_is_a_column_of_the_seeds() -> None:
    (record,) = rows("sft", Judged(PROMPT, (response("a", role="reference", good=True),)))
    assert record["meta"]["teacher"] == "reference"


def test_the_round_is_told_where_it_is_given() -> None:
    ((record,), _) = make_kind(RECIPE, "sft", MODELS, round=3)(item(), Judged(PROMPT, (response("a", good=True),)))
    assert details(record)["round"] == 3 and "round" not in details(rows("ranked", judged(1, 2))[0])


# made


def test_rows_that_the_annotation_brings_take_the_place_of_those_from_scores() -> None:
    source = response("b", 1, 4, details={"finish": "stop"})
    columns = {"rejected": [], "chosen": [], "prompt": PROMPT, "chosen_score": 1, "rejected_score": 0}
    given = judged(1, 2, made={"preference": (Made(columns, source, "fix", {"by": "big"}),), "critique": ()})
    (record,) = rows("preference", given)
    assert list(record) == ["id", "kind", *COLUMNS["preference"], "meta"]
    assert type(record["chosen_score"]) is float and record["rejected_score"] == 0.0
    told = details(record)
    assert (told["by"], told["finish"], told["sample"], told["score"]) == ("big", "stop", 4, 1.0)
    assert made("critique", given) == ([], "no-critique") == made("critique", judged(1))
    assert made("steps", given) == ([], "no-steps")
    assert rows("ranked", given)[0]["responses"] == ["b", "a"]


@pytest.mark.parametrize("columns", [{"prompt": PROMPT}, {"prompt": PROMPT, "completion": [], "extra": 1}])
def test_a_strategy_that_brings_other_columns_is_wrong(columns: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="a row of the kind critique has the columns prompt, completion, not prompt"):
        made("critique", judged(made={"critique": (Made(columns, response("a")),)}))


def test_steps_have_a_text_as_prompt_as_stepwise_trainers_want_it() -> None:
    def steps(prompt: Any) -> Record:
        columns = {"prompt": prompt, "completions": ["2+2", "=4"], "labels": [True, False]}
        return rows("steps", judged(made={"steps": (Made(columns, response("2+2=4")),)}))[0]

    assert faults(steps("What is 2+2?"), "stepwise") == []
    assert faults(steps(PROMPT), "stepwise") == []
    assert steps(PROMPT)["prompt"] == "\n\n".join(said["content"] for said in PROMPT)


# what cannot work


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        ("preference", {"pairs": "worst"}, "--set pairs=worst: must be one of best-worst, best-random, all"),
        ("preference", {"pairs": ["all"]}, r"--set pairs=\['all'\]: must be one of"),
        ("preference", {"margin": -1}, "--set margin=-1: must be a number of at least 0"),
        ("preference", {"margin": float("nan")}, "--set margin=nan: must be a number"),
        ("unpaired", {}, "--set threshold: the kind unpaired needs it, and the recipe answer doesn't declare it"),
        ("unpaired", {"threshold": "high"}, "--set threshold=high: must be a number"),
        ("unpaired", {"threshold": True}, "--set threshold=True: must be a number"),
        ("logits", {}, "--kind logits: the recipe answer gives sft, preference, unpaired, ranked, steps, critique"),
    ],
)
def test_what_cannot_work_is_found_when_made(kind: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_kind(replace(RECIPE, settings=settings), kind, MODELS)


def test_settings_of_other_kinds_do_not_matter_and_kinds_not_offered_are_refused() -> None:
    make_kind(replace(RECIPE, settings={"pairs": "worst", "margin": -1}), "ranked", MODELS, ("ranked",))
    with pytest.raises(UsageError, match="--kind sft: the recipe answer gives ranked, steps"):
        make_kind(RECIPE, "sft", MODELS, ("ranked", "steps"))


# any annotation

TEXTS = st.text(max_size=4)
FACTS = st.dictionaries(TEXTS, st.integers(-9, 9) | TEXTS | st.booleans(), max_size=2)
SCORES = (
    st.none() | st.sampled_from([0.0, 1.0, 2.0, 2.5]) | st.floats(-1e9, 1e9) | st.just(float("nan")) | st.integers(0, 3)
)
TURN = st.builds(lambda text: {"role": "assistant", "content": text}, TEXTS)
RESPONSES = st.builds(
    Response, st.sampled_from(["student", "student-2", "gold"]), st.integers(0, 3), TEXTS, TURN, TEXTS, SCORES,
    st.booleans(), FACTS,
)  # fmt: skip
PROMPTS = st.builds(
    lambda first, last: [*first, {"role": "user", "content": last}],
    st.lists(st.builds(lambda text: {"role": "system", "content": text}, TEXTS), max_size=1),
    TEXTS,
)
CRITIQUES = st.builds(lambda prompt, turn: {"completion": [turn], "prompt": prompt}, PROMPTS, TURN)
STEPS = st.builds(
    lambda prompt, steps: {
        "prompt": prompt, "completions": [text for text, _ in steps], "labels": [right for _, right in steps]
    },
    TEXTS, st.lists(st.tuples(TEXTS, st.booleans()), min_size=1, max_size=4),
)  # fmt: skip
PARTS = st.sampled_from(["", "fix", "critique-1"])


def brought(columns: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[tuple[Made, ...]]:
    return st.lists(st.builds(Made, columns, RESPONSES, PARTS, FACTS), max_size=3).map(tuple)


JUDGED = st.builds(
    Judged, PROMPTS, st.lists(RESPONSES, max_size=6).map(tuple),
    st.fixed_dictionaries({}, optional={"critique": brought(CRITIQUES), "steps": brought(STEPS)}), FACTS,
)  # fmt: skip
SETTINGS = st.fixed_dictionaries(
    {"threshold": st.sampled_from([0, 1.5, 2])},
    optional={"pairs": st.sampled_from(sorted(PAIRS)), "margin": st.sampled_from([0, 0.5, 1, 3])},
)


@pytest.mark.parametrize("kind", KINDS)
@given(JUDGED, SETTINGS, st.booleans())
def test_records_of_any_annotation_are_what_trainers_read(
    kind: str, given: Judged, settings: dict[str, Any], answer: bool
) -> None:
    recipe = replace(RECIPE, settings=settings, record=replace(RECIPE.record, answer="text" if answer else ""))
    make = make_kind(recipe, kind, MODELS)
    records, reason = make(item(), given)
    assert bool(records) is not bool(reason)
    names = (*COLUMNS[kind], *(["answer"] if answer and kind == "sft" else []))
    assert all(list(record) == ["id", "kind", *names, "meta"] for record in records)
    assert all(list(record["meta"]) == list(records[0]["meta"]) for record in records)
    assert len({record["id"] for record in records}) == len(records)
    assert orjson.dumps(make(item(), given)) == orjson.dumps((records, reason))
    for record in orjson.loads(orjson.dumps(records)):
        assert [fault for trainer in TRAINERS[kind] for fault in faults(record, trainer)] == []
        assert None not in record.values()


@given(JUDGED, SETTINGS)
def test_counts_of_any_annotation_add_up(given: Judged, settings: dict[str, Any]) -> None:
    finite = [each.score for each in given.responses if each.score is not None and each.score == each.score]
    found = {kind: made(kind, given, **settings)[0] for kind in KINDS}
    assert len(found["unpaired"]) == len(finite)
    assert sum(each["label"] for each in found["unpaired"]) == sum(score >= settings["threshold"] for score in finite)
    assert [len(each["scores"]) for each in found["ranked"]] == [len(finite)] * (len(finite) > 1)
    assert len(found["sft"]) == sum(each.good for each in given.responses)
    assert len(found["critique"]) == len(given.made.get("critique", ()))
    assert len(found["preference"]) <= (len(finite) * (len(finite) - 1) // 2 if settings.get("pairs") == "all" else 1)


@given(JUDGED, SETTINGS)
def test_every_pair_of_any_annotation_keeps_the_rules(given: Judged, settings: dict[str, Any]) -> None:
    records, _ = made("preference", given, **settings)
    assume(records)
    best = max(each.score for each in given.responses if each.score is not None and each.score == each.score)
    for record in records:
        margin = record["chosen_score"] - record["rejected_score"]
        assert margin > 0 and margin >= settings.get("margin", 0) - 1e-9
        assert record["chosen"] != record["rejected"]
        assert settings.get("pairs") == "all" or record["chosen_score"] == best


@given(JUDGED, st.sampled_from([0, 0.5, 1, 3]))
def test_the_other_rules_take_their_pairs_from_all_and_find_one_where_the_best_is_in_one(
    given: Judged, margin: float
) -> None:
    def ids(rule: str) -> list[str]:
        return [each["id"] for each in made("preference", given, pairs=rule, margin=margin)[0]]

    worst, random, everything = ids("best-worst"), ids("best-random"), ids("all")
    assert set(worst) <= set(everything) and set(random) <= set(everything)
    assert len(worst) == len(random)

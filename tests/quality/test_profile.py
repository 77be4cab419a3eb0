"""A dataset in numbers: right on rows whose numbers are known, the same for equal rows, safe for any."""

from __future__ import annotations

import json
import math
import random
import statistics
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from distill_data.quality.profile import COLUMNS, VALUES, profile
from distill_data.quality.redundancy import compression_ratio, nearest_rouge, ngram_entropy
from distill_data.quality.reservoir import KEPT, Distinct, Reservoir, Spread, priority, quantile
from distill_data.quality.vendi import vendi_score

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(
    ["prompt", "completion", "messages", "text", "kind", "label", "quality", "meta", "embedding", "details"]
)


def row(number: int) -> dict[str, Any]:
    return {
        "kind": "sft",
        "prompt": [{"role": "user", "content": f"What is {number} plus one?"}],
        "completion": [{"role": "assistant", "content": "word " * (number % 10 + 1)}],
        "answer": "yes" if number % 3 else "no",
        "quality": float(number),
        "embedding": [1.0, 0.0] if number % 2 else [0.0, 1.0],
        "meta": {
            "method": "label",
            "recipe": "answer",
            "teacher": "echo",
            "model": f"m{number % 2}",
            "details": json.dumps({"prompt_tokens": 10, "completion_tokens": number}),
        },
    }


def test_known_rows_have_known_numbers() -> None:
    found = profile(map(row, range(100)))
    assert (found["rows"], found["kinds"], found["more_columns"]) == (100, {"sft": 100}, 0)
    assert found["columns"]["quality"] == {"filled": 100, "types": {"number": 100}}
    assert found["columns"]["meta"] == {"filled": 100, "types": {"object": 100}}
    words = found["texts"]["y"]["words"]
    assert (words["count"], words["min"], words["max"], words["mean"]) == (100, 1, 10, 5.5)
    assert (words["median"], words["q1"], words["p95"]) == (5.5, 3, 10)
    assert words["histogram"] == {"edges": [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 10], "counts": [10] * 10}
    assert found["texts"]["y"]["duplicates"] == {"share": 0.9, "exact": True}
    assert found["texts"]["x"]["duplicates"] == found["duplicates"] == {"share": 0.0, "exact": True}
    assert found["texts"]["x"]["languages"] == {"": 100} | found["texts"]["x"]["languages"]
    assert found["labels"] == {"answer": {"yes": 66, "no": 34}}
    quality = found["scores"]["quality"]
    assert [quality[name] for name in ("mean", "q1", "median", "q3", "max")] == [49.5, 24.75, 49.5, 74.25, 99]
    assert found["made_by"] == {
        "method": {"label": 100}, "recipe": {"answer": 100}, "teacher": {"echo": 100}, "model": {"m0": 50, "m1": 50},
    }  # fmt: skip
    assert found["tokens"] == {"completion_tokens": 4950, "prompt_tokens": 1000}
    assert found["embedding"] == {"rows": 100, "dimensions": 2, "sampled": 100, "vendi": pytest.approx(2.0)}


def test_mixed_rows_and_rows_from_elsewhere() -> None:
    found = profile(
        [
            {"instruction": "Say A.", "output": "A"},
            {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]},
            {"kind": "prompt", "prompt": [{"role": "user", "content": "Say B."}]},
            {"nothing": None, "meta": "text"},
            {},
        ]
    )
    assert found["kinds"] == {"": 4, "prompt": 1}
    assert (found["texts"]["x"]["rows"], found["texts"]["y"]["rows"]) == (3, 2)
    assert found["columns"]["nothing"] == {"filled": 0, "types": {"nothing": 1}}


def test_lists_of_labels_and_of_scores_count_by_their_entries() -> None:
    found = profile({"labels": [True, True, False], "scores": [0.5, 1], "words": ["a", "b"]} for _ in range(2))
    assert found["labels"] == {"labels": {"true": 4, "false": 2}}
    assert list(found["scores"]) == ["scores"]
    assert [found["scores"]["scores"][name] for name in ("count", "min", "mean", "max")] == [4, 0.5, 0.75, 1]
    assert profile([{"vector": [0.5] * 33}, {"mixed": [1, "a"]}, {"none": []}])["scores"] == {}


@given(st.lists(st.integers(-50, 300), min_size=1, max_size=60))
def test_bins_of_whole_numbers_hold_no_neighbours(values: list[int]) -> None:
    spread = Spread()
    for ordinal, value in enumerate(values):
        spread.add(priority(ordinal), float(value))
    edges, counts = (spread.to_json()["histogram"][name] for name in ("edges", "counts"))
    bounds = [*edges[:-1], math.inf]
    assert counts == [sum(low <= value < high for value in values) for low, high in pairwise(bounds)]
    assert len(counts) <= 20
    if max(values) - min(values) < 20:  # a bin for every number, also for those at the upper end
        assert len(counts) == max(values) - min(values) + 1


def test_other_texts_can_be_looked_at() -> None:
    found = profile([{"note": "one two", "x": "a"}, {"note": "three"}], on=("note", "nope", "x+note"))
    assert list(found["texts"]) == ["note", "x+note"]
    assert found["texts"]["x+note"]["words"]["mean"] == 3


def test_no_rows() -> None:
    found = profile([])
    assert found["rows"] == 0
    assert found["texts"] == found["labels"] == found["scores"] == found["embedding"] == {}


@given(st.lists(st.dictionaries(NAMES, JSON, max_size=6), max_size=12))
@settings(max_examples=150, deadline=None)
def test_any_rows_give_plain_json_that_is_the_same_again(rows: list[dict[str, Any]]) -> None:
    found = profile(rows)
    assert json.loads(json.dumps(found, allow_nan=False)) == found == profile(rows)
    assert found["rows"] == len(rows)


def test_hostile_columns_are_bounded() -> None:
    rows = [{f"c{number}-{index}": "v" for index in range(100)} | {"id": str(number)} for number in range(50)]
    found = profile(rows)
    assert len(found["columns"]) == COLUMNS
    assert found["more_columns"] == 50 * 101 - sum(sum(each["types"].values()) for each in found["columns"].values())
    many = profile(
        {"kind": f"k{number}", "label": f"l{number}", "meta": {"model": f"m{number}"}} for number in range(200)
    )
    assert len(many["kinds"]) == len(many["made_by"]["model"]) == VALUES
    assert many["labels"] == {}


def test_what_is_of_a_sample_is_near_to_the_whole() -> None:
    rng = random.Random(3)
    values = [rng.lognormvariate(0, 1) for _ in range(5 * KEPT)]
    spread = Spread()
    for ordinal, value in enumerate(values):
        spread.add(priority(ordinal), value)
    found = spread.to_json()
    assert found["count"] == len(values)
    assert found["mean"] == pytest.approx(statistics.fmean(values))
    assert (found["min"], found["max"]) == (min(values), max(values))
    assert found["median"] == pytest.approx(statistics.median(values), rel=0.05)
    assert sum(found["histogram"]["counts"]) == KEPT


@example([1.7976931348623157e308, -9.9792015476736e291])
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=40))
def test_a_spread_of_any_numbers(values: list[float]) -> None:
    spread = Spread()
    for ordinal, value in enumerate(values):
        spread.add(priority(ordinal), value)
    found = spread.to_json()
    edges, counts = found["histogram"]["edges"], found["histogram"]["counts"]
    assert len(edges) == len(counts) + 1
    assert sum(counts) == len(values)
    assert edges == sorted(edges)
    assert (edges[0], edges[-1]) == (min(values), max(values))
    ordered = [found[name] for name in ("min", "q1", "median", "q3", "p95", "max")]
    assert all(low <= high or math.isclose(low, high) for low, high in pairwise(ordered))


@given(st.lists(st.integers(0, 1000), min_size=2, max_size=50))
def test_quantiles_are_those_of_the_statistics_module(values: list[int]) -> None:
    quarters = statistics.quantiles(values, n=4, method="inclusive")
    assert [quantile(sorted(values), share) for share in (0.25, 0.5, 0.75)] == pytest.approx(quarters)


def test_a_reservoir_keeps_the_lowest_in_the_order_of_the_stream() -> None:
    reservoir: Reservoir[int] = Reservoir(3)
    for value in (9, 2, 7, 1, 8, 2):
        reservoir.offer(value, value)
    assert reservoir.values() == [2, 1, 2]


def test_the_share_of_equals_is_exact_while_it_fits_and_near_beyond() -> None:
    few, many = Distinct(1000), Distinct(1000)
    for number in range(900):
        few.add(b"%d" % (number // 3))
    assert few.share_repeated() == pytest.approx(2 / 3) and few.exact()
    for number in range(60_000):
        many.add(b"%d" % (number // 3))
    assert many.share_repeated() == pytest.approx(2 / 3, abs=1e-9)  # all copies of a value are kept, or none
    assert not many.exact()


def test_entropy_compression_and_nearest() -> None:
    assert ngram_entropy(["a b c d"]) == 2.0
    assert ngram_entropy(["a a a a"]) == ngram_entropy([]) == ngram_entropy(["!"]) == 0.0
    assert ngram_entropy(["a b", "c d"], 2) == 1.0
    assert compression_ratio(["the same line"] * 100) > 20 > 2 > compression_ratio(["q8x!"])
    assert compression_ratio([]) == 1.0
    assert nearest_rouge(["a b c d", "a b c e", "x y"]) == [0.75, 0.75, 0.0]
    assert nearest_rouge(["a"]) == []


def test_the_vendi_score_counts_what_differs() -> None:
    axes = [[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]]
    assert vendi_score(axes) == pytest.approx(3)
    assert vendi_score(axes * 4) == pytest.approx(3)
    assert vendi_score([[3.0, 4.0]] * 7) == pytest.approx(1)
    assert vendi_score([]) == 0.0
    assert vendi_score([[1e300, 0.0], [0.0, 1e-300]]) == pytest.approx(2)
    with pytest.raises(ValueError, match=r"inhomogeneous|one length"):
        vendi_score([[1.0], [1.0, 2.0]])

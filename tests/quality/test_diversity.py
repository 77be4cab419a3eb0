"""Diversity: the same numbers as a slow reference, no effect of size, and alarms where a set became poorer."""

from __future__ import annotations

import itertools
import json
import math
import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_data.quality.diversity import SEGMENT, collapse, measure

SENTENCES = st.lists(st.lists(st.sampled_from("abcde"), max_size=9).map(" ".join), max_size=8)
VOCABULARY = [f"word{number}" for number in range(5000)]
WEIGHTS = [1 / (rank + 1) for rank in range(5000)]
HEALTHY = {"texts": 500, "pieces": 40, "mean_words": 60.0, "distinct_2": 0.8, "self_bleu": 0.3, "majority_share": 0.7}


def prose(count: int, words: int = 100, seed: int = 1) -> list[str]:
    """Texts whose words are as unevenly frequent as those of a language."""
    rng = random.Random(seed)
    return [" ".join(rng.choices(VOCABULARY, WEIGHTS, k=words)) for _ in range(count)]


def bleu(text: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """BLEU-4 as its paper defines it, with one added to both parts of the precisions of two words and more."""
    logs = []
    for n in range(1, min(4, len(text)) + 1):
        own, *others = [
            Counter(tuple(each[start : start + n]) for start in range(len(each) - n + 1))
            for each in (text, *references)
        ]
        shared = sum(min(times, max(other[gram] for other in others)) for gram, times in own.items())
        added = 0 if n == 1 else 1
        if not shared + added:
            return 0.0
        logs.append(math.log((shared + added) / (sum(own.values()) + added)))
    nearest = min((abs(len(ref) - len(text)), len(ref)) for ref in references)[1]
    penalty = 1.0 if len(text) >= nearest else math.exp(1 - nearest / len(text))
    return penalty * math.exp(sum(logs) / len(logs))


@given(SENTENCES)
def test_self_bleu_is_the_mean_bleu_of_each_text_against_all_others(texts: list[str]) -> None:
    tokens = [text.split() for text in texts if text]
    scores = [bleu(own, tokens[:index] + tokens[index + 1 :]) for index, own in enumerate(tokens) if len(tokens) > 1]
    assert measure(texts)["self_bleu"] == pytest.approx(sum(scores) / len(scores) if scores else 0.0, abs=6e-5)


@given(SENTENCES)
def test_distinct_n_of_few_texts_is_the_share_of_different_ngrams_within_texts(texts: list[str]) -> None:
    measured, tokens = measure(texts), [text.split() for text in texts]
    for n, name in ((1, "distinct_1"), (2, "distinct_2")):
        grams = [tuple(each[start : start + n]) for each in tokens for start in range(len(each) - n + 1)]
        assert measured[name] == pytest.approx(len(set(grams)) / len(grams) if grams else 1.0, abs=6e-5)


@given(st.lists(st.text(), max_size=6), st.integers(1, 8))
def test_any_texts_give_finite_numbers_that_json_brings_back(texts: list[str], most: int) -> None:
    measured = measure(iter(texts), most)
    assert measured == measure(texts[:most]) == json.loads(json.dumps(measured))
    assert measured["texts"] == min(most, len(texts))
    assert all(0 <= measured[name] <= 1 for name in ("distinct_1", "distinct_2", "self_bleu"))
    assert collapse(measured, measured) == []


def test_extremes() -> None:
    same, different = measure(["one two three four five"] * 50), measure([f"a{n} b{n} c{n} d{n}" for n in range(50)])
    assert (same["self_bleu"], same["distinct_2"]) == (1.0, round(4 / 200, 4))
    assert (different["distinct_1"], different["distinct_2"]) == (1.0, 1.0)
    assert different["self_bleu"] == 0.0
    nothing = {"texts": 0, "pieces": 0, "mean_words": 0.0, "distinct_1": 1.0, "distinct_2": 1.0, "self_bleu": 0.0}
    assert measure([]) == nothing
    assert measure(["", "!?"]) == nothing | {"texts": 2}


def test_words_are_those_of_every_other_length_in_the_package() -> None:
    assert measure(["今日は雨です。"])["mean_words"] == 6.0
    assert measure(["Rain, rain!", "RAIN rain"])["distinct_1"] == 0.25


def test_numbers_do_not_depend_on_how_many_texts_there_are() -> None:
    few, many = measure(prose(200)), measure(prose(2000))
    assert abs(1 - few["distinct_2"] / many["distinct_2"]) < 0.02
    assert abs(few["self_bleu"] - many["self_bleu"]) < 0.02
    assert collapse(few, many) == collapse(many, few) == []


def test_answers_to_one_question_side_by_side_count_no_more_than_apart() -> None:
    texts = prose(250)
    beside, apart = measure([text for text in texts for _ in range(4)]), measure(texts * 4)
    assert abs(beside["distinct_2"] - apart["distinct_2"]) < 0.02


def test_two_thousand_texts_of_a_hundred_words_take_less_than_a_second() -> None:
    texts = prose(2000)
    best = math.inf
    for _ in range(3):
        began = time.perf_counter()
        measure(texts)
        best = min(best, time.perf_counter() - began)
    assert best < 1


def fall_into_phrases(texts: Sequence[str], share: float) -> list[str]:
    """Each text with its first words replaced by one of three stock phrases."""
    stock = prose(3, seed=2)
    cut = int(100 * share)
    mixed = zip(texts, itertools.cycle(stock), strict=False)
    return [" ".join([*phrase.split()[:cut], *text.split()[cut:]]) for text, phrase in mixed]


def test_a_set_that_falls_into_stock_phrases_raises_both_alarms_and_a_little_raises_none() -> None:
    texts = prose(300)
    before = measure(texts)
    assert collapse(before, measure(fall_into_phrases(prose(300, seed=3), 0.05))) == []
    repeats, alike = collapse(before, measure(fall_into_phrases(prose(300, seed=3), 0.5)))
    assert repeats.startswith("Distinct word pairs fell by ") and alike.startswith("Self-BLEU rose by ")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"distinct_2": 0.63}, "Distinct word pairs fell by 21%, from 0.80 to 0.63 (alarm above 20%)"),
        ({"distinct_2": 0.64}, ""),
        ({"distinct_2": 1.0}, ""),
        ({"distinct_2": 0.1, "pieces": 0}, ""),
        ({"self_bleu": 0.41}, "Self-BLEU rose by 0.11, from 0.30 to 0.41 (alarm above 0.10)"),
        ({"self_bleu": 0.4}, ""),
        ({"self_bleu": 0.0}, ""),
        ({"self_bleu": 0.9, "texts": 51}, "Self-BLEU rose by 0.60"),
        ({"self_bleu": 0.9, "texts": 50}, ""),
        ({"mean_words": 90.1}, "The mean length went from 60.0 to 90.1 words (alarm at a change above 50%)"),
        ({"mean_words": 29.9}, "The mean length went from 60.0 to 29.9 words"),
        ({"mean_words": 90.0}, ""),
        ({"mean_words": 30.0}, ""),
        ({"majority_share": 0.86}, "majority rose from 0.70 to 0.86 (alarm at a rise above 0.15)"),
        ({"majority_share": 0.99}, "majority rose from 0.70 to 0.99 (alarm above 0.98)"),
        ({"majority_share": 0.85}, ""),
        ({"majority_share": 0.1}, ""),
    ],
)
def test_an_alarm_says_both_numbers_and_the_threshold(change: Mapping[str, float], said: str) -> None:
    alarms = collapse(HEALTHY, HEALTHY | change)
    assert len(alarms) == bool(said)
    assert all(said in alarm and alarm.endswith(".") for alarm in alarms)


def test_a_majority_that_was_above_the_level_before_raises_no_alarm_again() -> None:
    assert collapse(HEALTHY | {"majority_share": 0.985}, HEALTHY | {"majority_share": 0.99}) == []
    assert len(collapse(HEALTHY | {"majority_share": 0.97}, HEALTHY | {"majority_share": 0.99})) == 1


def test_what_one_side_lacks_is_not_compared() -> None:
    poor = {"texts": 500, "pieces": 40, "mean_words": 500.0, "distinct_2": 0.1, "self_bleu": 0.9, "majority_share": 1.0}
    assert len(collapse(HEALTHY, poor)) == 4
    assert collapse({}, poor) == collapse(HEALTHY, {}) == []
    assert len(collapse(HEALTHY, {name: value for name, value in poor.items() if name != "majority_share"})) == 3


def test_a_set_too_small_for_a_piece_is_measured_whole_and_says_so() -> None:
    text = " ".join(f"w{number}" for number in range(SEGMENT))
    assert measure([text])["pieces"] == 0, "one word pair short"
    assert measure([text + " end"])["pieces"] == 1

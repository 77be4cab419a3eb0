"""ROUGE-L: what the pool says is what a naive computation over the words says, for any text."""

from __future__ import annotations

import random
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_data.quality import rouge
from distill_data.quality.rouge import RougePool, rouge_l
from distill_data.quality.words import words

WORDS = ["a", "b", "c", "d", "e", "我", "爱", "北", "Ａ", "the"]
FEW_WORDS = st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join)
TEXTS = FEW_WORDS | st.text(max_size=20)
THRESHOLDS = st.sampled_from([0.0, 0.3, 0.5, 2 / 3, 0.7, 0.8, 0.99]) | st.floats(0, 1, exclude_max=True)


def naive(one: str, other: str) -> Fraction:
    """2PR ÷ (P + R) by the textbook's table; two texts without words are equal."""
    mine, theirs = words(one), words(other)
    if not mine or not theirs:
        return Fraction(mine == theirs)
    above = [0] * (len(theirs) + 1)
    for word in mine:
        row = [0]
        for index, with_word in enumerate(theirs):
            row.append(above[index] + 1 if word == with_word else max(row[-1], above[index + 1]))
        above = row
    precision, recall = Fraction(above[-1], len(theirs)), Fraction(above[-1], len(mine))
    return 2 * precision * recall / (precision + recall) if above[-1] else Fraction(0)


def ranked(texts: list[str], query: str) -> list[tuple[float, int]]:
    scores = [(naive(query, text), index) for index, text in enumerate(texts)]
    return [(float(score), index) for score, index in sorted(scores, key=lambda pair: (-pair[0], pair[1]))]


def pool_of(texts: list[str]) -> RougePool:
    pool = RougePool()
    for text in texts:
        pool.add(text)
    return pool


@settings(max_examples=300, deadline=None)
@given(st.lists(TEXTS, max_size=12), TEXTS, st.integers(1, 15))
def test_nearest_is_what_the_naive_way_finds(texts: list[str], query: str, k: int) -> None:
    pool = pool_of(texts)
    assert len(pool) == len(texts)
    assert pool.nearest(query, k) == ranked(texts, query)[:k]


@settings(max_examples=500, deadline=None)
@given(st.lists(TEXTS, max_size=12), TEXTS, THRESHOLDS)
def test_most_is_the_first_of_the_best_above(texts: list[str], query: str, above: float) -> None:
    best = ranked(texts, query)[:1]
    expected = best[0] if best and best[0][0] > above else None
    assert pool_of(texts).most(query, above) == expected


@given(TEXTS, TEXTS)
def test_two_texts(one: str, other: str) -> None:
    assert rouge_l(one, other) == rouge_l(other, one) == float(naive(one, other))


def test_most_agrees_with_the_naive_way_on_texts_of_every_length() -> None:
    rng = random.Random(3)
    vocabulary = [f"word{number}" for number in range(60)]
    texts = [" ".join(rng.choices(vocabulary, k=rng.randrange(1, 90))) for _ in range(60)]
    texts += [" ".join(word for word in text.split() if rng.random() < 0.8) for text in texts]
    pool = pool_of(texts[:100])
    found = [pool.most(text, 0.7) for text in texts[100:]]
    assert found == [best if best[0] > 0.7 else None for text in texts[100:] for best in ranked(texts[:100], text)[:1]]
    assert None not in found[:15]


def test_a_score_just_at_the_threshold_is_not_above_it() -> None:
    pool = pool_of(["one two three four five six seven x y z"])
    assert pool.nearest("one two three four five six seven u v w") == [(0.7, 0)]
    assert pool.most("one two three four five six seven u v w", 0.7) is None
    assert pool.most("one two three four five six seven u v w", 0.69) == (0.7, 0)


def test_chinese_counts_characters() -> None:
    pool = pool_of(["请写一首关于春天的诗。", "解释什么是光合作用。"])
    assert pool.most("请写一首关于秋天的诗", 0.7) == (0.9, 0)
    assert pool.most("今天天气很好", 0.5) is None


def test_order_of_words_counts_and_their_case_does_not() -> None:
    assert rouge_l("Name three RED fruits.", "name three red fruits") == 1.0
    assert rouge_l("a b c d", "d c b a") == 0.25


def test_an_empty_pool_has_nothing() -> None:
    assert RougePool().nearest("a") == []
    assert RougePool().most("a", 0.0) is None


@pytest.mark.parametrize("above", [-0.1, 1.0])
def test_a_threshold_that_says_nothing_is_refused(above: float) -> None:
    with pytest.raises(ValueError, match="from 0 to below 1"):
        RougePool().most("a", above)


def test_when_characters_run_out_new_words_are_shared_with_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rouge, "_CHARACTERS", 5)
    pool = pool_of(["a b c d", "d e"])
    assert pool.nearest("a b c d", 2) == [(0.75, 0), (0.0, 1)]
    assert pool.nearest("d e", 2) == [(0.0, 0), (0.0, 1)]

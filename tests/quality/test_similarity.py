"""Similarity by words: the same ranking as a slow reference, and no order that depends on chance."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_data.quality.similarity import make_nearest, most_agreed, word_f1
from distill_data.quality.words import words

TEXTS = st.lists(st.lists(st.sampled_from(["a", "b", "c", "d", "天", "地"]), max_size=6).map(" ".join), max_size=8)


def cosine(query: str, text: str, texts: list[str]) -> float:
    """As in a textbook, over all words."""
    weight = {
        word: math.log(1 + len(texts) / sum(word in words(other) for other in texts))
        for t in texts
        for word in words(t)
    }
    one, other = Counter(words(query)), Counter(words(text))
    norm = math.sqrt(sum((other[word] * weight[word]) ** 2 for word in other))
    dot = sum(one[word] * weight.get(word, 0.0) * other[word] * weight[word] for word in other)
    return dot / norm if norm else 0.0


@given(TEXTS, st.text("abcdez 天", max_size=12), st.integers(0, 10))
def test_nearest_is_the_cosine_ranking(texts: list[str], query: str, k: int) -> None:
    found = make_nearest(texts)(query, k)
    assert len(found) == len(set(found)) == min(k, len(texts))
    scores = [cosine(query, text, texts) for text in texts]
    for rank, index in enumerate(found):
        better = [other for other in range(len(texts)) if scores[other] > scores[index] + 1e-9]
        assert set(better) <= set(found[:rank])


def test_nearest_prefers_rare_shared_words() -> None:
    texts = ["the cat sat", "the dog ran", "the the the", "quantum physics of the atom", "北京的天气"]
    nearest = make_nearest(texts)
    assert nearest("What is quantum mechanics?", 1) == [3]
    assert nearest("the dog", 1) == [1]
    assert nearest("上海的天气怎么样", 1) == [4]
    assert nearest("unrelated", 3) == [0, 1, 2]
    assert nearest("the cat sat", 0) == []


def test_equally_similar_texts_come_in_their_order() -> None:
    assert make_nearest(["b a", "x", "a b", "A, b!"])("a b", 4) == [0, 2, 3, 1]


@given(TEXTS.filter(bool))
def test_most_agreed_is_the_best_mean(texts: list[str]) -> None:
    index, mean = most_agreed(texts)
    means = [
        sum(word_f1(text, other) for place, other in enumerate(texts) if place != own) / max(1, len(texts) - 1)
        for own, text in enumerate(texts)
    ]
    assert 0.0 <= mean <= 1.0
    if len(texts) > 1:
        assert mean == pytest.approx(means[index])
        assert all(other <= means[index] + 1e-9 for other in means)
        assert all(other < means[index] + 1e-9 for other in means[:index])


def test_most_agreed_on_an_example() -> None:
    assert most_agreed(["red green", "red blue", "red green blue", "something else"]) == (2, pytest.approx(8 / 15))
    assert most_agreed(["only"]) == (0, 1.0)
    assert most_agreed(["same", "SAME."]) == (0, 1.0)
    with pytest.raises(ValueError, match="at least one"):
        most_agreed([])


@given(st.text("ab 天", max_size=9), st.text("ab 天", max_size=9))
def test_word_f1_is_a_similarity(one: str, other: str) -> None:
    assert word_f1(one, other) == word_f1(other, one)
    assert word_f1(one, one) == 1.0
    assert 0.0 <= word_f1(one, other) <= 1.0
    assert (word_f1(one, other) == 1.0) == (sorted(words(one)) == sorted(words(other)))

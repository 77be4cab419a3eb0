"""Quality metrics give the numbers of the libraries that others use, to 1e-6, on many random inputs."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_data.quality.agreement import cohen_kappa
from distill_data.quality.diversity import self_bleu
from distill_data.quality.rouge import RougePool, rouge_l
from distill_data.quality.vendi import vendi_score
from distill_data.quality.words import words

pytestmark = pytest.mark.reference
VENDI = pytest.mark.filterwarnings("ignore:Please import `csr_matrix`:DeprecationWarning")
"""vendi-score reads a name of scipy that is on its way out."""

LATIN = st.text("abc XYZ'-_.,019\n", max_size=60).filter(words)
ANY = st.text(max_size=40)
LABELS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=60)
MARKS = st.sampled_from(["a", "b", "c", "d"])
SENTENCES = st.lists(st.lists(MARKS, min_size=1, max_size=12), min_size=2, max_size=8)


def near(value: float) -> Any:
    return pytest.approx(value, rel=0, abs=1e-6)


def prose(rng: random.Random, count: int, vocabulary: int = 400) -> list[str]:
    listed = [f"Word{number}" for number in range(vocabulary)]
    shares = [1 / (rank + 1) for rank in range(vocabulary)]
    return [" ".join(rng.choices(listed, shares, k=rng.randint(1, 60))) + "." for _ in range(count)]


@pytest.fixture(scope="module")
def reference_rouge() -> Callable[[str, str], float]:
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"], use_stemmer=False)
    return lambda one, other: float(scorer.score(one, other)["rougeL"].fmeasure)


@given(LATIN, LATIN)
@settings(max_examples=400, deadline=None)
def test_rouge_l_of_latin_texts(reference_rouge: Callable[[str, str], float], one: str, other: str) -> None:
    assert rouge_l(one, other) == near(reference_rouge(one, other))


def test_rouge_l_of_texts_like_prose(reference_rouge: Callable[[str, str], float]) -> None:
    texts = prose(random.Random(1), 60)
    pool = RougePool()
    for text in texts:
        pool.add(text)
    for own, text in enumerate(texts):
        found = {index: score for score, index in pool.nearest(text, len(texts))}
        for index, other in enumerate(texts):
            assert found[index] == near(reference_rouge(other, text)), (own, index)


@given(ANY.filter(words), ANY.filter(words))
@settings(max_examples=400, deadline=None)
def test_rouge_l_of_any_script_over_the_same_words(one: str, other: str) -> None:
    from rouge_score.rouge_scorer import RougeScorer

    class Words:
        def tokenize(self, text: str) -> list[str]:
            return words(text)

    scorer = RougeScorer(["rougeL"], tokenizer=Words())
    assert rouge_l(one, other) == near(scorer.score(one, other)["rougeL"].fmeasure)


def reference_self_bleu(texts: Sequence[Sequence[str]]) -> float:
    """By sacrebleu: one added to both parts above one word, and no more precisions than a text has n-grams for."""
    from sacrebleu.metrics import BLEU

    scores = []
    for own, text in enumerate(texts):
        settings = {"smooth_method": "add-k", "smooth_value": 1, "effective_order": True, "tokenize": "none"}
        bleu = BLEU(**settings, force=True, max_ngram_order=min(4, len(text)))
        others = [" ".join(other) for index, other in enumerate(texts) if index != own]
        scores.append(bleu.sentence_score(" ".join(text), others).score / 100)
    return sum(scores) / len(scores)


@given(SENTENCES)
@settings(max_examples=400, deadline=None)
def test_self_bleu_of_short_texts(texts: list[list[str]]) -> None:
    assert self_bleu(texts) == near(reference_self_bleu(texts))


@pytest.mark.parametrize("seed", range(5))
def test_self_bleu_of_texts_like_prose(seed: int) -> None:
    texts = [words(text) for text in prose(random.Random(seed), 40)]
    assert self_bleu(texts) == near(reference_self_bleu(texts))


@pytest.mark.parametrize("weights", ["", "linear", "quadratic"])
@given(labels=LABELS)
@settings(max_examples=300, deadline=None)
def test_cohens_kappa(weights: str, labels: list[tuple[int, int]]) -> None:
    from sklearn.metrics import cohen_kappa_score

    one, other = ([pair[side] for pair in labels] for side in (0, 1))
    if len({*one, *other}) < 2:
        assert cohen_kappa(one, other, weights) == 1.0  # the library divides by zero there
        return
    assert cohen_kappa(one, other, weights) == near(cohen_kappa_score(one, other, weights=weights or None))


@pytest.mark.parametrize("seed", range(20))
def test_cohens_kappa_of_names(seed: int) -> None:
    from sklearn.metrics import cohen_kappa_score

    rng = random.Random(seed)
    one = rng.choices(["yes", "no", "unsure"], k=200)
    other = [mark if rng.random() < 0.7 else rng.choice(["yes", "no", "unsure"]) for mark in one]
    assert cohen_kappa(one, other) == near(cohen_kappa_score(one, other))


@VENDI
@pytest.mark.parametrize("shape", [(1, 3), (5, 2), (7, 7), (20, 64), (200, 16), (60, 384)])
@pytest.mark.parametrize("seed", range(5))
def test_vendi_score(shape: tuple[int, int], seed: int) -> None:
    from vendi_score import vendi

    vectors = np.random.default_rng(seed).normal(size=shape)
    if seed % 2:
        vectors[len(vectors) // 2 :] = vectors[0]
    assert vendi_score(vectors.tolist()) == near(vendi.score_X(vectors))
    assert vendi_score(vectors.tolist()) == near(vendi.score_dual(vectors))


@VENDI
@given(st.lists(st.lists(st.integers(-3, 3), min_size=3, max_size=3).filter(any), min_size=1, max_size=12))
@settings(max_examples=300, deadline=None)
def test_vendi_score_of_few_small_vectors(vectors: list[list[int]]) -> None:
    from vendi_score import vendi

    assert vendi_score(vectors) == near(vendi.score_X(np.array(vectors, float)))

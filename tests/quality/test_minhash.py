"""Near-duplicates: nothing else is found, planted ones are, and the first of them is named."""

from __future__ import annotations

import random
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_data.quality.minhash import NearDuplicates
from distill_data.quality.words import words

TEXTS = st.lists(st.sampled_from(["a", "b", "c", "d", "我", "爱"]), max_size=8).map(" ".join) | st.text(max_size=20)


def grams(text: str, n: int) -> set[tuple[str, ...]]:
    found = words(text)
    return {tuple(found[start : start + n]) for start in range(max(1, len(found) - n + 1))}


def jaccard(one: str, other: str, n: int) -> float:
    return len(grams(one, n) & grams(other, n)) / len(grams(one, n) | grams(other, n))


def filled(texts: list[str], **options: float) -> NearDuplicates:
    pool = NearDuplicates(**options)  # type: ignore[arg-type]
    for text in texts:
        pool.add(text)
    return pool


@settings(max_examples=200, deadline=None)
@given(st.lists(TEXTS, max_size=10), TEXTS, st.sampled_from([0.3, 0.5, 0.8, 1.0]), st.integers(1, 4))
def test_what_is_found_is_alike_and_what_is_equal_is_found(
    texts: list[str], query: str, threshold: float, ngram: int
) -> None:
    pool = filled(texts, threshold=threshold, ngram=ngram)
    assert len(pool) == len(texts)
    found = pool.find(query)
    if found is not None:
        assert jaccard(texts[found], query, ngram) >= threshold
    equal = [index for index, text in enumerate(texts) if grams(text, ngram) == grams(query, ngram)]
    assert found is not None and found <= equal[0] if equal else True


def sentence(rng: random.Random, length: int) -> list[str]:
    return [f"w{rng.randrange(2000)}" for _ in range(length)]


@pytest.mark.parametrize("threshold", [0.5, 0.8, 0.9])
def test_planted_near_duplicates_are_found_and_nothing_else(threshold: float) -> None:
    rng = random.Random(7)
    texts = [sentence(rng, rng.randrange(20, 60)) for _ in range(1000)]
    pool = filled([" ".join(text) for text in texts], threshold=threshold)
    wanted = found = 0
    for index, text in enumerate(texts):
        changed = list(text)
        for _ in range(rng.randrange(4)):
            changed[rng.randrange(len(changed))] = "new"
        query = " ".join(changed)
        alike = jaccard(" ".join(text), query, 3) >= threshold
        wanted += alike
        found += pool.find(query) == index
        if not alike:
            assert pool.find(query) is None
    assert wanted > 250
    assert found >= 0.998 * wanted


def test_the_earliest_is_named() -> None:
    pool = filled(["one two three four", "five", "ONE two, three four!", "one two three four"])
    assert pool.find("one two three four") == 0
    assert pool.find("Five.") == 1
    assert pool.find("six") is None


def test_chinese_is_cut_into_characters() -> None:
    pool = filled(["请用一句话描述你最喜欢的季节以及你喜欢它的原因", "解释光合作用的原理"], threshold=0.7)
    assert pool.find("请用一句话描述你最喜欢的季节以及你喜欢它的理由") == 0
    assert pool.find("请列出三种水果") is None


def test_texts_without_words_equal_each_other_only() -> None:
    pool = filled(["one", "..."])
    assert pool.find("👍") == 1
    assert filled(["one"]).find("") is None


def test_every_process_finds_the_same() -> None:
    program = (
        "from distill_data.quality.minhash import NearDuplicates as N\n"
        "p = N(0.5, 2)\n"
        "for t in ('a b c d e', 'a b c d f', 'x y z', 'a b c'): p.add(t)\n"
        "print([p.find(t) for t in ('a b c d', 'b c d f', 'x y', 'a b c d f')], sorted(p._bands)[:3])"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", program],
            check=True,
            capture_output=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(said) == 1
    assert said.pop().startswith(b"[0, 1, 2, 0]")


@pytest.mark.parametrize("options", [{"threshold": 0}, {"threshold": 1.1}, {"ngram": 0}, {"permutations": 0}])
def test_what_cannot_work_is_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="threshold is above 0"):
        filled([], **options)

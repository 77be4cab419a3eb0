"""How alike texts are, by the words they share. Knows nothing about what the texts are for."""

from __future__ import annotations

import heapq
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

from distill_data.quality.words import words


def make_nearest(texts: Sequence[str]) -> Callable[[str, int], list[int]]:
    """An index over `texts`: (query, k) to the indices of the k most similar, best first, min(k, len(texts)) of them.

    Similarity is the cosine of word counts, each weighted by log(1 + texts / texts with the word). Equally similar
    texts, the ones that share nothing with the query among them, come in the order of `texts`.
    """
    counts = [Counter(words(text)) for text in texts]
    holders = Counter(word for count in counts for word in count)
    weight = {word: math.log1p(len(texts) / held) for word, held in holders.items()}
    postings: defaultdict[str, list[tuple[int, float]]] = defaultdict(list)
    for index, count in enumerate(counts):
        length = math.sqrt(math.fsum((times * weight[word]) ** 2 for word, times in count.items()))
        for word, times in count.items():
            postings[word].append((index, times * weight[word] / length))

    def nearest(query: str, k: int) -> list[int]:
        scores = [0.0] * len(texts)
        for word, times in Counter(words(query)).items():
            for index, share in postings.get(word, ()):
                scores[index] += times * weight[word] * share
        return heapq.nsmallest(k, range(len(texts)), key=lambda index: (-scores[index], index))

    return nearest


def word_f1(one: str, other: str) -> float:
    """2 × shared words ÷ all words of both, counted with their repetitions; 1.0 for two texts without words."""
    return _f1(Counter(words(one)), Counter(words(other)))


def most_agreed(texts: Sequence[str]) -> tuple[int, float]:
    """The index of the text that is on average most similar (word F1) to the others, and that mean.

    The earliest of equals; a single text agrees with itself, 1.0. Raises ValueError for no texts.
    """
    if not texts:
        raise ValueError("most_agreed needs at least one text")
    if len(texts) == 1:
        return 0, 1.0
    counts = [Counter(words(text)) for text in texts]
    means = [
        math.fsum(_f1(count, other) for index, other in enumerate(counts) if index != own) / (len(texts) - 1)
        for own, count in enumerate(counts)
    ]
    best = max(range(len(texts)), key=lambda index: means[index])
    return best, means[best]


def _f1(one: Counter[str], other: Counter[str]) -> float:
    total = one.total() + other.total()
    return 2 * (one & other).total() / total if total else 1.0

"""How much a set of texts repeats itself, in bits, in bytes and in words. Knows nothing about rows and files.

Small sets of texts: a caller gives a sample, as each number depends on how many texts there are.
"""

from __future__ import annotations

import math
import zlib
from collections import Counter
from collections.abc import Sequence

from distill_data.quality.rouge import RougePool
from distill_data.quality.words import words


def ngram_entropy(texts: Sequence[str], n: int = 1) -> float:
    """Shannon entropy of the word n-grams within texts, in bits: log2 of as many n-grams as are used equally often.

    0.0 where there are none.
    """
    counts: Counter[tuple[str, ...]] = Counter()
    for text in texts:
        found = words(text)
        counts.update(zip(*(found[start:] for start in range(n)), strict=False))
    total = counts.total()
    return max(0.0, -math.fsum(count / total * math.log2(count / total) for count in counts.values()))


def compression_ratio(texts: Sequence[str]) -> float:
    """UTF-8 bytes of the texts, a line each, ÷ their bytes after DEFLATE; higher is more repetitive.

    Shaib et al. 2024, arXiv 2403.00553. 1.0 for no texts.
    """
    data = "\n".join(texts).encode("utf-8", "surrogatepass")
    return len(data) / len(zlib.compress(data, 9)) if data else 1.0


def nearest_rouge(texts: Sequence[str]) -> list[float]:
    """For each text the ROUGE-L of the other one that is most like it (Self-Instruct, arXiv 2212.10560); [] below two.

    Compares every pair: for a few hundred texts.
    """
    if len(texts) < 2:
        return []
    pool = RougePool()
    for text in texts:
        pool.add(text)
    nearest = []
    for own, text in enumerate(texts):
        nearest.append(next(score for score, index in pool.nearest(text, 2) if index != own))
    return nearest

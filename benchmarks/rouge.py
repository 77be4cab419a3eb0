"""What the ROUGE-L filter costs: one candidate against many kept texts, and a pool that grows.

    python benchmarks/rouge.py                  10,000 kept texts, then a pool of 20,000
    python benchmarks/rouge.py --rows 5000      a smaller pool

Texts are made by a seeded generator: word ranks fall off as in a natural text, lengths are around 15 words, and about
three in ten candidates are an earlier text with few words changed. Times are wall time of this one process.
"""

from __future__ import annotations

import argparse
import itertools
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from distill_data.quality.rouge import RougePool  # noqa: E402

THRESHOLD = 0.7
COPIES = 0.3
VOCABULARY = 20_000


def instructions(seed: int) -> Iterator[str]:
    """Texts without end."""
    rng = random.Random(seed)
    names = [spelled(rank) for rank in range(VOCABULARY)]
    weights = list(itertools.accumulate(1 / (rank + 2.7) for rank in range(VOCABULARY)))
    recent: list[list[str]] = []
    while True:
        if recent and rng.random() < COPIES:
            text = list(rng.choice(recent))
            for _ in range(rng.randrange(3)):
                text[rng.randrange(len(text))] = rng.choice(names)
        else:
            text = rng.choices(names, cum_weights=weights, k=max(4, round(rng.gauss(15, 5))))
            recent.append(text)
        yield " ".join(text)


def spelled(number: int) -> str:
    """A word of letters for a number, another for each."""
    word = ""
    while number or not word:
        number, digit = divmod(number, 26)
        word += chr(ord("a") + digit)
    return word


def against(kept: int, queries: int) -> None:
    texts = instructions(1)
    pool = RougePool()
    for text in itertools.islice(texts, kept):
        pool.add(text)
    asked = list(itertools.islice(texts, queries))
    print(f"1 candidate against {kept:,} kept texts, {queries} candidates")
    questions: dict[str, Callable[[str], object]] = {
        f"is one above {THRESHOLD}": lambda text: pool.most(text, THRESHOLD),
        "the 10 nearest": lambda text: pool.nearest(text, 10),
    }
    for what, question in questions.items():
        times = []
        for text in asked:
            began = time.perf_counter()
            question(text)
            times.append((time.perf_counter() - began) * 1000)
        times.sort()
        at_95 = times[int(0.95 * len(times))]
        print(f"  {what:18}  mean {statistics.fmean(times):6.3f} ms   95 % within {at_95:6.3f} ms")


def grow(rows: int, neighbours: bool) -> None:
    texts = instructions(2)
    pool = RougePool()
    print(f"a pool of {rows:,} accepted texts, {'each with its 10 nearest' if neighbours else 'yes or no only'}")
    for quarter in range(1, 5):
        before, candidates, began = len(pool), 0, time.perf_counter()
        while len(pool) < rows * quarter // 4:
            candidates += 1
            text = next(texts)
            if pool.most(text, THRESHOLD) is None:
                if neighbours:
                    pool.nearest(text, 10)
                pool.add(text)
        accepted = len(pool) - before
        took = (time.perf_counter() - began) * 1000
        share = 100 * (1 - accepted / candidates)
        print(f"  quarter {quarter}  {took / accepted:6.3f} ms an accepted row   {share:4.1f} % rejected")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kept", type=int, default=10_000)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--rows", type=int, default=20_000)
    options = parser.parse_args()
    against(options.kept, options.queries)
    for neighbours in (False, True):
        grow(options.rows, neighbours)


if __name__ == "__main__":
    main()

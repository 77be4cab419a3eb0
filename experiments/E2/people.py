"""Pairs of texts that people rated, from the sources of vaderSentiment; fetched when asked for, and kept nowhere else.

    python -m experiments.E2.people fetch F                   F/ratings.json: text to its ratings, about fifteen each
    python -m experiments.E2.people pairs F --seed 0 --far 150 --near 50 > pairs.jsonl

Snippets of film reviews, rated from -4 to 4 by how positive they are (Hutto and Gilbert, ICWSM 2014). `far` pairs are
FAR apart in the mean, and `near` ones are closer than NEAR, so that people themselves hardly agree. Knows no judge.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random

from tests.human_ratings import fetch

SOURCE = "hutto_ICWSM_2014/movieReviewSnippets_"
FAR, NEAR = 1.0, 0.3
WORDS = 20
"""Texts are no longer than that."""
ASKED = "Say what you think of a film that you saw, and be as positive about it as you can."

Ratings = Mapping[str, Sequence[int]]
"""Text to what each person said."""


def read_ratings(archive: Path) -> dict[str, list[int]]:
    """Of all texts that are short enough; texts that stand there twice are left out."""
    with tarfile.open(archive) as outer:
        name = next(each for each in outer.getnames() if each.endswith("hutto_ICWSM_2014.tar.gz"))
        inner = outer.extractfile(name)
        assert inner is not None
        with tarfile.open(fileobj=io.BytesIO(inner.read())) as data:
            texts = {number: rest[-1].strip() for number, *rest in _lines(data, "GroundTruth")}
            rated = {number: json.loads(rest[-1]) for number, *rest in _lines(data, "anonDataRatings")}
    every = list(texts.values())
    return {
        text: rated[number]
        for number, text in texts.items()
        if len(text.split()) <= WORDS and number in rated and every.count(text) == 1
    }


def _lines(data: tarfile.TarFile, ending: str) -> Iterator[list[str]]:
    member = data.extractfile(f"{SOURCE}{ending}.txt")
    assert member is not None
    text = member.read().decode("utf-8-sig", "replace")
    return (line.split("\t") for line in text.split("\n") if line.strip())


def mean(ratings: Sequence[int]) -> float:
    return sum(ratings) / len(ratings)


def gap(ratings: Ratings, one: str, other: str) -> float:
    """How much more positive people find the one."""
    return mean(ratings[one]) - mean(ratings[other])


def pairs(ratings: Ratings, seed: int, far: int, near: int) -> list[tuple[str, str]]:
    """The far ones first. What people prefer stands first as often as not."""
    rng, texts = Random(seed), list(ratings)
    found: list[tuple[str, str]] = []
    while len(found) < far + near:
        one, other = rng.sample(texts, 2)
        apart = abs(gap(ratings, one, other))
        if apart >= FAR if len(found) < far else 0 < apart <= NEAR:
            found.append((one, other))
    return found


def one_rater(ratings: Ratings, pair: tuple[str, str], rng: Random) -> float:
    """The points of a judge that knows of each text what one person said, against what all others said."""
    said, rest = 0, 0.0
    for text, sign in zip(pair, (1, -1), strict=True):
        one = rng.randrange(len(ratings[text]))
        said += sign * ratings[text][one]
        rest += sign * mean([rating for place, rating in enumerate(ratings[text]) if place != one])
    return points(said, rest)


def points(said: float, truth: float) -> float:
    """1 where both have the same sign, 0 where they have not, a half where either is 0."""
    return 0.5 + 0.5 * ((said * truth > 0) - (said * truth < 0))


def main() -> None:
    parser = argparse.ArgumentParser(description="Fetch what people said of texts, or write pairs of them.")
    parser.add_argument("which", choices=("fetch", "pairs"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--far", type=int, default=0)
    parser.add_argument("--near", type=int, default=0)
    options = parser.parse_args()
    path = options.folder / "ratings.json"
    if options.which == "fetch":
        path.write_text(json.dumps(read_ratings(fetch(options.folder))), encoding="utf-8")
        return
    found = pairs(json.loads(path.read_bytes()), options.seed, options.far, options.near)
    sys.stdout.writelines(json.dumps({"instruction": ASKED, "answers": pair}) + "\n" for pair in found)


if __name__ == "__main__":
    main()

"""Supervised objectives: reviews of one sentence, whose label hangs on one word."""

from __future__ import annotations

from pathlib import Path
from random import Random

from tests.training.measures import choice_accuracy
from tests.training.teaching import HELD, TRAIN, Case, permuted, write_rows

THINGS = ("soup", "room", "lamp", "coat", "film", "tea", "bike", "song", "pen", "cake", "boat", "desk")
WORDS = {"fine": "good", "warm": "good", "neat": "good", "cold": "bad", "weak": "bad", "torn": "bad"}
"""What a thing may be, to what the review is."""


def write_reviews(folder: Path, seed: int) -> None:
    """Two things out of three are learned from with all words; the others are held out."""
    rng = Random(seed)
    rows = [
        {"prompt": f"The {thing} was {word}.", "completion": label}
        for thing in rng.sample(THINGS, len(THINGS))
        for word, label in WORDS.items()
    ]
    cut = len(rows) * 2 // 3
    write_rows(folder / HELD, rows[cut:])
    write_rows(folder / TRAIN, rng.sample(rows[:cut], cut))


CASES = (
    Case("sft", "accuracy of held-out labels", write_reviews, permuted(write_reviews, "completion"), choice_accuracy),
)

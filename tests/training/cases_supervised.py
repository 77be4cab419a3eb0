"""Supervised objectives: reviews of one sentence, whose label hangs on one word."""

from __future__ import annotations

from pathlib import Path
from random import Random

from distill_data.training.jobs import Loop
from tests.system.command import read_jsonl, run
from tests.training.measures import choice_accuracy
from tests.training.teaching import HELD, TRAIN, Case, permuted, write_rows

THINGS = ("soup", "room", "lamp", "coat", "film", "door", "bike", "song", "ball", "cake", "boat", "desk")
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


RECIPE = """---
about: A review of one sentence, its label and why, as the seed says them.
columns: {text: required, label: required, rationale: required}
parser: {tags: {rationale: text, label: text}}
sampling: {temperature: 0, max_tokens: 64}
record: {kind: sft, parts: {label: {content: label}, rationale: {content: rationale}}, answer: label}
---
{% block main %}
{% message "user" %}
<rationale>{{ rationale }}</rationale><label>{{ label }}</label>
{% endmessage %}
{% endblock %}
{% block student_label %}
{% message "user" %}
[label] {{ text }}
{% endmessage %}
{% endblock %}
{% block student_rationale %}
{% message "user" %}
[rationale] {{ text }}
{% endmessage %}
{% endblock %}
"""
"""Asked of `echo`, which says what it is told: two rows of each review, as those of the recipe `step-by-step`."""


def write_both_tasks(folder: Path, seed: int, shuffled: bool = False) -> None:
    """The rows of `label`: labels and reasons of reviews; the labels alone are held out."""
    write_reviews(folder, seed)
    held = [{**row, "prompt": f"[label] {row['prompt']}"} for row in read_jsonl(folder / HELD)]
    write_rows(folder / HELD, held)
    reviews = read_jsonl(folder / TRAIN)
    texts = [row["prompt"] for row in reviews]
    if shuffled:
        Random(seed).shuffle(texts)
    seeds = [
        {"text": text, "rationale": reason(row["prompt"], row["completion"]), "label": row["completion"]}
        for text, row in zip(texts, reviews, strict=True)
    ]
    write_rows(folder / "seeds.jsonl", seeds)
    (folder / "both.jinja").write_text(RECIPE)
    made = folder / TRAIN
    made.unlink()
    run("label", folder / "seeds.jsonl", "-r", folder / "both.jinja", "-t", "echo", "-o", made, "-q").ended(0)


def label_of(text: str) -> str:
    """The label of a review."""
    return WORDS[text.removesuffix(".").rpartition(" ")[2]]


def reason(text: str, label: str) -> str:
    """Why a review has its label."""
    word = text.removesuffix(".").rpartition(" ")[2]
    return f"{word} is {'praise' if label == 'good' else 'no praise'}."


def write_both_shuffled(folder: Path, seed: int) -> None:
    """Both tasks, of other texts."""
    write_both_tasks(folder, seed, shuffled=True)


METRIC, SHORT = "accuracy of held-out labels", Loop(steps=80, batch=16, max_length=128)

CASES = (
    Case("step-by-step", METRIC, write_both_tasks, write_both_shuffled, choice_accuracy, loop=SHORT),
    Case("sft", METRIC, write_reviews, permuted(write_reviews, "completion"), choice_accuracy, loop=SHORT),
)

"""A language of invented words, each of a topic or of none: short texts, and what they are about.

    python -m experiments.E1.language --seed 0 --rows 1000 > texts.jsonl

A text is about the topic that most of its words belong to. Words are as frequent as in real texts, few often and many
seldom (by one through the rank), so a student meets new ones as long as rows come. What every word means is known, and
so is the truth about every label. Knows no teacher and no student.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from random import Random

TOPICS = ("food", "money", "music", "sport", "weather")
WORDS_OF, NEUTRAL = 50, 40
"""Words of each topic, and words of none."""
HELD, MOST_HELD = 1000, 2000
"""The seed of the texts that students are measured on, and how many of these there are at most."""
ABOUT = 3
"""Words of the text's topic in a text."""


def _words() -> list[str]:
    """Different words of two syllables, always the same."""
    syllables = [first + second for first in "bdfgklmnprstvz" for second in "aeiou"]
    words = [one + other for one in syllables for other in syllables]
    Random(20).shuffle(words)
    return words


WORDS = {topic: _words()[WORDS_OF * place :][:WORDS_OF] for place, topic in enumerate(TOPICS)}
NO_TOPIC = _words()[WORDS_OF * len(TOPICS) :][:NEUTRAL]
MEANING = {word: topic for topic, words in WORDS.items() for word in words}
"""Word to topic; words of no topic are not here."""
FREQUENT = [1 / (rank + 3) for rank in range(WORDS_OF)]


def label(text: str, meaning: Mapping[str, str] = MEANING) -> str:
    """The topic of most of the text's words; of several, the one that comes first in the text."""
    found = [meaning[word] for word in text.split() if word in meaning]
    return max(found, key=found.count)


def texts(seed: int, rows: int) -> list[str]:
    """Different texts, none of which is held out under another seed; fewer are a prefix of more."""
    rng, found = Random(seed), dict[str, None]()
    held_out = set() if seed == HELD else set(texts(HELD, MOST_HELD))
    while len(found) < rows:
        words = rng.choices(WORDS[rng.choice(TOPICS)], FREQUENT, k=ABOUT) + rng.choices(NO_TOPIC, k=rng.randint(1, 2))
        rng.shuffle(words)
        if (text := " ".join(words)) not in held_out:
            found[text] = None
    return list(found)


def main() -> None:
    parser = argparse.ArgumentParser(description="Write texts with their topics as JSON lines.")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--rows", type=int, required=True)
    options = parser.parse_args()
    for text in texts(options.seed, options.rows):
        sys.stdout.write(json.dumps({"text": text, "label": label(text)}) + "\n")


if __name__ == "__main__":
    main()

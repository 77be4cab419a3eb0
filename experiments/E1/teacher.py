"""E1's scripted teachers: `gold` is right, `noise.N` errs by chance in N of 100 texts, `weak` always errs about the
same words, and `random` says any topic. What a teacher says of a text never changes."""

from __future__ import annotations

from hashlib import sha256

from experiments.E1.language import MEANING, TOPICS, label

MISTAKEN = 0.4
"""Share of the words that `weak` takes for words of another topic."""


def chance(text: str) -> float:
    """From 0 to below 1, and always the same for the same text."""
    return int.from_bytes(sha256(text.encode()).digest()[:8]) / 2**64


def other(topic: str, text: str) -> str:
    """Another topic, each as likely."""
    rest = [each for each in TOPICS if each != topic]
    return rest[int(chance(f"other {text}") * len(rest))]


UNDERSTOOD = {
    word: other(topic, word) if chance(f"weak {word}") < MISTAKEN else topic for word, topic in MEANING.items()
}
"""What `weak` takes each word for."""


def reply(model: str, text: str, sample: int) -> str:
    """The topic that the teacher gives the text at the end of the request."""
    _, given, read = text.rpartition("Text:\n")
    if not given:
        return "yes"  # asked whether it is there
    if model == "weak":
        return label(read, UNDERSTOOD)
    if model == "random":
        return TOPICS[int(chance(f"random {read}") * len(TOPICS))]
    wrong = int(model.removeprefix("noise.")) / 100 if model.startswith("noise.") else 0
    return other(label(read), read) if chance(f"{model} {read}") < wrong else label(read)

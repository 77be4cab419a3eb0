"""The items of benchmarks, as they are looked for in rows: each question once, with its answers and its places.

Knows neither files nor the rule by which a row holds an item.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from distill_data.parsing.folding import fold
from distill_data.quality.words import words

_OPERATOR = re.compile(r"[+*×÷^=<>/]|(?<=[\d\s])[-−–](?=[\s\d])")
_FINAL = "####"
"""What stands before the final answer in the manner of GSM8K."""
ANSWER_WORDS = 30
"""The most words of an answer that is looked for; a longer one is no answer but a solution."""


class Question(NamedTuple):
    """A row of a benchmark."""

    text: str
    answer: str
    """Empty where the benchmark has none."""
    benchmark: str
    """The name of the file."""
    line: int


@dataclass(frozen=True, slots=True)
class Item:
    """A question, wherever it stands."""

    words: tuple[str, ...]
    text: str
    unit: int
    """What counts as a word: one, or two where each character is a word."""
    answers: frozenset[tuple[str, ...]]
    ambiguous: bool
    """A benchmark gives it several answers, so it asks nothing by itself."""
    places: tuple[tuple[str, int], ...]
    """(benchmark, line)."""


def make_items(questions: Iterable[Question]) -> list[Item]:
    """The different questions in an order that is not that of the benchmark. Those without a word are none."""
    equal: defaultdict[tuple[tuple[str, ...], str], list[Question]] = defaultdict(list)
    shared: dict[str, str] = {}
    for question in questions:
        found = tuple(shared.setdefault(word, word) for word in words(question.text))
        if found:
            equal[found, operators(question.text)].append(question)
    return [_item(found, same) for (found, _), same in sorted(equal.items(), key=lambda pair: pair[0])]


def _item(found: tuple[str, ...], same: Sequence[Question]) -> Item:
    answers: defaultdict[str, set[tuple[str, ...]]] = defaultdict(set)
    for question in same:
        answer = tuple(words(question.answer.rpartition(_FINAL)[2]))
        if answer and len(answer) <= ANSWER_WORDS:
            answers[question.benchmark].add(answer)
    places = sorted((question.benchmark, question.line) for question in same)
    return Item(
        found,
        min(question.text for question in same),
        2 if sum(len(word) == 1 and not word.isascii() for word in found) * 2 > len(found) else 1,
        frozenset(answer for each in answers.values() for answer in each),
        any(len(each) > 1 for each in answers.values()),
        tuple(places),
    )


def operators(text: str) -> str:
    """The signs of arithmetic in a text, which are no words, in order."""
    return "".join("-" if sign in "−–" else sign for sign in _OPERATOR.findall(fold(text)))


def holds(text: Sequence[str], part: Sequence[str]) -> bool:
    """Whether words stand in a text one after the other."""
    return f" {' '.join(part)} " in f" {' '.join(text)} "

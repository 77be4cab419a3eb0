"""Which rows of a dataset hold an item of a benchmark. Knows neither files nor recipes.

The rule. Texts are compared by their words (quality/words.py), so case, punctuation, whitespace and the form of Unicode
make no difference. A row holds an item where one of these is so:

- `verbatim`: all words of the item stand there, one after the other, and they are at least n (8; GPT-3 took 13).
- `edited`: the item has at least n words, and all but two of them (one, where it has fewer than 10) stand there in
  their order and place, or the passage is equal to it in 95 % of its characters. It has the same numbers, and where
  the end is not there, nine tenths are.
- `coverage`: n-grams that both have cover at least half of the item's words; and half of those in its second half, or
  3n words; and half of those that are in n-grams that are not common; and where some are common and the item has fewer
  than 3n words, the same numbers are there. (Tulu 3 asks for half of the words, open-r1 and s1 for one 8-gram.) A
  question begins with a phrase and ends with what it asks, so an opening is no item.
- `short`: the item has fewer than n words, and all stand there, one after the other, with the same signs of arithmetic;
  and they stand alone (on lines of their own), or end a sentence and are at least 4, or are a sentence and at least 3,
  or end a sentence or clause while the row's answer holds the item's answer. Where a benchmark gives the same question
  several answers, only this last one counts.

What is common is no evidence. An n-gram is common that three items of one benchmark have. Where an item is covered, or
edited and shorter than 2n words, words are common after which the rows of the dataset go on in three ways other than
the item's. A row that is an edited form of three items equally, all shorter than 3n words, has the template that they
have, and none of them. And a short item that stands in one of twenty rows, and in twenty, is a phrase, and is found
only where it stands alone or with its answer.

Where each character is a word, as in Chinese, every number of words above is doubled, because a Chinese word has about
one and a half to two characters: 8 words are 16 characters, and shorter items are short ones.

With the method `substring`, for code, a row holds an item where it has all its characters, without whitespace and case,
one after the other, and these are at least 16; a shorter item must be all of the text.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from distill_data.quality.benchmarks import Item, holds, operators
from distill_data.quality.overlaps import Gap, Shared, grams, in_ngrams, in_order, same_numbers, similarity
from distill_data.quality.quotes import LIMIT, Quote, Quotes
from distill_data.quality.shingles import EDITS, SHINGLE, Shingles
from distill_data.quality.words import words

MANY = 3
"""Items that make an n-gram common, ways to go on that make words common, items that make a template."""
SUBSTRING = 16
"""Characters, without whitespace, from which an item is looked for inside of a text."""
ASKED = 16
"""Places in a row at which a short item is looked at; who says it so often and does not ask it has it as a phrase."""
SENTENCE = 3
"""Words of a sentence that is an item in the midst of a text; fewer say nothing."""
PHRASE_SHARE, PHRASE_ROWS = 0.05, 20
_ENDS = re.compile(r"[\n。！？；…\"”’»」』]|[.!?;][)\]*_]*\s")
_PAUSES = re.compile(r"[，：]|[,:]\s")
_BEGINS = re.compile(r"[\n。！？；：…\"“‘«「『]|[.!?;:]\s")
_TAIL = 0.9
"""The share of an item that must be there where its end is not."""


class Rules(NamedTuple):
    """What a user can set."""

    ngram: int = 8
    coverage: float = 0.5
    fuzzy: float = 0.95
    method: str = "ngram"


class Match(NamedTuple):
    """An item that a row holds, as far as the row alone tells."""

    item: int
    rule: str
    share: float
    """Of the item's words that are there."""
    quote: str
    """What is there, as it stands in the row; at most `quotes.LIMIT` characters."""
    missing: int = 0
    """Words of the item that are not there, where so few of its words may be a template."""
    gaps: tuple[Gap, ...] = ()
    """What is not there of it, where words that are may be a phrase, which rows end in different ways."""
    is_loose: bool = False
    """A short item that may be a phrase."""


Look = Callable[[Sequence[str], str], list[Match]]
"""(the texts of a row, its answer) to the items that it may hold, each once."""


def make_look(items: Sequence[Item], rules: Rules) -> Look:
    """A function that finds items in rows. Hand all that it finds in a dataset to `settle`."""
    find = _make_find(items, rules) if rules.method == "ngram" else _make_find_substring(items)

    def look(texts: Sequence[str], answer: str) -> list[Match]:
        best: dict[int, Match] = {}
        for text in texts:
            for match in find(text, answer):
                known = best.get(match.item)
                if known is None or _weight(match) > _weight(known):
                    best[match.item] = match
        return list(best.values())

    return look


def settle(found: Mapping[int, Sequence[Match]], rows: int) -> dict[int, list[Match]]:
    """The rows that hold items, of those where something was found, each with its items, best first.

    Here it is decided what is common among the rows, of which there are `rows`.
    """
    loose: Counter[int] = Counter()
    ways: defaultdict[tuple[int, int, int], set[str]] = defaultdict(set)
    for matches in found.values():
        for match in matches:
            loose[match.item] += match.is_loose
            for start, end, instead in match.gaps:
                ways[match.item, start, end].add(instead)

    def is_phrase(match: Match) -> bool:
        if match.is_loose:
            return loose[match.item] >= max(PHRASE_ROWS, PHRASE_SHARE * rows)
        return any(len(ways[match.item, start, end]) >= MANY for start, end, _ in match.gaps)

    settled = {}
    for row, matches in found.items():
        left = [match for match in matches if not is_phrase(match) and not _is_template(match, matches)]
        if left:
            settled[row] = sorted(left, key=lambda match: (-match.share, match.item))
    return settled


def _is_template(match: Match, others: Sequence[Match]) -> bool:
    """Whether a row resembles another item more than this one, or three or more as much as this one."""
    missing = [other.missing for other in others if other.missing]
    return match.missing > 0 and (min(missing) < match.missing or missing.count(match.missing) >= MANY)


def _weight(match: Match) -> tuple[bool, float]:
    """Of two matches of one item in a row, the heavier one counts."""
    return not match.gaps and not match.is_loose, match.share


def _make_find(items: Sequence[Item], rules: Rules) -> Callable[[str, str], Iterable[Match]]:
    index = Shingles(items)
    common = _common(items, rules.ngram)

    def find(text: str, answer: str) -> Iterable[Match]:
        row = words(text)
        candidates = index.find(row, ascii_only=text.isascii())
        if not candidates:
            return
        there, quotes = set(row), Quotes(text)
        for number, places in candidates.items():
            item = items[number]
            if sum(word in there for word in item.words) < min(rules.coverage, 0.7) * len(item.words):
                continue
            starts = index.beginnings(number, item.words, row, places)
            match = _judge(number, item, quotes, answer, row, starts, rules, common)
            if match:
                yield match

    return find


def _common(items: Sequence[Item], ngram: int) -> frozenset[int]:
    """The n-grams that many items of one benchmark have."""
    benchmarks: defaultdict[str, list[Item]] = defaultdict(list)
    for item in items:
        for benchmark in {name for name, _ in item.places}:
            benchmarks[benchmark].append(item)
    found: set[int] = set()
    for members in benchmarks.values():
        counts = Counter(gram for item in members for gram in set(grams(item.words, ngram * item.unit)))
        found.update(gram for gram, count in counts.items() if count >= MANY)
    return frozenset(found)


def _judge(
    number: int,
    item: Item,
    quotes: Quotes,
    answer: str,
    row: list[str],
    starts: Sequence[int],
    rules: Rules,
    common: frozenset[int],
) -> Match | None:
    length = len(item.words)
    is_short = length < rules.ngram * item.unit
    for start in starts[:ASKED] if is_short else starts:
        if start >= 0 and tuple(row[start : start + length]) == item.words:
            said = quotes.quote(start, start + length - 1)
            if not is_short:
                return Match(number, "verbatim", 1.0, said.text)
            if how := _asked(item, said, answer):
                return Match(number, "short", 1.0, said.text, is_loose=how == "phrase")
    if is_short:
        return None
    for rule, weigh in (("edited", _edited), ("coverage", _covered)):
        shared = weigh(item, row, starts[0], rules, common)
        if shared:
            return _match(number, rule, item, quotes, row, shared, rules)
    return None


def _asked(item: Item, said: Quote, answer: str) -> str | None:
    """How a short item is a question here: `short`, or `phrase` where it may be one; None where it is neither."""
    if operators(said.whole) != operators(item.text):
        return None
    ends = said.last or _ENDS.search(said.after) is not None
    if item.answers and (ends or _PAUSES.search(said.after)):
        given = words(answer)
        if any(holds(given, each) for each in item.answers):
            return "short"
    if item.ambiguous:
        return None
    if (said.first or "\n" in said.before) and (said.last or "\n" in said.after):
        return "short"
    begins = said.first or _BEGINS.search(said.before) is not None
    least = (SENTENCE if begins else SHINGLE) * item.unit
    return "phrase" if ends and len(item.words) >= least else None


def _edited(item: Item, row: list[str], start: int, rules: Rules, common: frozenset[int]) -> Shared | None:
    shared = in_order(item.words, row, start, EDITS * item.unit)
    if not shared.pairs:
        return None
    length, there = len(item.words), len(shared.pairs)
    if shared.pairs[-1][0] < length - 1 and there < _TAIL * length:
        return None
    first, last = shared.span()
    passage = row[first : last + 1]
    edits = (EDITS if length >= 10 * item.unit else 1) * item.unit
    if length - there > edits and similarity(item.words, passage) < rules.fuzzy:
        return None
    return shared if same_numbers(item.words, passage) else None


def _covered(item: Item, row: list[str], start: int, rules: Rules, common: frozenset[int]) -> Shared | None:
    size, length = rules.ngram * item.unit, len(item.words)
    shared = in_ngrams(item.words, row, start, size, common)
    there = len(shared.pairs)
    late = sum(place >= length // 2 for place, _ in shared.pairs)
    if not there or there < rules.coverage * length or shared.telling < rules.coverage:
        return None
    if late < rules.coverage * (length - length // 2) and there < 3 * size:
        return None
    first, last = shared.span()
    if shared.from_template and length < 3 * size and not same_numbers(item.words, row[first : last + 1]):
        return None
    return shared


def _match(number: int, rule: str, item: Item, quotes: Quotes, row: list[str], shared: Shared, rules: Rules) -> Match:
    length, size = len(item.words), rules.ngram * item.unit
    missing = length - len(shared.pairs) if rule == "edited" and length < 3 * size else 0
    gaps: list[Gap] = []
    if rule == "coverage" or length < 2 * size:
        # With a few first words cut, whatever stands before the rest is no other way to go on.
        gaps = [gap for gap in shared.gaps(length, row) if gap[0] or gap[1] > length / 3]
    said = quotes.quote(*shared.span())
    return Match(number, rule, len(shared.pairs) / length, said.text, missing, tuple(gaps))


def _make_find_substring(items: Sequence[Item]) -> Callable[[str, str], Iterable[Match]]:
    beginnings: defaultdict[str, list[tuple[int, str]]] = defaultdict(list)
    whole: defaultdict[str, list[int]] = defaultdict(list)
    for number, item in enumerate(items):
        squeezed = _squeezed(item.text)
        if len(squeezed) < SUBSTRING:
            whole[squeezed].append(number)
        else:
            beginnings[squeezed[:SUBSTRING]].append((number, squeezed))

    def find(text: str, answer: str) -> Iterable[Match]:
        squeezed = _squeezed(text)
        for number in whole.get(squeezed, ()):
            yield Match(number, "substring", 1.0, text.strip()[:LIMIT])
        for start in range(len(squeezed) - SUBSTRING + 1):
            for number, wanted in beginnings.get(squeezed[start : start + SUBSTRING], ()):
                if squeezed.startswith(wanted, start):
                    yield Match(number, "substring", 1.0, _unsqueezed(text, start, len(wanted)))

    return find


def _squeezed(text: str) -> str:
    """A text without whitespace and case, as many characters as it has without whitespace."""
    bare = "".join(text.split())
    lower = bare.lower()
    return lower if len(lower) == len(bare) else bare


def _unsqueezed(text: str, start: int, length: int) -> str:
    """What `length` characters from `start` on, whitespace not counted, are in the text."""
    places = [place for place, character in enumerate(text) if not character.isspace()]
    return text[places[start] : places[start + length - 1] + 1][:LIMIT]

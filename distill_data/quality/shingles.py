"""Which of many short texts a longer one may hold, by runs of a few words that both have. Decides nothing."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from distill_data.quality.benchmarks import Item
from distill_data.quality.overlaps import grams

SHINGLE = 4
"""Words of a run. Of 14 words with any two replaced, four in a row are left."""
MOST = 32
"""Items that may share a run that is looked up; each item's rarest runs are looked up whatever shares them."""
EDITS = 2
"""Words that may be replaced."""

Table = Mapping[int, Sequence[int]]


class Shingles:
    """An index of items by their runs of SHINGLE words: all that are not in very many items, and each item's rarest.

    Two replaced words spoil at most 2 × SHINGLE runs. So many and one more of the rarest are kept, and at least one of
    them is left.
    """

    def __init__(self, items: Sequence[Item]) -> None:
        self._sizes = [min(SHINGLE * item.unit, len(item.words)) for item in items]
        self._needed = [1] * len(items)
        kept: dict[tuple[int, int], dict[int, list[int]]] = {}
        for key, members in self._by_size(items).items():
            kept[key] = self._index(items, key[1], members)
        self._tables: Mapping[tuple[int, int], Table] = kept

    def find(self, row: Sequence[str], *, ascii_only: bool) -> dict[int, list[int]]:
        """Items that the row may hold, to where in the row their runs begin.

        With `ascii_only`, items in which each character is a word are passed over.
        """
        found: defaultdict[int, list[int]] = defaultdict(list)
        for (unit, size), table in self._tables.items():
            if ascii_only and unit > 1:
                continue
            runs = list(grams(row, size))
            if table.keys().isdisjoint(runs):
                continue
            for place, run in enumerate(runs):
                for item in table.get(run, ()):
                    found[item].append(place)
        return {item: places for item, places in found.items() if len(places) >= self._needed[item]}

    def beginnings(self, item: int, words: Sequence[str], row: Sequence[str], places: Sequence[int]) -> list[int]:
        """Where in the row the item would begin, by most of the runs; often one place."""
        size = self._sizes[item]
        own = {run: place for place, run in reversed(list(enumerate(grams(words, size))))}
        votes = Counter(place - own[hash(tuple(row[place : place + size]))] for place in places)
        most = max(votes.values())
        return sorted(start for start, votes_for in votes.items() if votes_for == most)

    def _by_size(self, items: Sequence[Item]) -> dict[tuple[int, int], list[int]]:
        found: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
        for number, (item, size) in enumerate(zip(items, self._sizes, strict=True)):
            found[item.unit, size].append(number)
        return found

    def _index(self, items: Sequence[Item], size: int, members: Sequence[int]) -> dict[int, list[int]]:
        counts = Counter(run for number in members for run in set(grams(items[number].words, size)))
        table: defaultdict[int, list[int]] = defaultdict(list)
        for number in members:
            item = items[number]
            spoilt = EDITS * (SHINGLE * item.unit + item.unit - 1)
            rarest = sorted(set(grams(item.words, size)), key=lambda run: counts[run])
            looked_up = [run for at, run in enumerate(rarest) if at <= spoilt or counts[run] <= MOST]
            self._needed[number] = max(1, min(len(looked_up) - spoilt, len(looked_up) // 4))
            for run in looked_up:
                table[run].append(number)
        return dict(table)

"""Which of many short texts a longer one may hold, by runs of a few words that both have. Decides nothing."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from distill_data.quality.benchmarks import Item
from distill_data.quality.overlaps import grams

SHINGLE = 4
"""Words of a run. Of 14 words with any two replaced, four in a row are left."""
MOST = 32
"""Items that may share a run that is looked up; each item's rarest runs are looked up whatever shares them."""
EDITS = 2
"""Words that may be replaced."""

Table = dict[int, int | list[int]]
"""A run to the one item that has it, or to several."""


class Shingles:
    """An index of items by their runs of SHINGLE words: all that are not in very many items, and each item's rarest.

    Two replaced words spoil at most 2 × SHINGLE runs. So many and one more of the rarest are kept, and at least one of
    them is left.
    """

    def __init__(self, items: Sequence[Item]) -> None:
        self._sizes = [min(SHINGLE * item.unit, len(item.words)) for item in items]
        self._needed = [1] * len(items)
        members: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
        for number, (item, size) in enumerate(zip(items, self._sizes, strict=True)):
            members[item.unit, size].append(number)
        self._tables = {(unit, size): self._index(items, size, each) for (unit, size), each in members.items()}

    def find(self, row: Sequence[str], *, ascii_only: bool) -> dict[int, list[int]]:
        """Items that the row may hold, to where in the row their runs begin.

        With `ascii_only`, items in which each character is a word are passed over.
        """
        found: defaultdict[int, list[int]] = defaultdict(list)
        for (unit, size), table in self._tables.items():
            if ascii_only and unit > 1:
                continue
            if table.keys().isdisjoint(grams(row, size)):
                continue
            for place, run in enumerate(grams(row, size)):
                if run in table:
                    for item in _several(table[run]):
                        found[item].append(place)
        return {item: places for item, places in found.items() if len(places) >= self._needed[item]}

    def beginnings(self, item: int, words: Sequence[str], row: Sequence[str], places: Sequence[int]) -> list[int]:
        """Where in the row the item would begin, by most of the runs; often one place."""
        size = self._sizes[item]
        own = {run: place for place, run in reversed(list(enumerate(grams(words, size))))}
        votes = Counter(place - own[hash(tuple(row[place : place + size]))] for place in places)
        most = max(votes.values())
        return sorted(start for start, votes_for in votes.items() if votes_for == most)

    def _index(self, items: Sequence[Item], size: int, members: Sequence[int]) -> Table:
        table: dict[int, int | list[int]] = {}
        for number in members:
            runs = dict.fromkeys(grams(items[number].words, size))  # in order, as hashes differ by process
            self._needed[number] = len(runs)
            for run in runs:
                held = table.setdefault(run, number)
                if isinstance(held, list):
                    held.append(number)
                elif held != number:
                    table[run] = [held, number]
        frequent = {run: _several(held) for run, held in table.items() if len(_several(held)) > MOST}
        for run in frequent:
            del table[run]
        rarest: defaultdict[int, list[int]] = defaultdict(list)
        for run, several in sorted(frequent.items(), key=lambda pair: len(pair[1])):
            for number in several:
                rarest[number].append(run)
        again: defaultdict[int, list[int]] = defaultdict(list)
        for number in members:
            spoilt = EDITS * (SHINGLE * items[number].unit + items[number].unit - 1)
            looked_up = self._needed[number] - len(rarest[number])
            for run in rarest[number][: max(0, spoilt + 1 - looked_up)]:
                again[run].append(number)
                looked_up += 1
            self._needed[number] = max(1, min(looked_up - spoilt, looked_up // 4))
        table.update(again)
        return table


def _several(held: int | list[int]) -> Sequence[int]:
    return held if isinstance(held, list) else (held,)

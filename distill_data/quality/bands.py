"""Sets of which few are alike: for each the earlier ones that may be like it, by MinHash in bands. Decides nothing.

A signature is cut into bands, and sets that share a band may be alike (Leskovec, Rajaraman and Ullman, Mining of
Massive Datasets, chapter 3). Holds 12 bytes for every band of a set, and neither the signatures nor the sets.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterator
from itertools import compress
from operator import ne

from distill_data.quality.minhash import rows_of_band

SEED = 1
MISSED = 0.05
"""The share of pairs just at the threshold that may be overlooked; of more similar ones it is far fewer."""


class Bands:
    """Sets in the order in which they were added, then the earlier ones that may be like each, in the same order.

    Add every set, call `link` once, then ask `earlier` for every set from the first on, and `drop` what should not be
    found any more.
    """

    def __init__(self, threshold: float, permutations: int = 128) -> None:
        self._permutations = permutations
        self._rows = rows_of_band(threshold, permutations, MISSED)
        self._keys = array("q")
        self._links: list[array[int]] = []
        self._linked = bytearray()
        self._dropped = bytearray()

    def add(self, grams: Collection[str]) -> None:
        """Add a set."""
        from rensa import RMinHash

        minhash = RMinHash(num_perm=self._permutations, seed=SEED)
        minhash.update(grams)
        each = iter(minhash.digest())
        self._keys.extend(map(hash, zip(*[each] * self._rows, strict=False)))

    def link(self) -> None:
        """For each band: link every set to the one before it that has the same band. Frees the bands themselves."""
        bands = self._permutations // self._rows
        count = len(self._keys) // bands
        self._linked, self._dropped = bytearray(count), bytearray(count)
        self._links = [self._linked_by(self._keys[band::bands]) for band in range(bands)]
        self._keys = array("q")

    def earlier(self, index: int) -> set[int]:
        """The earlier sets, dropped ones left out, that share a band with this one."""
        found: set[int] = set()
        if self._linked[index]:
            for links in self._links:
                other = links[index]
                if other >= 0 and self._dropped[other]:  # its own link leads past every dropped one
                    other = links[index] = links[other]
                while other >= 0:
                    found.add(other)
                    other = links[other]
        return found

    def drop(self, index: int) -> None:
        """Let a set be found no more. It is the one that was asked for last."""
        self._dropped[index] = True

    def _linked_by(self, keys: array[int]) -> array[int]:
        count = len(keys)
        first: dict[int, int] = {}
        firsts = array("q", map(first.setdefault, keys, range(count)))
        links = array("i", [-1]) * count
        latest: dict[int, int] = {}
        for index in self._repeated(firsts):
            links[index] = latest.get(firsts[index], firsts[index])
            latest[firsts[index]] = index
            self._linked[index] = True
        return links

    def _repeated(self, firsts: array[int]) -> Iterator[int]:
        return compress(range(len(firsts)), map(ne, firsts, range(len(firsts))))

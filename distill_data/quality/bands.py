"""Sets of which few are alike: for each the earlier ones that may be like it, by MinHash in bands. Decides nothing.

A signature is cut into bands, and sets that share a band may be alike (Leskovec, Rajaraman and Ullman, Mining of
Massive Datasets, chapter 3). Holds 8 bytes for every band of a set, and neither the signatures nor the sets.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Collection
from itertools import compress
from operator import is_not
from struct import Struct

from distill_data.quality.minhash import rows_of_band

SEED = 1
MISSED = 0.05
"""The share of pairs just at the threshold that may be overlooked; of more similar ones it is far fewer."""
KEY = (1 << 30) - 1
"""Bits of a band that are held: as many as Python keeps in one digit. Chance equality is one more pair to compare."""


class Bands:
    """Sets in the order in which they were added, then the earlier ones that may be like each, in the same order.

    Add every set, call `link` once, then ask `earlier` for every set from the first on, and `drop` what should not be
    found any more.
    """

    def __init__(self, threshold: float, permutations: int = 128) -> None:
        from rensa import RMinHash

        self._sketch = RMinHash
        self._pack = Struct(f"<{permutations}I").pack
        self._permutations = permutations
        self._rows = rows_of_band(threshold, permutations, MISSED)
        self._bands = permutations // self._rows
        self._every = int.from_bytes(array("I", [1]) * permutations, "little")
        self._mask = KEY * self._every
        self._keys = array("I")
        self._links: list[array[int]] = []
        self._dropped = bytearray()

    def add(self, grams: Collection[str], kind: int = 0) -> None:
        """Add a set. Sets of another kind are not like it, and so are not found."""
        minhash = self._sketch(num_perm=self._permutations, seed=SEED)
        minhash.update(grams)
        # Every band is xored into its first hash, all bands at once, as one integer.
        signature = int.from_bytes(self._pack(*minhash.digest()), "little")
        folded = signature
        for row in range(1, self._rows):
            folded ^= signature >> 32 * row
        folded ^= (kind & KEY) * self._every
        hashes = array("I", (folded & self._mask).to_bytes(4 * self._permutations, "little"))
        self._keys.extend(hashes[: self._bands * self._rows : self._rows])

    def link(self) -> None:
        """For each band: link every set to the one before it that has the same band. Frees the bands themselves."""
        links = make_links()
        self._links = [links(self._keys[band :: self._bands]) for band in range(self._bands)]
        self._dropped = bytearray(len(self._keys) // self._bands)
        self._keys = array("I")

    def earlier(self, index: int) -> set[int]:
        """The earlier sets, dropped ones left out, that share a band with this one."""
        found: set[int] = set()
        for links in self._links:
            other = links[index]
            if other >= 0:
                if self._dropped[other]:  # its own link leads past every dropped one
                    other = links[index] = links[other]
                while other >= 0:
                    found.add(other)
                    other = links[other]
        return found

    def drop(self, index: int) -> None:
        """Let a set be found no more. It is the one that was asked for last."""
        self._dropped[index] = True


Links = Callable[["array[int]"], "array[int]"]
"""Keys, below 2 to the power of 32, to the place of the one before each that is equal, or -1."""


def make_links() -> Links:
    """The fastest that there is here: sorting with numpy takes a sixth of the time, and needs the extra `features`."""
    try:
        import numpy  # noqa: F401
    except ImportError:
        return links_by_hashing
    return links_by_sorting


def links_by_hashing(keys: array[int]) -> array[int]:
    """`Links` in Python alone."""
    links = array("i", [-1]) * len(keys)
    places = list(range(len(keys)))
    first: dict[int, int] = {}
    firsts = list(map(first.setdefault, keys, places))  # the first place of each key, as the object in `places`
    latest: dict[int, int] = {}
    for place in compress(places, map(is_not, firsts, places)):
        links[place] = latest.get(firsts[place], firsts[place])
        latest[firsts[place]] = place
    return links


def links_by_sorting(keys: array[int]) -> array[int]:
    """`Links` with numpy."""
    import numpy as np

    count = len(keys)
    ordered = np.frombuffer(keys, np.uint32).astype(np.uint64) << np.uint64(32)
    ordered |= np.arange(count, dtype=np.uint64)
    ordered.sort()
    places, found = ordered.astype(np.uint32), ordered >> np.uint64(32)
    same = np.flatnonzero(found[1:] == found[:-1])
    links = np.full(count, -1, np.int32)
    links[places[same + 1]] = places[same]
    return array("i", links.tobytes())

"""Near-duplicates among many texts: MinHash finds the few to compare, the sets of n-grams decide.

Knows nothing about what the texts are for.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from distill_data.quality.words import words

_SEED = 1
_MISSED = 0.001
"""The share of pairs just at the threshold that may be overlooked."""


class NearDuplicates:
    """Texts in the order in which they were added, searched for near-duplicates of new ones.

    Two texts are near-duplicates where the sets of their word n-grams have a Jaccard similarity (shared ÷ all) of at
    least `threshold`. A text of fewer than `ngram` words is one n-gram, whole. Fewer than one in a thousand pairs at
    the threshold is overlooked, and of more similar ones far fewer; for thresholds below 0.1 `permutations` must
    grow for that. Nothing else is ever found. Raises ValueError for a threshold outside 0 to 1 or a number below 1.
    """

    def __init__(self, threshold: float = 0.8, ngram: int = 3, permutations: int = 128) -> None:
        if not 0 < threshold <= 1 or ngram < 1 or permutations < 1:
            raise ValueError("a threshold is above 0 and at most 1; n-grams and permutations are at least 1")
        self._threshold = threshold
        self._ngram = ngram
        self._permutations = permutations
        self._rows = rows_of_band(threshold, permutations, _MISSED)
        self._entries: list[frozenset[str]] = []
        self._bands: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, text: str) -> None:
        """Add a text. Its index is the number of texts before it."""
        grams = self._grams(text)
        for band in self._signed(grams):
            self._bands[band].append(len(self._entries))
        self._entries.append(grams)

    def find(self, text: str) -> int | None:
        """The lowest index of a near-duplicate, or None."""
        grams = self._grams(text)
        possible = {index for band in self._signed(grams) for index in self._bands.get(band, ())}
        return next((index for index in sorted(possible) if self._alike(grams, self._entries[index])), None)

    def _alike(self, one: frozenset[str], other: frozenset[str]) -> bool:
        return len(one & other) / len(one | other) >= self._threshold

    def _grams(self, text: str) -> frozenset[str]:
        found = words(text)
        starts = range(max(1, len(found) - self._ngram + 1))
        return frozenset(" ".join(found[start : start + self._ngram]) for start in starts)

    def _signed(self, grams: frozenset[str]) -> Iterator[tuple[int, ...]]:
        """The MinHash signature in bands, each with its position in front; similar sets share at least one."""
        from rensa import RMinHash

        minhash = RMinHash(num_perm=self._permutations, seed=_SEED)
        minhash.update(list(grams))
        signature = minhash.digest()
        for start in range(0, self._permutations - self._rows + 1, self._rows):
            yield (start, *signature[start : start + self._rows])


def rows_of_band(threshold: float, permutations: int, missed: float) -> int:
    """The most hashes a band can have with at most `missed` of the pairs at the threshold sharing none."""
    fits = (rows for rows in range(permutations, 0, -1) if (1 - threshold**rows) ** (permutations // rows) <= missed)
    return next(fits, 1)

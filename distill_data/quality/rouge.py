"""ROUGE-L between texts, and a pool that finds the entries most like a new text. Knows nothing about what they are for.

Each distinct word is written as one character, so that rapidfuzz compares whole texts as strings. The F-measure of
ROUGE-L, 2 × longest common subsequence ÷ words of both, is its normalised Indel similarity.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from distill_data.quality.words import words

_FOREIGN, _SURPLUS, _FIRST = 0, 1, 2
"""Characters: of a query's word that no entry has, of an entry's word when no character is left, of the first word."""
_CHARACTERS = 0x110000
_ROUNDING = 1e-9


def rouge_l(one: str, other: str) -> float:
    """The ROUGE-L F-measure, 2PR ÷ (P + R), from 0.0 to 1.0. Two texts without words are equal, 1.0."""
    pool = RougePool()
    pool.add(other)
    return pool.nearest(one, 1)[0][0]


class RougePool:
    """Texts in the order in which they were added, compared by ROUGE-L with new ones.

    Exact up to 1,114,110 distinct words; further ones are in no common subsequence.
    """

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}
        self._entries: list[str] = []
        self._holders: defaultdict[str, list[int]] = defaultdict(list)

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, text: str) -> None:
        """Add a text. Its index is the number of texts before it."""
        entry = "".join(map(chr, map(self._learned, _tokens(text))))
        for character in dict.fromkeys(entry):
            self._holders[character].append(len(self._entries))
        self._entries.append(entry)

    def nearest(self, text: str, k: int = 10) -> list[tuple[float, int]]:
        """(score, index) of the min(k, len) most similar entries, best first, equal ones by lowest index."""
        from rapidfuzz import process
        from rapidfuzz.distance import Indel

        query = self._encoded(text)
        best = process.extract(query, self._entries, scorer=Indel.normalized_similarity, limit=k)
        return [(_exact(score, query, entry), index) for entry, score, index in best]

    def most(self, text: str, above: float) -> tuple[float, int] | None:
        """(score, index) of the most similar entry, where its score is above `above`; else None.

        The lowest index of equally similar ones. Raises ValueError unless 0 ≤ `above` < 1.
        """
        from rapidfuzz import process
        from rapidfuzz.distance import Indel

        if not 0 <= above < 1:
            raise ValueError("a score to be above is from 0 to below 1")
        query = self._encoded(text)
        indices = self._possible(query, above)
        entries = [self._entries[index] for index in indices]
        cutoff = max(0.0, above - _ROUNDING)
        best = process.extractOne(query, entries, scorer=Indel.normalized_similarity, score_cutoff=cutoff)
        if best is None:
            return None
        score = _exact(best[1], query, best[0])
        return (score, indices[best[2]]) if score > above else None

    def _possible(self, query: str, above: float) -> Sequence[int]:
        """The indices, in order, of all entries that may score above `above`, and of few others.

        Such an entry shares more than above × words ÷ (2 − above) words with the query, however long it is. So it
        lacks few of them, and has at least one of any group that is larger: the group of the rarest is looked up.
        """
        shared = int(above * len(query) / (2 - above) - _ROUNDING) + 1
        by_rarity = sorted((self._holders.get(character, ()) for character in query), key=len)
        return sorted(set().union(*by_rarity[: len(query) - shared + 1]))

    def _encoded(self, text: str) -> str:
        return "".join([chr(self._codes.get(word, _FOREIGN)) for word in _tokens(text)])

    def _learned(self, word: str) -> int:
        if word not in self._codes and len(self._codes) + _FIRST == _CHARACTERS:
            return _SURPLUS
        return self._codes.setdefault(word, len(self._codes) + _FIRST)


def _tokens(text: str) -> list[str]:
    """The words; the empty word alone for a text without any, so that such texts equal each other and nothing else."""
    return words(text) or [""]


def _exact(score: float, one: str, other: str) -> float:
    """The quotient as it would be divided, without what `1 - distance` loses."""
    total = len(one) + len(other)
    return round(score * total) / total

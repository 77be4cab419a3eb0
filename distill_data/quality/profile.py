"""A dataset in numbers: what is in its columns, how long, how varied and how repetitive its texts are.

One pass over any number of rows in bounded memory. Sums and counts are of all rows; what needs the texts themselves
is of a sample drawn by hash, so equal rows give equal numbers. Knows no files.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from distill_data.data.columns import make_text
from distill_data.data.items import Row
from distill_data.errors import SeedError
from distill_data.quality.diversity import measure
from distill_data.quality.language import language_of
from distill_data.quality.likeness import is_vector
from distill_data.quality.redundancy import compression_ratio, nearest_rouge, ngram_entropy
from distill_data.quality.reservoir import Distinct, Reservoir, Spread, priority
from distill_data.quality.words import words

SAMPLE = 2_000
"""Texts that are looked at closely, at most."""
NEAREST = 300
"""Of them those of which each is compared with all the others."""
EMBEDDINGS = 500
CUT = 4_000
"""Characters of such a text, at most."""
LISTED = 32
"""Entries of a list of truths or numbers, at most, which count as values of their column."""
COLUMNS, VALUES, SHORT = 200, 50, 100
"""Columns told apart, values of a column that is a label, characters of such a value: beyond them none is kept."""
_MADE_BY = ("method", "recipe", "teacher", "model")
_TOKENS = ("prompt_tokens", "completion_tokens")


def profile(rows: Iterable[Row], on: Sequence[str] = ("x", "y")) -> dict[str, Any]:
    """Numbers about rows of any kind, also mixed ones. Plain JSON; equal rows in equal order give an equal dict.

    `on` names the texts to look at, as `data.columns.make_text` reads them; a row that lacks one is passed over there.

    - rows: int. kinds: {kind: rows}; rows without the column `kind` are under "".
    - columns: {name: {"filled": rows with more than null, "" or an empty list, "types": {type: rows}}}, types being
      text, number, truth, list, object, nothing. At most 200; `more_columns` counts values of further ones.
    - texts: {name of `on`: facts}, without those that no row has. Facts of all texts: rows, characters and words
      (spreads), duplicates. Of at most `sampled` = 2,000 texts, each up to 4,000 characters:
      languages {code or "": texts}; diversity {distinct_1, distinct_2, self_bleu, ...} as `diversity.measure`,
      entropy_1 and entropy_2 in bits, compression_ratio, nearest: a spread of the ROUGE-L of 300 texts to the nearest
      other of them, its histogram in bins from 0 to 1.
    - duplicates: {"share": of rows that have all these texts of an earlier row, case and space aside, "exact": false
      where it is an estimate}.
    - labels: {column: {value: count}} of text and truth columns with at most 50 different short values, each used
      twice on average; most frequent first.
    - scores: {column: spread} of number columns. Of lists of at most 32 truths or numbers, such as the labels of steps
      and the scores of responses, each entry counts here and there.
    - made_by: {"method" | "recipe" | "teacher" | "model": {name: rows}} as meta says. tokens: {"prompt_tokens",
      "completion_tokens": sum}, where recorded.
    - embedding: {rows, dimensions, sampled, vendi}, where there is a column of this name; vendi is the Vendi score
      of a sample of at most 500, null without numpy.

    A spread is {count, mean, min, q1, median, q3, p95, max, histogram: {edges, counts}}; {} for no numbers. Count,
    mean, min and max are of all, the rest of at most 10,000. `counts` has one entry fewer than `edges`.
    """
    found = _Profile(on)
    for ordinal, row in enumerate(rows):
        found.add(priority(ordinal), row)
    return found.to_json()


class _Profile:
    def __init__(self, on: Sequence[str]) -> None:
        self._rows = 0
        self._kinds: Counter[str] = Counter()
        self._columns: dict[str, _Column] = {}
        self._more = 0
        self._texts = [(name, make_text(name), _Texts()) for name in on]
        self._distinct = Distinct()
        self._made_by = {name: Counter[str]() for name in _MADE_BY}
        self._tokens: Counter[str] = Counter()
        self._embeddings = _Embeddings()

    def add(self, rank: int, row: Row) -> None:
        self._rows += 1
        kind = row.get("kind", "")
        _count(self._kinds, kind if isinstance(kind, str) else "")
        for name, value in row.items():
            column = self._columns.get(name)
            if column is None:
                if len(self._columns) == COLUMNS:
                    self._more += 1
                    continue
                column = self._columns[name] = _Column()
            column.add(rank, value)
        said = []
        for _, read, texts in self._texts:
            try:
                said.append(read(row))
            except SeedError:
                continue
            texts.add(rank, said[-1])
        if said:
            self._distinct.add(_same("\0".join(said)))
        self._embeddings.add(rank, row.get("embedding"))
        self._add_meta(row.get("meta"))

    def _add_meta(self, meta: Any) -> None:
        if not isinstance(meta, Mapping):
            return
        for name, counts in self._made_by.items():
            if isinstance(value := meta.get(name), str) and value:
                _count(counts, value)
        for name, value in _details(meta).items():
            if name in _TOKENS and type(value) is int and value >= 0:
                self._tokens[name] += value

    def to_json(self) -> dict[str, Any]:
        columns = {name: column for name, column in self._columns.items() if name != "embedding"}
        return {
            "rows": self._rows,
            "kinds": _ordered(self._kinds),
            "columns": {name: column.describe() for name, column in self._columns.items()},
            "more_columns": self._more,
            "texts": {name: texts.to_json() for name, _, texts in self._texts if texts.rows},
            "duplicates": _duplicates(self._distinct),
            "labels": {
                name: labels for name, column in columns.items() if name != "kind" and (labels := column.labels())
            },
            "scores": {name: scores for name, column in columns.items() if (scores := column.scores.to_json())},
            "made_by": {name: _ordered(counts) for name, counts in self._made_by.items() if counts},
            "tokens": dict(sorted(self._tokens.items())),
            "embedding": self._embeddings.to_json(),
        }


class _Column:
    def __init__(self) -> None:
        self.scores = Spread()
        self._filled = 0
        self._types: Counter[str] = Counter()
        self._values: Counter[str] | None = Counter()

    def add(self, rank: int, value: Any) -> None:
        kind = _TYPES.get(type(value), "nothing")
        self._types[kind] += 1
        self._filled += value is not None and value != "" and value != []
        if kind == "list":
            if len(value) <= LISTED and all(isinstance(each, int | float) for each in value):
                for each in value:
                    self._count(rank, each, _TYPES[type(each)])
        else:
            self._count(rank, value, kind)

    def _count(self, rank: int, value: Any, kind: str) -> None:
        if kind == "number" and math.isfinite(value):
            self.scores.add(rank, float(value))
        elif kind in ("text", "truth") and self._values is not None:
            label = value if kind == "text" else str(value).lower()
            self._values[label[: SHORT + 1]] += 1
            if len(label) > SHORT or len(self._values) > VALUES:
                self._values = None

    def describe(self) -> dict[str, Any]:
        return {"filled": self._filled, "types": _ordered(self._types)}

    def labels(self) -> dict[str, int]:
        values = self._values
        return _ordered(values) if values and values.total() >= 2 * len(values) else {}


class _Texts:
    def __init__(self) -> None:
        self.rows = 0
        self._characters, self._words = Spread(), Spread()
        self._distinct = Distinct()
        self._sample: Reservoir[str] = Reservoir(SAMPLE)

    def add(self, rank: int, text: str) -> None:
        self.rows += 1
        self._characters.add(rank, float(len(text)))
        self._words.add(rank, float(len(words(text))))
        self._distinct.add(_same(text))
        if self._sample.wants(rank):
            self._sample.offer(rank, text[:CUT])

    def to_json(self) -> dict[str, Any]:
        sample = self._sample.values()
        nearest = Spread((0.0, 1.0))
        for place, score in enumerate(nearest_rouge([text for text in sample if text.strip()][:NEAREST])):
            nearest.add(place, score)
        return {
            "rows": self.rows,
            "characters": self._characters.to_json(),
            "words": self._words.to_json(),
            "duplicates": _duplicates(self._distinct),
            "sampled": len(sample),
            "languages": _ordered(Counter(language_of(text) or "" for text in sample)),
            "diversity": {
                **measure(sample, SAMPLE),
                "entropy_1": ngram_entropy(sample, 1),
                "entropy_2": ngram_entropy(sample, 2),
                "compression_ratio": compression_ratio(sample),
                "nearest": nearest.to_json(),
            },
        }


class _Embeddings:
    """Those of the length of the first."""

    def __init__(self) -> None:
        self._rows = self._dimensions = 0
        self._sample: Reservoir[list[float]] = Reservoir(EMBEDDINGS)

    def add(self, rank: int, value: Any) -> None:
        if not is_vector(value) or len(value) != (self._dimensions or len(value)):
            return
        self._rows += 1
        self._dimensions = len(value)
        if self._sample.wants(rank):
            self._sample.offer(rank, value)

    def to_json(self) -> dict[str, Any]:
        if not self._rows:
            return {}
        sample = self._sample.values()
        try:
            from distill_data.quality.vendi import vendi_score

            vendi = vendi_score(sample)
        except ImportError:
            vendi = None
        return {"rows": self._rows, "dimensions": self._dimensions, "sampled": len(sample), "vendi": vendi}


_TYPES: Mapping[type, str] = {
    str: "text", int: "number", float: "number", bool: "truth", list: "list", dict: "object",
}  # fmt: skip


def _details(meta: Mapping[str, Any]) -> Mapping[str, Any]:
    """What meta says besides, as JSON text or as an object; read only where it speaks of tokens."""
    details = meta.get("details")
    if isinstance(details, str) and "_tokens" in details:
        try:
            details = orjson.loads(details)
        except orjson.JSONDecodeError:
            return {}
    return details if isinstance(details, Mapping) else {}


def _same(text: str) -> bytes:
    """Equal for texts that differ in case and space alone."""
    return " ".join(text.casefold().split()).encode("utf-8", "surrogatepass")


def _duplicates(distinct: Distinct) -> dict[str, Any]:
    return {"share": distinct.share_repeated(), "exact": distinct.exact()}


def _count(counts: Counter[str], value: str) -> None:
    """Count a value, or pass over one too many."""
    if value in counts or len(counts) < VALUES:
        counts[value[:SHORT]] += 1


def _ordered(counts: Mapping[str, int]) -> dict[str, int]:
    """Most frequent first, equal ones by name."""
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))

"""`dedup`: keep one row of those that are alike, the first or the best; the others go to the rejects. Asks no model.

The rows are read twice: once to find duplicates, once to keep rows. Of a row only what is compared is held.
"""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any, NamedTuple, TypeVar

from distill_data.commands.rows import Done, Source, Step, Verdict, keep_rows, opened, outputs_of, with_place
from distill_data.data.columns import make_text, number_at, value_at
from distill_data.data.items import Row
from distill_data.data.rows import Line, make_jump
from distill_data.errors import SeedError, UsageError
from distill_data.parsing.arguments import look_up
from distill_data.quality.duplicates import Find, Match, find_exact, find_fuzzy, find_rouge, find_semantic
from distill_data.quality.likeness import is_vector

T = TypeVar("T")

LARGEST, MEMBERS = 10, 5
"""Clusters that the manifest tells of, and dropped rows of each."""
ID = 100
"""Characters of an id that are told."""


class Method(NamedTuple):
    """One way to be alike."""

    find: Callable[..., dict[int, Match]]
    options: Mapping[str, Any]
    """The options of `Matching` that it has, with their defaults."""


METHODS: Mapping[str, Method] = {
    "exact": Method(find_exact, {"on": "x"}),
    "fuzzy": Method(find_fuzzy, {"on": "x", "threshold": 0.6, "ngram": 1}),
    "rouge": Method(find_rouge, {"on": "x", "threshold": 0.7}),
    "semantic": Method(find_semantic, {"column": "embedding", "threshold": 0.9}),
}
"""Name to what it does, see `quality.duplicates`. This is the whole list."""


@dataclass(frozen=True, slots=True)
class Matching:
    """When two rows are alike. None is what the method has by default."""

    method: str = "fuzzy"
    on: str | None = None
    """Texts that are compared, as `data.columns.make_text` reads them."""
    column: str | None = None
    """A column of vectors that are compared."""
    threshold: float | None = None
    """The similarity from which two rows are alike, above 0 and at most 1; ROUGE-L must be above it."""
    ngram: int | None = None
    """Words in a row that are compared as one."""


def dedup(
    source: str,
    matching: Matching | None = None,
    *,
    output: str,
    against: Sequence[str] = (),
    best: str = "",
    rejects: str = "",
) -> Done:
    """Write the rows of a dataset that are alike to no row kept before them, byte for byte and in their order.

    Rows are taken in the order of the file, or with `best` from the highest number of that column down. Those that are
    alike to a row of `against` fall too. Raises UsageError, SeedError with the place of a row that lacks a column,
    YieldError where nothing is left.
    """
    matching = matching or Matching()
    options = _options(matching)
    with opened(source, *dict.fromkeys(against)) as (rows, *others):
        reasons: dict[int, tuple[str, str]] = {}

        def prepare() -> Mapping[str, Any]:
            rules = {name: value for name, value in options.items() if name in ("threshold", "ngram")}
            find = partial(METHODS[matching.method].find, **rules)
            what = _vector(options["column"]) if "column" in options else make_text(options["on"])
            found = _Duplicates(_Taken(rows, best), [_Taken(each) for each in others], find, what)
            reasons.update(found.reasons())
            return {"clusters": found.clusters()}

        def decide(ordinal: int, row: Row) -> Verdict:
            return reasons.get(ordinal)

        digests = [{"name": each.file.name, "sha256": each.sha256} for each in others]
        settings = {"method": matching.method, **options, "best": best, "against": digests}
        read = [each.file.path for each in others if each.file.path.is_file()]
        return keep_rows(Step("dedup", [rows], settings, outputs_of(output, rejects), read), decide, prepare)


def _options(matching: Matching) -> dict[str, Any]:
    """The options that the method has. Raises UsageError for others, and for values that cannot be."""
    its = look_up(METHODS, matching.method, "--method").options
    options = dict(its)
    for name in ("on", "column", "threshold", "ngram"):
        value = getattr(matching, name)
        if value is not None and name not in its:
            having = [other for other, method in METHODS.items() if name in method.options]
            raise UsageError(f"--{name} is for --method {', '.join(having)}; {matching.method} has no use for it.")
        if value is not None:
            options[name] = value
    threshold, is_rouge = options.get("threshold", 0.5), matching.method == "rouge"
    if not 0 < threshold <= 1 or (is_rouge and threshold == 1):
        most = "below" if is_rouge else "at most"
        raise UsageError(f"--threshold {threshold:g}: a threshold is above 0 and {most} 1.")
    if options.get("ngram", 1) < 1:
        raise UsageError(f"--ngram {options['ngram']}: at least 1 word is wanted.")
    if matching.method == "semantic":
        _require_numpy()
    return options


def _require_numpy() -> None:
    try:
        import numpy  # noqa: F401
    except ImportError:
        raise UsageError(
            "--method semantic needs the package numpy, of the extra `features`: pip install 'distill-data[features]' "
            "(in a checkout: pip install '.[features]')."
        ) from None


class _Taken:
    """The rows of a source in the order in which they are taken, and how each is called afterwards."""

    def __init__(self, source: Source, best: str = "") -> None:
        self.source = source
        self._best = best
        self._order: Sequence[int] = ()
        self._lines = array("q")
        self._ids: list[str] = []

    def __len__(self) -> int:
        return len(self._lines)

    def read(self, what: Callable[[Row], T]) -> Iterator[T]:
        """What is compared of each row. Raises SeedError with the place."""
        if self._best:
            yield from self._ranked(what)
            return
        for line, item in with_place(self.source, what):
            self._note(line)
            yield item

    def ordinal(self, rank: int) -> int:
        """A row's place in the file, from 0, by the rank at which it was taken."""
        return self._order[rank] if self._order else rank

    def name(self, ordinal: int) -> dict[str, Any]:
        """The row's line, and id where it has one."""
        row_id = self._ids[ordinal]
        return {"line": self._lines[ordinal], **({"id": row_id} if row_id else {})}

    def _ranked(self, what: Callable[[Row], T]) -> Iterator[T]:
        numbers = array("d")
        for line, number in with_place(self.source, lambda row: number_at(row, self._best)):
            self._note(line)
            numbers.append(number)
        self._order = sorted(range(len(numbers)), key=lambda at: (numbers[at] != numbers[at], -numbers[at]))
        jump = make_jump(self.source.file)
        for ordinal in self._order:
            try:
                yield what(jump(ordinal))
            except SeedError as error:
                raise SeedError(f"{self.source.file.place(self._lines[ordinal])}: {error}") from None

    def _note(self, line: Line) -> None:
        self._lines.append(line.number)
        row_id = line.row.get("id")
        self._ids.append(str(row_id)[:ID] if isinstance(row_id, str | int) else "")


class _Duplicates:
    """The dropped rows of a dataset, each with the kept row that it is like."""

    def __init__(self, rows: _Taken, others: Sequence[_Taken], find: Find, what: Callable[[Row], Any]) -> None:
        self._rows = rows
        self._others = others
        found = find(chain.from_iterable(other.read(what) for other in others), rows.read(what))
        self._before = sum(map(len, others))
        self._found = {rows.ordinal(place - self._before): match for place, match in found.items()}

    def reasons(self) -> dict[int, tuple[str, str]]:
        """For each dropped row, by its ordinal, the reason and the kept row."""
        return {ordinal: self._reason(match) for ordinal, match in self._found.items()}

    def clusters(self) -> dict[str, Any]:
        """How many rows have others that are like them, how large these clusters are, and the largest."""
        members = defaultdict(list)
        for ordinal, match in self._found.items():
            if match.of >= self._before:
                members[self._rows.ordinal(match.of - self._before)].append(ordinal)
        sizes = Counter(len(dropped) + 1 for dropped in members.values())
        largest = sorted(members, key=lambda kept: (-len(members[kept]), kept))[:LARGEST]
        name = self._rows.name
        return {
            "number": len(members),
            "sizes": {str(size): sizes[size] for size in sorted(sizes)},
            "largest": [
                {
                    "kept": name(kept),
                    "rows": len(members[kept]) + 1,
                    "dropped": [name(ordinal) for ordinal in sorted(members[kept])[:MEMBERS]],
                }
                for kept in largest
            ],
        }

    def _reason(self, match: Match) -> tuple[str, str]:
        place, taken = match.of, self._rows
        for other in self._others:
            if place < len(other):
                taken = other
                break
            place -= len(other)
        name = taken.name(taken.ordinal(place))
        where = taken.source.file.place(name["line"]) + (f" (id {name['id']})" if "id" in name else "")
        reason = "duplicate" if taken is self._rows else "in-against"
        return reason, f"like {where}, similarity {match.similarity:.4g}"


def _vector(column: str) -> Callable[[Row], list[float]]:
    """A row's vector; all must have as many numbers as the first. Raises SeedError, without the place."""
    length = 0

    def read(row: Row) -> list[float]:
        nonlocal length
        try:
            value: Any = value_at(row, column)
        except SeedError as error:
            raise SeedError(
                f"{error}. Add embeddings first: distill-data score IN -r embedding -t openai/MODEL -o OUT"
            ) from None
        if not is_vector(value):
            raise SeedError(f"the column {column!r} holds no list of numbers, but {str(value)[:50]!r}")
        length = length or len(value)
        if len(value) != length:
            raise SeedError(f"the column {column!r} has {len(value)} numbers here, and {length} in the rows before")
        return list(value)

    return read

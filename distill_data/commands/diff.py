"""`diff`: what two datasets have in common, and what was added, is gone or has changed. Asks no model, writes nothing.

Holds hashes of the first dataset's rows, some 150 bytes each; a row that changed is read again to see where.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from distill_data.commands.rows import Source, opened, with_place
from distill_data.data.columns import TextOf, make_text, text_of, x_of
from distill_data.data.items import Row, canonical
from distill_data.data.rows import Line, make_jump
from distill_data.data.shares import mark_of
from distill_data.errors import SeedError
from distill_data.quality.groups import folded

SHOWN = 10
START = 80
"""Characters of a row's text that are shown."""


class Difference(NamedTuple):
    """A row that is not in both datasets as it is."""

    change: str
    """added, changed or gone."""
    line: int
    """In the second dataset; of one that is gone, in the first."""
    key: str
    """What the row was found by."""
    text: str
    """The start of what is asked."""
    columns: tuple[str, ...] = ()
    """Where a changed row differs."""


@dataclass(slots=True)
class Diff:
    """How two datasets differ."""

    names: tuple[str, str]
    by: str
    """What rows are found by: `id`, `x` or a column."""
    rows: tuple[int, int] = (0, 0)
    equal: int = 0
    changed: int = 0
    added: int = 0
    gone: int = 0
    columns: dict[str, int] = field(default_factory=dict)
    """Column to how many changed rows differ there; `meta.model` is a column in `meta`."""
    shown: list[Difference] = field(default_factory=list)
    """The first of each kind."""

    @property
    def same(self) -> bool:
        return not (self.changed or self.added or self.gone)

    def counts(self) -> dict[str, int]:
        """Rows by what became of them."""
        return {"equal": self.equal, "changed": self.changed, "added": self.added, "gone": self.gone}

    def to_json(self) -> dict[str, Any]:
        """As JSON has it."""
        return {**asdict(self), "same": self.same, "shown": [each._asdict() for each in self.shown]}


def diff(first: str, second: str, *, by: str = "", on: str = "", show: int = SHOWN) -> Diff:
    """Compare two datasets. Rows are found by `by`: a column, or `x`, what is asked, folded; without it by `id` where
    both datasets have one, else by x. The n-th row of a name is compared with the n-th of that name.

    They are equal where all columns are, or the text in the column `on` is. The order of rows and of columns does not
    count. `show` is how many rows of each kind are listed. Raises UsageError, SeedError with the place of a row that
    lacks a column.
    """
    with opened(first, second) as (old, new):
        by = by or ("id" if all(_first(source).get("id") is not None for source in (old, new)) else "x")
        found = Diff((first, second), by)
        _compare(old, new, found, _make_key(by), make_text(on) if on else None, on, show)
    return found


def _first(source: Source) -> Row:
    return next(source.file.read()).row


def _make_key(by: str) -> TextOf:
    read = make_text(by)
    return (lambda row: folded(read(row))) if by == "x" else read


class _Index:
    """Rows by their names: name to ordinal, and by ordinal the content."""

    def __init__(self) -> None:
        self.ordinals: dict[int, int] = {}
        self.contents = array("Q")
        self.matched = bytearray()
        self._repeats: dict[int, int] = {}

    def add(self, key: str, content: int) -> None:
        mark = mark_of(key.encode())
        if mark in self.ordinals:
            mark = self._next(mark)
        self.ordinals[mark] = len(self.contents)
        self.contents.append(content)
        self.matched.append(0)

    def close(self) -> None:
        """All are added; what `match` is asked for is counted anew."""
        self._repeats = {}

    def match(self, key: str) -> int | None:
        """The ordinal of the row of this name that was not matched before."""
        mark = mark_of(key.encode())
        ordinal = self.ordinals.get(mark)
        if ordinal is not None and self.matched[ordinal]:
            ordinal = self.ordinals.get(self._next(mark))
        if ordinal is not None:
            self.matched[ordinal] = 1
        return ordinal

    def _next(self, mark: int) -> int:
        """The name of one more row of this name."""
        times = self._repeats[mark] = self._repeats.get(mark, 1) + 1
        return mark_of(b"%d %d" % (mark, times))


def _compare(old: Source, new: Source, found: Diff, key: TextOf, text: TextOf | None, on: str, show: int) -> None:
    index, columns, kinds = _Index(), Counter[str](), Counter[str]()

    def read(row: Row) -> tuple[str, int]:
        return key(row), mark_of(text(row).encode() if text else canonical(row))

    def note(change: str, line: Line, where: tuple[str, ...] = ()) -> None:
        kinds[change] += 1
        columns.update(where)
        if kinds[change] <= show:
            found.shown.append(Difference(change, line.number, key(line.row)[:START], _start(line.row), where))

    for _, (name, content) in with_place(old, read):
        index.add(name, content)
    index.close()
    jump = _Lazily(old)
    for line, (name, content) in with_place(new, read):
        ordinal = index.match(name)
        if ordinal is None:
            note("added", line)
        elif index.contents[ordinal] == content:
            found.equal += 1
        else:
            note("changed", line, (on,) if on else _differing(jump(ordinal), line.row))
    gone = index.matched.count(0)
    for ordinal, line in enumerate(old.file.read() if gone and show else ()):
        if not index.matched[ordinal]:
            note("gone", line)
            if kinds["gone"] == show:
                break
    found.changed, found.added, found.gone = kinds["changed"], kinds["added"], gone
    found.rows = len(index.matched), found.equal + found.changed + found.added
    found.columns = dict(columns.most_common())


class _Lazily:
    """A jump that is made when the first row is asked for."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._jump: Callable[[int], Row] | None = None

    def __call__(self, ordinal: int) -> Row:
        self._jump = self._jump or make_jump(self._source.file)
        return self._jump(ordinal)


def _differing(one: Row, other: Row) -> tuple[str, ...]:
    """Names of the columns that are not equal, or not in both; one level into objects."""
    return tuple(_names(one, other, ""))


def _names(one: Mapping[str, Any], other: Mapping[str, Any], before: str) -> Iterator[str]:
    for name in dict.fromkeys((*one, *other)):
        left, right = one.get(name), other.get(name)
        if name in one and name in other and canonical(left) == canonical(right):
            continue
        if not before and isinstance(left, dict) and isinstance(right, dict):
            yield from _names(left, right, f"{name}.")
        else:
            yield before + name


def _start(row: Row) -> str:
    """The start of what is asked; of a row that has no such column, of the row."""
    try:
        text = x_of(row)
    except SeedError:
        text = text_of(row)
    return " ".join(text[: 4 * START].split())[:START]

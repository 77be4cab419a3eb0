"""`merge`: several datasets as one, in their order, each as often as its weight says. Asks no model."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, count
from pathlib import Path
from typing import Any

from distill_data.commands.mishaps import side_file
from distill_data.commands.rows import (
    Done,
    Emit,
    Source,
    Step,
    make_reject,
    opened,
    outputs_of,
    publish_rows,
)
from distill_data.commands.sample import make_row_place
from distill_data.data.items import Row, canonical
from distill_data.data.rows import Line, encode, refuse_inexact
from distill_data.data.shares import mark_of
from distill_data.errors import SeedError, UsageError, YieldError


def merge(sources: Sequence[str], *, output: str, seed: int = 0, rejects: str = "") -> Done:
    """Write the rows of all sources. Each is `FILE` or `FILE=WEIGHT`: a weight below 1 takes that share, drawn by row
    as `sample --share` does; a whole number takes all rows so many times.

    All rows must have the same columns, and one kind. Ids are unique afterwards: of equal rows with an id the first is
    kept and the others are rejected as same-row; a row with the id of another one, and a repeated row, gets a new id
    out of its old one and its content, or the number of the repeat. Rows without an id that is text are taken as they
    are. The manifest lists every source with its rows, those taken, its weight and its lineage. Holds some 170 bytes a
    row that has an id.

    Raises UsageError, with the first row that does not fit; YieldError where a share takes nothing.
    """
    weighted = [_weighted(each) for each in sources]
    if len(weighted) < 2 and not any(weight != 1 for _, weight in weighted):
        raise UsageError("two datasets or more are merged; with one, there is nothing to do.")

    with opened(*(name for name, _ in weighted)) as found:
        weights = [weight for _, weight in weighted]

        def fill(emit: Emit) -> Mapping[str, Any]:
            shape, ids = _Shape(), _Ids()
            rows, renamed, same, described = 0, 0, 0, []
            for source, weight in zip(found, weights, strict=True):
                taken = 0
                for line, copy in _taken(source, weight, seed, shape):
                    taken += 1
                    row = ids.admit(line.row, copy)
                    if row is None:
                        same += 1
                        if "rejects" in step.outputs:
                            emit("rejects", make_reject(line.number, line.raw, ("same-row", source.file.name)))
                    elif row is line.row:
                        emit("dataset", line.raw)
                    else:
                        renamed += 1
                        emit("dataset", _written_anew(line, row, source.file.place(line.number)))
                if not taken:
                    raise YieldError(
                        f"{source.file.name}: a share of {weight:g} takes none of its {shape.rows:,} rows; nothing was "
                        "written. Take another --seed or a larger share."
                    )
                rows += taken
                described.append({**source.describe(), "rows": shape.rows, "taken": taken, "weight": weight})
            counts = {
                "rows": rows,
                "kept": rows - same,
                "rejected": same,
                "reasons": {"same-row": same} if same else {},
            }
            return {**counts, "renamed": renamed, "sources": described}

        step = Step("merge", found, {"weights": weights, "seed": seed}, outputs_of(output, rejects))
        return publish_rows(step, fill)


def _weighted(text: str) -> tuple[str, float]:
    """`FILE=WEIGHT` as both; 1 where no number stands there, or a file has this very name. Raises UsageError."""
    name, equals, number = text.rpartition("=")
    try:
        if not equals or Path(text).exists():
            return text, 1
        weight = float(number)
    except (OSError, ValueError):  # no name that a file can have, or no number
        return text, 1
    if not 0 < weight < math.inf or (weight > 1 and weight != int(weight)):
        raise UsageError(f"{text}: a weight is a share above 0 and below 1, or a whole number of repeats.")
    return name, weight if weight < 1 else int(weight)


class _Shape:
    """The columns and the kind that the first row has, and all others must have."""

    def __init__(self) -> None:
        self.first = ""
        self.columns: frozenset[str] = frozenset()
        self.kind: Any = None
        self.rows = 0
        """Of the source that is read now."""

    def check(self, source: Source, line: Line) -> None:
        """Raises UsageError for a row of another shape, or with arrays."""
        row, where = line.row, source.file.place(line.number)
        if not self.first:
            self.first, self.columns, self.kind = where, frozenset(row), row.get("kind")
        if row.keys() != self.columns:
            more, less = sorted(row.keys() - self.columns), sorted(self.columns - row.keys())
            differs = [f"has the columns {', '.join(more)}" if more else "", f"lacks {', '.join(less)}" if less else ""]
            raise UsageError(
                f"{where}: {' and '.join(filter(None, differs))}, unlike {self.first}. All rows of a dataset have the "
                "same columns: add or drop them first, or keep the files apart."
            )
        if row.get("kind") != self.kind:
            raise UsageError(
                f"{where}: is of the kind {row.get('kind')!r}, and {self.first} of {self.kind!r}. Trainers read one "
                "kind a file: merge each kind for itself."
            )
        if side_file(row):
            raise UsageError(
                f"{where}: has arrays in {side_file(row)}, which are found by the row's id; merging would change ids. "
                "Merge the datasets first and run `feature` on the result."
            )


class _Ids:
    """The ids that were written, each with its content: 60 bits of both."""

    def __init__(self) -> None:
        self.contents: dict[int, int] = {}

    def admit(self, row: Row, copy: int) -> Row | None:
        """The row, with a new id where another row has its own or it is a repeat; None where it is there already."""
        identity = row.get("id")
        if not isinstance(identity, str):
            return row
        content = canonical({**row, "id": ""})
        own, mark = () if copy else (identity,), mark_of(content)
        for name in chain(own, (_new_id(identity, content, number) for number in count(copy))):
            key = mark_of(name.encode())
            there = self.contents.get(key)
            if there is None:
                self.contents[key] = mark
                return row if name is identity else {**row, "id": name}
            if there == mark:
                break
        return None


def _new_id(identity: str, content: bytes, number: int) -> str:
    return hashlib.sha256(b"%s\0%d\0%s" % (identity.encode(), number, content)).hexdigest()[:16]


def _written_anew(line: Line, row: Row, where: str) -> bytes:
    """A row with another id. Raises SeedError where it cannot be written as it stands."""
    try:
        refuse_inexact(line)
    except SeedError as error:
        raise SeedError(f"{where}: {error}") from None
    return encode(row, where)


def _taken(source: Source, weight: float, seed: int, shape: _Shape) -> Iterator[tuple[Line, int]]:
    """The lines that count, each with the number of the repeat, from 0. All lines are looked at once."""
    place = make_row_place(seed)
    for copy in range(max(1, int(weight))):
        shape.rows = 0
        for line in source.file.read():
            shape.rows += 1
            if not copy:
                shape.check(source, line)
            if weight >= 1 or place(line.row) < weight:
                yield line, copy

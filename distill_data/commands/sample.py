"""`sample`: some rows of a dataset, drawn by a chance that stays the same, in their order. Asks no model."""

from __future__ import annotations

import heapq
import logging
from collections.abc import Callable, Mapping
from typing import Any

from distill_data.commands.rows import Done, Source, Step, Verdict, keep_rows, opened, outputs_of, with_place
from distill_data.data.columns import make_text
from distill_data.data.items import Row, canonical
from distill_data.data.shares import make_place
from distill_data.errors import UsageError

_log = logging.getLogger(__name__)

LEFT: Verdict = ("not-sampled", "")


def sample(
    source: str,
    *,
    output: str,
    rows: int | None = None,
    share: float = 0.0,
    seed: int = 0,
    per: str = "",
    rejects: str = "",
) -> Done:
    """Write a number of rows, or a share of them, byte for byte; with `per` that number of each value of a column.

    A row's number comes from its id, or its content where it has none, and the seed. The `rows` smallest are taken, so
    a larger sample holds the smaller one. A `share` takes what is below it: about so many, and appended rows change
    nothing for the others. The same seed draws the same rows again: for a sample of a sample take another one.

    Rows that are not drawn are counted as rejected, not-sampled, and written only where `rejects` names a file. Holds
    some 100 bytes for each row that is drawn. Raises UsageError, SeedError with the place of a row without the column,
    YieldError where nothing is drawn.
    """
    if (rows is None) == (not share):
        raise UsageError("give either --rows N or --share S: how many rows are drawn.")
    if (rows is not None and rows < 1) or not 0 <= share <= 1:
        raise UsageError("--rows must be at least 1, and --share above 0 and at most 1.")
    if per and rows is None:
        raise UsageError(
            "--per draws a number of rows of each value: give --rows N. A share is one of each value anyway."
        )
    place = make_row_place(seed)
    chosen: set[int] = set()

    def prepare() -> Mapping[str, Any]:
        if rows is not None:
            chosen.update(_draw(sources[0], rows, per, place))
        return {}

    def decide(ordinal: int, row: Row) -> Verdict:
        drawn = place(row) < share if rows is None else ordinal in chosen
        return None if drawn else LEFT

    with opened(source) as sources:
        settings = {"rows": rows, "share": share, "seed": seed, "per": per}
        outputs = {name: path for name, path in outputs_of(output, rejects).items() if name == "dataset" or rejects}
        return keep_rows(Step("sample", sources, settings, outputs), decide, prepare)


def make_row_place(seed: int) -> Callable[[Row], float]:
    """A row's number from 0 to below 1, by its id or its content, and the seed."""
    place = make_place("sample", seed)

    def row_place(row: Row) -> float:
        identity = row.get("id")
        return place(identity if isinstance(identity, str) and identity else canonical(row).decode())

    return row_place


def _draw(source: Source, rows: int, per: str, place: Callable[[Row], float]) -> list[int]:
    """The ordinals of the rows with the smallest numbers, of each value of `per`; of equal rows the first ones."""
    value = make_text(per) if per else lambda row: ""
    drawn: dict[str, list[tuple[float, int]]] = {}
    for ordinal, (line, key) in enumerate(with_place(source, value)):
        heap, entry = drawn.setdefault(key, []), (-place(line.row), -ordinal)
        if len(heap) < rows:
            heapq.heappush(heap, entry)
        else:
            heapq.heappushpop(heap, entry)
    _tell_short(source, rows, per, {key: len(heap) for key, heap in drawn.items()})
    return [-ordinal for heap in drawn.values() for _, ordinal in heap]


def _tell_short(source: Source, rows: int, per: str, counts: dict[str, int]) -> None:
    short = {key: count for key, count in counts.items() if count < rows}
    if not short:
        return
    if not per:
        _log.warning("%s: has %d rows only, so all of them are taken.", source.file.name, *short.values())
        return
    named = ", ".join(f"{key[:40]!r} {count}" for key, count in list(short.items())[:5])
    _log.warning(
        "%s: %d of the %d values of %s have fewer than %d rows (%s%s); all of theirs are taken.",
        source.file.name, len(short), len(counts), per, rows, named, ", ..." if len(short) > 5 else "",
    )  # fmt: skip

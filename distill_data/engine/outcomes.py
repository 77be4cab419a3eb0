"""Outcomes as bytes: how the spill keeps what publishing writes. Knows no file and no order.

kept | kept 2 1 | arrays [[header, place], ...] | rejected | failed
a line for each record, or the line of the rejects
the arrays that are nowhere else, where there are any
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import orjson

from distill_data.data.exchange import Blob
from distill_data.data.items import Arrays, Item, Outcome, Record
from distill_data.teachers.replies import encodable

WITH_ARRAYS = b"arrays "


def encode_outcome(item: Item, outcome: Outcome) -> bytes:
    """A blob for the spill: a line with the status, then the lines of the dataset or of the rejects.

    With several kinds of records the first line also says how many lines there are of each; where records have arrays,
    whose bytes then follow the lines, what these are.
    """
    head = outcome.status.encode()
    if outcome.arrays:
        return _with_arrays(outcome)
    if outcome.status == "kept":
        rows: Iterable[Mapping[str, Any]] = outcome.records
        if outcome.others:
            head += b"".join(b" %d" % len(records) for records in (outcome.records, *outcome.others))
            rows = chain(outcome.records, *outcome.others)
    else:
        rows = [
            {
                "item": item.id,
                "outcome": outcome.status,
                "reason": outcome.reason,
                "detail": encodable(outcome.detail),
                "answers": [encodable(answer) for answer in outcome.answers],
                "seed": orjson.dumps(item.row).decode(),
            }
        ]
    return b"\n".join((head, *map(orjson.dumps, rows), b""))


def _with_arrays(outcome: Outcome) -> bytes:
    described: list[Any] = []
    inline = b""
    for header, source in outcome.arrays:
        if isinstance(source, bytes):
            described.append([header, len(source)])
            inline += source
        else:
            described.append([header, [str(source.path), *source[1:]]])
    return b"\n".join((WITH_ARRAYS + orjson.dumps(described), *map(orjson.dumps, outcome.records), inline))


def records_with_arrays(head: bytes, lines: bytes) -> Iterator[tuple[Record, Arrays]]:
    """The records of a kept outcome and their arrays, from a blob's first line and the rest of it."""
    described = orjson.loads(head.removeprefix(WITH_ARRAYS))
    *records, inline = lines.split(b"\n", len(described))
    for record, (header, place) in zip(records, described, strict=True):
        if isinstance(place, int):
            yield orjson.loads(record), Arrays(header, inline[:place])
            inline = inline[place:]
        else:
            yield orjson.loads(record), Arrays(header, Blob(Path(place[0]), *place[1:]))

"""Rows of tables whose columns stand once for all: CSV and Parquet. Knows no gzip and no seeds."""

from __future__ import annotations

import csv
import datetime
import decimal
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from distill_data.data.items import Row
from distill_data.errors import SeedError

LINE_LIMIT = 16 << 20
"""Bytes of one line, and of one CSV value, which may span lines."""


def read_csv(lines: Iterable[str], name: str) -> Iterator[tuple[int, Row]]:
    """Records with the line that each begins on, counted from 1; all values are text.

    The first record names the columns; quoting is `"`, doubled inside. `lines` keep their ends, because a quoted
    value may hold them. Raises SeedError for repeated column names, a record of another length, and broken quoting.
    """
    # The module's setting is for the whole process and 128 KiB by default; it is only ever raised.
    csv.field_size_limit(max(csv.field_size_limit(), LINE_LIMIT))
    reader = csv.reader(lines, strict=True)
    columns: list[str] = []
    while True:
        start = reader.line_num + 1
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise SeedError(f"{name}:{start}: the record that begins here is not valid CSV: {error}") from error
        if not columns:
            columns = _distinct(values, f"{name}:{start}")
        elif len(values) == len(columns):
            yield start, dict(zip(columns, values, strict=True))
        elif values:
            raise SeedError(f"{name}:{start}: {len(values)} values, but the header names {len(columns)} columns")


def read_parquet(stream: BinaryIO, path: Path) -> Iterator[tuple[int, Row]]:
    """Rows counted from 1, as JSON values: dates and times in ISO 8601 text, decimals as text.

    `path` is for messages. Needs the extra `data`. Raises SeedError without it, for a damaged file, and for values
    that JSON cannot hold: bytes, durations, NaN and infinity.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise SeedError(f"{path}: Parquet needs the extra `data` (in a checkout: pip install '.[data]')") from error
    number = 0
    try:
        with parquet.ParquetFile(stream) as table:
            _distinct(table.schema_arrow.names, path.name)
            for number, row in rows_of_tables(table.iter_batches(batch_size=1024), path.name):
                yield number, row
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError) as error:
        raise SeedError(f"{path}: cannot read this as Parquet after row {number}: {error}") from error


def rows_of_tables(tables: Iterable[Any], name: str) -> Iterator[tuple[int, Row]]:
    """Rows of Arrow tables or batches of one schema, counted from 1, as JSON values. `name` is for messages.

    Raises SeedError for values that JSON cannot hold.
    """
    number = 0
    for table in tables:
        for row in table.to_pylist():
            number += 1
            where = f"{name}:{number}"
            yield number, {column: _json_value(value, f"{where}: column '{column}'") for column, value in row.items()}


def _distinct(columns: list[str], where: str) -> list[str]:
    repeated = sorted(column for column, count in Counter(columns).items() if count > 1)
    if repeated:
        raise SeedError(f"{where}: column names that stand there twice: {', '.join(repeated)}")
    return columns


def _json_value(value: Any, where: str) -> Any:
    """The value that JSON has for this. Raises SeedError where that would lose something."""
    match value:
        case None | bool() | int() | str():
            return value
        case float() if math.isfinite(value):
            return value
        case float():
            raise SeedError(f"{where} holds {value}, which JSON cannot express; replace it or leave the row out")
        case datetime.date() | datetime.time():
            return value.isoformat()
        case decimal.Decimal():
            return str(value)
        case dict():
            return {key: _json_value(inner, where) for key, inner in value.items()}
        case list() | tuple():
            return [_json_value(inner, where) for inner in value]
        case _:
            raise SeedError(f"{where} holds {type(value).__name__}, which JSON cannot express; convert it to text")

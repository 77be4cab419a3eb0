"""Rows of a dataset, read fast and as often as wanted, each with the bytes of its line. Knows no recipe and no run.

A command that keeps rows writes the bytes back as they came. JSON lines take the fast way; whatever else can be a seed
file (CSV, Parquet, .gz, .zst, a folder, a split on the Hub) is read as seeds are, and its lines are made.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import orjson

from distill_data.data.items import Row
from distill_data.data.seeds import SeedFile, exact_integer, open_seeds, read_rows
from distill_data.data.utf8 import BOM, decode_line, without_bom
from distill_data.errors import SeedError

ROW_LIMIT = 256 << 20
"""Bytes of one row, so that a file without line ends is no crash."""
SUFFIXES = (".jsonl", ".ndjson")
DEEPEST = 254
"""Levels of a row: deeper than that it cannot be encoded again."""
CHUNK = 1 << 20


class Line(NamedTuple):
    """A row of a file."""

    number: int
    """The line, from 1; for formats without lines, the row."""
    raw: bytes
    """The line with its end."""
    row: Row


class RowsFile(NamedTuple):
    """A file of rows that may be read again and again."""

    path: Path
    name: str
    """How messages and manifests call it."""
    seeds: SeedFile | None
    """How it is read where it is no plain file of JSON lines."""

    def read(self) -> Iterator[Line]:
        """The rows in their order; blank lines are none. Raises SeedError, with the place, for what is no row."""
        return _read_jsonl(self) if self.seeds is None else _read_others(self, self.seeds)

    def place(self, number: int) -> str:
        """`rows.jsonl:7`, for messages."""
        return f"{self.name}:{number}"

    def digest(self) -> str:
        """SHA-256, 64 hex digits, over the bytes of a file, or over the rows of a folder. Raises SeedError."""
        try:
            if self.path.is_file():
                with self.path.open("rb") as stream:
                    return hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            raise SeedError(f"{self.name}: cannot be read: {error.strerror}") from error
        content = hashlib.sha256()
        for line in self.read():
            content.update(line.raw)
        return content.hexdigest()


def open_rows(path: Path, name: str = "") -> RowsFile:
    """A file of rows by its ending, as seeds are told apart. Raises SeedError where it is not there or not known."""
    seeds = open_seeds(path)
    plain = seeds.format == "jsonl" and path.suffix.lower() in SUFFIXES
    return RowsFile(path, name or str(path), None if plain else seeds)


def make_jump(file: RowsFile) -> Callable[[int], Row]:
    """A function from a row's ordinal, from 0, to the row, that reads only this row; for looking a few up again.

    Reads the file once now, and holds eight bytes a row. Formats other than JSON lines are held whole.
    """
    if file.seeds is not None:
        held = [line.row for line in file.read()]
        return held.__getitem__
    offsets, position = array("q"), 0
    for line in _lines(file):
        if not line.isspace() and (position or line.removeprefix(BOM).strip()):
            offsets.append(position)
        position += len(line)

    def jump(ordinal: int) -> Row:
        with file.path.open("rb") as stream:
            stream.seek(offsets[ordinal])
            row: Row = orjson.loads(stream.readline().removeprefix(BOM))
        return row

    return jump


def _lines(file: RowsFile) -> Iterator[bytes]:
    """The lines of a plain file with their ends; of one that is too long, the start. Raises SeedError."""
    try:
        with file.path.open("rb", buffering=CHUNK) as stream:
            yield from iter(partial(stream.readline, ROW_LIMIT + 1), b"")
    except OSError as error:
        raise SeedError(f"{file.name}: cannot be read: {error.strerror}") from error


def refuse_inexact(line: Line) -> None:
    """Raise SeedError, without the place, where a column holds an integer of more than 64 bits.

    It was read as a float, so a row that is written anew would have another value. Bytes that are kept need no look.
    """
    for value in line.row.values():
        if type(value) is float and abs(value) >= 2.0**63:
            try:
                json.loads(line.raw, parse_int=exact_integer)
            except ValueError as error:
                raise SeedError(f"this row would not be written as it stands: {error}") from None


def _read_jsonl(file: RowsFile) -> Iterator[Line]:
    found = False
    for number, line in enumerate(_lines(file), 1):
        if number == 1:
            line = without_bom(line, file.name)
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            if not line.strip():
                continue
            raise _not_json(file.place(number), line, error) from None
        if type(row) is not dict:
            raise SeedError(f"{file.place(number)}: a row is one JSON object on one line, not a {type(row).__name__}")
        if line.count(b"{") + line.count(b"[") > DEEPEST:
            encode(row, file.place(number))
        found = True
        yield Line(number, line if line.endswith(b"\n") else line + b"\n", row)
    if not found:
        raise SeedError(f"{file.name}: no rows in this file")


def encode(row: Row, where: str) -> bytes:
    """A row as a line. Raises SeedError, with the place, where it is nested too deeply."""
    try:
        return orjson.dumps(row) + b"\n"
    except TypeError as error:
        raise SeedError(f"{where}: this row cannot be encoded as JSON: {error}") from None


def _not_json(where: str, line: bytes, error: orjson.JSONDecodeError) -> SeedError:
    if len(line) > ROW_LIMIT:
        return SeedError(f"{where}: this line is longer than {ROW_LIMIT >> 20} MiB")
    name, _, number = where.rpartition(":")
    decode_line(line, name, int(number))  # raises where it is no UTF-8
    return SeedError(f"{where}: a row is one JSON object on one line, and this is none: {error.msg}")


def _read_others(file: RowsFile, seeds: SeedFile) -> Iterator[Line]:
    try:
        for number, (where, row) in enumerate(read_rows(seeds), 1):
            tail = where.rpartition(":")[2]
            yield Line(int(tail) if tail.isdigit() else number, encode(row, where), row)
    except SeedError as error:
        raise SeedError(str(error).replace(str(seeds.path), file.name)) from None

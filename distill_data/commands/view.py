"""`view`: the rows of a dataset and its rejects by their number, with the raw answers that led to them. Asks no model.

Only offsets are held, so a file of any size is opened; a damaged row is told when somebody comes to it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import orjson

from distill_data.commands.manifests import beside
from distill_data.commands.replies import Reply, replies_of, run_of, text_of_reply
from distill_data.data.items import Row
from distill_data.data.rows import RowsFile, make_jump, open_rows
from distill_data.data.utf8 import BOM
from distill_data.errors import SeedError, UsageError
from distill_data.recipes import seed_path


@dataclass(frozen=True, slots=True)
class Shelf:
    """A file of rows, to be taken out by their number, from 1."""

    name: str
    count: int
    jump: Callable[[int], Row]

    def row(self, number: int) -> Row:
        """Raises UsageError where there is no such row, or none that can be read."""
        if not 1 <= number <= self.count:
            raise UsageError(
                f"--row {number}: {self.name} has the rows 1 to {self.count}."
                if self.count
                else f"{self.name}: no rows in this file."
            )
        try:
            row: Any = self.jump(number - 1)
        except orjson.JSONDecodeError as error:
            raise UsageError(f"{self.name}: row {number} cannot be read: {error.msg}.") from None
        if not isinstance(row, dict):
            raise UsageError(f"{self.name}: row {number} is no JSON object, but {type(row).__name__}.")
        return row

    def place(self, number: int) -> str:
        return f"{self.name}, row {number:,} of {self.count:,}"

    def search(self, text: str, after: int = 0) -> Iterator[int]:
        """Numbers of the rows after this one that hold the text anywhere, upper or lower case; around the end once.

        A row that cannot be read holds nothing.
        """
        wanted = json.dumps(text.casefold(), ensure_ascii=False)[1:-1]  # of an argument, which may be no UTF-8
        for number in (*range(after + 1, self.count + 1), *range(1, after + 1)):
            try:
                row = self.jump(number - 1)
            except orjson.JSONDecodeError:
                continue
            if wanted in orjson.dumps(row).decode().casefold():
                yield number


class Book:
    """A dataset with what lies beside it."""

    def __init__(self, path: Path, name: str) -> None:
        self._path = path
        self._name = name

    @cached_property
    def rows(self) -> Shelf:
        """Raises SeedError where the file is not there."""
        return _shelf(open_rows(self._path, self._name), Path(self._name).name)

    @cached_property
    def rejects(self) -> Shelf:
        """Those beside it; empty where there are none."""
        path = beside(self._path, "rejects.jsonl")
        if not path.is_file():
            return Shelf(path.name, 0, lambda _: {})
        return _shelf(open_rows(path, path.name), path.name)

    def answers(self, row: Row) -> list[str]:
        """The raw answers behind a row or a reject: those that a reject brings, else those in the run's journal."""
        brought = row.get("answers")
        if isinstance(brought, list) and brought:
            return [each if isinstance(each, str) else orjson.dumps(each).decode() for each in brought]
        meta = row.get("meta")
        owner = meta.get("seed_id") if isinstance(meta, dict) else row.get("item")
        return [_said(reply) for reply in replies_of(run_of(self._path), owner)] if isinstance(owner, str) else []


def open_book(dataset: str) -> Book:
    """The dataset of a name: a path or `@NAME`; its files are read when they are asked for. Raises UsageError."""
    if dataset == "-":
        raise UsageError("view reads a file again and again, which stdin (-) is not; give the name of a file.")
    return Book(seed_path(dataset), dataset)


def _shelf(file: RowsFile, name: str) -> Shelf:
    return Shelf(name, _count(file), make_jump(file))


def _count(file: RowsFile) -> int:
    """How many rows there are to jump to: lines that are not blank, whatever is in them."""
    if file.seeds is not None:
        return sum(1 for _ in file.read())
    try:
        with file.path.open("rb", buffering=1 << 20) as stream:
            return sum(bool((line if number else line.removeprefix(BOM)).strip()) for number, line in enumerate(stream))
    except OSError as error:
        raise SeedError(f"{file.name}: cannot be read: {error.strerror}") from error


def _said(reply: Reply) -> str:
    return reply.raw.decode() if reply.failed else text_of_reply(reply.body())

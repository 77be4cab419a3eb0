"""`check --for`: whether a file is what a target's reader wants, told before anyone trains. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from distill_data.commands.rows import opened
from distill_data.data.hub import is_saved
from distill_data.data.items import Row
from distill_data.data.rows import RowsFile, open_rows
from distill_data.errors import UsageError
from distill_data.formats.consumers import CONSUMERS, LLAMA_FACTORY, Consumer
from distill_data.formats.contracts import breaches
from distill_data.formats.records import COLUMNS
from distill_data.formats.targets import TARGETS
from distill_data.formats.turns import kind_of
from distill_data.formats.uniform import Shape

FAULTS = 10_000
"""As many are kept; all are counted."""
FOLDERS = ("hf", "distillkit")
"""Targets that are a folder of `datasets`."""


class Fault(NamedTuple):
    """What keeps a reader from a row, or from the file."""

    where: str
    """`rows.jsonl:7`, or the file alone."""
    column: str
    """Empty where it is about the whole row or file."""
    reason: str

    def __str__(self) -> str:
        return ": ".join(filter(None, self))


@dataclass(slots=True)
class Fit:
    """How a file fits a target."""

    target: str
    rows: int = 0
    count: int = 0
    """Of all faults."""
    faults: list[Fault] = field(default_factory=list)
    canonical: bool = False
    """Whether the rows are records as a run wrote them, which the reader takes as they are."""

    def add(self, where: str, column: str, reason: str) -> None:
        self.count += 1
        if len(self.faults) < FAULTS:
            self.faults.append(Fault(where, column, reason))


def check_target(source: str, target: str) -> Fit:
    """Hold every row of a file against the target's contract, and the file against what holds for all of it.

    Raises UsageError for a target that is not known and a file of another kind, SeedError for one that cannot be read.
    """
    if target not in CONSUMERS:
        raise UsageError(f"--for {target}: the targets are {', '.join(CONSUMERS)}.")
    found, path = Fit(target), Path(source)
    if target == "llama-factory":
        _check_llama_factory(path, found)
    elif target == "npz":
        _check_npz(path, found)
    elif target in FOLDERS:
        if not is_saved(path):
            raise UsageError(f"{source}: {target} is a folder that save_to_disk wrote, and this is none.")
        _check_rows(open_rows(path), CONSUMERS[target], found)
    else:
        ending = TARGETS[target].ending if target in TARGETS else ".jsonl"
        if ending == ".parquet" and path.suffix != ending:
            raise UsageError(f"{source}: {target} is read from Parquet, so the name must end in .parquet.")
        with opened(source) as (one,):
            _check_rows(one.file, CONSUMERS[target], found)
    return found


def _check_rows(file: RowsFile, consumer: Consumer, found: Fit, names: Mapping[str, str] | None = None) -> None:
    """`names` maps columns of the file to those of the contract."""
    shape, first = Shape(), found.rows
    for number, _, row in file.read():
        where = file.place(number)
        found.rows += 1
        if found.rows == first + 1:
            found.canonical = row.get("kind") in COLUMNS and "meta" in row
            _check_kind(where, row, found)
        known = row if names is None else {name: row[own] for own, name in names.items() if own in row}
        for column, reason in breaches(known, consumer.contract):
            found.add(where, column, reason)
        column, reason = shape.differs(row) if consumer.uniform else ("", "")
        if reason:
            found.add(where, column, reason)
    if found.rows - first < consumer.rows:
        found.add(file.name, "", f"has {_counted(found.rows - first, 'row')}, and at least {consumer.rows} are wanted")


def _check_kind(where: str, row: Row, found: Fit) -> None:
    """A record of judged answers has the columns of plain ones, and means something else."""
    kinds = TARGETS[found.target].kinds if found.target in TARGETS else ()
    if found.canonical and kinds and kind_of(row) not in kinds:
        found.add(where, "kind", f"is {row['kind']}, and {found.target} is made of {', '.join(kinds)}")


def _check_llama_factory(folder: Path, found: Fit) -> None:
    info = folder / "dataset_info.json"
    try:
        entries = orjson.loads(info.read_bytes())
    except OSError as error:
        raise UsageError(f"{info}: cannot be read: {error.strerror}; name a folder that has it.") from None
    except orjson.JSONDecodeError as error:
        raise UsageError(f"{info}: is no JSON: {error}.") from None
    if not isinstance(entries, dict) or not entries:
        raise UsageError(f"{info}: must be an object with an entry for each dataset.")
    for name, entry in entries.items():
        where = f"{info}: {name}"
        file = entry.get("file_name") if isinstance(entry, dict) else None
        if not isinstance(file, str) or not (folder / file).is_file():
            found.add(where, "file_name", "must name a file of the folder")
        elif entry.get("formatting") != "sharegpt" or "tags" in entry:
            found.add(where, "formatting", "must be sharegpt, with the tags that are usual")
        else:
            _check_entry(open_rows(folder / file), entry, where, found)


def _check_entry(file: RowsFile, entry: Mapping[str, Any], where: str, found: Fit) -> None:
    """The rows as the entry's columns name them."""
    columns = entry.get("columns")
    named = {"messages": "conversations", **(columns if isinstance(columns, dict) else {})}
    if not all(isinstance(column, str) for column in named.values()):
        found.add(where, "columns", "must be texts")
        return
    first = next(file.read()).row
    for column in named.values():
        if column not in first:
            found.add(where, "columns", f"{column} is no column of {file.path.name}")
    kind = "ranking" if entry.get("ranking") else "kto_tag" if "kto_tag" in named else "formatting"
    names = {own: "conversations" if role == "messages" else role for role, own in named.items()}
    _check_rows(file, LLAMA_FACTORY[kind], found, names)


def _check_npz(path: Path, found: Fit) -> None:
    from zipfile import BadZipFile

    try:
        import numpy as np
    except ImportError as error:
        raise UsageError("npz needs the extra `features`: pip install 'distill-data[features]'") from error
    ids = set()
    try:
        with np.load(path, allow_pickle=False) as arrays:
            for name in getattr(arrays, "files", ()):
                record, dot, own = name.rpartition(".")
                ids.add(record)
                if not (record and dot and own):
                    found.add(str(path), name, "must be named ID.NAME")
                elif arrays[name].dtype.kind not in "biuf":
                    found.add(str(path), name, f"must hold numbers, and is {arrays[name].dtype}")
    except (OSError, ValueError, BadZipFile, EOFError, AttributeError) as error:
        raise UsageError(f"{path}: cannot be read as arrays of numpy: {error}.") from None
    found.rows = len(ids)
    if not ids:
        found.add(str(path), "", "has no arrays")


def _counted(count: int, name: str) -> str:
    return f"{count:,} {name}{'' if count == 1 else 's'}"


def lines_of(source: str, found: Fit, shown: int) -> Iterator[str]:
    """What was found, as sentences: a line where all fits, else a head and the first faults."""
    rows = _counted(found.rows, "row")
    takes = TARGETS[found.target].kinds if found.target in TARGETS else ()
    if not found.count:
        as_it_is = f"; these are records as they were made, and {found.target} takes them as they are"
        yield f"ok {source}: {rows} for {found.target}{as_it_is if found.canonical and takes else ''}"
        return
    yield f"{source} is not what {found.target} reads ({_counted(found.count, 'fault')} in {rows}):"
    yield from map(str, found.faults[:shown])
    if found.count > shown:
        yield f"and {found.count - shown:,} more; see all with --json"

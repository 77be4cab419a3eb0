"""Seeds (JSONL, CSV, text, Parquet, documents, datasets) read as rows, and rows as items. Knows no recipe or run.

Reading streams, so a file larger than memory is fine, and may be repeated: each call starts at the first row.
Whatever is wrong with a file is a SeedError that names the file and the line; for Parquet, the row counted from 1.
A folder is read as the documents below it, one row each, or as the dataset that the library `datasets` saved there.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from distill_data.data.documents import DOCUMENTS, list_documents, read_folder
from distill_data.data.hub import PREFIX, HubSplit, check_saved, find_split, is_saved, read_saved, read_split
from distill_data.data.items import Item, Row, canonical
from distill_data.data.packed import packing_of, read_lines
from distill_data.data.shard import Shard
from distill_data.data.tables import read_csv, read_parquet
from distill_data.data.utf8 import BOM, decode_line, not_utf8
from distill_data.errors import DiskError, SeedError

_FORMATS = dict.fromkeys(DOCUMENTS, "documents") | {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".txt": "text",
    ".parquet": "parquet",
}
_PRIVATE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
_UNPACKED = ("parquet", "documents")
"""Formats that are not read from a packed file."""
_KNOWN = (
    "known are .jsonl, .ndjson, .csv, .txt (each also with .gz or .zst), .parquet, .md, .markdown, .html, .htm, .pdf, "
    "a folder of documents or of a saved dataset, and hf/ORG/NAME:SPLIT"
)
_ADVICE = {
    ".json": "a single JSON document is not read; turn an array into lines with: jq -c '.[]' in.json > out.jsonl",
    ".tsv": "tab-separated values are not read; convert the file to CSV or JSONL",
}


@dataclass(frozen=True, slots=True)
class SeedFile:
    """A file of seeds and how to read it."""

    path: Path
    format: str
    """`jsonl`, `csv`, `text`, `parquet`, `documents`, `saved` (by `datasets`) or `hub`. The first three are unpacked
    where the name ends in .gz or .zst."""
    split: str = ""
    """Of a saved dataset that has several."""
    hub: HubSplit | None = None
    """Where `format` is `hub`."""


def open_seeds(path: Path) -> SeedFile:
    """Tell a file's format by its name; a folder is `documents` or `saved`, and `FOLDER:SPLIT` a split of a saved one.

    A name `hf/ORG/NAME@REVISION:SPLIT` that is no file is a split on the Hub, which is asked for the commit. Raises
    SeedError where something does not exist or its ending is not known.
    """
    try:
        path.stat()
    except OSError as error:
        elsewhere = _open_elsewhere(str(path))
        if elsewhere is None:
            raise SeedError(f"{path}: cannot read the seeds: {error.strerror}") from error
        return elsewhere
    if path.is_dir():
        return SeedFile(path, "saved", check_saved(path, "")) if is_saved(path) else SeedFile(path, "documents")
    if not path.is_file():
        raise SeedError(f"{path} is not a regular file, and seeds are read more than once; pipe it in with `-`")
    packing = packing_of(path)
    suffix = (path.with_suffix("") if packing else path).suffix.lower()
    kind = _FORMATS.get(suffix)
    if kind is None or (packing and kind in _UNPACKED):
        ending = f"{suffix}{packing}"
        what = f"unknown kind of seed file '{ending}'" if ending else "a seed file needs an ending"
        raise SeedError(f"{path}: {what}: {_ADVICE.get(suffix, _KNOWN)}")
    return SeedFile(path, kind)


def _open_elsewhere(name: str) -> SeedFile | None:
    """What no single file is: a split of a saved dataset, or of one on the Hub; None where the name is neither."""
    folder, colon, split = name.rpartition(":")
    if colon and is_saved(Path(folder)):
        return SeedFile(Path(folder), "saved", check_saved(Path(folder), split))
    if name.startswith(PREFIX):
        return SeedFile(Path(name), "hub", hub=find_split(name))
    return None


def stamp_of(file: SeedFile) -> tuple[int, int]:
    """Bytes and the last change of what is read: while it stays, so do the rows. A commit on the Hub never changes."""
    path = file.path
    if file.hub is not None:
        return 0, 0
    listed = sorted(path.iterdir()) if file.format == "saved" else list_documents(path) if path.is_dir() else []
    if file.format == "saved":
        listed += [each for folder in listed if folder.is_dir() for each in folder.iterdir()]
    # The folders that documents lie in tell by their time that one was renamed.
    stats = [entry.stat() for entry in {path, *listed, *(each.parent for each in listed)}]
    return sum(stat.st_size for stat in stats), max(stat.st_mtime_ns for stat in stats)


def read_rows(file: SeedFile, rename: Mapping[str, str] = {}) -> Iterator[tuple[str, Row]]:
    """The rows in file order, each with its place, such as `seeds.jsonl:7`.

    JSONL rows are objects as they stand, CSV values are text, a line of text is `{"text": line}`. Blank lines are
    skipped. A document is `title`, `text` and `source`, and its place is its path below the folder. `rename` maps a
    new column name to the one in the file.

    Raises SeedError for a row that cannot be read, a column that is not there, and a file without rows.
    """
    renamed = _renamer(rename)
    where = ""
    for where, row in read_folder(file.path) if file.format == "documents" else _numbered_rows(file):
        yield where, renamed(where, row) if rename else row
    if not where:
        raise SeedError(f"{file.path}: no rows in this file")


def make_items(rows: Iterable[tuple[str, Row]], seed: int, shard: Shard | None = None) -> Iterator[Item]:
    """Number the rows. An item's id hashes its row and how many equal rows came before it; `seed` is the run's.

    So ids survive appending, removing and reordering other rows. Holds some 60 to 80 bytes a row. Raises SeedError for
    a row nested too deeply to be encoded, and for one that is not the shard's: another would buy it too.
    """
    seen: set[int] = set()
    repeats: dict[int, int] = {}
    for ordinal, (where, row) in enumerate(rows):
        try:
            content = sha256(canonical(row))
        except TypeError as error:
            raise SeedError(f"{where}: this row cannot be encoded as JSON: {error}") from error
        mark = mark_of(content.digest())
        if shard is not None and not shard.holds(mark):
            raise SeedError(f"{where}: the seeds changed while they were being worked on.")
        occurrence = 1
        if mark in seen:
            occurrence = repeats[mark] = repeats.get(mark, 1) + 1
        else:
            seen.add(mark)
        content.update(b"\n%d" % occurrence)
        yield Item(ordinal, content.hexdigest()[:16], row, where, seed)


def mark_of(content: bytes) -> int:
    """A number for a row, from the digest of its content; all rows are told apart by it.

    60 bits, because a longer int takes 16 bytes more; a chance equality only raises a count inside an id.
    """
    return int.from_bytes(content[:8]) >> 4


def save_stdin(stream: BinaryIO, directory: Path) -> SeedFile:
    """Copy piped seeds into the run's directory, where they can be read again; the file appears whole or not at all.

    A first character `{` makes it JSONL, anything else text. Raises DiskError where the copy cannot be written.
    """
    try:
        temporary = directory / "stdin.tmp"  # one name: what a killed process left is written over
        try:
            with os.fdopen(os.open(temporary, _PRIVATE, 0o600), "wb") as copy:
                head = b""
                while chunk := stream.read(1 << 20):
                    head = head or chunk.removeprefix(BOM).lstrip()[:1]
                    copy.write(chunk)
                copy.flush()
                os.fsync(copy.fileno())
            path = directory / ("stdin.jsonl" if head == b"{" else "stdin.txt")
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise DiskError(f"{directory}: cannot keep a copy of the piped seeds: {error.strerror}") from error
    return SeedFile(path, "jsonl" if head == b"{" else "text")


def _numbered_rows(file: SeedFile) -> Iterator[tuple[str, Row]]:
    if file.hub is not None:
        rows, name = read_split(file.hub), f"{PREFIX}{file.hub.repository}"
    elif file.format == "saved":
        rows, name = read_saved(file.path, file.split), file.path.name
    else:
        rows, name = _file_rows(file), file.path.name
    for number, row in rows:
        yield f"{name}:{number}", row


def _file_rows(file: SeedFile) -> Iterator[tuple[int, Row]]:
    try:
        stream = file.path.open("rb")
    except OSError as error:
        raise SeedError(f"{file.path}: cannot read the seeds: {error.strerror}") from error
    with stream:
        yield from _READERS[file.format](stream, file.path)


def _renamer(rename: Mapping[str, str]) -> Callable[[str, Row], Row]:
    """A function that gives a row its new column names, each in the place of the old one."""
    new_names = {old: new for new, old in rename.items()}
    if len(new_names) < len(rename):
        raise SeedError("a column can be renamed once only, but --map names the same old column twice")

    def renamed(where: str, row: Row) -> Row:
        for old, new in new_names.items():
            if old not in row:
                raise SeedError(f"{where}: there is no column '{old}' to rename; there are: {', '.join(row)}")
            if new in row and new not in new_names:
                raise SeedError(f"{where}: '{old}' cannot be renamed, because a column '{new}' exists already")
        return {new_names.get(column, column): value for column, value in row.items()}

    return renamed


def _text_lines(stream: BinaryIO, path: Path) -> Iterator[str]:
    """The lines as text, with their ends. Raises SeedError for what is no UTF-8 text."""
    for number, line in enumerate(read_lines(stream, path), 1):
        yield decode_line(line, path.name, number)


def _read_text(stream: BinaryIO, path: Path) -> Iterator[tuple[int, Row]]:
    for number, line in enumerate(_text_lines(stream, path), 1):
        if line.strip():
            yield number, {"text": line.removesuffix("\n").removesuffix("\r")}


def _read_jsonl(stream: BinaryIO, path: Path) -> Iterator[tuple[int, Row]]:
    for number, line in enumerate(read_lines(stream, path), 1):
        try:
            row = _loads(line)
        except ValueError as error:
            raise SeedError(f"{path.name}:{number}: {_why_not_json(error)}") from error
        if type(row) is dict:
            yield number, row
        elif row is not _BLANK:
            kind = "null" if row is None else f"a {type(row).__name__}"
            raise SeedError(f"{path.name}:{number}: a row is one JSON object on one line, not {kind}")


def _why_not_json(cause: ValueError) -> str:
    match cause:
        case UnicodeDecodeError():
            return not_utf8(cause)
        case json.JSONDecodeError():
            return f"a row is one JSON object on one line, and this is none: {cause.msg} (character {cause.pos + 1})"
        case _:
            return f"this row would not be read as it is written: {cause}"


_BLANK = object()
_MARKS = "\ufeff\x1e"
"""What may stand before each row: the byte order mark of a file that another was appended to, and the record separator
of RFC 7464."""
_KEY = re.compile(rb'"[ \t\r\n]*:')
_EXACT = frozenset({str, int, bool, type(None)})
"""Types that come out of orjson as they were written, so that there is nothing to look for inside."""


def _loads(line: bytes) -> Any:
    """A line's value, or `_BLANK`. Raises ValueError also for what orjson would change without a word.

    It keeps the last of repeated keys, and makes integers of more than 64 bits floats. Two cheap looks tell that
    neither can be the case; the few other lines are parsed once more, by a parser that can be told to mind.
    """
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        text = line.decode()
        if not text.strip():
            return _BLANK
        if text[0] in _MARKS:
            return _loads(text.lstrip(_MARKS).encode())
        raise
    try:
        if type(value) is dict and (len(_KEY.findall(line)) != len(value) or _has_large_float(value.values())):
            json.loads(line, object_pairs_hook=_distinct, parse_int=exact_integer)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return value


def _has_large_float(values: Iterable[Any]) -> bool:
    if _EXACT.issuperset(map(type, values)):
        return False
    for value in values:
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        if (isinstance(value, float) and abs(value) >= 2.0**63) or _has_large_float(inner):
            return True
    return False


def _distinct(pairs: list[tuple[str, Any]]) -> Row:
    row = dict(pairs)
    if len(row) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key '{twice}' stands in it twice")
    return row


def exact_integer(digits: str) -> int:
    """A JSON integer as it stands. Raises ValueError where it has more than 64 bits, which orjson makes a float of."""
    if len(digits) > 20 or not -(1 << 63) <= (number := int(digits)) < 1 << 64:
        raise ValueError(f"the integer {digits[:30]} has more than 64 bits; write it as a string")
    return number


_READERS: dict[str, Callable[[BinaryIO, Path], Iterator[tuple[int, Row]]]] = {
    "jsonl": _read_jsonl,
    "text": _read_text,
    "csv": lambda stream, path: read_csv(_text_lines(stream, path), path.name),
    "parquet": read_parquet,
}

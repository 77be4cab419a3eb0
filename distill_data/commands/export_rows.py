"""`export` to a target of rows: each record converted, held against the target's contract, and written.

Lines, Parquet and folders all go through the frame of commands on datasets, so an output is whole or absent, and equal
input leaves it untouched. Asks no model.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from distill_data.commands.rows import Done, Emit, Source, Step, opened, publish_rows
from distill_data.data.items import Row
from distill_data.data.rows import refuse_inexact
from distill_data.engine.publish import files_of
from distill_data.errors import SeedError, UsageError, YieldError
from distill_data.formats.chats import axolotl_settings, dataset_info
from distill_data.formats.columnar import DATA, folder_files, require_pyarrow, schema_of, write_arrow, write_parquet
from distill_data.formats.consumers import CONSUMERS
from distill_data.formats.contracts import breaches
from distill_data.formats.targets import TARGETS, convert, refuse_kind
from distill_data.formats.turns import Given, kind_of
from distill_data.formats.uniform import Shape

BATCH_ROWS, BATCH_BYTES = 1000, 8 << 20
"""A batch ends with the first of these that is reached."""
TABLES = ("parquet", "verl", "hf")
INFO = "dataset_info.json"


class Place(NamedTuple):
    """Where an export goes."""

    outputs: Mapping[str, Path | None]
    manifest: Path | None


class Tally:
    """What became of the rows; only the writing pass counts."""

    def __init__(self) -> None:
        self.rows = self.written = self.ties = 0
        self.first: Row = {}
        """The first row that was written."""


def export_rows(source: str, *, to: str, output: str) -> Done:
    """Write a dataset as the target's reader wants it.

    Raises UsageError and SeedError with the place of a row that the target does not take, YieldError where no row is
    left, DiskError.
    """
    place = place_of(to, output)
    if to in TABLES:
        require_pyarrow(to)
    with opened(source) as (one,):
        tally = Tally()

        def fill(emit: Emit) -> Mapping[str, Any]:
            (_fill_table if to in TABLES else _fill_lines)(to, one, emit, tally)
            if not tally.written:
                raise YieldError(f"{one.file.name}: none of {tally.rows:,} rows has a better and a worse answer.")
            settings = _settings(to, place, tally.first, emit)
            counts = {"rows": tally.rows, "written": tally.written, **({"ties": tally.ties} if tally.ties else {})}
            return {"to": to, **counts, **({"trainer": settings} if settings else {})}

        named = {"path": output} if to == "axolotl" else {}  # which stands in the trainer's settings
        step = Step("export", [one], {"to": to, **named}, place.outputs, manifest=place.manifest)
        return publish_rows(step, fill)


def place_of(to: str, output: str) -> Place:
    """The files of an export. Raises UsageError for a name that cannot be."""
    ending = TARGETS[to].ending
    if output == "-":
        if not ending:
            raise UsageError(f"-o -: {to} is a folder; name one.")
        return Place({"dataset": None}, None)
    path = Path(output)
    if not path.name or (ending and (path.suffix != ending or not path.stem)):
        raise UsageError(f"-o {output}: the name must end in {ending or 'that of a folder'}.")
    if ending:
        beside = files_of(path).manifest if ending == ".jsonl" else path.with_name(path.name + ".manifest.json")
        return Place({"dataset": path}, beside)
    if path.is_file():
        raise UsageError(f"-o {output}: is a file, and {to} is a folder.")
    data = path / (DATA if to == "hf" else f"{path.name}.jsonl")
    info = {"dataset_info": path / INFO}
    _refuse_sharing(path, data)
    return Place({"dataset": data, **({"state": path / "state.json"} if to == "hf" else {}), **info}, _beside(path))


def _beside(folder: Path) -> Path:
    return folder.with_name(folder.name + ".manifest.json")


def _refuse_sharing(folder: Path, data: Path) -> None:
    """Raise UsageError where the folder has what an export did not write, such as entries of other datasets."""
    ours = {data.name, INFO, "state.json"}
    others = sorted(path.name for path in folder.iterdir() if path.name not in ours) if folder.is_dir() else []
    if others or ((folder / INFO).exists() and not data.exists()):
        there = others[0] if others else INFO
        raise UsageError(f"-o {folder}: has {there} already; name a new folder, and copy from there.")


def _converted(to: str, source: Source, tally: Tally) -> Iterator[tuple[int, bytes, list[Row]]]:
    """Line number, bytes as they were read, and rows of each record. Raises UsageError with the place."""
    consumer, shape, first = CONSUMERS[to], Shape(), ""
    for ordinal, line in enumerate(source.file.read()):
        number, raw, row = line
        kind = kind_of(row)
        try:
            refuse_inexact(line)
            if ordinal == 0:
                first = kind
                refuse_kind(to, kind)
            elif kind != first:
                raise UsageError(
                    f"this row is of the kind {kind or '(none)'}, and those before are {first or '(none)'}."
                )
            rows = convert(to, Given(row, kind, ordinal))
            for made in rows:
                faults = breaches(made, consumer.contract)
                name, reason = faults[0] if faults else shape.differs(made) if consumer.uniform else ("", "")
                if reason:
                    raise UsageError(f"{to} does not take this row: {name}: {reason}")
        except SeedError as error:
            raise SeedError(f"{source.file.place(number)}: {error}") from None
        except UsageError as error:
            raise UsageError(f"{source.file.place(number)}: {error}") from None
        tally.rows += 1
        tally.written += len(rows)
        tally.ties += not rows
        tally.first = tally.first or (rows[0] if rows else {})
        yield number, raw, rows


def _fill_lines(to: str, source: Source, emit: Emit, tally: Tally) -> None:
    held: list[bytes] = []
    for number, _, rows in _converted(to, source, tally):
        try:
            held.extend(map(_line, rows))
        except TypeError as error:
            raise SeedError(f"{source.file.place(number)}: cannot be encoded as JSON: {error}") from None
        if len(held) >= 256:
            emit("dataset", b"".join(held))
            held.clear()
    emit("dataset", b"".join(held))


def _line(row: Row) -> bytes:
    return orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)


def _fill_table(to: str, source: Source, emit: Emit, tally: Tally) -> None:
    """Two passes: the types, then the rows."""
    schema = schema_of(_batches(to, source, Tally()))
    sink: Any = _Sink(emit)
    (write_arrow if to == "hf" else write_parquet)(_batches(to, source, tally), schema, sink)
    if to == "hf":
        for name, content in folder_files(source.sha256).items():
            emit(name, content)


def _batches(to: str, source: Source, tally: Tally) -> Iterator[list[Row]]:
    batch: list[Row] = []
    size = 0
    for _, raw, rows in _converted(to, source, tally):
        batch += rows
        size += len(raw)
        if len(batch) >= BATCH_ROWS or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


class _Sink(io.RawIOBase):
    """An output of the frame as a file that Arrow can write."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._emit("dataset", bytes(data))
        return len(data)


def _settings(to: str, place: Place, row: Row, emit: Emit) -> dict[str, Any]:
    """What the trainer is told to read the rows; LLaMA-Factory's lies beside them."""
    data = place.outputs["dataset"]
    if to == "axolotl":
        return axolotl_settings(row, str(data or "rows.jsonl"))
    if to == "llama-factory" and data is not None:
        settings = dataset_info(data.stem, data.name, row)
        emit("dataset_info", orjson.dumps(settings, option=orjson.OPT_INDENT_2) + b"\n")
        return settings
    return {}

"""Rows as a table in Parquet, or in Arrow as `datasets.load_from_disk` reads it, a batch at a time.

The types are found first, over all rows, since a table has one type for a column. Tools and arguments, which `tabular`
made JSON text of, are JSON in Arrow, so that `datasets` gives objects back. Needs the extra `data`. Knows no target.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import orjson

from distill_data.data.items import Row
from distill_data.errors import UsageError

DATA = "data-00000-of-00001.arrow"
"""The file of rows in a folder of `datasets`."""
OBJECTS = ("tools", "arguments")
"""Keys whose text is read as JSON. Not a record's details: `datasets` reads the last digit of some floats wrong."""


def require_pyarrow(target: str) -> None:
    """Raise UsageError where the extra is missing."""
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise UsageError(f"{target} needs the extra `data`: pip install 'distill-data[data]'") from error


def schema_of(batches: Iterable[list[Row]]) -> Any:
    """The Arrow schema that all rows fit. Raises UsageError where there is none."""
    import pyarrow

    schema = None
    with _table_errors():
        for batch in batches:
            own = pyarrow.Table.from_pylist(batch).schema
            known = own if schema is None else schema
            schema = known if known.equals(own) else pyarrow.unify_schemas([known, own], promote_options="permissive")
    return schema


def write_parquet(batches: Iterable[list[Row]], schema: Any, sink: BinaryIO) -> None:
    """One row group a batch. Raises UsageError."""
    import pyarrow
    from pyarrow import parquet

    with _table_errors(), parquet.ParquetWriter(sink, schema) as writer:
        for batch in batches:
            writer.write_table(pyarrow.Table.from_pylist(batch, schema=schema))


def write_arrow(batches: Iterable[list[Row]], schema: Any, sink: BinaryIO) -> None:
    """An Arrow stream, one record batch a batch. Raises UsageError."""
    import pyarrow

    decoded = pyarrow.schema([field.with_type(_with_json(field.type, field.name)) for field in schema])
    with _table_errors(), pyarrow.ipc.new_stream(sink, decoded) as writer:
        for batch in batches:
            writer.write_table(pyarrow.Table.from_pylist(batch, schema=schema).cast(decoded))


def folder_files(digest: str) -> dict[str, bytes]:
    """What lies beside DATA in a folder of `datasets`: state and dataset_info, by the names without .json."""
    unset = ("_format_columns", "_format_type", "_split")
    state = {"_data_files": [{"filename": DATA}], "_fingerprint": digest[:16], **dict.fromkeys(unset)}
    state |= {"_format_kwargs": {}, "_output_all_columns": False}
    return {"state": orjson.dumps(state, option=orjson.OPT_INDENT_2) + b"\n", "dataset_info": b"{}\n"}


def _with_json(found: Any, name: str) -> Any:
    """A type with Arrow's JSON in place of text wherever a key says that it is."""
    import pyarrow

    if name in OBJECTS and pyarrow.types.is_string(found):
        return pyarrow.json_()
    if pyarrow.types.is_list(found):
        return pyarrow.list_(_with_json(found.value_type, name))
    if pyarrow.types.is_struct(found):
        return pyarrow.struct([field.with_type(_with_json(field.type, field.name)) for field in found])
    return found


@contextmanager
def _table_errors() -> Iterator[None]:
    import pyarrow

    try:
        yield
    except (pyarrow.ArrowException, OverflowError) as error:
        raise UsageError(f"these rows do not fit one table: {error}") from error

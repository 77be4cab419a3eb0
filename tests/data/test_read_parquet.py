"""Parquet: JSON values out of column types, and a clear word where there is none."""

from __future__ import annotations

import datetime
import decimal
import sys
from pathlib import Path
from typing import Any

import pytest

from distill_data.data.seeds import open_seeds, read_rows
from distill_data.errors import SeedError


def write(path: Path, columns: dict[str, list[Any]]) -> Path:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.table(columns), path, row_group_size=700)
    return path


def test_without_pyarrow_the_message_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "s.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(SeedError, match=r"pip install '.\[data\]'"):
        list(read_rows(open_seeds(tmp_path / "s.parquet")))


@pytest.mark.datasets
def test_values_become_json(tmp_path: Path) -> None:
    moment = datetime.datetime(2020, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
    path = write(
        tmp_path / "s.parquet",
        {
            "text": ["a\u2028", None],
            "n": [2**63 - 1, -1],
            "score": [0.5, 1.0],
            "day": [datetime.date(2020, 1, 2), None],
            "moment": [moment, moment],
            "price": [decimal.Decimal("1.10"), decimal.Decimal("2.00")],
            "nested": [{"tags": ["x", "y"], "day": datetime.date(2020, 1, 2)}, None],
        },
    )
    (where, first), (_, second) = read_rows(open_seeds(path), {"question": "text"})
    assert where == "s.parquet:1"
    assert first == {
        "question": "a\u2028",
        "n": 2**63 - 1,
        "score": 0.5,
        "day": "2020-01-02",
        "moment": "2020-01-02T03:04:05+00:00",
        "price": "1.10",
        "nested": {"tags": ["x", "y"], "day": "2020-01-02"},
    }
    assert second["question"] is None
    assert second["nested"] is None


@pytest.mark.datasets
def test_rows_are_counted_across_row_groups(tmp_path: Path) -> None:
    path = write(tmp_path / "s.parquet", {"n": list(range(3000))})
    got = list(read_rows(open_seeds(path)))
    assert got == [(f"s.parquet:{n + 1}", {"n": n}) for n in range(3000)]


@pytest.mark.datasets
@pytest.mark.parametrize(
    ("value", "said"),
    [
        (float("nan"), "holds nan"),
        (float("inf"), "holds inf"),
        (b"raw", "holds bytes"),
        (datetime.timedelta(1), "holds timedelta"),
        ([b"raw"], "holds bytes"),
    ],
)
def test_what_json_cannot_hold_is_refused_with_its_row(tmp_path: Path, value: Any, said: str) -> None:
    path = write(tmp_path / "s.parquet", {"id": ["a", "b"], "x": [None, value]})
    with pytest.raises(SeedError, match=rf"s\.parquet:2: column 'x' {said}"):
        list(read_rows(open_seeds(path)))


@pytest.mark.datasets
def test_damaged_and_empty_files_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "s.parquet", {"n": list(range(3000))})
    whole = path.read_bytes()
    for content in (b"", b"PAR1", b"garbage" * 9, whole[:-1], whole[:-20], whole[20:]):
        path.write_bytes(content)
        with pytest.raises(SeedError, match=r"s\.parquet: cannot read this as Parquet after row 0"):
            list(read_rows(open_seeds(path)))
    with pytest.raises(SeedError, match="no rows"):
        list(read_rows(open_seeds(write(path, {"n": []}))))


@pytest.mark.datasets
def test_repeated_column_names_are_refused(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_arrays([pyarrow.array([1])] * 2, names=["a", "a"]), tmp_path / "s.parquet")
    with pytest.raises(SeedError, match="column names that stand there twice: a"):
        list(read_rows(open_seeds(tmp_path / "s.parquet")))

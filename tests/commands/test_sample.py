"""`sample`: the same rows every time, the smaller in the larger, as many of each value as are wanted."""

from __future__ import annotations

import gzip
import json
import logging
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from distill_data.commands import sample
from distill_data.errors import SeedError, UsageError, YieldError


@pytest.fixture
def source(tmp_path: Path) -> Path:
    lines = [f'{{"id":"r{n}","n":{n},"label":"{"ab"[n % 10 == 0]}"}}\n' for n in range(1000)]
    (tmp_path / "in.jsonl").write_text("".join(lines))
    return tmp_path / "in.jsonl"


def drawn(source: Path, **options: Any) -> list[dict[str, Any]]:
    out = source.with_name("out.jsonl")
    done = sample(str(source), output=str(out), **options)
    rows = [json.loads(line) for line in out.read_bytes().splitlines()]
    assert done.result["kept"] == len(rows)
    assert done.result["rows"] == done.result["kept"] + done.result["reasons"].get("not-sampled", 0)
    return rows


def numbers(rows: list[dict[str, Any]]) -> list[int]:
    return [row["n"] for row in rows]


def test_a_larger_sample_holds_the_smaller_one_in_the_order_of_the_file(source: Path) -> None:
    sizes = [numbers(drawn(source, rows=n)) for n in (1, 10, 200, 999)]
    assert [len(each) for each in sizes] == [1, 10, 200, 999]
    assert all(set(small) < set(large) for small, large in pairwise(sizes))
    assert all(each == sorted(each) for each in sizes)
    assert not source.with_name("out.rejects.jsonl").exists()


def test_the_seed_decides(source: Path) -> None:
    first, again, other = (numbers(drawn(source, rows=50, seed=seed)) for seed in (0, 0, 1))
    assert first == again != other


def test_a_share_is_about_that_and_stays_where_rows_are_appended(source: Path) -> None:
    before = numbers(drawn(source, share=0.2))
    assert 160 < len(before) < 240
    assert set(before) < set(numbers(drawn(source, share=0.4)))
    with source.open("a") as lines:
        lines.write('{"id":"new","n":-1,"label":"a"}\n' * 5)
    after = numbers(drawn(source, share=0.2))
    assert [n for n in after if n >= 0] == before


def test_rows_without_an_id_are_drawn_by_what_they_say(tmp_path: Path) -> None:
    rows = [{"text": f"row {n}", "n": n} for n in range(100)]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    one = drawn(tmp_path / "in.jsonl", rows=10)
    reordered = [{"n": row["n"], "text": row["text"]} for row in rows]
    (tmp_path / "b.jsonl.gz").write_bytes(
        gzip.compress("".join(json.dumps(row) + "\r\n" for row in reordered).encode())
    )
    assert drawn(tmp_path / "b.jsonl.gz", rows=10) == one


def test_of_equal_rows_no_more_than_wanted(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"n":1}\n' * 10)
    assert len(drawn(tmp_path / "in.jsonl", rows=3)) == 3


def test_as_many_of_each_value(source: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert Counter(row["label"] for row in drawn(source, rows=40, per="label")) == {"a": 40, "b": 40}
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        assert Counter(row["label"] for row in drawn(source, rows=300, per="label")) == {"a": 300, "b": 100}
    assert "1 of the 2 values of label have fewer than 300 rows ('b' 100)" in caplog.text
    with pytest.raises(SeedError, match=r"in\.jsonl:1: there is no column 'gone'"):
        drawn(source, rows=3, per="gone")


def test_more_than_there_are_is_all_of_them(source: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert len(drawn(source, rows=2000)) == 1000
    assert "has 1000 rows only" in caplog.text


def test_the_rest_is_written_where_it_is_wanted(source: Path, tmp_path: Path) -> None:
    drawn(source, rows=100, rejects=str(tmp_path / "rest.jsonl"))
    rest = [json.loads(line) for line in (tmp_path / "rest.jsonl").read_bytes().splitlines()]
    assert len(rest) == 900
    assert {each["reason"] for each in rest} == {"not-sampled"}


def test_the_same_again_touches_nothing(source: Path, tmp_path: Path) -> None:
    drawn(source, rows=10)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert not sample(str(source), rows=10, output=str(tmp_path / "out.jsonl")).changed
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == times
    assert sample(str(source), rows=11, output=str(tmp_path / "out.jsonl")).changed


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "give either"),
        ({"rows": 3, "share": 0.1}, "give either"),
        ({"rows": 0}, "at least 1"),
        ({"rows": -1}, "at least 1"),
        ({"share": 1.5}, "at most 1"),
        ({"share": 0.5, "per": "label"}, "give --rows"),
    ],
)
def test_what_cannot_be_is_a_usage_error(source: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        drawn(source, **options)


def test_a_share_of_nothing_is_an_error(source: Path) -> None:
    with pytest.raises(YieldError, match="of 1,000 rows none is left"):
        drawn(source, share=1e-9)

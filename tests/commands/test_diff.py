"""`diff`: what was added, what is gone, and what has changed where."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_data.commands import diff
from distill_data.errors import SeedError, UsageError


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_bytes(b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows))
    return path


def compared(folder: Path, old: list[dict[str, Any]], new: list[dict[str, Any]], **options: Any) -> Any:
    return diff(str(written(folder / "old.jsonl", old)), str(written(folder / "new.jsonl", new)), **options)


def row_of(identity: str, x: str = "what", y: str = "that", model: str = "m") -> dict[str, Any]:
    return {"id": identity, "prompt": x, "completion": y, "meta": {"model": model, "seed_id": "s"}}


def test_rows_are_found_by_their_id(tmp_path: Path) -> None:
    old = [row_of("1"), row_of("2"), row_of("3"), row_of("4", "only here")]
    new = [row_of("3", y="other", model="n"), row_of("5", "new here"), row_of("1"), row_of("2", model="n")]
    found = compared(tmp_path, old, new)
    assert (found.by, found.rows, found.same) == ("id", (4, 4), False)
    assert found.counts() == {"equal": 1, "changed": 2, "added": 1, "gone": 1}
    assert found.columns == {"meta.model": 2, "completion": 1}
    assert [(each.change, each.line, each.key, each.text, each.columns) for each in found.shown] == [
        ("changed", 1, "3", "what", ("completion", "meta.model")),
        ("added", 2, "5", "new here", ()),
        ("changed", 4, "2", "what", ("meta.model",)),
        ("gone", 4, "4", "only here", ()),
    ]


def test_without_ids_rows_are_found_by_what_is_asked(tmp_path: Path) -> None:
    old = [{"instruction": "Say  HELLO", "output": "a"}, {"instruction": "说再见", "output": "b"}]
    new = [{"instruction": "说再见", "output": "b"}, {"instruction": "say hello", "output": "c"}]
    found = compared(tmp_path, old, new)
    assert (found.by, found.counts()) == ("x", {"equal": 1, "changed": 1, "added": 0, "gone": 0})
    assert found.columns == {"instruction": 1, "output": 1}
    assert compared(tmp_path, old, new, on="y").columns == {"y": 1}
    assert compared(tmp_path, [{"id": "1", "text": "a"}], [{"text": "a"}]).columns == {"id": 1}


def test_the_order_of_rows_and_columns_does_not_count(tmp_path: Path) -> None:
    old = [row_of(str(n)) for n in range(50)]
    new = [dict(reversed(row.items())) for row in random.Random(0).sample(old, 50)]
    found = compared(tmp_path, old, new)
    assert found.same
    assert (found.equal, found.columns, found.shown) == (50, {}, [])


def test_one_column_alone_is_compared(tmp_path: Path) -> None:
    old, new = [row_of("1"), row_of("2")], [row_of("1", model="n"), row_of("2", y="other", model="n")]
    assert compared(tmp_path, old, new, on="completion").counts()["changed"] == 1
    assert compared(tmp_path, old, new, on="meta.seed_id").same
    with pytest.raises(SeedError, match=r"old\.jsonl:1: there is no column 'gone'"):
        compared(tmp_path, old, new, on="gone")


def test_by_another_column(tmp_path: Path) -> None:
    old, new = [row_of("1", "a"), row_of("2", "b")], [row_of("9", "b"), row_of("8", "c")]
    found = compared(tmp_path, old, new, by="prompt", on="completion")
    assert found.counts() == {"equal": 1, "changed": 0, "added": 1, "gone": 1}
    with pytest.raises(SeedError, match=r"new\.jsonl:2: there is no column 'id'"):
        compared(tmp_path, old, [row_of("1"), {"prompt": "x"}])


def test_values_are_equal_as_json(tmp_path: Path) -> None:
    base = {"id": "1", "v": 1, "o": {"a": [1]}}
    assert compared(tmp_path, [base], [{"id": "1", "v": True, "o": {"a": [1]}}]).columns == {"v": 1}
    assert compared(tmp_path, [base], [{"id": "1", "v": 1, "o": {"a": [2], "b": None}}]).columns == {"o.a": 1, "o.b": 1}
    assert compared(tmp_path, [base], [{"id": "1", "v": None, "w": None, "o": 3}]).columns == {"v": 1, "o": 1, "w": 1}


def test_only_the_first_of_each_kind_are_listed(tmp_path: Path) -> None:
    old, new = [row_of(str(n)) for n in range(100)], [row_of(str(n), y="new") for n in range(50, 150)]
    found = compared(tmp_path, old, new, show=2)
    assert found.counts() == {"equal": 0, "changed": 50, "added": 50, "gone": 50}
    assert [(each.change, each.key) for each in found.shown] == [
        ("changed", "50"), ("changed", "51"), ("added", "100"), ("added", "101"), ("gone", "0"), ("gone", "1"),
    ]  # fmt: skip
    assert compared(tmp_path, old, new, show=0).shown == []
    assert len(json.dumps(compared(tmp_path, old, new, show=1000).to_json()["shown"][0])) > 50


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xy"))),
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xy"))),
)
def test_the_nth_row_of_a_name_is_compared_with_the_nth(
    tmp_path_factory: pytest.TempPathFactory, old: list[tuple[str, str]], new: list[tuple[str, str]]
) -> None:
    def named(pairs: list[tuple[str, str]]) -> dict[tuple[str, int], str]:
        pairs = [("z", "z"), *pairs]
        return {(key, [k for k, _ in pairs[:n]].count(key)): value for n, (key, value) in enumerate(pairs)}

    left, right = named(old), named(new)
    rows = [[{"id": key, "v": value} for (key, _), value in each.items()] for each in (left, right)]
    found = compared(tmp_path_factory.mktemp("diff"), *rows, show=100)
    assert found.counts() == {
        "equal": sum(left[name] == right[name] for name in left.keys() & right.keys()),
        "changed": sum(left[name] != right[name] for name in left.keys() & right.keys()),
        "added": len(right.keys() - left.keys()),
        "gone": len(left.keys() - right.keys()),
    }
    assert found.rows == (len(left), len(right))
    assert len(found.shown) == found.changed + found.added + found.gone


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    good = written(tmp_path / "a.jsonl", [row_of("1")])
    (tmp_path / "empty.jsonl").write_bytes(b"")
    with pytest.raises(SeedError, match="no rows in this file"):
        diff(str(good), str(tmp_path / "empty.jsonl"))
    with pytest.raises(SeedError, match="No such file"):
        diff(str(good), str(tmp_path / "gone.jsonl"))
    with pytest.raises(UsageError, match="once only"):
        diff("-", "-")

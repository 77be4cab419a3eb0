"""`split`: no seed stands in two parts, and rows that come later move none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_data.commands import split, verify
from distill_data.commands.rows import Done
from distill_data.data.shares import make_place
from distill_data.errors import SeedError, UsageError, YieldError

NINE = {"train": 0.9, "test": 0.1}


def row_of(seed: int, child: int = 0) -> dict[str, Any]:
    details = json.dumps({"parents": [f"s{seed}"], "source": f"s{seed}"})
    return {"id": f"{seed}.{child}", "prompt": [], "meta": {"seed_id": f"i{seed}.{child}", "details": details}}


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_bytes(b"".join(json.dumps(row).encode() + b"\n" for row in rows))
    return path


def run(source: Path, into: dict[str, float] | None = None, output: str = "", **options: Any) -> Done:
    return split(str(source), into=into or NINE, output=output or str(source), **options)


def ids(path: Path) -> list[str]:
    return [json.loads(line)["id"] for line in path.read_bytes().splitlines()]


def test_children_of_a_seed_stay_together_in_the_order_of_the_file(tmp_path: Path) -> None:
    rows = [row_of(seed, child) for child in range(3) for seed in range(400)]
    done = run(written(tmp_path / "a.jsonl", rows))
    train, test = ids(tmp_path / "a.train.jsonl"), ids(tmp_path / "a.test.jsonl")
    assert {one.partition(".")[0] for one in train}.isdisjoint(one.partition(".")[0] for one in test)
    assert len(train) + len(test) == len(rows)
    assert all(part == [row["id"] for row in rows if row["id"] in set(part)] for part in (train, test))
    assert done.result["parts"] == {"train": len(train), "test": len(test)}
    assert 0.07 < len(test) / len(rows) < 0.13
    assert all(len({one for one in part if one.startswith("7.")}) in (0, 3) for part in (train, test))


def test_every_part_is_a_dataset_of_its_own(tmp_path: Path) -> None:
    source = written(tmp_path / "a.jsonl", [row_of(seed) for seed in range(200)])
    done = run(source)
    for name in NINE:
        path = tmp_path / f"a.{name}.jsonl"
        assert verify(str(path)).findings == []
        result = json.loads((tmp_path / f"a.{name}.manifest.json").read_bytes())["result"]
        assert (result["part"], result["kept"], result["rows"]) == (name, done.result["parts"][name], 200)
        assert result["sources"][0]["name"] == "a.jsonl"
    path.rename(tmp_path / "moved.jsonl")
    assert verify(str(tmp_path / "a.train.jsonl")).findings == []


def test_the_same_again_touches_nothing(tmp_path: Path) -> None:
    source = written(tmp_path / "a.jsonl", [row_of(seed) for seed in range(200)])
    first = run(source)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    second = run(source)
    assert (second.changed, second.result) == (False, first.result)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == times
    (tmp_path / "a.test.jsonl").unlink()
    assert run(source).changed
    assert run(source, seed=1).changed
    assert run(source, {"train": 0.8, "test": 0.2}).changed


@settings(max_examples=12, deadline=None)
@given(st.lists(st.integers(0, 60), min_size=40), st.lists(st.integers(0, 200)), st.integers(0, 3))
def test_rows_that_are_appended_move_no_others(
    tmp_path_factory: pytest.TempPathFactory, first: list[int], more: list[int], seed: int
) -> None:
    folder, into = tmp_path_factory.mktemp("split"), {"a": 0.5, "b": 0.5}
    rows = [row_of(each, place) for place, each in enumerate([*range(61), *first])]
    source = written(folder / "a.jsonl", rows)
    run(source, into, seed=seed)
    before = {part: ids(folder / f"a.{part}.jsonl") for part in into}
    written(source, [*rows, *(row_of(each, 1000 + place) for place, each in enumerate(more))])
    run(source, into, seed=seed)
    for part, old in before.items():
        assert ids(folder / f"a.{part}.jsonl")[: len(old)] == old


def test_another_seed_and_other_shares(tmp_path: Path) -> None:
    source = written(tmp_path / "a.jsonl", [row_of(seed) for seed in range(500)])
    run(source)
    first = ids(tmp_path / "a.test.jsonl")
    run(source, seed=1)
    assert ids(tmp_path / "a.test.jsonl") != first
    done = run(source, {"train": 0.7, "dev": 0.2, "test": 0.1}, seed=1)
    assert (done.result["left_out"], sum(done.result["parts"].values())) == (0, 500)
    done = run(source, {"train": 0.5, "dev": 0.25})
    assert 90 < done.result["left_out"] < 160
    assert sum(done.result["parts"].values()) + done.result["left_out"] == done.result["rows"] == 500


def test_rows_from_elsewhere_are_told_apart_by_what_is_asked(tmp_path: Path) -> None:
    rows = [
        {"id": str(n), "instruction": f"Question  {n % 100}" if n % 2 else f"question {n % 100}", "output": str(n)}
        for n in range(300)
    ]
    run(written(tmp_path / "a.jsonl", rows), {"a": 0.5, "b": 0.5})
    left, right = ({int(one) % 100 for one in ids(tmp_path / f"a.{name}.jsonl")} for name in "ab")
    assert left.isdisjoint(right)
    assert len(left) + len(right) == 100


def test_by_a_column_and_into_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,topic\n" + "".join(f"t{n},topic {n % 20}\n" for n in range(200)))
    run(tmp_path / "a.csv", {"train": 0.5, "test": 0.5}, f"{tmp_path}/parts/", by="topic")
    topics = [
        {json.loads(line)["topic"] for line in (tmp_path / "parts" / f"{name}.jsonl").read_bytes().splitlines()}
        for name in ("train", "test")
    ]
    assert topics[0].isdisjoint(topics[1])
    run(tmp_path / "a.csv", {"train": 0.5, "test": 0.5}, str(tmp_path / "parts"), by="topic")
    assert len(list((tmp_path / "parts").iterdir())) == 4


def test_an_empty_part_is_an_error_with_advice(tmp_path: Path) -> None:
    source = written(tmp_path / "a.jsonl", [row_of(1, child) for child in range(10)])
    with pytest.raises(YieldError, match=r"of 10 rows none went to .*; nothing was written\. Take another --seed"):
        run(source, {"a": 0.5, "b": 0.5})
    assert list(tmp_path.iterdir()) == [source]


def test_a_late_row_without_a_group_leaves_nothing(tmp_path: Path) -> None:
    source = written(tmp_path / "a.jsonl", [*(row_of(seed) for seed in range(50)), {"n": 1}])
    with pytest.raises(SeedError, match=r"a\.jsonl:51: no column is known .* --by"):
        run(source)
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.parametrize(
    ("into", "output", "said"),
    [
        ({}, "b.jsonl", "no part is named"),
        ({"train": 0.9, "test": 0.2}, "b.jsonl", "are 1.1 together"),
        ({"train": 0.0}, "b.jsonl", "above 0"),
        ({"rejects": 0.5}, "b.jsonl", "a part's name is"),
        ({"../x": 0.5}, "b.jsonl", "a part's name is"),
        ({"": 0.5}, "b.jsonl", "a part's name is"),
        ({"a": 0.5, "b": 0.5}, "-", "several files"),
        ({"a": 0.5, "b": 0.5}, "b", r"must end in \.jsonl"),
        ({"a": 0.5, "b": 0.5}, "", r"must end in \.jsonl"),
        ({"a": 0.5, "b": 0.5}, "b" * 300, "File name too long"),
    ],
)
def test_what_cannot_be_is_a_usage_error(tmp_path: Path, into: dict[str, float], output: str, said: str) -> None:
    source = written(tmp_path / "a.jsonl", [row_of(seed) for seed in range(50)])
    with pytest.raises(UsageError, match=said):
        split(str(source), into=into, output=str(tmp_path / output) if output.startswith("b") else output)


def test_a_part_does_not_replace_what_is_split(tmp_path: Path) -> None:
    source = written(tmp_path / "a.train.jsonl", [row_of(seed) for seed in range(50)])
    with pytest.raises(UsageError, match="would be overwritten"):
        run(source, output=str(tmp_path / "a.jsonl"))


def test_places_are_spread_evenly_and_known_for_good() -> None:
    place = make_place("split", 0)
    places = [place(f"key {n}") for n in range(20_000)]
    assert all(abs(sum(each < bound for each in places) / 20_000 - bound) < 0.012 for bound in (0.01, 0.1, 0.5, 0.9))
    assert place("key 0") == pytest.approx(PLACE, abs=1e-15)
    other = make_place("sample", 0)
    both = sum(place(f"key {n}") < 0.5 and other(f"key {n}") < 0.5 for n in range(20_000))
    assert abs(both / 20_000 - 0.25) < 0.012


PLACE = 0.7835102402335329
"""Of `key 0`: parts that were published must come out the same in every version."""

"""`merge`: all rows of all files, by weight; ids that are one row's each; where rows came from."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_data.commands import filter_rows, merge, sample, verify
from distill_data.errors import SeedError, UsageError, YieldError
from tests.feature_datasets import make_dataset


def row_of(identity: str, said: str = "yes", **columns: Any) -> dict[str, Any]:
    message = [{"role": "assistant", "content": said}]
    return {
        "id": identity,
        "kind": "sft",
        "prompt": [],
        "completion": message,
        **columns,
        "meta": {"seed_id": identity},
    }


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_bytes(b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows))
    return path


def merged(*sources: str | Path, output: Path, **options: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    done = merge([str(each) for each in sources], output=str(output), **options)
    rows = [json.loads(line) for line in output.read_bytes().splitlines()]
    result: dict[str, Any] = json.loads(output.with_suffix(".manifest.json").read_bytes())["result"]
    assert done.result == result
    assert (result["kept"], result["rows"]) == (len(rows), result["kept"] + result["rejected"])
    assert verify(str(output)).findings == []
    return rows, result


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl"


def test_files_in_their_order_byte_for_byte(tmp_path: Path, out: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b' {"text":"a" , "n":1.0}\r\n')
    (tmp_path / "b.jsonl").write_bytes(b'{"n":2,"text":"\\u4e2d"}')
    merged(tmp_path / "b.jsonl", tmp_path / "a.jsonl", output=out)
    assert out.read_bytes() == b'{"n":2,"text":"\\u4e2d"}\n {"text":"a" , "n":1.0}\r\n'


def test_ids_are_one_rows_each(tmp_path: Path, out: Path) -> None:
    a = written(tmp_path / "a.jsonl", [row_of("1", "one"), row_of("2", "two"), row_of("1", "one")])
    b = written(tmp_path / "b.jsonl", [row_of("2", "other"), row_of("1", "one"), row_of("3", "three")])
    c = written(tmp_path / "c.jsonl", [row_of("2", "other"), row_of("2", "third")])
    rows, result = merged(a, b, c, output=out)
    said = [(row["id"], row["completion"][0]["content"]) for row in rows]
    assert [text for _, text in said] == ["one", "two", "other", "three", "third"]
    assert [said[at][0] for at in (0, 1, 3)] == ["1", "2", "3"]
    assert len({identity for identity, _ in said}) == 5
    assert all(len(said[at][0]) == 16 for at in (2, 4))
    assert (result["renamed"], result["rejected"], result["reasons"]) == (2, 3, {"same-row": 3})
    rejects = [json.loads(line) for line in (tmp_path / "out.rejects.jsonl").read_bytes().splitlines()]
    assert [(each["line"], each["detail"].rpartition("/")[2]) for each in rejects] == [
        (3, "a.jsonl"), (2, "b.jsonl"), (1, "c.jsonl"),
    ]  # fmt: skip
    assert rows[2] == {**row_of("2", "other"), "id": rows[2]["id"]}


def test_what_was_merged_before_can_be_merged_again(tmp_path: Path, out: Path) -> None:
    a = written(tmp_path / "a.jsonl", [row_of("1", "one"), row_of("2", "two")])
    b = written(tmp_path / "b.jsonl", [row_of("1", "other")])
    rows, _ = merged(a, b, output=out)
    again, result = merged(out, b, a, output=tmp_path / "again.jsonl")
    assert (again, result["rejected"], result["renamed"]) == (rows, 3, 0)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.lists(st.tuples(st.sampled_from("123"), st.sampled_from("xyz")), min_size=1), min_size=2, max_size=3)
)
def test_no_row_is_lost_and_none_stands_twice(
    tmp_path_factory: pytest.TempPathFactory, files: list[list[tuple[str, str]]]
) -> None:
    folder = tmp_path_factory.mktemp("merge")
    sources = [written(folder / f"{n}.jsonl", [row_of(*pair) for pair in rows]) for n, rows in enumerate(files)]
    rows, _ = merged(*sources, output=folder / "out.jsonl")
    pairs = {pair for file in files for pair in file}
    assert Counter((row["meta"]["seed_id"], row["completion"][0]["content"]) for row in rows) == Counter(pairs)
    assert len({row["id"] for row in rows}) == len(rows)


def test_rows_without_text_as_id_are_only_put_together(tmp_path: Path, out: Path) -> None:
    for rows in ([{"text": "a"}], [{"text": "a", "id": 1}], [{"text": "a", "id": None}]):
        a, b = (written(tmp_path / f"{name}.jsonl", rows) for name in "ab")
        assert merged(a, b, output=out)[0] == [*rows, *rows]


def test_a_whole_weight_repeats(tmp_path: Path, out: Path) -> None:
    a = written(tmp_path / "a.jsonl", [row_of(str(n)) for n in range(4)])
    b = written(tmp_path / "b.jsonl", [row_of("b")])
    rows, result = merged(b, f"{a}=3", output=out)
    assert [row["meta"]["seed_id"] for row in rows] == ["b", *"012301230123"]
    assert len({row["id"] for row in rows}) == 13
    assert [row["id"] for row in rows[:5]] == ["b", *"0123"]
    assert [(each["rows"], each["taken"], each["weight"]) for each in result["sources"]] == [(1, 1, 1), (4, 12, 3)]
    assert result["renamed"] == 8
    assert merged(f"{a}=2", output=tmp_path / "two.jsonl")[0] == [*rows[1:9]]


def test_a_share_takes_what_sample_takes(tmp_path: Path, out: Path) -> None:
    a = written(tmp_path / "a.jsonl", [row_of(f"a{n}") for n in range(300)])
    b = written(tmp_path / "b.jsonl", [row_of(f"b{n}") for n in range(300)])
    rows, result = merged(a, f"{b}=0.3", output=out, seed=4)
    sample(str(b), share=0.3, seed=4, output=str(tmp_path / "some.jsonl"))
    some = [json.loads(line) for line in (tmp_path / "some.jsonl").read_bytes().splitlines()]
    assert rows[300:] == some
    assert result["sources"][1]["taken"] == len(some)
    assert 60 < len(some) < 120


def test_the_manifest_tells_how_each_source_was_made(tmp_path: Path, out: Path) -> None:
    a = written(tmp_path / "a.jsonl", [row_of("1"), row_of("2", "a long answer")])
    filter_rows(str(a), checks=["length:1,5"], output=str(tmp_path / "short.jsonl"))
    b = written(tmp_path / "b.jsonl", [row_of("3")])
    _, result = merged(tmp_path / "short.jsonl", b, output=out)
    described = result["sources"]
    assert [each["name"] for each in described] == ["short.jsonl", "b.jsonl"]
    assert [[step["command"] for step in each["lineage"]] for each in described] == [["filter"], []]
    filter_rows(str(out), checks=["length:1,5"], output=str(tmp_path / "last.jsonl"))
    last = json.loads((tmp_path / "last.manifest.json").read_bytes())["result"]
    assert [step["command"] for step in last["sources"][0]["lineage"]] == ["filter", "merge"]


def test_the_same_again_touches_nothing(tmp_path: Path, out: Path) -> None:
    a, b = (written(tmp_path / f"{name}.jsonl", [row_of(name)]) for name in "ab")
    merged(a, b, output=out)
    time = out.stat().st_mtime_ns
    assert not merge([str(a), str(b)], output=str(out)).changed
    assert out.stat().st_mtime_ns == time
    assert merge([str(b), str(a)], output=str(out)).changed
    assert merge([str(b), f"{a}=2"], output=str(out)).changed


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (row_of("2", quality=1.0), r"b\.jsonl:2: has the columns quality, unlike .*a\.jsonl:1"),
        ({"id": "2", "kind": "sft", "prompt": [], "meta": {}}, r"b\.jsonl:2: lacks completion, unlike"),
        ({"text": "x"}, r"b\.jsonl:2: has the columns text and lacks completion, id, kind, meta, prompt, unlike"),
        ({**row_of("2"), "kind": "critique"}, r"b\.jsonl:2: is of the kind 'critique', and .*a\.jsonl:1 of 'sft'"),
    ],
)
def test_the_first_row_that_does_not_fit_is_named(tmp_path: Path, out: Path, row: dict[str, Any], said: str) -> None:
    a, b = written(tmp_path / "a.jsonl", [row_of("1")]), written(tmp_path / "b.jsonl", [row_of("1", "b"), row])
    with pytest.raises(UsageError, match=said):
        merge([str(a), str(b)], output=str(out))
    assert {path.name for path in tmp_path.iterdir()} == {"a.jsonl", "b.jsonl"}


def test_datasets_with_arrays_are_refused(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path)
    with pytest.raises(UsageError, match=r"has arrays in .* run `feature` on the result"):
        merge([str(dataset), f"{dataset}=2"], output=str(tmp_path / "both.jsonl"))


@pytest.mark.parametrize(
    ("sources", "said"),
    [
        (["a.jsonl"], "two datasets or more"),
        ([], "two datasets or more"),
        (["a.jsonl", "a.jsonl=0"], "a weight is a share"),
        (["a.jsonl", "a.jsonl=-1"], "a weight is a share"),
        (["a.jsonl", "a.jsonl=1.5"], "a weight is a share"),
        (["a.jsonl", "a.jsonl=inf"], "a weight is a share"),
        (["a.jsonl", "a.jsonl=nan"], "a weight is a share"),
        (["a.jsonl", "a.jsonl=half"], "No such file"),
        (["a.jsonl", f"{'a' * 300}=2"], "File name too long"),
        (["a.jsonl", "=2"], "name of a dataset is empty"),
        (["a.jsonl", "a.jsonl=1e300"], "at most 64 bits"),
        (["-", "-"], "once only"),
    ],
)
def test_what_cannot_be_is_a_usage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sources: list[str], said: str
) -> None:
    written(tmp_path / "a.jsonl", [row_of("1")])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=said):
        merge(sources, output="out.jsonl")


def test_a_name_with_an_equals_sign_is_a_name(tmp_path: Path, out: Path) -> None:
    a = written(tmp_path / "lr=2", [])
    a.unlink()
    folder = tmp_path / "lr=0.5"
    folder.mkdir()
    a, b = written(folder / "a.jsonl", [row_of("1")]), written(tmp_path / "b.jsonl", [row_of("2")])
    assert len(merged(a, b, output=out)[0]) == 2
    assert len(merged(f"{a}=2", b, output=out)[0]) == 3


def test_a_share_that_takes_nothing_is_an_error(tmp_path: Path, out: Path) -> None:
    a, b = (written(tmp_path / f"{name}.jsonl", [row_of(name)]) for name in "ab")
    with pytest.raises(YieldError, match=r"a share of 1e-09 takes none of its 1 rows"):
        merge([str(a), f"{b}=1e-9"], output=str(out))
    assert not out.exists()


def test_a_late_row_that_is_wrong_leaves_nothing(tmp_path: Path, out: Path) -> None:
    a, b = (written(tmp_path / f"{name}.jsonl", [row_of(name)]) for name in "ab")
    b.write_bytes(b.read_bytes() + b"{\n")
    with pytest.raises(SeedError, match=r"b\.jsonl:2: "):
        merge([str(a), str(b)], output=str(out))
    assert sorted(tmp_path.iterdir()) == [a, b]


def test_a_row_with_a_new_id_keeps_its_integers_or_is_refused(tmp_path: Path) -> None:
    one, other = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    one.write_text('{"id": "r", "n": 1}\n')
    other.write_text(f'{{"id": "r", "n": {1 << 70}}}\n')
    with pytest.raises(UsageError, match=r"b\.jsonl:1: .*more than 64 bits"):
        merge([str(one), str(other)], output=str(tmp_path / "out.jsonl"))

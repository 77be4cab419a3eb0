"""Parquet and folders of `datasets`, read with pyarrow and `datasets`; and JSON lines as `datasets` reads them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from distill_data.cli import main
from distill_data.commands.check_target import check_target
from distill_data.commands.export import export
from distill_data.errors import UsageError
from distill_data.formats.targets import TARGETS
from distill_data.formats.turns import kind_of
from tests.feature_datasets import make_dataset
from tests.golden import GOLDEN
from tests.system.command import read_jsonl

pytestmark = pytest.mark.datasets

FILES = sorted(path for path in GOLDEN.glob("*/*/records*.jsonl") if path.parent.parent.name != "score")
ANNOTATED = GOLDEN / "label/annotate/records.jsonl"
AGENT = GOLDEN / "curate/agent/records.jsonl"


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("HF_DATASETS_OFFLINE", "HF_HUB_OFFLINE", "HF_DATASETS_DISABLE_PROGRESS_BARS"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))


def named(path: Path) -> str:
    return str(path.relative_to(GOLDEN))


def plain(value: Any) -> Any:
    """Without keys of no value: a table gives a message every key that any has."""
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items() if each is not None}
    return [plain(each) for each in value] if isinstance(value, list) else value


def opened(key: str, value: Any) -> Any:
    """With objects where a record has JSON text."""
    if key in ("tools", "arguments"):
        return orjson.loads(value) if isinstance(value, str) else value
    if isinstance(value, dict):
        return {name: opened(name, each) for name, each in value.items()}
    return [opened("", each) for each in value] if isinstance(value, list) else value


def kept(path: Path) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key != "features"} for row in read_jsonl(path)]


@pytest.mark.parametrize("path", FILES, ids=named)
def test_parquet_is_the_records_in_a_table(path: Path, tmp_path: Path) -> None:
    from pyarrow import parquet

    target = tmp_path / "out.parquet"
    export(str(path), to="parquet", output=str(target))
    assert [plain(row) for row in parquet.read_table(target).to_pylist()] == kept(path)
    found = check_target(str(target), "parquet")
    assert (found.faults, found.rows) == ([], len(read_jsonl(path)))


@pytest.mark.parametrize("path", FILES, ids=named)
def test_the_saved_folder_is_the_records_with_objects(path: Path, tmp_path: Path) -> None:
    from datasets import load_from_disk

    target = tmp_path / "out"
    export(str(path), to="hf", output=str(target))
    assert [plain(dict(row)) for row in load_from_disk(str(target))] == [plain(opened("", row)) for row in kept(path)]
    assert check_target(str(target), "hf").faults == []


@pytest.mark.parametrize("path", FILES, ids=named)
def test_datasets_reads_the_lines_of_every_target_as_they_are(path: Path, tmp_path: Path) -> None:
    from datasets import load_dataset

    for to, target in TARGETS.items():
        if target.ending != ".jsonl" or kind_of(read_jsonl(path)[0]) not in target.kinds:
            continue
        lines = tmp_path / f"{to}.jsonl"
        try:
            export(str(path), to=to, output=str(lines))
        except UsageError:
            assert path.parent.name in ("agent", "tools", "vision-qa"), "as tests/formats/test_targets.py says"
            continue
        loaded = load_dataset("json", data_files=str(lines), split="train", cache_dir=str(tmp_path / "cache"))
        assert [plain(dict(row)) for row in loaded] == read_jsonl(lines), to


@pytest.mark.parametrize("source", [ANNOTATED, GOLDEN / "curate/vision-qa/records.jsonl"], ids=named)
def test_verl(source: Path, tmp_path: Path) -> None:
    from datasets import load_dataset

    target = tmp_path / "train.parquet"
    export(str(source), to="verl", output=str(target))
    assert check_target(str(target), "verl").faults == []
    loaded = load_dataset("parquet", data_files=str(target), split="train", cache_dir=str(tmp_path / "cache"))
    for at, (row, record) in enumerate(zip(loaded, read_jsonl(source), strict=True)):
        assert row["reward_model"]["ground_truth"] == record.get("answer", record["completion"][0]["content"])
        assert (row["extra_info"]["index"], row["extra_info"]["id"]) == (at, record["id"])
        assert sum(message["content"].count("<image>") for message in row["prompt"]) == len(row.get("images") or ())


@pytest.mark.parametrize(("to", "output"), [("parquet", "out.parquet"), ("hf", "out")])
def test_equal_input_leaves_a_table_untouched(to: str, output: str, tmp_path: Path) -> None:
    target = tmp_path / output
    export(str(AGENT), to=to, output=str(target))
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.rglob("*") if path.is_file()}
    assert tmp_path / f"{output}.manifest.json" in before
    assert not export(str(AGENT), to=to, output=str(target)).changed
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in before} == before
    assert export(str(ANNOTATED), to=to, output=str(target)).changed
    assert check_target(str(target), to).rows == len(read_jsonl(ANNOTATED))


def test_parquet_to_stdout(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    import pyarrow
    from pyarrow import parquet

    assert main(["export", str(ANNOTATED), "--to", "parquet", "-o", "-"]) == 0
    table = parquet.read_table(pyarrow.BufferReader(capfdbinary.readouterr().out))
    assert [plain(row) for row in table.to_pylist()] == read_jsonl(ANNOTATED)


def test_from_parquet_to_parquet(tmp_path: Path) -> None:
    """What is read from a table has keys of no value, and these are none."""
    export(str(AGENT), to="parquet", output=str(tmp_path / "a.parquet"))
    export(str(tmp_path / "a.parquet"), to="trl-sft", output=str(tmp_path / "b.jsonl"))
    export(str(AGENT), to="trl-sft", output=str(tmp_path / "c.jsonl"))
    assert read_jsonl(tmp_path / "b.jsonl") == read_jsonl(tmp_path / "c.jsonl")


def test_rows_that_fit_no_table(tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_bytes(b'{"a": 1}\n{"a": 18446744073709551615}\n{"a": -1}\n')
    with pytest.raises(UsageError, match="these rows do not fit one table"):
        export(str(source), to="parquet", output=str(tmp_path / "a.parquet"))
    source.write_bytes(b'{"a": {}}\n')
    with pytest.raises(UsageError, match="these rows do not fit one table"):
        export(str(source), to="parquet", output=str(tmp_path / "a.parquet"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl"]


def test_a_parquet_file_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1 no")
    assert main(["check", str(tmp_path / "a.parquet"), "--for", "verl"]) == 2
    assert "cannot read this as Parquet" in capsys.readouterr().err


def test_distillkit(tmp_path: Path) -> None:
    from pyarrow import ipc

    from distill_data.formats.distillkit import write_distillkit
    from distill_data.formats.kd import Facts, Row
    from tests.feature_datasets import topk

    assert make_dataset(tmp_path)
    arrays = topk(1, 4)
    rows = [Row("x:1", {"id": "a"}, arrays, [*range(6)], 2)]
    write_distillkit(iter(rows), tmp_path / "kd", Facts(8, 300, 1.0, tmp_path / "kd"))
    assert check_target(str(tmp_path / "kd"), "distillkit").faults == []
    (data,) = (tmp_path / "kd").glob("*.arrow")
    table = ipc.open_stream(data.read_bytes()).read_all()
    with data.open("wb") as sink, ipc.new_stream(sink, table.drop_columns(["labels"]).schema) as stream:
        stream.write_table(table.drop_columns(["labels"]))
    assert {fault.column for fault in check_target(str(tmp_path / "kd"), "distillkit").faults} == {"labels"}


@pytest.mark.slow
@pytest.mark.parametrize("to", ["parquet", "hf", "trl-sft"])
def test_memory_does_not_grow_with_the_rows(to: str, tmp_path: Path) -> None:
    """The peak of a process that exports ten times as many rows."""
    import subprocess

    line = ANNOTATED.read_bytes().split(b"\n")[0] + b"\n"
    peaks = []
    for count in (10_000, 100_000):
        (tmp_path / "in.jsonl").write_bytes(line * count)
        output = tmp_path / {"parquet": "a.parquet", "hf": f"a{count}", "trl-sft": "a.jsonl"}[to]
        command = [sys.executable, "-c", PEAK, str(tmp_path / "in.jsonl"), to, str(output)]
        peaks.append(int(subprocess.run(command, capture_output=True, check=True).stdout))
    assert peaks[1] < 1.3 * peaks[0], peaks


PEAK = """
import re, sys
from distill_data.commands.export import export
export(sys.argv[1], to=sys.argv[2], output=sys.argv[3])
print(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])  # ru_maxrss would count the parent too
"""

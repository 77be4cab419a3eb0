"""`export`: whole or not at all, never over what is read, only with the tokenizer that the arrays belong to."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from distill_data.cli import main
from distill_data.commands.export import export
from distill_data.commands.export_arrays import ARRAYS
from distill_data.errors import DamageError, DiskError, UsageError
from tests.feature_datasets import make_dataset, topk


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return make_dataset(tmp_path)


def left_over(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.endswith(".tmp"))


def test_npz_and_its_manifest(dataset: Path, tmp_path: Path) -> None:
    target = tmp_path / "deep" / "out.npz"
    manifest = export(str(dataset), to="npz", output=str(target)).result
    assert orjson.loads((tmp_path / "deep" / "out.npz.manifest.json").read_bytes()) == manifest
    digest = hashlib.sha256(target.read_bytes()).hexdigest()
    assert manifest["files"] == [{"name": "out.npz", "bytes": target.stat().st_size, "sha256": digest}]
    assert manifest["source"] == {"name": "out.jsonl", "sha256": hashlib.sha256(dataset.read_bytes()).hexdigest()}
    assert (manifest["rows"], manifest["to"]) == (5, "npz")
    with np.load(target) as found:
        assert np.array_equal(found[f"{3:016x}.ids"], topk(3, 6)["ids"])
    export(str(dataset), to="npz", output=str(target))
    assert left_over(tmp_path / "deep") == []


@pytest.mark.parametrize(
    ("to", "output", "says"),
    [
        ("ppo", "x", "the targets are"),
        ("npz", "out.jsonl", r"must end in \.npz"),
        ("axolotl-kd", "kd.json", r"must end in \.jsonl"),
        ("axolotl-kd", "out.jsonl", "belongs to the dataset"),
        ("axolotl-kd", "link.jsonl", "belongs to the dataset"),
        ("axolotl-kd", "out.rejects.jsonl", "belongs to the dataset"),
        ("distillkit", "out", "belongs to the dataset"),
        ("npz", "out.features/x.npz", "belongs to the dataset"),
        ("npz", "folder.npz", "is there already"),
        ("distillkit", "folder.npz", "is there already"),
        ("axolotl-kd", "kd.jsonl", "--tokenizer transformers/PATH"),
    ],
)
def test_an_output_that_cannot_be(dataset: Path, to: str, output: str, says: str) -> None:
    folder = dataset.parent
    (folder / "folder.npz").mkdir()
    (folder / "link.jsonl").symlink_to(dataset)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(UsageError, match=says):
        export(str(dataset), to=to, output=str(folder / output))
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_what_is_damaged_or_stopped_leaves_the_earlier_export(dataset: Path, tmp_path: Path) -> None:
    target = tmp_path / "a.npz"
    export(str(dataset), to="npz", output=str(target))
    before = target.read_bytes()
    (shard,) = (tmp_path / "out.features").iterdir()
    whole = shard.read_bytes()
    shard.unlink()
    with pytest.raises(DamageError, match="missing"):
        export(str(dataset), to="npz", output=str(target))
    shard.write_bytes(whole)
    dataset.write_bytes(dataset.read_bytes() + b'{"id": "no place"}\n')
    with pytest.raises(UsageError, match="no place"):
        export(str(dataset), to="npz", output=str(target))
    assert target.read_bytes() == before
    assert left_over(tmp_path) == []


def test_a_full_disk(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(rows: Any, path: Path, facts: Any) -> dict[str, Any]:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    module = sys.modules["distill_data.commands.export_arrays"]
    monkeypatch.setattr(module, "ARRAYS", {"npz": ARRAYS["npz"]._replace(write=full)})
    with pytest.raises(DiskError, match="No space"):
        export(str(dataset), to="npz", output=str(tmp_path / "a.npz"))
    assert left_over(tmp_path) == []
    assert not (tmp_path / "a.npz").exists()


def test_the_command_prints_what_it_wrote(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = str(tmp_path / "a.npz")
    assert main(["export", str(dataset), "--to", "npz", "-o", target]) == 0
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", f"written: {target}; 5 rows\n")
    assert main(["export", str(dataset), "--to", "npz", "-o", target, "--json"]) == 0
    assert orjson.loads(capsys.readouterr().out)["rows"] == 5


@pytest.mark.parametrize("to", ["distillkit", "npz", "axolotl-kd"])
def test_arrays_do_not_go_to_stdout(to: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="-o -: stdout takes lines and Parquet, and no arrays"):
        export("rows.jsonl", to=to, output="-")
    assert not [*tmp_path.iterdir()]

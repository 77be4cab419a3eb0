"""The reader of side files: arrays by record and by id, whatever the order of lines; damage and absence in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from safetensors.numpy import save_file

from distill_data.data.features import OPEN_SHARDS, open_features
from distill_data.errors import DamageError, UsageError

METADATA = {"distill-data-features": "1"}


def write(folder: Path, rows: int, per_shard: int = 3) -> list[dict[str, Any]]:
    """A dataset whose record number n has the array [n, n + 1]."""
    (folder / "out.features").mkdir()
    records = []
    for first in range(0, rows, per_shard):
        name = f"out.features/{first:05d}-0123456789ab.safetensors"
        tensors = {}
        for number in range(first, min(first + per_shard, rows)):
            identity = f"{number:016x}"
            tensors[f"{identity}.tokens"] = np.array([number, number + 1], np.int32)
            tensors[f"{identity}.tail"] = np.array([0.5], np.float16)
            records.append({"id": identity, "features": {"file": name, "tokens": 2}})
        save_file(tensors, folder / name, METADATA)
    (folder / "out.jsonl").write_bytes(b"".join(orjson.dumps(record) + b"\n" for record in records))
    return records


def test_every_record_has_its_own_arrays_in_any_order(tmp_path: Path) -> None:
    records = write(tmp_path, 40)
    features = open_features(tmp_path / "out.jsonl")
    for record in records[::-1] + records[::2]:
        arrays = features.of(record)
        number = int(record["id"], 16)
        assert sorted(arrays) == ["tail", "tokens"]
        assert arrays["tokens"].tolist() == [number, number + 1]
        assert arrays["tail"].dtype == np.float16
        assert features.find(record["id"])["tokens"].tolist() == [number, number + 1]
    assert len(features._open) == OPEN_SHARDS


def test_shuffled_lines_find_the_same_arrays(tmp_path: Path) -> None:
    records = write(tmp_path, 10)
    lines = (tmp_path / "out.jsonl").read_bytes().split(b"\n")[:-1]
    (tmp_path / "out.jsonl").write_bytes(b"\n".join(lines[::-1]) + b"\n")
    assert open_features(tmp_path / "out.jsonl").find(records[7]["id"])["tokens"].tolist() == [7, 8]


def test_what_is_not_there(tmp_path: Path) -> None:
    records = write(tmp_path, 4)
    with pytest.raises(UsageError, match="no such dataset"):
        open_features(tmp_path / "absent.jsonl")
    features = open_features(tmp_path / "out.jsonl")
    with pytest.raises(UsageError, match="no record with the id ffff"):
        features.find("ffff")
    with pytest.raises(UsageError, match="no column `features`"):
        features.of({"id": "1"})
    with pytest.raises(DamageError, match="no arrays of the record ffff"):
        features.of({**records[0], "id": "ffff"})
    (tmp_path / "out.jsonl").write_bytes(b'{"id": "1"}\n')
    with pytest.raises(UsageError, match=r"out\.jsonl:1"):
        open_features(tmp_path / "out.jsonl").find("1")


def test_a_missing_a_cut_and_a_foreign_side_file(tmp_path: Path) -> None:
    record = write(tmp_path, 1)[0]
    shard = tmp_path / record["features"]["file"]
    whole = shard.read_bytes()
    for damaged in (whole[:-1], whole[:20], b"", b"\xff" + whole[1:], whole + b"x"):
        shard.write_bytes(damaged)
        with pytest.raises(DamageError, match="damaged"):
            open_features(tmp_path / "out.jsonl").of(record)
    save_file({f"{record['id']}.tokens": np.zeros(1)}, shard, {"format": "another"})
    with pytest.raises(DamageError, match="not a side file"):
        open_features(tmp_path / "out.jsonl").of(record)
    shard.unlink()
    with pytest.raises(DamageError, match="missing"):
        open_features(tmp_path / "out.jsonl").of(record)


@pytest.mark.parametrize("file", ["/etc/x.safetensors", "../x.safetensors", "out.features/../../x.safetensors", "out"])
def test_a_record_names_no_file_outside_its_folder(tmp_path: Path, file: str) -> None:
    record = write(tmp_path, 1)[0]
    with pytest.raises(DamageError, match="no side file"):
        open_features(tmp_path / "out.jsonl").of({**record, "features": {"file": file}})

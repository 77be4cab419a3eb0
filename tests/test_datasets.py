"""The `datasets` library reads what recipes write: all columns at once, with the same features for every row."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson
import pytest

from distill_data.formats import Source, make_record
from tests.golden import GOLDEN

pytestmark = pytest.mark.datasets

MEGABYTE = 1 << 20


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither the hub nor anybody's cache."""
    for name in (
        "HF_DATASETS_OFFLINE",
        "HF_HUB_OFFLINE",
        "HF_HUB_DISABLE_TELEMETRY",
        "HF_DATASETS_DISABLE_PROGRESS_BARS",
    ):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))


def load(path: Path, cache: Path) -> Any:
    import datasets

    return datasets.load_dataset("json", data_files=str(path), split="train", cache_dir=str(cache))


def messages(names: Iterable[str]) -> Any:
    from datasets import List, Value

    return List({name: Value("string") for name in names})


FILES = [path.relative_to(GOLDEN) for path in GOLDEN.glob("*/*/records*.jsonl")]
"""But for those of `score`, whose records are the rows that came, here of every shape."""


@pytest.mark.parametrize("file", sorted(str(path) for path in FILES if path.parts[0] != "score"))
def test_every_recipes_records_load(file: str, tmp_path: Path) -> None:
    path = GOLDEN / file
    rows = [orjson.loads(line) for line in path.read_bytes().split(b"\n") if line]
    loaded = load(path, tmp_path / "cache")
    assert loaded.column_names == list(rows[0])
    assert [dict(row) for row in loaded] == rows
    for column in ("prompt", "completion", "chosen", "rejected"):
        if column not in rows[0] or isinstance(rows[0][column], str):
            continue
        # Calls and image parts are objects of several shapes: these come back as they were, which is tested above.
        if all(isinstance(value, str) for row in rows for message in row[column] for value in message.values()):
            assert loaded.features[column] == messages(rows[0][column][0])
        if column != "prompt":
            assert list(rows[0][column][0])[:2] == ["role", "content"]


def test_a_column_that_first_has_a_value_after_eleven_megabytes(tmp_path: Path) -> None:
    """Features are inferred from the first megabytes, so an empty text must already be a text there."""
    path, size, rows = tmp_path / "large.jsonl", 0, 0
    with path.open("wb") as stream:
        while size < 11 * MEGABYTE:
            size += stream.write(line(rows, ""))
            rows += 1
        stream.write(line(rows, "at last"))
    loaded = load(path, tmp_path / "cache")
    assert loaded.num_rows == rows + 1
    assert loaded.features["completion"] == messages(["role", "content", "reasoning_content"])
    for row, text in ((loaded[0], ""), (loaded[rows - 1], ""), (loaded[rows], "at last")):
        assert row["answer"] == row["completion"][0]["reasoning_content"] == row["meta"]["model"] == text
        assert orjson.loads(row["meta"]["details"]) == ({"note": text} if text else {})
    assert loaded[rows] == orjson.loads(line(rows, "at last"))


def line(number: int, text: str) -> bytes:
    """A record of about 2 kB in which every text that may be empty is `text`."""
    source = Source("label", "cot", "0" * 64, f"{number:016x}", "teacher", "some/model", text, 0)
    prompt = [{"role": "user", "content": f"question {number} " + "and so on " * 180}]
    completion = {"role": "assistant", "content": text, "reasoning_content": text}
    return orjson.dumps(make_record("sft", prompt, completion, source, {"note": text} if text else {}, text)) + b"\n"

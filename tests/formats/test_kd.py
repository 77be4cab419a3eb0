"""Exports of distributions, read back as their trainers read them: aligned, filled up, masked, exact."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_data.data.arrays import topk_of
from distill_data.errors import UsageError
from distill_data.formats.axolotl import axolotl_row, write_axolotl
from distill_data.formats.distillkit import MASKED, distillkit_row, pack_bits, write_distillkit
from distill_data.formats.kd import NOTHING, Facts, Row, fill
from distill_data.formats.npz import write_npz
from tests.feature_datasets import SAMPLED, TOPK, VOCAB, packed, record, sampled, topk

PROMPT = [250, 251, 252, 253]
BEHIND = [254]
OUT = Path("kd")


def row(number: int = 0, tokens: int = 5, make: Any = topk, **columns: Any) -> Row:
    """A record whose conversation is PROMPT, y's tokens, BEHIND."""
    arrays = make(number, tokens)
    feature = SAMPLED if make is sampled else TOPK
    ids = [*PROMPT, *arrays["tokens"].tolist(), *BEHIND]
    return Row(f"out.jsonl:{number + 1}", record(number, arrays, feature, **columns), arrays, ids, len(PROMPT))


def facts(k: int = 8, **others: Any) -> Facts:
    return Facts(**{"k": k, "vocab_size": VOCAB, "temperature": 1.0, "output": OUT, **others})


# -- filling up --------------------------------------------------------------------------------------------------------


@given(st.integers(0, 2**32 - 1), st.integers(1, 12))
def test_every_token_gets_k_different_ids(seed: int, k: int) -> None:
    found = topk_of(packed(seed, 4))
    ids, logprobs = fill(found, k)
    assert ids.shape == logprobs.shape == (4, k)
    assert np.isfinite(logprobs).all()
    for at in range(4):
        assert len(set(ids[at].tolist())) == k
        there = found.ids[at][:k]
        there = there[there >= 0]
        assert ids[at][: len(there)].tolist() == there.tolist()
        assert logprobs[at][: len(there)].tolist() == found.logprobs[at][: len(there)].tolist()
        assert (logprobs[at][len(there) :] == np.float32(NOTHING)).all()


# -- Axolotl -----------------------------------------------------------------------------------------------------------


def target_rows(line: dict[str, Any], conversation: list[int]) -> dict[int, list[int]]:
    """What the plugin makes of a line: position in the conversation to the ids held likely for the token there."""
    front = len(conversation) - len(line["logprobs"])
    return {front + at: ids for at, ids in enumerate(line["target_token_ids"]) if ids}


@pytest.mark.parametrize("make", [topk, packed])
def test_axolotl_puts_each_distribution_at_its_token(make: Any) -> None:
    given_row = row(make=make)
    line = axolotl_row(given_row, 8)
    assert line["messages"] == [*given_row.record["prompt"], *given_row.record["completion"]]
    assert len(line["logprobs"]) == len(line["target_token_ids"]) == 5 + len(BEHIND)
    assert line["logprobs"][-1] == line["target_token_ids"][-1] == []
    assert {len(token) for token in line["logprobs"][:-1]} == {8}
    rows = target_rows(line, given_row.ids)
    assert sorted(rows) == [4, 5, 6, 7, 8]
    found = topk_of(given_row.arrays)
    for at in range(5):
        assert rows[4 + at][0] == found.ids[at][0]
        assert abs(line["logprobs"][at][0] - found.logprobs[at][0]) < 1e-4


def test_axolotl_lines_and_settings(tmp_path: Path) -> None:
    settings = write_axolotl(iter([row(0), row(1)]), tmp_path / "kd.jsonl", facts(temperature=2.0))
    lines = [orjson.loads(line) for line in (tmp_path / "kd.jsonl").read_bytes().split(b"\n")[:-1]]
    assert [sorted(line) for line in lines] == [["logprobs", "messages", "target_token_ids"]] * 2
    (dataset,) = settings["datasets"]
    assert (dataset["logprobs_field"], dataset["field_messages"], dataset["temperature"]) == (
        "logprobs",
        "messages",
        2.0,
    )
    assert dataset["type"] == "axolotl.integrations.kd.chat_template"


def test_axolotl_takes_no_raw_text_and_no_draws() -> None:
    text = row()
    text.record.pop("prompt")
    with pytest.raises(UsageError, match=r"out\.jsonl:1: is raw text"):
        axolotl_row(text, 8)
    with pytest.raises(UsageError, match="reads the k most likely tokens only"):
        axolotl_row(row(make=sampled), 8)


# -- DistillKit --------------------------------------------------------------------------------------------------------


def unpack(packed_bytes: Any, bits: int, count: int) -> list[int]:
    """Whole numbers of `bits` bits, the highest bit first, from bytes."""
    text = "".join(f"{byte:08b}" for byte in packed_bytes)
    return [int(text[at * bits : (at + 1) * bits], 2) for at in range(count)]


@given(st.lists(st.lists(st.integers(0, 2**17 - 1), min_size=3, max_size=3), min_size=1, max_size=4))
def test_ids_in_bits(ids: list[list[int]]) -> None:
    found = pack_bits(np.array(ids), 17)
    assert found.shape == (len(ids), 7)
    assert [unpack(each, 17, 3) for each in found] == ids


@pytest.mark.parametrize("make", [topk, packed])
def test_distillkit_rows_stand_before_the_token_that_they_are_about(make: Any) -> None:
    given_row = row(make=make)
    made = distillkit_row(given_row, 8, VOCAB)
    tokens = given_row.ids[:-2]  # what follows y and y's last token are left out
    assert made["input_ids"].tolist() == tokens
    assert made["labels"].tolist() == [MASKED] * 3 + tokens[3:]
    values = made["compressed_logprobs"].copy().view("<f4")
    assert values.shape == (len(tokens), 8)
    found = topk_of(given_row.arrays)
    ids, logprobs = fill(found, 8)
    for at in range(5):
        assert unpack(made["bytepacked_indices"][3 + at], 9, 8) == ids[at].tolist()
        assert values[3 + at].tolist() == logprobs[at].tolist()
    assert (values[:3] == np.float32(NOTHING)).all()


@pytest.mark.datasets
def test_distillkit_folder(tmp_path: Path) -> None:
    import pyarrow

    rows = [row(number, 3 + number % 5) for number in range(40)]
    settings = write_distillkit(iter(rows), tmp_path / "kd", facts())
    state = orjson.loads((tmp_path / "kd" / "state.json").read_bytes())
    with pyarrow.OSFile(str(tmp_path / "kd" / state["_data_files"][0]["filename"])) as source:
        table = pyarrow.ipc.open_stream(source).read_all()
    assert table.num_rows == 40
    for at in (0, 31, 32, 39):
        made = distillkit_row(rows[at], 8, VOCAB)
        assert {name: table[name][at].as_py() for name in made} == {name: each.tolist() for name, each in made.items()}
    compressor = settings["teacher"]["logprob_compressor"]
    assert (compressor["d"], compressor["k"], compressor["exact_k"]) == (VOCAB, 8, 8)
    assert settings["dataset"] == {"train_dataset": {"disk_path": "kd"}, "prepacked": True}


def test_distillkit_takes_raw_text_from_its_second_token(tmp_path: Path) -> None:
    arrays = topk(0, 5)
    raw = Row("out.jsonl:1", record(0, arrays, TOPK, text="t"), arrays, [9, *arrays["tokens"].tolist()], 1)
    made = distillkit_row(raw, 8, VOCAB)
    assert made["labels"].tolist() == made["input_ids"].tolist() == raw.ids[:-1]


@pytest.mark.datasets
def test_what_distillkit_does_not_take(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="temperature 1"):
        write_distillkit(iter([row()]), tmp_path / "kd", facts(temperature=2.0))
    with pytest.raises(UsageError, match="the vocabulary has 100"):
        distillkit_row(row(), 8, 100)
    with pytest.raises(UsageError, match="reads the k most likely tokens only"):
        distillkit_row(row(make=sampled), 8, VOCAB)


@pytest.mark.datasets
def test_distillkit_folder_is_loaded_by_datasets(tmp_path: Path) -> None:
    import datasets

    rows = [row(number) for number in range(3)]
    write_distillkit(iter(rows), tmp_path / "kd", facts())
    loaded = datasets.load_from_disk(str(tmp_path / "kd"))
    assert loaded[2]["input_ids"] == rows[2].ids[:-2]
    assert loaded.column_names == ["input_ids", "labels", "compressed_logprobs", "bytepacked_indices"]


# -- npz ---------------------------------------------------------------------------------------------------------------


def test_npz_has_every_array_by_its_name(tmp_path: Path) -> None:
    rows = [row(0), row(1, make=packed), row(2, make=sampled)]
    for name in ("a.npz", "b.npz"):
        assert write_npz(iter(rows), tmp_path / name, facts()) == {}
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with np.load(tmp_path / "a.npz", allow_pickle=False) as found:
        assert len(found.files) == sum(len(each.arrays) for each in rows)
        for each in rows:
            for name, array in each.arrays.items():
                assert np.array_equal(found[f"{each.record['id']}.{name}"], array)
    assert zipfile.ZipFile(tmp_path / "a.npz").testzip() is None

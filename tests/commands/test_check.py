"""`check --student`: the verdicts, what they advise, and what they end with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from distill_data.cli import main
from distill_data.commands.check import _highest_id, check_student
from distill_data.data.fingerprints import Checked, compare
from distill_data.errors import UsageError
from tests.feature_datasets import SAMPLED, TOKENIZER, TOPK, make_dataset, packed, publish_dataset, record, sampled

OTHER = {**TOKENIZER, "name": "student"}


def check(dataset: Path, **changed: Any) -> Checked:
    return compare(TOKENIZER, {**OTHER, **changed}, lambda: _highest_id(dataset))


def test_same(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path, rows=1)
    assert check(dataset) == Checked(
        "same", True, ("same: toy and student share their tokenizer, 300 ids; train as it is.",)
    )
    assert check(dataset, vocab_size=0).match == "same"


def test_mismatch_has_a_way_out(tmp_path: Path) -> None:
    found = check(make_dataset(tmp_path, rows=1), probe="0" * 16)
    assert (found.match, found.fits) == ("mismatch", False)
    assert "sequence-level" in found.lines[1]


def test_a_wider_student_fits(tmp_path: Path) -> None:
    found = check(make_dataset(tmp_path, rows=1), vocab_size=384)
    assert (found.match, found.fits) == ("padded", True)
    assert "last 84" in found.lines[1]


@pytest.mark.parametrize("layout", ["plain", "packed", "sampled"])
def test_a_narrower_student_fits_where_no_id_is_beyond_it(tmp_path: Path, layout: str) -> None:
    if layout == "plain":
        dataset = make_dataset(tmp_path)
    else:
        make, feature = (packed, TOPK) if layout == "packed" else (sampled, SAMPLED)
        made = [make(number, 6) for number in range(4)]
        dataset = publish_dataset(tmp_path / "out.jsonl", [(record(n, a, feature), a) for n, a in enumerate(made)])
    told = check(dataset, vocab_size=1)
    highest = int(told.lines[1].split("the id ")[1].split(",")[0])
    assert 20 <= highest < 300
    assert (told.match, told.fits) == ("padded", False)
    assert "resize its embeddings to 300" in told.lines[1]
    assert not check(dataset, vocab_size=highest).fits
    assert check(dataset, vocab_size=highest + 1).fits


def test_another_chat_template_is_a_warning(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path, rows=1)
    found = check(dataset, template="0" * 16)
    assert found.fits
    assert found.lines[1].startswith("warning: the chat templates differ")
    assert len(check(dataset, template="").lines) == 1


def test_nothing_to_compare(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such dataset"):
        check_student(str(tmp_path / "out.jsonl"), "echo")
    (tmp_path / "out.jsonl").write_bytes(b'{"id": "1"}\n')
    with pytest.raises(UsageError, match="name no tokenizer"):
        check_student(str(tmp_path / "out.jsonl"), "echo")
    (tmp_path / "out.jsonl").write_bytes(b"")
    with pytest.raises(UsageError, match="no records"):
        check_student(str(tmp_path / "out.jsonl"), "echo")


def test_a_student_whose_tokenizer_cannot_be_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(make_dataset(tmp_path, rows=1)), "--student", "echo"]) == 2
    assert "echo" in capsys.readouterr().err


def test_a_teacher_of_unknown_size(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path)

    def found(size: int) -> Checked:
        unknown = {**TOKENIZER, "vocab_size": 0}
        return compare(unknown, {**OTHER, "vocab_size": size}, lambda: _highest_id(dataset))

    assert found(300).match == "same" and found(300).fits
    assert not found(20).fits
    assert "outputs have more and 20 ids" in found(20).lines[0] and "resize its embeddings" in found(20).lines[1]

"""From a model to a trainer: scored, published, verified, scored again, checked and exported, token by token."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from distill_data.cli import main
from distill_data.commands import Options
from distill_data.commands.check import check_student
from distill_data.commands.export import export
from distill_data.commands.verify import verify
from distill_data.data.arrays import decode, pack_topk
from distill_data.data.exchange import Reply
from distill_data.errors import UsageError
from distill_data.teachers.loading import fingerprint, load
from distill_data.teachers.profiles import find_profile
from distill_data.teachers.scoring import Prepared, prepare, run
from tests.feature_datasets import TOPK, publish_dataset
from tests.white_box.tiny import make_tiny

pytestmark = pytest.mark.white_box
QUESTIONS = ("How many legs has a spider?", "What is the capital of France?", "user assistant 12 * 12 = ?")
ANSWERS = ("A spider has eight legs.", "Paris.", "144, because 12 * 12 = 144")


@pytest.fixture(scope="module")
def tiny(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("tiny") / "teacher")


def scored(tiny: Path, output: Path, *, packed: bool = False) -> tuple[Path, Any]:
    """A dataset of the questions and answers, scored by the model, and the model."""
    name = f"transformers/{tiny}"
    loaded = load(find_profile(name, {}))
    tokenizer = fingerprint(loaded.tokenizer, loaded.label, loaded.vocab_size)
    rows = []
    for number, (question, answer) in enumerate(zip(QUESTIONS, ANSWERS, strict=True)):
        x, y = [{"role": "user", "content": question}], [{"role": "assistant", "content": answer}]
        prepared = prepare(loaded, {"messages": x, "completion": y, "feature": TOPK})
        assert isinstance(prepared, Prepared)
        (reply,) = run(loaded, [prepared])
        assert isinstance(reply, Reply)
        arrays = decode(orjson.loads(reply.body)["feature"]["arrays"], reply.blob)
        arrays = pack_topk(arrays, loaded.vocab_size) if packed else arrays
        details = {"feature": TOPK, "layout": "packed" if packed else "plain"}
        made = {
            "id": f"{number:016x}",
            "kind": "logits",
            "prompt": x,
            "completion": y,
            "features": {"file": "", "tokens": len(arrays["tokens"]), "tokenizer": tokenizer, "kind": "topk"},
            "meta": {"teacher": name, "details": orjson.dumps(details).decode()},
        }
        rows.append((made, arrays))
    return publish_dataset(output, rows, teachers={"teacher": name}), loaded


@pytest.mark.parametrize("packed", [False, True])
def test_the_teacher_agrees_with_itself_and_no_other_does(tiny: Path, tmp_path: Path, packed: bool) -> None:
    output, _ = scored(tiny, tmp_path / "out.jsonl", packed=packed)
    found = verify(str(output), rescore=3, options=Options(teachers=(f"transformers/{tiny}",)))
    assert (found.findings, found.counts["rescored"]) == ([], 3)
    other = make_tiny(tmp_path / "other", seed=1)
    found = verify(str(output), rescore=3, options=Options(teachers=(f"transformers/{other}",)))
    assert len(found.findings) >= 3


def test_check_tells_the_teacher_a_padded_student_and_a_stranger(tiny: Path, tmp_path: Path) -> None:
    output, _ = scored(tiny, tmp_path / "out.jsonl")
    assert check_student(str(output), f"transformers/{tiny}").match == "same"
    padded = check_student(str(output), f"transformers/{make_tiny(tmp_path / 'padded', vocab_extra=24)}")
    assert (padded.match, padded.fits) == ("padded", True)
    assert main(["check", str(output), "--student", f"transformers/{tiny}"]) == 0


def model_topk(loaded: Any, ids: list[int], at: int, k: int) -> list[int]:
    """What the model holds most likely for the token at this place, by itself."""
    import torch

    with torch.inference_mode():
        logits = loaded.model(torch.tensor([ids[:at]])).logits[0, -1]
    found: list[int] = logits.topk(k).indices.tolist()
    return found


def test_exports_stand_where_the_trainers_tokens_do(tiny: Path, tmp_path: Path) -> None:
    import pyarrow

    output, loaded = scored(tiny, tmp_path / "out.jsonl")
    export(str(output), to="axolotl-kd", output=str(tmp_path / "kd.jsonl"))
    lines = [orjson.loads(line) for line in (tmp_path / "kd.jsonl").read_bytes().split(b"\n")[:-1]]
    export(str(output), to="distillkit", output=str(tmp_path / "kd"))
    with pyarrow.OSFile(str(tmp_path / "kd" / "data-00000-of-00001.arrow")) as source:
        table = pyarrow.ipc.open_stream(source).read_all().to_pylist()
    for line, row in zip(lines, table, strict=True):
        ids = loaded.tokenizer.apply_chat_template(line["messages"], tokenize=True, return_dict=False)
        front = len(ids) - len(line["logprobs"])
        places = [front + at for at, each in enumerate(line["target_token_ids"]) if each]
        assert (
            loaded.tokenizer.decode(ids[places[0] : places[-1] + 1]) == line["messages"][-1]["content"] + "<|im_end|>"
        )
        for place in (places[0], places[-1]):
            assert line["target_token_ids"][place - front] == model_topk(loaded, ids, place, 8)
        assert row["input_ids"] == ids[: places[-1]]
        assert [at for at, label in enumerate(row["labels"]) if label >= 0] == [place - 1 for place in places]
        for place in (places[0], places[-1]):
            values = np.array(row["compressed_logprobs"][place - 1], np.uint8).view("<f4")
            assert np.allclose(values, line["logprobs"][place - front], atol=1e-4)


def test_another_tokenizer_is_refused(tiny: Path, tmp_path: Path) -> None:
    output, _ = scored(tiny, tmp_path / "out.jsonl")
    lines = [orjson.loads(line) for line in output.read_bytes().split(b"\n")[:-1]]
    lines[0]["completion"][0]["content"] = "A spider has nine legs."
    output.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    with pytest.raises(UsageError, match=r"out\.jsonl:1: .* does not make the tokens"):
        export(str(output), to="axolotl-kd", output=str(tmp_path / "kd.jsonl"))

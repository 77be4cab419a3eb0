"""Which tokens sft and step-by-step learn: the answer's, of every row that has room for it, beside its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from distill_data.errors import UsageError
from distill_data.training.jobs import Job, Loop

pytest.importorskip("torch")
pytestmark = pytest.mark.white_box


def job_of(rows: list[dict[str, Any]], folder: Path, **settings: float) -> Job:
    from distill_data.training.students import make_tiny, make_tokenizer

    student = make_tiny(make_tokenizer(), 0, "AutoModelForCausalLM")
    return Job(student, rows, (), settings, Loop(steps=1, max_length=64), folder)


def learned(job: Job, row: dict[str, Any]) -> str:
    """What has a loss of a row in tokens."""
    return str(job.student.tokenizer.decode([label for label in row["labels"] if label != -100]))


def test_of_a_conversation_the_last_answer_is_learned(tmp_path: Path) -> None:
    from distill_data.training.supervised import make_sft

    turns = [("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d"), ("user", "e")]
    talk = {"messages": [{"role": role, "content": said} for role, said in turns]}
    job = job_of([{"prompt": "x" * 64, "completion": "y"}, {"prompt": "p", "completion": "q"}, talk], tmp_path)
    data = make_sft(job, 1e-3).train_dataset
    assert [learned(job, row) for row in data] == ["q<|im_end|>\n", "d<|im_end|>\n"]
    assert job.left_out == {"too-long": 1}
    with pytest.raises(UsageError, match="1 of 2 rows are raw text"):
        make_sft(job_of([talk, {"text": "raw"}], tmp_path), 1e-3)
    with pytest.raises(UsageError, match="no row has a token of y"):
        make_sft(job_of([{"prompt": "x" * 64, "completion": "y"}], tmp_path), 1e-3)


def test_rows_have_every_column_and_no_nulls_of_other_rows() -> None:
    from distill_data.training.rows import as_dataset

    calls = [{"function": {"name": "f", "arguments": {name: 1}}} for name in "ab"]
    rows = [
        {"prompt": [{"role": "user", "content": "a"}]},
        *({"prompt": [{"role": "assistant", "tool_calls": [call]}], "tools": [call]} for call in calls),
    ]
    assert list(as_dataset(rows)) == [{**rows[0], "tools": None}, *rows[1:]]


def test_the_two_tasks_of_a_text_stay_together_where_others_are_cut(tmp_path: Path) -> None:
    from distill_data.training.supervised import make_step_by_step

    rows = [
        {
            "prompt": [{"role": "user", "content": part[0] + ("x" * 64 if (number, part) in LONG else "")}],
            "completion": [{"role": "assistant", "content": f"{part} {number}"}],
            "meta": {"seed_id": str(number), "details": orjson.dumps({"part": part}).decode()},
        }
        for number in range(4)
        for part in ("label", "rationale")
    ]
    job = job_of(rows, tmp_path, alpha=0.5)
    data = make_step_by_step(job, 1e-3).train_dataset
    found = [[learned(job, pair[task]) for task in ("label", "rationale")] for pair in data]
    assert found == [[f"{part} {number}<|im_end|>\n" for part in ("label", "rationale")] for number in (0, 3)]


LONG = ((1, "rationale"), (2, "label"))
"""Which prompts leave no room: an even number of rows, so that nothing but their answers tells who is beside whom."""

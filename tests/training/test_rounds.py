"""The way of rows from command to command, with no step between: a student's own knowledge for two rounds, and what a
manifest says of where a student comes from."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from distill_data.commands.options import Options
from distill_data.commands.self_knowledge import self_knowledge
from distill_data.commands.train import Loop, Training, train
from distill_data.commands.verify import verify
from distill_data.errors import UsageError
from tests.training.measures import choice_accuracy, mean_probability
from tests.training.teaching import write_rows

pytest.importorskip("torch")
pytestmark = pytest.mark.white_box

RECIPE = """---
about: Right solutions of easy sums.
strategy: rest
columns: {question: required, answer: required}
settings: {thresholds: [0.5], keep: 2, pairs: best-worst, margin: 0.5, threshold: 0.5}
samples: 6
parser: text
verifier: normalised
gold: answer
sampling: {temperature: 1.0, max_tokens: 4}
record: {kind: sft, completion: {content: text}, answer: text}
---
{% block main %}
{% message "user" %}
{{ question }}
{% endmessage %}
{% endblock %}
"""
SUMS = [(f"{one}+{other}=?", str(one + other)) for one in (1, 2, 3) for other in (1, 2, 3)]


def test_two_rounds_of_a_students_own_right_answers_teach_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It begins with as many wrong answers as right ones; rows go from command to command as they are."""
    monkeypatch.chdir(tmp_path)
    Path("sums.jinja").write_text(RECIPE)
    write_rows(Path("seeds.jsonl"), [{"question": asked, "answer": right} for asked, right in SUMS])
    write_rows(Path("held.jsonl"), [{"prompt": asked, "completion": right} for asked, right in SUMS])
    wrong = [answer for _, answer in SUMS]
    Random(1).shuffle(wrong)
    begin = [
        {"prompt": asked, "completion": said} for (asked, right), other in zip(SUMS, wrong, strict=True)
        for said in (right, other)
    ]  # fmt: skip
    write_rows(Path("begin.jsonl"), begin)
    train("begin.jsonl", Training("tiny", "sft", Loop(steps=40, batch=9, max_length=48)), "students/r0")
    results: list[Any] = []
    for number in (1, 2):
        before = f"students/r{number - 1}"
        previous = Path(f"round{number - 1}.jsonl") if number > 1 else None
        options = Options(students=(f"transformers/{before}",), round=number, previous=previous, max_failed=1.0)
        made = self_knowledge("seeds.jsonl", recipe="sums.jinja", output=f"round{number}.jsonl", options=options)
        assert made.exit_code == 0, made.message
        training = Training(before, "sft", Loop(steps=15, batch=8, max_length=48, learning_rate=1e-3))
        results.append(train(f"round{number}.jsonl", training, f"students/r{number}").result)
    found = [mean_probability(Path(f"students/r{number}"), Path("held.jsonl")) for number in (0, 1, 2)]
    print("mean probability of the right answer, before and after each round:", found)
    assert found[0] < 0.8 and found[1] > found[0] and found[2] > 0.9
    assert choice_accuracy(Path("students/r2"), Path("held.jsonl")) == 1

    last = json.loads(Path("students/r2.manifest.json").read_bytes())["result"]
    (source,) = last["sources"]
    (step,) = source["lineage"]
    assert step["command"] == "self-knowledge" and len(step["seeds"]["digest"]) == 64, "down to the seeds"
    assert step["teachers"] == {"student": "transformers/students/r1"} and step["round"] == 2
    assert last["student"]["weights"] == results[0]["weights"], "the student before, by its own manifest"
    assert str(tmp_path) not in json.dumps(last)

    assert not verify("students/r2").findings
    weights = Path("students/r2/model.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    assert "SHA-256" in verify("students/r2").findings[0]
    with pytest.raises(UsageError, match="no manifest"):
        verify("students")

"""`evaluate` with models that run here: choices and perplexity are what torch gives by hand, one row at a time."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from distill_data.cli import main
from tests.white_box.tiny import make_tiny

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytestmark = [pytest.mark.white_box, pytest.mark.usefixtures("one_thread")]

TASK: list[dict[str, Any]] = [
    {"prompt": "How many legs has a spider?", "choices": ["eight", "two", "one hundred"], "answer": "eight"},
    {"question": "The capital of France?", "choices": ["Paris.", "The quick brown fox jumps."], "answer": 0},
    {"prompt": "12 * 12 = ?", "choices": '["144", "993", "7"]', "label": "B"},
    {"prompt": "Say it.", "choices": {"text": ["你好！", "no"], "label": ["1", "2"]}, "answerKey": "1"},
    {"messages": [{"role": "user", "content": "Is it positive?"}], "choices": ["yes", "maybe", "no"], "answer": "no"},
]
ASKED = ["How many legs has a spider?", "The capital of France?", "12 * 12 = ?", "Say it.", "Is it positive?"]
OPTIONS = [
    ["eight", "two", "one hundred"],
    ["Paris.", "The quick brown fox jumps."],
    ["144", "993", "7"],
    ["你好！", "no"],
    ["yes", "maybe", "no"],
]
RIGHT = [0, 0, 1, 0, 2]


@pytest.fixture(scope="module")
def students(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("students")
    make_tiny(folder / "a")
    make_tiny(folder / "b", seed=1)
    make_tiny(folder / "copy")
    return folder


@pytest.fixture(autouse=True)
def here(students: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("students").symlink_to(students)
    Path("task.jsonl").write_text("".join(json.dumps(row) + "\n" for row in TASK), encoding="utf-8")


def by_hand(model: Any, tokenizer: Any, x: str, y: str) -> tuple[float, int]:
    """The log-probability of y with the end of its turn, after x, and of how many tokens that is."""
    head = f"<|im_start|>user\n{x}<|im_end|>\n<|im_start|>assistant\n"
    ids = tokenizer(head + y + "<|im_end|>", add_special_tokens=False)["input_ids"]
    start = len(tokenizer(head, add_special_tokens=False)["input_ids"])
    with torch.no_grad():
        logp = model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
    return sum(float(logp[at - 1, ids[at]]) for at in range(start, len(ids))), len(ids) - start


def test_choices_and_perplexity_are_those_of_torch(students: Path, capsys: Any) -> None:
    job = ["evaluate", "students/a", "--baseline", "students/b", "--task", "task.jsonl", "-o", "out"]
    assert main([*job, "--metric", "choice", "--metric", "perplexity"]) == 0
    records = [json.loads(line) for line in Path("out/evaluation.jsonl").read_text().splitlines()]
    results = json.loads(Path("out/evaluation.json").read_text())
    figures = results["figures"]
    assert len({*results["weights"].values()}) == len(results["weights"]) == 2
    values = []
    for side, folder in (("model", students / "a"), ("baseline", students / "b")):
        model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        hits, raw_hits, nats, tokens, size = 0, 0, 0.0, 0, 0
        for record, x, options, right in zip(records, ASKED, OPTIONS, RIGHT, strict=True):
            found = [by_hand(model, tokenizer, x, option) for option in options]
            logprobs = [logprob for logprob, _ in found]
            assert record[side]["logprobs"] == pytest.approx(logprobs, abs=1e-4)
            best = max(range(len(options)), key=lambda at: logprobs[at] / len(options[at].encode()))
            assert record[side]["chosen"] == options[best]
            hits += best == right
            raw_hits += logprobs.index(max(logprobs)) == right
            assert record[side]["tokens"] == found[right][1] and record["answer"] == options[right]
            assert record[side]["logprob"] == pytest.approx(found[right][0], abs=1e-4)
            nats, tokens, size = nats - found[right][0], tokens + found[right][1], size + len(options[right].encode())
        told = {name: figures[name][side]["value"] for name in figures}
        assert told == pytest.approx(
            {
                "choice": hits / 5,
                "choice-raw": raw_hits / 5,
                "perplexity": math.exp(nats / tokens),
                "perplexity-byte": math.exp(nats / size),
            },
            rel=1e-4,
        )
        values.append(told["perplexity"])
    assert figures["perplexity"]["difference"]["value"] == pytest.approx(values[0] - values[1], abs=2e-6)
    assert figures["perplexity"]["better"] == "lower"
    shown = capsys.readouterr().out
    assert "transformers/./students/a" in shown and "(lower is better)" in shown


def test_a_copy_of_the_model_is_no_baseline(capsys: Any) -> None:
    assert main(["evaluate", "students/a", "--baseline", "students/copy", "--task", "task.jsonl", "-o", "out"]) == 2
    assert "has the same weights as transformers/./students/a" in capsys.readouterr().err


def test_greedy_answers_are_the_same_again(capsys: Any) -> None:
    job = ["evaluate", "students/a", "--task", "task.jsonl", "--metric", "exact", "--max-tokens", "6", "-q"]
    assert main([*job, "-o", "one"]) == main([*job, "-o", "two"]) == 0
    for ending in ("json", "jsonl"):
        assert Path(f"one/evaluation.{ending}").read_bytes() == Path(f"two/evaluation.{ending}").read_bytes()


def test_a_row_that_cannot_be_scored_is_told_and_counts_for_nothing(capsys: Any) -> None:
    rows = [{"prompt": "a", "completion": "b"}, {"prompt": "a", "completion": "b c " * 600}]
    Path("task.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    job = ["evaluate", "students/a", "--task", "task.jsonl", "--metric", "perplexity", "-o", "out.json"]
    assert main(job) == 3
    assert "1 of 2 items failed" in capsys.readouterr().err and not Path("out.json").exists()
    assert main([*job, "--max-failed", "50%"]) == 0
    assert "task.jsonl: 1 rows, 1 more failed" in capsys.readouterr().out
    assert json.loads(Path("out.json").read_text())["failed"] == 1
    assert '"reason":"too-long"' in Path("out.rejects.jsonl").read_text()

"""`score` in this process: rows come out as they were, and mistakes are said before anybody is asked."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from distill_data.cli import main

NOBODY = "http://127.0.0.1:9/v1"
"""Where no server is: whoever asks there fails with another code than 2."""


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl"


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_bytes(b"".join(json.dumps(row).encode() + b"\n" for row in rows))
    return path


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().split(b"\n") if line]


def score(*arguments: str | Path) -> int:
    return main(["score", *map(str, arguments)])


MIXED: list[dict[str, Any]] = [
    {"text": "just text", "n": 2**53, "x": 0.1},
    {"b": None, "a": [1.5, {"z": 1, "y": 2}], "prompt": "p", "chosen": "one two", "rejected": "no"},
    {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "我知道"}]},
    {"instruction": "i", "input": "", "output": ""},
    {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a b c"}], "tools": "[]"},
]


def test_rows_of_any_shape_come_out_in_their_order_with_one_column_more(tmp_path: Path, out: Path) -> None:
    assert score(write(tmp_path / "rows.jsonl", MIXED), "-r", "length", "-o", out) == 0
    found = read(out)
    assert [record["length"] for record in found] == [2.0, 2.0, 3.0, 0.0, 3.0]
    assert [[*record.items()] for record in found] == [
        [*row.items(), ("length", record["length"])] for row, record in zip(MIXED, found, strict=True)
    ]


def test_a_column_that_is_read_by_another_name_keeps_its_own(tmp_path: Path, out: Path) -> None:
    data = write(tmp_path / "rows.jsonl", [{"Frage": "What?", "Antwort": "one two", "length": 9}])
    assert score(data, "-r", "length", "--map", "output=Antwort", "-o", out) == 2
    assert score(data, "-r", "length", "--map", "output=Antwort", "--set", "column=words", "-o", out) == 0
    assert [[*row.items()] for row in read(out)] == [
        [("Frage", "What?"), ("Antwort", "one two"), ("length", 9), ("words", 2.0)]
    ]


def test_a_replay_and_a_second_run_have_the_same_bytes(tmp_path: Path, out: Path) -> None:
    data = write(tmp_path / "rows.jsonl", [row for row in MIXED if row.get("output") != ""])
    again, fresh = tmp_path / "again.jsonl", tmp_path / "fresh.jsonl"
    job = (data, "-r", "embedding", "-t", "echo", "--set", "on=y", "--set", "characters=6")
    assert score(*job, "-o", out) == 0
    assert score(*job, "-o", again, "--replay", out.with_suffix(".run")) == 0
    assert score(*job, "-o", fresh) == 0
    assert out.read_bytes() == again.read_bytes() == fresh.read_bytes()
    vectors = [record["embedding"] for record in read(out)]
    assert all(math.hypot(*vector) == pytest.approx(1, abs=1e-5) for vector in vectors)
    assert len({len(vector) for vector in vectors}) == 1


def test_texts_that_share_much_are_near_each_other_for_echo(tmp_path: Path, out: Path) -> None:
    texts = ["Name a river that flows east.", "Name a river that flows west.", "为什么天空是蓝色的？"]
    data = write(tmp_path / "rows.jsonl", [{"prompt": text} for text in texts])
    assert score(data, "-r", "embedding", "-t", "echo", "-o", out) == 0
    east, west, sky = (record["embedding"] for record in read(out))
    assert dot(east, west) > 0.6 > 0.3 > dot(east, sky)


def dot(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize(
    ("recipe", "rows", "options", "said"),
    [
        ("perplexity", [{"prompt": "a"}], (), "rows.jsonl:1: no column is known to hold what is answered"),
        ("length", [{"output": "a"}, {"input": "b"}], (), "rows.jsonl:2: no column is known to hold what is answered"),
        ("perplexity", [{"prompt": "a", "completion": "b", "perplexity": 1}], (), "column perplexity already; --set"),
        ("ifd", [{"text": "a"}], (), "rows.jsonl:1: x and y are wanted, and this row is raw text"),
        ("ifd", [{"prompt": "a", "completion": "b"}], ("--set", "truncate=true"), "truncate"),
        ("ifd", [{"messages": [{"role": "user", "content": "a"}]}], (), "assistant"),
        ("complexity", [{"score": 1}], (), "rows.jsonl:1: no column is known to hold what is asked"),
        ("pass-rate", [{"question": "a", "answer": ""}], (), "rows.jsonl:1: the column answer holds no right answer"),
        ("pass-rate", [{"question": "a"}], (), "rows.jsonl:1: the recipe pass-rate needs the column answer"),
        ("pass-rate", [{"question": "a", "answer": "1"}], ("--set", "field=value"), "reasoning, answer"),
        ("pass-rate", [{"question": "a", "answer": "1"}], ("--set", "temperature=0"), "all the same"),
        ("pass-rate", [{"question": "a", "answer": "1"}], ("--set", "verifier=nummeric"), "numeric"),
        ("pass-rate", [{"question": "a", "answer": "1"}], ("--set", "verifier=tests"), "--allow-code"),
        ("pass-rate", [{"question": "a", "answer": "1"}], ("-t", "echo"), "asks a student: drop -t"),
        (
            "embedding",
            [{"prompt": "a"}],
            ("--set", "on=y"),
            "rows.jsonl:1: no column is known to hold what is answered",
        ),
        ("embedding", [{"prompt": "a"}], ("--set", "on=x++y"), "x, y or a column"),
        ("embedding", [{"prompt": "a"}], ("--set", "on=colour"), "there is no column 'colour'"),
        ("embedding", [{"prompt": "a"}], ("--set", "temperature=1"), "nothing to sample"),
        ("embedding", [{"prompt": "a"}], ("--set", "extra_body.input=b"), "comes from the row"),
        ("embedding", [{"prompt": "a"}], ("-t", "echo"), "asks one teacher"),
        ("embedding", [{"prompt": "a"}], ("-n", "2"), "asks each question once"),
        ("embedding", [{"prompt": "a"}], ("-s", "echo"), "asks a teacher: drop -s"),
        ("embedding", [{"prompt": "a"}], ("--set", "characters=-1"), "characters"),
        ("length", [{"output": "a"}], ("-t", "echo"), "asks nobody: drop -t"),
        ("reward", [{"prompt": "a", "completion": "b"}], (), "'reward' cannot be had from it"),
        ("quality", [{"prompt": "a", "completion": "b"}], ("--set", "column="), "must name the column"),
    ],
)
def test_mistakes_cost_nothing(
    recipe: str,
    rows: list[dict[str, Any]],
    options: tuple[str, ...],
    said: str,
    tmp_path: Path,
    out: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked = {"pass-rate": ["-s", "openai/toy"], "length": []}.get(recipe, ["-t", "openai/toy"])
    job = [write(tmp_path / "rows.jsonl", rows), "-r", recipe, *asked, "--base-url", NOBODY, "-o", out, *options]
    assert score(*job) == 2
    complaint = capsys.readouterr().err
    assert said in complaint and "Traceback" not in complaint
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rows.jsonl"]


def test_reward_has_no_model_of_its_own(tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write(tmp_path / "rows.jsonl", [{"prompt": "a", "completion": "b"}])
    assert score(data, "-r", "reward", "-o", out) == 2
    assert "give -t transformers/PATH" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no rows"),
        (b'{"output": "\xff"}\n', "UTF-8"),
        (b'{"output": "a"}\n[1]\n', "rows.jsonl:2"),
        (b'{"output": "a"}\n{"text": ', "rows.jsonl:2"),
        (b'{"output": "' + b"word " * 4_000_000 + b'"}\n', "rows.jsonl:1: this line is longer than 16 MiB"),
    ],
    ids=["empty", "not UTF-8", "no object", "cut", "20 MB"],
)
def test_files_that_are_none(
    content: bytes, said: str, tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rows.jsonl").write_bytes(content)
    assert score(tmp_path / "rows.jsonl", "-r", "length", "-o", out) == 2
    assert said in capsys.readouterr().err


def test_a_dry_run_shows_the_text_that_would_be_embedded(
    tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write(tmp_path / "rows.jsonl", [{"prompt": "a river"}, {"prompt": "a lake"}])
    assert score(data, "-r", "embedding", "-t", "openai/e", "--base-url", NOBODY, "-o", out, "--dry-run") == 0
    said = capsys.readouterr().err
    assert "2 to send" in said and "a river" in said and "0 in answers" in said


def test_a_verifier_of_ones_own_decides_the_pass_rate(
    tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The student says the question again, which holds the tags of an answer."""
    (tmp_path / "lenient.py").write_text("def verify(answer, gold):\n    return gold in ('1', '2')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))
    rows = [{"question": "a <reasoning>r</reasoning><answer>v</answer>", "answer": gold} for gold in ("1", "5")]
    data = write(tmp_path / "rows.jsonl", rows)
    (tmp_path / "asked.jinja").write_text(
        "---\nabout: The question alone.\nstrategy: pass-rate\ncolumns: {answer: required}\n"
        "settings: {column: rate}\nsamples: 3\nparser: {tags: [reasoning, answer]}\nverifier: exact\ngold: answer\n"
        "sampling: {temperature: 1, max_tokens: 9}\n---\n{{ asked }}\n"
    )
    job = (data, "-r", "./asked.jinja", "-s", "echo", "--verifier", "lenient:verify", "-o", out)
    assert score(*job) == 0
    assert [record["rate"] for record in read(out)] == [1.0, 0.0]


def test_show_says_what_each_recipe_asks_without_a_model(capsys: pytest.CaptureFixture[str]) -> None:
    for recipe, words in (("ifd", "likelihood"), ("embedding", "Name a colour"), ("pass-rate", "24 biscuits")):
        assert main(["show", recipe]) == 0
        assert words in capsys.readouterr().out
    assert main(["show", "length"]) == 0
    assert capsys.readouterr().out.strip() == ""

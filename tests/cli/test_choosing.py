"""split, merge, sample and diff as they are typed: what they say, what they write, and how they end."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from distill_data.cli import main
from tests.cli.command import paragraph

Run = Callable[..., "subprocess.CompletedProcess[str]"]

ROWS = [{"id": f"r{n}", "instruction": f"问题 {n}", "output": "答" * (n + 1)} for n in range(40)]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return written(tmp_path / "a.jsonl", ROWS)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """The command line in this process, in the folder of the test."""
    monkeypatch.chdir(tmp_path)

    def typed(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        code = main([str(each) for each in arguments])
        return subprocess.CompletedProcess(arguments, code, *capfd.readouterr())

    return typed


def written(path: Path, rows: list[dict[str, str]]) -> Path:
    path.write_bytes(b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows))
    return path


def test_split_says_how_many_rows_each_part_has(run: Run, source: Path, tmp_path: Path) -> None:
    arguments = ("split", "a.jsonl", "--into", "train=75%", "--into", "test=0.2", "-o", "a.jsonl")
    done = run(*arguments)
    counts = [len((tmp_path / f"a.{name}.jsonl").read_bytes().splitlines()) for name in ("train", "test")]
    left = 40 - sum(counts)
    assert done.stderr.startswith(f"40 rows = {counts[0]} train ({100 * counts[0] / 40:.1f} %) + {counts[1]} test (")
    assert (f"+ {left} left out (" in done.stderr) == bool(left)
    assert done.stderr.endswith("written: a.train.jsonl, a.test.jsonl\n")
    assert run(*arguments).stderr.endswith("made it\n")
    assert json.loads(run(*arguments, "--json").stdout)["parts"] == dict(zip(("train", "test"), counts, strict=True))
    assert run(*arguments, "-q").stderr == ""


@pytest.mark.parametrize(
    ("into", "said"),
    [("train", "must be NAME=SHARE"), ("train=x", "must be a share"), ("train=1.1", "must be a share")],
)
def test_parts_that_are_none(run: Run, source: Path, into: str, said: str) -> None:
    assert said in paragraph(run("split", source, "--into", into, "-o", source), 2)
    twice = run("split", source, "--into", "a=0.1", "--into", "a=0.2", "-o", source)
    assert "--into a is given twice" in paragraph(twice, 2)


def test_merge_says_what_it_took(run: Run, source: Path, tmp_path: Path) -> None:
    written(tmp_path / "b.jsonl", [ROWS[0], {**ROWS[1], "output": "other"}])
    done = run("merge", "a.jsonl", "b.jsonl=2", "-o", "-")
    assert done.stderr.split("\n")[:2] == ["a.jsonl: 40 of 40 rows", "b.jsonl: 4 of 2 rows, weight 2"]
    assert "3 rows got a new id\n44 rows = 43 kept + 1 rejected\n" in done.stderr
    assert len({json.loads(line)["id"] for line in done.stdout.splitlines()}) == 43


def test_sample_writes_to_a_pipe(run: Run, source: Path, tmp_path: Path) -> None:
    done = run("sample", source, "--rows", "3", "-o", "-")
    assert len(done.stdout.splitlines()) == 3
    assert done.stderr == "40 rows = 3 kept + 37 rejected\nrejected:\n  37  not-sampled\n"
    assert list(tmp_path.iterdir()) == [source]
    assert "has 40 rows only" in run("sample", source, "--rows", "50", "-o", "-").stderr
    assert "give either --rows N or --share S" in paragraph(run("sample", source, "-o", "-"), 2)


def test_diff_shows_rows_safely_and_ends_as_it_is_told(run: Run, source: Path, tmp_path: Path) -> None:
    new = [
        *ROWS[2:],
        {"id": "r1", "instruction": "x", "output": "y"},
        {"id": "e\x1b[31m", "instruction": "a\x1b]0;b\x07\n\tc", "output": "z"},
    ]
    written(tmp_path / "b.jsonl", new)
    done = run("diff", "a.jsonl", "b.jsonl")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split("\n") == [
        "a.jsonl: 40 rows",
        "b.jsonl: 40 rows",
        "38 equal, 1 changed, 1 added, 1 gone",
        "changed in: instruction 1, output 1",
        "+ line 40: e\\x1b[31m  a\\x1b]0;b\\x07 c",
        "~ line 39: [instruction, output] r1  x",
        "- line 1: r0  问题 0",
        "",
    ]
    assert run("diff", source, source, "--exit-code").returncode == 0
    assert run("diff", source, tmp_path / "b.jsonl", "--exit-code").returncode == 3
    listed = json.loads(run("diff", source, tmp_path / "b.jsonl", "--json", "--show", "0").stdout)
    assert (listed["same"], listed["rows"], listed["changed"], listed["shown"]) == (False, [40, 40], 1, [])


def test_diff_counts_what_it_does_not_show(run: Run, source: Path, tmp_path: Path) -> None:
    written(tmp_path / "b.jsonl", ROWS[:10])
    assert run("diff", source, tmp_path / "b.jsonl", "--show", "2").stdout.endswith("- ... and 28 more\n")


@pytest.mark.parametrize("command", ["split --into a=1", "merge", "sample --rows 2", "diff"])
@pytest.mark.parametrize(
    "content", [b"", b"\n\n", b'{"id":"\xff"}\n', b"[1]\n", b"{" * 3000, b'{"x":' + b"[" * 500 + b"]" * 500 + b"}"]
)
def test_bad_files_are_one_paragraph(run: Run, tmp_path: Path, command: str, content: bytes) -> None:
    (tmp_path / "bad.jsonl").write_bytes(content)
    name, *options = command.split()
    files = ["bad.jsonl"] * (2 if name in ("merge", "diff") else 1)
    output = [] if name == "diff" else ["-o", "out.jsonl"]
    assert "bad.jsonl" in paragraph(run(name, *files, *options, *output), 2)
    assert [path.name for path in tmp_path.iterdir()] == ["bad.jsonl"]

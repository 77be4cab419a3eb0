"""Shards of several kinds, planted answers and side files: united, they are those of a run in one piece."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from distill_data.cli import main
from tests import annotators, scoring_server
from tests.annotators import SEEDED

pytestmark = pytest.mark.slow

ROWS = 14


def write(path: Path, rows: list[dict[str, str]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def run_both(tmp_path: Path, job: list[str], kinds: list[str]) -> tuple[Path, Path]:
    """The same job whole and in three shards, in a folder each."""
    for name, shards in (("whole", [""]), ("cut", ["1/3", "3/3", "2/3"])):
        folder = tmp_path / name
        folder.mkdir()
        files = [part for kind in kinds for part in ("--kind", f"{kind}={folder / 'more' / kind}.jsonl")]
        (folder / "more").mkdir()
        for shard in shards:
            which = ["--shard", shard] if shard else []
            assert main([*job, *files, "-o", str(folder / "out.jsonl"), "-q", *which]) == 0
    assert main(["publish", str(tmp_path / "cut" / "out.jsonl"), "-q"]) == 0
    return tmp_path / "whole", tmp_path / "cut"


def published(folder: Path) -> dict[str, bytes]:
    """All files of an output by name, of the manifest the deterministic part."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_file() and not any(part.endswith((".run", ".shards")) for part in path.relative_to(folder).parts):
            data = path.read_bytes()
            name = str(path.relative_to(folder))
            found[name] = json.dumps(json.loads(data)["result"]).encode() if "manifest" in name else data
    return found


@pytest.mark.parametrize("command", ["feedback", "self-knowledge"])
def test_further_kinds_canaries_and_rounds(tmp_path: Path, command: str) -> None:
    (tmp_path / "models.toml").write_text(SEEDED)
    if command == "feedback":
        seeds = write(tmp_path / "s.jsonl", [{"instruction": f"row-{n:05d}: describe it"} for n in range(ROWS)])
        job = ["feedback", str(seeds), "-r", "compare", "-s", "student", "-t", "judge", "-n", "3", "--canaries", "50%"]
        kinds = ["ranked", "unpaired", "sft"]
    else:
        rows = [{"question": f"row-{n:05d}: How much is {7 * n} plus {n}?", "answer": str(8 * n)} for n in range(ROWS)]
        seeds = write(tmp_path / "s.jsonl", rows)
        job = ["self-knowledge", str(seeds), "-r", "rest", "-s", "student", "-n", "4", "--round", "1"]
        kinds = ["preference", "unpaired"]
    with annotators.serve() as server:
        job += ["--set", "seed=0", "--config", str(tmp_path / "models.toml"), "--base-url", server.url]
        whole, cut = run_both(tmp_path, job, kinds)
    first, second = published(whole), published(cut)
    assert sorted(first) == sorted(second)
    assert {f"more/{kind}.jsonl" for kind in kinds} <= first.keys()
    assert first == second
    result = json.loads(second["out.manifest.json"])
    assert ("judge" if command == "feedback" else "diversity") in result


def test_side_files(tmp_path: Path) -> None:
    rows = [{"text": f"row-{n:05d}: tea, 茶 and {n % 7} cups"} for n in range(ROWS)]
    data = write(tmp_path / "d.jsonl", rows)
    with scoring_server.serve() as server:
        job = ["feature", str(data), "-r", "topk", "-t", "openai/toy", "--base-url", server.url]
        whole, cut = run_both(tmp_path, job, [])
    first, second = published(whole), published(cut)
    assert any(name.endswith(".safetensors") for name in first)
    assert first == second
    for recipe in ("relations", "triples"):
        assert main(["feature", str(data), "-r", recipe, "-t", "openai/toy", "-o", "x.jsonl", "--shards", "2"]) == 2

"""Committed runs replay to the committed bytes, where neither key, engine, weights nor network are."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from distill_data.recipes import seed_path
from tests.faultserver import Server, serve
from tests.fixtures import FIXTURES, names, run_of, written
from tests.system.command import Output, environment, label, marked, run, write_seeds

MAX_BYTES = 300_000

BARE = """
import sys
from importlib.abc import MetaPathFinder

class Missing(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"xllamacpp", "httptools", "openai"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())

def refuse(event, args):
    if event == "socket.connect" or event == "socket.getaddrinfo":
        raise RuntimeError(f"{event} in a replay: {args}")

sys.addaudithook(refuse)
"""
"""A machine without the engine, without a client, and without a network."""

REPLAY = """
from pathlib import Path
from tests.fixtures import replay
for name in sys.argv[2:]:
    directory = Path(sys.argv[1]) / name
    directory.mkdir()
    replay(name, directory)
"""


def bare(tmp_path: Path, code: str, *args: str) -> subprocess.CompletedProcess[str]:
    """Run code on a machine that has nothing but the package."""
    (tmp_path / "cache").mkdir(exist_ok=True)
    (tmp_path / "work").mkdir(exist_ok=True)
    env = environment({"DISTILL_CACHE": str(tmp_path / "cache"), "HOME": str(tmp_path)})
    env = {name: value for name, value in env.items() if not name.endswith("_API_KEY")}
    command = [sys.executable, "-c", BARE + code, *args]
    return subprocess.run(command, env=env, cwd=tmp_path / "work", capture_output=True, text=True, timeout=60)


def test_fixtures_replay_to_the_same_bytes(tmp_path: Path) -> None:
    assert len(names()) >= 3
    done = bare(tmp_path, REPLAY, str(tmp_path), *names())
    assert done.returncode == 0, done.stderr
    for name in names():
        assert written(tmp_path / name) == written(FIXTURES / name), name
    assert os.listdir(tmp_path / "cache") == []


def test_the_bare_machine_is_bare(tmp_path: Path) -> None:
    """Or the test above would say nothing."""
    for code in ("import xllamacpp", "import httptools", "import socket; socket.create_connection(('localhost', 9))"):
        done = bare(tmp_path, f"\n{code}\n")
        assert done.returncode == 1
        assert "No module named" in done.stderr or "in a replay" in done.stderr


def test_a_replay_changes_nothing_in_its_run(tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in run_of("sentiment").rglob("*") if path.is_file()}
    assert bare(tmp_path, REPLAY, str(tmp_path), "sentiment").returncode == 0
    assert {path: path.read_bytes() for path in run_of("sentiment").rglob("*") if path.is_file()} == before


def test_fixtures_say_nothing_of_the_machine() -> None:
    files = [path for path in FIXTURES.glob("*/**/*") if path.is_file() and "__pycache__" not in path.parts]
    assert sum(path.stat().st_size for path in files) < MAX_BYTES
    for path in files:
        assert path.name in {"job.json", "run.json", "out.result.json"} or path.suffix == ".jsonl", path
        found = re.search(rb'"(/|~/|file:)[a-z]+/|localhost|127\.0\.0\.1|[A-Za-z]:\\\\Users', path.read_bytes())
        assert found is None, f"{path}: {found}"


def test_a_fixture_of_a_whole_run_accounts_for_every_row() -> None:
    for name in names():
        files = written(FIXTURES / name)
        result = json.loads(files["out.result.json"])
        assert result["items"] == result["kept"] + result["rejected"] and not result["failed"] + result["pending"]
        described = [each for each in result["files"].values() if each is not None]
        assert {each["name"]: each["bytes"] for each in described} == {
            each: len(content) for each, content in files.items() if each.endswith(".jsonl")
        }


def test_a_row_that_the_run_never_saw_ends_a_replay(tmp_path: Path) -> None:
    rows = seed_path("@instructions").read_bytes().split(b"\n")[:8]
    seeds = tmp_path / "seeds.jsonl"
    seeds.write_bytes(b"\n".join([*rows, b'{"instruction": "Name three tools of a gardener."}', b""]))
    out = Output(tmp_path / "out.jsonl")
    done = run("label", seeds, "-r", "answer", "-o", out.path, "--replay", run_of("instructions"))
    done.complained(5, "item [0-9a-f]{16}", "without --replay")
    assert not out.path.exists() and not out.beside("manifest.json").exists()
    seeds.write_bytes(b"\n".join([*rows, b""]))
    run("label", seeds, "-r", "answer", "-o", out.path, "--replay", run_of("instructions")).ended(0)
    assert out.path.read_bytes() == (FIXTURES / "instructions" / "out.jsonl").read_bytes()


def test_another_prompt_ends_a_replay(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    job: list[str | Path] = [
        "label",
        "@sentiment",
        "-r",
        "annotate",
        "--limit",
        "24",
        "-o",
        out,
        "--replay",
        run_of("sentiment"),
    ]
    run(*job, "--set", "task=Is this praise? One of").complained(5, "item [0-9a-f]{16}")
    assert not out.exists()


@pytest.fixture
def server() -> Iterator[Server]:
    with serve() as running:
        yield running


@pytest.fixture
def first(server: Server, tmp_path: Path) -> Output:
    """A published run of ten rows."""
    out = Output(tmp_path / "first.jsonl")
    run(*label(write_seeds(tmp_path / "ten.jsonl", marked(10)), server.url, out)).ended(0)
    assert server.asked() == 10
    return out


def test_reuse_sends_nothing_for_known_rows(server: Server, first: Output, tmp_path: Path) -> None:
    out = Output(tmp_path / "second.jsonl")
    run(*label(tmp_path / "ten.jsonl", server.url, out, "--reuse", str(first.run))).ended(0)
    assert server.asked() == 10
    assert out.path.read_bytes() == first.path.read_bytes()


def test_reuse_asks_only_for_what_is_new(server: Server, first: Output, tmp_path: Path) -> None:
    out = Output(tmp_path / "second.jsonl")
    seeds = write_seeds(tmp_path / "twelve.jsonl", marked(12))
    run(*label(seeds, server.url, out, "--reuse", str(first.run))).ended(0)
    assert server.asked() == 12
    assert {line["row"] for line in server.ledger()[10:]} == {"row-00010", "row-00011"}
    assert out.rows() == [f"row-{number:05d}" for number in range(12)]

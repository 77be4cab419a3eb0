"""A Makefile rule with our command as its recipe: its target is whole or absent, and `make` twice works once."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.faultserver import Server
from tests.system.command import (
    DISTILL,
    Done,
    Output,
    environment,
    finish,
    label,
    marked,
    run,
    signal_all,
    wait_for_requests,
)

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


@pytest.fixture
def makefile(slow_server: Server, seeds: Path, out: Output) -> Path:
    """A directory whose Makefile builds `out.jsonl` from `seeds.jsonl`."""
    command = " ".join([*DISTILL, *map(str, label(Path("$<"), slow_server.url, Output(Path("$@"))))])
    (seeds.parent / "Makefile").write_text(f"out.jsonl: seeds.jsonl\n\t{command} --concurrency 8\n")
    return seeds.parent


def start_make(directory: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        ["make", "out.jsonl"],
        cwd=directory,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def make(directory: Path) -> Done:
    return finish(start_make(directory))


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_build_leaves_no_target_and_the_next_one_the_whole(
    sent: signal.Signals, makefile: Path, slow_server: Server, out: Output
) -> None:
    process = start_make(makefile)
    wait_for_requests(slow_server, 100, process)
    signal_all(process, sent)
    assert finish(process).code != 0
    assert not out.path.exists()
    make(makefile).ended(0)
    assert out.rows() == [text[:9] for text in marked(300)]


def test_a_failed_build_leaves_no_target(makefile: Path, slow_server: Server, out: Output) -> None:
    slow_server.replan({"rates": {"too_long": 0.1}})
    assert make(makefile).code == 2, "make's own code for a recipe that failed"
    assert not out.path.exists()
    slow_server.replan({})
    make(makefile).ended(0)
    assert len(out.records()) == 300


def test_make_twice_works_once(makefile: Path, slow_server: Server, out: Output) -> None:
    make(makefile).ended(0)
    before = out.path.stat()
    assert "up to date" in make(makefile).ended(0).out
    assert out.path.stat() == before
    assert slow_server.asked() == 300


def test_the_same_command_again_sends_nothing_and_says_so(slow_server: Server, seeds: Path, out: Output) -> None:
    job = label(seeds, slow_server.url, out)
    run(*job).ended(0)
    before = {path: path.stat().st_mtime_ns for path in (out.path, out.beside("manifest.json"))}
    again = run(*job).ended(0)
    assert "nothing" in again.err.lower()
    assert slow_server.asked() == 300
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_longer_seed_file_costs_its_new_rows(makefile: Path, slow_server: Server, seeds: Path, out: Output) -> None:
    make(makefile).ended(0)
    with seeds.open("a") as stream:
        stream.write('{"instruction": "row-99999: one more"}\n')
    future = out.path.stat().st_mtime + 5
    os.utime(seeds, (future, future))
    make(makefile).ended(0)
    assert [line["row"] for line in slow_server.ledger()[300:]] == ["row-99999"]
    assert out.rows()[-1] == "row-99999"
    assert len(out.records()) == 301

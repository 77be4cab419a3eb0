"""Shards as a user runs them: processes that are killed, stopped and started again, and what all of them leave.

The fault server's ledger says what was paid for; a run in one piece says what the bytes must be.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from distill_data.cli import main
from tests.faultserver import Server, serve
from tests.system.command import (
    DISTILL,
    Output,
    environment,
    finish,
    label,
    marked,
    run,
    start,
    wait_for_requests,
    write_seeds,
)

pytestmark = pytest.mark.slow
"""Whole runs of the command line: they stand with the slow ones, so that the core suite stays short."""

ROWS, CONCURRENCY = 60, 6


@pytest.fixture
def slow_server() -> Iterator[Server]:
    with serve(latency=0.04) as running:
        yield running


@pytest.fixture
def seeds(tmp_path: Path) -> Path:
    return write_seeds(tmp_path / "seeds.jsonl", marked(ROWS))


def shard_of(out: Output, number: int, of: int) -> Output:
    return Output(out.beside("shards") / f"{number}-of-{of}.jsonl")


def holder_of(out: Output, process: subprocess.Popen[bytes], timeout: float = 20) -> int:
    """The process that works on a run and has an answer on disk."""
    deadline = time.monotonic() + timeout
    while not out.on_disk():
        assert process.poll() is None, process.communicate()[1].decode()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return int((out.run / "lock").read_text())


def paid(server: Server) -> Counter[str]:
    return Counter(line["row"] for line in server.ledger() if line["paid"])


def is_the_whole(out: Output, seeds: Path, url: str, tmp_path: Path, *options: str) -> None:
    """The files are those of a run in one piece, made now."""
    whole = Output(tmp_path / "whole" / out.path.name)
    assert main([*map(str, label(seeds, url, whole, *options)), "-q"]) == 0
    assert out.path.read_bytes() == whole.path.read_bytes()
    assert out.beside("rejects.jsonl").read_bytes() == whole.beside("rejects.jsonl").read_bytes()
    assert out.manifest()["result"] == whole.manifest()["result"]


def test_a_worker_that_is_killed_is_started_again_and_loses_nothing(
    slow_server: Server, seeds: Path, out: Output, tmp_path: Path
) -> None:
    process = start(*label(seeds, slow_server.url, out, "--shards", "2", "--concurrency", str(CONCURRENCY)))
    victim = holder_of(shard_of(out, 2, 2), process)
    os.kill(victim, signal.SIGKILL)
    done = finish(process).ended(0)
    assert "shard 2/2: its process died by SIGKILL and is started again" in done.err.replace("\n", " ")
    often = paid(slow_server)
    assert len(often) == ROWS
    assert sum(often.values()) - ROWS <= CONCURRENCY // 2, "more was paid twice than was in flight"
    assert out.manifest()["history"]["shards"]["of"] == 2
    assert f"{ROWS} items = {ROWS} kept" in done.err
    again = run(*label(seeds, slow_server.url, out, "--shards", "2")).ended(0)
    assert "nothing was sent" in again.err
    assert sum(paid(slow_server).values()) == sum(often.values())
    is_the_whole(out, seeds, slow_server.url, tmp_path)


def test_ctrl_c_stops_all_in_order_and_the_same_command_goes_on(
    slow_server: Server, seeds: Path, out: Output, tmp_path: Path
) -> None:
    job = label(seeds, slow_server.url, out, "--shards", "2", "--concurrency", str(CONCURRENCY))
    process = start(*job)
    pids = [holder_of(shard_of(out, number, 2), process) for number in (1, 2)]
    os.killpg(process.pid, signal.SIGINT)
    stopped = finish(process).ended(130)
    assert "Stopped by SIGINT" in stopped.err
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    assert not out.path.exists()
    first = out.partial.accounted(ROWS)
    assert first["kept"] == len(paid(slow_server)) < ROWS, "what was in flight did not land"
    process = start(*job)
    wait_for_requests(slow_server, first["kept"] + 4, process)
    process.kill()  # nobody is left to wait for the shards, so they stop by themselves
    finish(process)
    deadline = time.monotonic() + 20
    while (done := run(*job)).code == 6:
        assert time.monotonic() < deadline, "the shards outlive the process that started them"
    done.ended(0)
    assert set(paid(slow_server).values()) == {1}
    assert len(paid(slow_server)) == ROWS
    is_the_whole(out, seeds, slow_server.url, tmp_path)


def test_every_shard_killed_and_gone_on_with(
    slow_server: Server, seeds: Path, out: Output, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in (1, 2):
        job = label(seeds, slow_server.url, out, "--shard", f"{number}/2", "--concurrency", str(CONCURRENCY))
        process = start(*job)
        holder_of(shard_of(out, number, 2), process)
        process.kill()
        finish(process).ended(-signal.SIGKILL)
        assert main(["publish", str(out.path)]) == 2
        assert f"{number}/2 is unfinished" in capsys.readouterr().err.replace("\n", " ")
        assert main([*map(str, job), "-q"]) == 0
    often = paid(slow_server)
    assert len(often) == ROWS
    assert sum(often.values()) - ROWS <= CONCURRENCY
    assert main(["publish", str(out.path), "-q"]) == 0
    is_the_whole(out, seeds, slow_server.url, tmp_path)


def test_piped_seeds_are_copied_once_and_the_whole_goes_to_stdout(tmp_path: Path) -> None:
    for name in ("whole", "cut"):  # in one folder the second would find the output of the first
        (tmp_path / name).mkdir()
        (tmp_path / name / "json.py").write_text("raise SystemExit('a module of the working directory')\n")
    (tmp_path / "site").mkdir()
    says = "if 'distill_data.cli.worker' in sys.orig_argv: atexit.register(print, 'said by a library')\n"
    (tmp_path / "site" / "sitecustomize.py").write_text(f"import atexit, sys\n{says}")
    env = environment()
    env["PYTHONPATH"] += f":{tmp_path / 'site'}"
    rows = b"".join(b'{"instruction": "say %d words"}\n' % n for n in range(9))
    job = [*DISTILL[:1], "-P", *DISTILL[1:], "label", "-", "-r", "answer", "-t", "echo", "-o", "-"]
    whole, cut = (
        subprocess.run([*job, *more], cwd=tmp_path / name, env=env, input=rows, capture_output=True, timeout=60)
        for name, more in (("whole", []), ("cut", ["--shards", "2"]))
    )
    assert (cut.returncode, cut.stdout) == (0, whole.stdout), cut.stderr
    assert whole.stdout.count(b"\n") == 9
    assert cut.stderr.count(b"said by a library") == 2
    worker = [sys.executable, "-P", "-m", "distill_data.cli.worker"]
    alone = subprocess.run(worker, cwd=tmp_path, env=environment(), input=b'{"command', capture_output=True, timeout=60)
    assert (alone.returncode, alone.stdout, alone.stderr) == (0, b"", b""), "who was to write the task is dead"


def test_mistakes_are_told_once_and_nothing_is_left(server: Server, tmp_path: Path, out: Output) -> None:
    seeds = write_seeds(tmp_path / "bad.jsonl", ["fine"])
    job = label(seeds, server.url, out, "--shards", "2", "--map", "instruction=nowhere")
    run(*job).complained(2, "no column 'nowhere'")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.jsonl"]
    assert server.asked() == 0

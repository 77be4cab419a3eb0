"""`--engine ray` on a Ray that is started here: shards that die are started again, and none pays twice.

The fault server's ledger says what was paid for; a run in one piece says what the bytes must be.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.faultserver import serve
from tests.system.command import Output, finish, label, marked, run, start, write_seeds
from tests.system.test_shards import holder_of, is_the_whole, paid, shard_of

pytestmark = pytest.mark.ray

ROWS = 80
KEY = "sk-canary-of-ray-0123456789"


@pytest.mark.timeout(120)
def test_a_ray_worker_that_is_killed_loses_nothing_and_no_key_is_written(tmp_path: Path) -> None:
    out, env = Output(tmp_path / "out.jsonl"), {"OPENAI_API_KEY": KEY}
    seeds = write_seeds(tmp_path / "seeds.jsonl", marked(ROWS))
    with serve(latency=0.1) as server:
        job = label(seeds, server.url, out, "--shards", "2", "--engine", "ray", "--concurrency", "4")
        process = start(*job, env=env)
        victim = holder_of(shard_of(out, 1, 2), process, timeout=60)
        assert victim != process.pid
        os.kill(victim, signal.SIGKILL)
        done = finish(process).ended(0)
        assert f"{ROWS} items = {ROWS} kept" in done.err
        often = paid(server)
        assert len(often) == ROWS
        assert sum(often.values()) - ROWS <= 2, "more was paid twice than was in flight"
        assert {line["authorization"] for line in server.ledger()} == {f"Bearer {KEY}"}
        process = start(*job, "--retry-failed", env=env)
        finish(process).ended(0)
        assert sum(paid(server).values()) == sum(often.values())
        is_the_whole(out, seeds, server.url, tmp_path)
    logs = Path("/tmp/ray/session_latest/logs")
    written = [path for folder in (tmp_path, logs) for path in folder.rglob("*") if path.is_file()]
    assert any(path.parent == logs for path in written)
    assert not [path for path in written if KEY.encode() in path.read_bytes()]


@pytest.mark.timeout(120)
def test_ctrl_c_lets_what_is_in_flight_land(tmp_path: Path) -> None:
    out = Output(tmp_path / "out.jsonl")
    seeds = write_seeds(tmp_path / "seeds.jsonl", marked(ROWS))
    with serve(latency=0.3) as server:
        job = label(seeds, server.url, out, "--shards", "2", "--engine", "ray", "--concurrency", "4")
        process = start(*job)
        for number in (1, 2):
            holder_of(shard_of(out, number, 2), process, timeout=60)
        process.send_signal(signal.SIGINT)
        done = finish(process)
        assert done.code == 130, done.err
        kept = out.partial.accounted(ROWS)["kept"]
        assert kept == len(paid(server)) < ROWS, "what was in flight did not land"
        server.replan({})
        run(*label(seeds, server.url, out, "--shards", "2")).ended(0)
        assert set(paid(server).values()) == {1}

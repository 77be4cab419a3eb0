"""Shards by the Batch lane: each has batches of its own, and none is forgotten when the job is cut otherwise."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from distill_data.commands import Options, Summary, batched, label, publish
from distill_data.data.shard import Shard
from distill_data.engine import batch_jobs
from distill_data.engine.batches import Ledger
from distill_data.errors import DriftError, Interrupted
from tests.batchserver import Server, serving

pytestmark = pytest.mark.slow

ROWS = 8


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.chdir(tmp_path)
    for module, name in ((batch_jobs, "LOOK_AGAIN"), (batch_jobs, "SOON"), (batch_jobs, "SELDOM"), (batched, "SELDOM")):
        monkeypatch.setattr(module, name, 0.0)
    Path("s.jsonl").write_text("".join(f'{{"instruction": "row-{n:05d}: say something"}}\n' for n in range(ROWS)))
    with serving() as running:
        yield running


def run(server: Server, output: str, shard: Shard | None, lane: str = "batch") -> Summary:
    options = Options(teachers=("openai/m",), base_url=server.url, lane=lane, shard=shard)
    return label("s.jsonl", recipe="answer", output=output, options=options)


def test_batches_of_shards_give_the_bytes_of_one_online_run(server: Server) -> None:
    for number in (1, 2):
        assert run(server, "o.jsonl", Shard(number, 2)).exit_code == 0
    assert (len(server.created), server.paid.total()) == (2, ROWS)
    done = publish("o.jsonl")
    assert (done.status, done.history["bought"]) == ("published", ROWS)
    batches = done.history["batches"]
    assert isinstance(batches, dict)
    assert (batches["answers"], batches["done"], batches["open"]) == (ROWS, 2, 0)
    run(server, "online.jsonl", None, "online")
    assert Path("o.jsonl").read_bytes() == Path("online.jsonl").read_bytes()


def test_an_open_batch_is_not_bought_again_by_another_cut(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    async def stop(work: Coroutine[Any, Any, None], ledger: Ledger) -> Interrupted:
        task = asyncio.ensure_future(work)
        while not (server.created or task.done()):
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])
        assert ledger.open
        return Interrupted("Stopped by SIGINT.", signal.SIGINT)

    server.polls = 60  # more than it takes to be stopped
    with monkeypatch.context() as patch:
        patch.setattr(batched, "_until_signal", stop)
        assert run(server, "o.jsonl", Shard(1, 2)).exit_code == 130
    for other in (None, Shard(1, 3)):
        with pytest.raises(DriftError, match=r"batches of the same output are open.* as one of 2 shards"):
            run(server, "o.jsonl", other)
    assert run(server, "o.jsonl", Shard(1, 2)).exit_code == 0
    assert set(server.paid.values()) == {1}

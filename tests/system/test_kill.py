"""Killed, interrupted, started again: everything once, in the same bytes, and nothing bought that was on disk."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.crash import Fork
from tests.crash.deaths import Job
from tests.faultserver import Server, serve
from tests.system.command import Output, finish, label, marked, run, signal_all, start, wait_for_requests, write_seeds

KILLS, CONCURRENCY = 30, 8


def paid_rows(server: Server, since: int = 0) -> Counter[str]:
    """How often each row was paid for, by the server's own account."""
    return Counter(line["row"] for line in server.ledger()[since:] if line["paid"] and line["row"])


def whole_output(server: Server, seeds: Path, directory: Path, *options: str) -> Output:
    """The same job, uninterrupted, in another directory."""
    directory.mkdir()
    out = Output(directory / "out.jsonl")
    run(*label(seeds, server.url, out, *options)).ended(0)
    return out


@pytest.mark.slow
def test_thirty_kills_lose_nothing_and_buy_nothing_twice(fork: Fork, seeds: Path, out: Output, tmp_path: Path) -> None:
    rng = random.Random(20)
    with serve(latency=0.02) as server:
        options = ("--concurrency", str(CONCURRENCY))
        job = Job(fork, server, label(seeds, server.url, out, *options), out, CONCURRENCY, out.on_disk)
        codes = Counter(job.die_at_random(rng, calls=60, requests=8).code for _ in range(KILLS))
        assert codes == {-signal.SIGKILL: KILLS}
        job.run().ended(0)
        bought = paid_rows(server)
        assert bought.total() - len(bought) == job.bought_again
        whole = whole_output(server, seeds, tmp_path / "whole", *options)
    assert out.rows() == [text[:9] for text in marked(300)]
    assert out.path.read_bytes() == whole.path.read_bytes()
    assert out.manifest()["result"] == whole.manifest()["result"]


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_polite_signal_wastes_no_request(
    sent: signal.Signals, code: int, slow_server: Server, seeds: Path, out: Output
) -> None:
    job = label(seeds, slow_server.url, out, "--concurrency", "8")
    process = start(*job)
    wait_for_requests(slow_server, 100, process)
    process.send_signal(sent)
    done = finish(process).ended(code)
    assert "the same command goes on from here" in " ".join(done.err.split())
    assert not out.path.exists()
    assert 0 < len(out.partial.records()) < 300
    assert set(out.partial.rows()) == set(paid_rows(slow_server)), "what was paid is published as partial"
    run(*job).ended(0)
    assert paid_rows(slow_server) == Counter(text[:9] for text in marked(300))
    assert out.rows() == [text[:9] for text in marked(300)]
    assert not out.partial.path.exists(), "the partial file stays beside the whole one"


def test_a_second_interrupt_does_not_wait_for_the_answers_in_flight(tmp_path: Path, out: Output) -> None:
    seeds = write_seeds(tmp_path / "seeds.jsonl", marked(4))
    with serve(latency=30) as server:
        process = start(*label(seeds, server.url, out))
        wait_for_requests(server, 1, process)
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        assert process.poll() is None, "the first interrupt drains"
        process.send_signal(signal.SIGINT)
        finish(process, timeout=5).ended(130)
    assert not out.path.exists()


@pytest.mark.slow
def test_two_thousand_rows_killed_half_way(tmp_path: Path, out: Output) -> None:
    seeds = write_seeds(tmp_path / "seeds.jsonl", marked(2000))
    with serve(latency=0.05) as server:
        job = label(seeds, server.url, out, "--concurrency", "64")
        process = start(*job)
        wait_for_requests(server, 1000, process)
        signal_all(process, signal.SIGKILL)
        process.communicate()
        on_disk, asked = out.on_disk(), server.asked()
        run(*job).ended(0)
        assert len(on_disk) >= 1000 - 80
        assert not on_disk & set(paid_rows(server, asked))
        bought = paid_rows(server)
        assert len(bought) == 2000
        assert bought.total() - 2000 <= 80
        assert out.rows() == [text[:9] for text in marked(2000)]
        whole = whole_output(server, seeds, tmp_path / "whole", "--concurrency", "64")
    assert out.path.read_bytes() == whole.path.read_bytes()

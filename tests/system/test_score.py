"""`score` from the command line against loopback servers: no row is lost, and nothing is bought twice.

The servers' own ledgers say what was asked.
"""

from __future__ import annotations

import hashlib
import json
import math
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests import faultserver, scoring_server, simulated
from tests.system.command import Output, run, signal_all, start, wait_for_requests

pytestmark = pytest.mark.slow
"""Whole runs of the command line: they stand with the slow ones, so that the core suite stays short."""

CONCURRENCY = 4


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_bytes(b"".join(json.dumps(row).encode() + b"\n" for row in rows))
    return path


def pairs(count: int) -> list[dict[str, Any]]:
    """Rows whose columns, values and order are to come out again."""
    return [
        {
            "zeta": number / 3,
            "prompt": [{"role": "user", "content": f"row-{number:05d}: what is tea, 茶?"}],
            "completion": f"A drink, number {number}.",
            "meta": {"details": '{"n": 1}', "tags": [None, True, 2**53]},
            "id": f"{number:016x}",
        }
        for number in range(count)
    ]


def score(data: Path, recipe: str, url: str, out: Output, *options: str) -> list[str | Path]:
    job: list[str | Path] = ["score", data, "-r", recipe, "-t", "openai/toy", "--base-url", url, "-o", out.path]
    return [*job, "--concurrency", str(CONCURRENCY), *options]


@pytest.fixture
def out(tmp_path: Path) -> Output:
    return Output(tmp_path / "out.jsonl")


def bare(records: list[dict[str, Any]], column: str) -> list[list[tuple[str, Any]]]:
    """Every record's columns in their order, without the last one, which must be `column`."""
    assert all([*record][-1] == column for record in records)
    return [[*record.items()][:-1] for record in records]


def nats(x: str, y: str) -> float:
    """The mean negative log-likelihood of y with the token that ends its turn, from the toy model itself."""
    head = scoring_server.render([{"role": "user", "content": x}], True)
    ids = scoring_server.encode(head + y + "<|im_end|>")
    start = len(scoring_server.encode(head))
    return -sum(scoring_server.distribution(ids, at)[ids[at]] for at in range(start, len(ids))) / (len(ids) - start)


def test_a_server_gives_perplexity_and_ifd_as_its_model_has_them(tmp_path: Path, out: Output) -> None:
    rows = pairs(5)
    data = write_rows(tmp_path / "pairs.jsonl", rows)
    both = Output(tmp_path / "both.jsonl")
    with scoring_server.serve() as server:
        run(*score(data, "perplexity", server.url, out)).ended(0)
        run(*score(out.path, "ifd", server.url, both)).ended(0)
    found = both.records()
    assert bare(out.records(), "perplexity") == [[*row.items()] for row in rows]
    assert bare(found, "ifd") == [[*record.items()] for record in out.records()]
    for row, record in zip(rows, found, strict=True):
        with_x, alone = nats(row["prompt"][0]["content"], row["completion"]), nats("", row["completion"])
        assert record["perplexity"] == pytest.approx(math.exp(with_x), rel=1e-6)
        assert record["ifd"] == pytest.approx(with_x / alone, rel=1e-5)


def test_both_ways_of_servers_score_raw_text_alike(tmp_path: Path) -> None:
    data = write_rows(tmp_path / "texts.jsonl", [{"text": f"row-{number}: tea, 茶"} for number in range(3)])
    found = []
    for ways in ("prompt_logprobs", "echo"):
        out = Output(tmp_path / ways / "out.jsonl")
        out.path.parent.mkdir()
        with scoring_server.serve(ways) as server:
            run(*score(data, "perplexity", server.url, out)).ended(0)
        found.append(out.path.read_bytes())
    assert found[0] == found[1]


def test_a_killed_run_goes_on_and_buys_no_score_twice(tmp_path: Path, out: Output) -> None:
    rows = pairs(60)
    data = write_rows(tmp_path / "pairs.jsonl", rows)
    with scoring_server.serve(latency=0.02) as server:
        job = score(data, "ifd", server.url, out)
        process = start(*job)
        while len(server.ledger()) < 90 and process.poll() is None:
            time.sleep(0.02)
        signal_all(process, signal.SIGKILL)
        process.communicate()
        kept = {line for part in out.run.glob("journal/*.jsonl") for line in part.read_bytes().split(b"\n")[:-1]}
        on_disk = sum(b'"t":"ok"' in line for line in kept)
        assert 0 < on_disk < 120
        run(*job).ended(0)
        scored = Counter(line["digest"] for line in server.ledger() if line["body"].get("prompt_logprobs") is not None)
        assert len(scored) == 120 + 1, "two for each row, and the probe"
        twice = sum(count - 1 for count in scored.values())
        assert twice <= 2 * CONCURRENCY, "only what was in flight may be asked again"
        asked = len(server.ledger())
        again = run(*job).ended(0)
        assert "nothing was sent" in again.err and len(server.ledger()) == asked
    assert bare(out.records(), "ifd") == [[*row.items()] for row in rows]
    assert out.accounted(60)["kept"] == 60


def test_a_killed_run_of_embeddings_pays_each_text_once(tmp_path: Path, out: Output) -> None:
    rows = pairs(200)
    data = write_rows(tmp_path / "pairs.jsonl", rows)
    with faultserver.serve(latency=0.02, plan={"bodies": True}) as server:
        job = score(data, "embedding", server.url, out)
        process = start(*job)
        wait_for_requests(server, 80, process)
        signal_all(process, signal.SIGKILL)
        process.communicate()
        before = server.asked()
        run(*job).ended(0)
        ledger = server.ledger()
    assert {line["path"] for line in ledger} == {"/v1/embeddings"}
    assert len({line["row"] for line in ledger}) == 200
    assert 0 < before < 200 and len(ledger) <= 200 + CONCURRENCY
    assert ledger[0]["body"].keys() == {"model", "input", "encoding_format"}
    for row, record in zip(rows, out.records(), strict=True):
        drawn = hashlib.sha256(row["prompt"][0]["content"].encode()).digest()[:8]
        vector = [(byte - 127.5) / 100 for byte in drawn]
        assert record["embedding"] == pytest.approx([each / math.hypot(*vector) for each in vector], abs=1e-6)
    assert bare(out.records(), "embedding") == [[*row.items()] for row in rows]


def test_faults_cost_embeddings_nothing_but_time(tmp_path: Path, out: Output) -> None:
    rows = pairs(30)
    data = write_rows(tmp_path / "pairs.jsonl", rows)
    with faultserver.serve(plan={"first": {"500": 2, "html": 1}}) as server:
        run(*score(data, "embedding", server.url, out)).ended(0)
    assert len(out.records()) == 30


def test_the_budget_counts_embeddings(tmp_path: Path, out: Output) -> None:
    data = write_rows(tmp_path / "pairs.jsonl", pairs(40))
    (tmp_path / "distill.toml").write_text(
        '[models.e]\nmodel = "openai/toy"\nprice = { input = 1000000, output = 0 }\nconcurrency = 1\n'
    )
    with faultserver.serve() as server:
        job: list[str | Path] = ["score", data, "-r", "embedding", "-t", "e", "--config", tmp_path / "distill.toml"]
        job += ["--base-url", server.url, "-o", out.path]
        planned = run(*job, "--dry-run").ended(0)
        assert "40 to send" in planned.err and "0 in answers" in planned.err and server.asked() == 0
        run(*job, "--max-cost", "100").complained(4, "max-cost")
        assert 0 < server.asked() < 40
    assert 0 < out.partial.manifest()["history"]["cost"] <= 100


def test_a_row_that_cannot_be_scored_is_told_and_the_others_come_out(tmp_path: Path, out: Output) -> None:
    rows = pairs(4)
    rows[1]["completion"] = ""
    rows[2]["completion"] = "word " * 900
    data = write_rows(tmp_path / "pairs.jsonl", rows)
    with scoring_server.serve() as server:
        done = run(*score(data, "perplexity", server.url, out)).ended(3)
        assert "2 of 4 items failed" in done.err
        assert [record["id"] for record in out.partial.records()] == [rows[0]["id"], rows[3]["id"]]
        assert [reject["reason"] for reject in out.partial.rejects()] == ["empty-completion", "too-long"]
        assert {reject["outcome"] for reject in out.partial.rejects()} == {"failed"}
        asked = len(server.ledger())
        run(*score(data, "perplexity", server.url, out, "--max-failed", "50%")).ended(0)
        assert len(server.ledger()) == asked
    assert out.accounted(4)["failed"] == 2


def test_a_judge_that_gives_no_number_gives_no_score(tmp_path: Path, out: Output) -> None:
    data = write_rows(tmp_path / "pairs.jsonl", pairs(3))
    with faultserver.serve() as server:
        done = run(*score(data, "quality", server.url, out)).ended(3)
    assert "unreadable verdicts 3 of 3" in done.err
    assert [reject["reason"] for reject in out.partial.rejects()] == ["not-json"] * 3
    assert all(reject["answers"] for reject in out.partial.rejects())


def test_the_pass_rate_of_a_student_is_the_share_of_its_right_samples(tmp_path: Path, out: Output) -> None:
    """Samples arrive in any order, but all eight of a question are drawn, so their number is what it is."""
    known = simulated.problems(12)
    data = write_rows(tmp_path / "problems.jsonl", [{"task": each.question, "gold": each.answer} for each in known])
    with simulated.serve(known, accuracy=0.5, seed=3) as server:
        job: list[str | Path] = ["score", data, "-r", "pass-rate", "-s", "openai/m", "--base-url", server.url]
        job += ["--map", "question=task", "--map", "answer=gold", "-o", out.path]
        run(*job).ended(0)
        asked = server.asked()
        run(*job, "-q").ended(0)
        assert asked == server.asked() == 12 * 8
    expected = [
        sum(simulated.draw(problem, number, 0.5, 3, "m").value == problem.answer for number in range(8)) / 8
        for problem in known
    ]
    assert [record["pass_rate"] for record in out.records()] == expected
    assert len(set(expected)) > 2
    assert [[*record] for record in out.records()] == [["task", "gold", "pass_rate"]] * 12
    assert out.manifest()["result"]["measures"]["right"] == {"count": round(sum(expected) * 8), "of": 96}

"""What a teacher does wrong: retried where that can help, listed with a reason where not, never a lost row or key."""

from __future__ import annotations

import socket
from collections import Counter
from pathlib import Path

import pytest

from tests.faultserver import Server, serve
from tests.system.command import Output, label, marked, run, write_seeds

ISSUE_RATES = {"429": 0.05, "500": 0.02, "truncated": 0.01, "hang": 0.005}
CANARY = "sk-CANARY-7f3a9c51e2"


def finished_with_faults(rows: int, timeout: str, directory: Path) -> tuple[float, int]:
    """Label `rows` rows under the usual faults; seconds and failures, after a check that every row is accounted for."""
    seeds, out = write_seeds(directory / "seeds.jsonl", marked(rows)), Output(directory / "out.jsonl")
    with serve(latency=0.02, plan={"rates": ISSUE_RATES, "seed": 3}) as server:
        done = run(*label(seeds, server.url, out, "--timeout", timeout, "--concurrency", "64"))
        ledger = server.ledger()
    assert {line["row"] for line in ledger} == {text[:9] for text in marked(rows)}
    assert {line["fault"] for line in ledger} >= {"429", "500", "ok"}
    lost = out.manifest()["result"]["failed"] if done.code == 0 else out.partial.manifest()["result"]["failed"]
    done.ended(3 if lost > rows * 0.01 else 0)
    (out if done.code == 0 else out.partial).accounted(rows)
    return done.seconds, lost


def test_two_hundred_rows_through_the_usual_faults(tmp_path: Path) -> None:
    finished_with_faults(200, "1", tmp_path)


@pytest.mark.slow
def test_two_thousand_rows_through_the_usual_faults(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seconds, failed = finished_with_faults(2000, "10", tmp_path)
    with capsys.disabled():
        print(f"\n2,000 rows through the usual faults: {seconds:.1f} s, {failed} failed")


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("insufficient_quota", "quota"),
        ("401", "key"),
        ("402", "402|quota|billing|payment"),
        ("404", "test-model"),
        ("redirect", "redirect|307"),
    ],
)
def test_a_refusal_of_everything_stops_the_run(fault: str, says: str, server: Server, seeds: Path, out: Output) -> None:
    server.replan({"always": fault})
    run(*label(seeds, server.url, out, "--concurrency", "8")).complained(4, f"(?i){says}")
    assert 1 <= server.asked() <= 8, "a stop sends nothing more than what was in flight"
    assert {line["path"] for line in server.ledger()} <= {"/v1/chat/completions", "/v1/models"}
    assert not out.path.exists()


def test_a_quota_spent_half_way_costs_nothing_twice(server: Server, seeds: Path, out: Output) -> None:
    server.replan({"first": {"ok": 100, "insufficient_quota": 10**6}})
    job = label(seeds, server.url, out, "--concurrency", "8")
    run(*job).complained(4, "quota")
    assert not out.path.exists()
    assert len(out.partial.records()) == 100
    server.replan({})
    run(*job).ended(0)
    assert Counter(line["row"] for line in server.ledger() if line["paid"]) == Counter(t[:9] for t in marked(300))


@pytest.mark.parametrize("rows", ["1", "300"])
@pytest.mark.parametrize("host", ["127.0.0.1", pytest.param("no-such-host.invalid", marks=pytest.mark.slow)])
def test_an_unreachable_server_is_told_soon(host: str, rows: str, seeds: Path, out: Output) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    done = run(*label(seeds, f"http://{host}:{port}/v1", out, "--limit", rows)).ended(4)
    assert host in done.err
    assert str(port) in done.err
    assert done.seconds < 15
    assert not out.path.exists()


JUDGED_AT_ONCE = {
    "no_content_length": "kept",
    "separators": "kept",
    "surrogate": "rejected",
    "refusal": "rejected",
    "content_filter": "rejected",
    "length": "rejected",
    "blank": "rejected",
    "unclosed_think": "rejected",
    "tool_calls": "rejected",
    "too_long": "failed",
    "400": "failed",
}
ASKED_IN_VAIN = dict.fromkeys(
    [
        "truncated",
        "cut",
        "reset",
        "hang",
        "slowloris",
        "html",
        "error_in_200",
        "empty",
        "bad_utf8",
        "huge",
        "gzip_bomb",
    ],
    "failed",
)


@pytest.mark.parametrize(
    "odd",
    [JUDGED_AT_ONCE, pytest.param(ASKED_IN_VAIN, marks=pytest.mark.slow)],
    ids=["judged at once", "asked again in vain"],
)
def test_each_odd_answer_ends_its_own_row_with_a_reason(
    odd: dict[str, str], server: Server, tmp_path: Path, out: Output
) -> None:
    """Markers choose the fault, so that each row meets its own every time it is asked. Too many fail: exit 3."""
    texts = [f"{text} <{fault}>" for text, fault in zip(marked(len(odd)), odd, strict=True)] + marked(60)[len(odd) :]
    seeds = write_seeds(tmp_path / "seeds.jsonl", texts)
    server.replan({"markers": {f"<{fault}>": fault for fault in odd}})
    run(*label(seeds, server.url, out, "--timeout", "1")).ended(3)
    assert not out.path.exists()
    out.partial.accounted(60)
    ended = dict.fromkeys(out.partial.rows(), "kept")
    ended |= {text[:9]: row["outcome"] for text in texts for row in out.partial.rejects() if text[:9] in str(row)}
    assert {fault: ended.get(text[:9]) for text, fault in zip(texts, odd, strict=False)} == odd
    assert len(ended) == 60


def test_the_same_refusal_from_the_start_is_no_matter_of_rows(server: Server, seeds: Path, out: Output) -> None:
    server.replan({"rates": {"400": 1.0}})
    run(*label(seeds, server.url, out, "--concurrency", "8")).complained(4, "400")
    assert server.asked() < 60, "twenty refusals tell enough"


def test_a_key_from_a_named_variable_reaches_the_server(server: Server, seeds: Path, out: Output) -> None:
    run(*label(seeds, server.url, out, "--limit", "1", "--api-key-env", "MY_KEY"), env={"MY_KEY": CANARY}).ended(0)
    assert {line["authorization"] for line in server.ledger()} == {f"Bearer {CANARY}"}

"""`evaluate` from the command line, killed: what was answered and judged is asked no more. The server's ledger says."""

from __future__ import annotations

import json
import signal
from collections import Counter
from pathlib import Path

import pytest

from tests.annotators import serve
from tests.system.command import run, signal_all, start, wait_for_requests

pytestmark = pytest.mark.slow

ROWS, CONCURRENCY = 24, 4


def test_a_killed_evaluation_goes_on_and_asks_nothing_twice(tmp_path: Path) -> None:
    task, out = tmp_path / "task.jsonl", tmp_path / "out.json"
    rows = [{"prompt": f"What is {n} plus {n + 2}?", "answer": 2 * n + 2} for n in range(ROWS)]
    task.write_text("".join(json.dumps(row) + "\n" for row in rows))
    job = ["evaluate", "openai/student", "--baseline", "openai/parrot", "--judge", "openai/judge", "--task", task]
    with serve(latency=0.02) as server:
        whole = [*job, "--base-url", server.url, "-o", out, "--concurrency", str(CONCURRENCY)]
        process = start(*whole)
        wait_for_requests(server, 2 * ROWS, process)
        signal_all(process, signal.SIGKILL)
        process.communicate()
        assert not out.exists() and not out.with_suffix(".jsonl").exists()
        run(*whole).ended(0)
        asked = Counter(line["digest"] for line in server.ledger())
        assert len(asked) == 4 * ROWS, "two answers and two verdicts for each row"
        assert sum(asked.values()) - len(asked) <= 3 * CONCURRENCY * 5 // 4, (
            "only what was in flight at each may come again"
        )
    assert json.loads(out.read_bytes())["rows"] == ROWS

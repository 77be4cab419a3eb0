"""The guarantee, sentence by sentence, by the fault server's account of what was asked and paid.

An answer counts only once it is on disk. If the process dies for any reason no counted answer is lost and no
request whose answer is on disk is ever sent again. At most the requests in flight may be paid twice, and the tool
says how many. Every item is in the dataset or in the rejects with a reason.
"""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.faultserver import ROOT, Line, Server, serve
from tests.system.command import (
    Output,
    label,
    marked,
    run,
    signal_all,
    start,
    wait_for_requests,
    write_seeds,
)

CONCURRENCY = 16
AT_RISK = CONCURRENCY * 5 // 4
"""Requests in flight, and up to a quarter more whose answers are on their way to the disk."""
ROWS = [text[:9] for text in marked(300)]


@dataclass(frozen=True, slots=True)
class Death:
    """A run that died half way, and the same command again."""

    out: Output
    counted: int
    """Answers that `status` counted after the death."""
    on_disk: set[str]
    """Rows whose answers were in the journal then."""
    before: list[Line]
    after: list[Line]
    """The ledger of each invocation."""
    said: str
    """What the second invocation wrote on stderr."""


def status(out: Output) -> dict[str, Any]:
    return dict(json.loads(run("status", out.path, "--json").ended(0).out))


@pytest.fixture(scope="module", params=[signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT], ids=lambda sent: sent.name)
def death(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Death]:
    directory = tmp_path_factory.mktemp("death")
    seeds, out = write_seeds(directory / "seeds.jsonl", marked(300)), Output(directory / "out.jsonl")
    with serve(latency=0.05) as server:
        job = label(seeds, server.url, out, "--concurrency", str(CONCURRENCY))
        process = start(*job)
        wait_for_requests(server, 150, process)
        signal_all(process, request.param)
        process.communicate()
        on_disk, before, counted = out.on_disk(), server.ledger(), status(out)["answers"]
        done = run(*job).ended(0)
        yield Death(out, counted, on_disk, before, server.ledger()[len(before) :], done.err)


SLOW_DISK = """
import os, time
sync = os.fdatasync
def slow(fd):
    time.sleep(0.2)
    sync(fd)
os.fdatasync = slow
"""


def test_an_answer_counts_only_once_it_is_on_disk(slow_server: Server, seeds: Path, out: Output) -> None:
    """On a slow disk requests wait: what is asked and not written is never more than may be in flight, nor counted."""
    (seeds.parent / "sitecustomize.py").write_text(SLOW_DISK)
    job = label(seeds, slow_server.url, out, "--concurrency", str(CONCURRENCY))
    process = start(*job, env={"PYTHONPATH": f"{seeds.parent}{os.pathsep}{ROOT}"})
    wait_for_requests(slow_server, 100, process)
    signal_all(process, signal.SIGKILL)
    process.communicate()
    on_disk, asked = out.on_disk(), slow_server.asked()
    assert asked - len(on_disk) <= AT_RISK
    assert status(out)["answers"] == len(on_disk)
    run(*job).ended(0)
    assert {line["row"] for line in slow_server.ledger()[asked:]} == set(ROWS) - on_disk


def test_a_dead_process_loses_no_counted_answer(death: Death) -> None:
    assert death.counted == len(death.on_disk)
    assert death.counted >= 150 - AT_RISK
    assert death.on_disk <= death.out.on_disk()
    assert death.out.rows() == ROWS


def test_no_request_whose_answer_is_on_disk_is_sent_again(death: Death) -> None:
    assert not death.on_disk & {line["row"] for line in death.after}
    assert {line["row"] for line in death.after} == set(ROWS) - death.on_disk


def test_at_most_the_requests_in_flight_are_paid_twice(death: Death) -> None:
    paid = Counter(line["row"] for line in death.before + death.after if line["paid"])
    assert set(paid) == set(ROWS)
    assert paid.total() - len(paid) <= AT_RISK


def test_the_tool_says_how_many_may_have_been_paid_twice(death: Death) -> None:
    in_flight = len(death.before) - len(death.on_disk)
    history = death.out.manifest()["history"]
    assert in_flight <= history["in_doubt"] <= AT_RISK
    assert str(history["in_doubt"]) in death.said
    assert "in doubt" in death.said


def test_every_item_is_in_the_dataset_or_in_the_rejects_with_a_reason(server: Server, seeds: Path, out: Output) -> None:
    server.replan({"rates": {"refusal": 0.1, "length": 0.1, "too_long": 0.1, "html": 0.1}})
    run(*label(seeds, server.url, out, "--max-failed", "100%")).ended(0)
    result = out.accounted(300)
    assert result["rejected"] > 0
    assert result["failed"] > 0
    listed = [row for row in ROWS if any(row in str(reject) for reject in out.rejects())]
    assert sorted(out.rows() + listed) == ROWS

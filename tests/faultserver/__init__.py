"""A loopback OpenAI-compatible server that misbehaves on order, as a process of its own with a ledger.

    with serve(latency=0.05, plan={"rates": {"429": 0.05}}) as server:
        ...                          # POST to f"{server.url}/chat/completions"
        server.ledger()              # what was asked and what was paid, told by the server and not by the client

The ledger is the oracle of every claim about money: a process that dies cannot take lines of it along. The plan says
which faults happen when: `faults.py` names them, `server.py` chooses. Knows nothing about distill-data.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
Line = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Server:
    """A running fault server."""

    url: str
    """The base URL that a client is given, `/v1` included."""
    ledger_path: Path
    process: subprocess.Popen[bytes]

    def ledger(self) -> list[Line]:
        """Every request so far, as it arrived: n, path, digest, row, status, paid, fault, authorization.

        With `"bodies": true` in the plan also `body`, the parsed request.
        """
        return [json.loads(line) for line in self.ledger_path.read_bytes().split(b"\n") if line]

    def asked(self) -> int:
        """How many requests arrived so far."""
        with self.ledger_path.open("rb") as stream:
            return sum(chunk.count(b"\n") for chunk in iter(lambda: stream.read(1 << 20), b""))

    def replan(self, plan: Mapping[str, Any]) -> None:
        """Put another plan in place of the present one; the URL stays, and so do the requests already counted."""
        request = urllib.request.Request(self.url.replace("/v1", "/plan"), json.dumps(plan).encode())
        with urllib.request.urlopen(request, timeout=10) as reply:
            assert reply.status == 200

    def stop(self) -> None:
        """End the process and wait for it. The ledger stays readable. Does nothing the second time."""
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


@contextlib.contextmanager
def serve(latency: float = 0.0, plan: Mapping[str, Any] | None = None, ledger: Path | None = None) -> Iterator[Server]:
    """A server on a free port of 127.0.0.1 for the length of a `with` block.

    `latency` is seconds before each answer. The ledger lies in a temporary directory unless a path is given.
    """
    with tempfile.TemporaryDirectory(prefix="faultserver-") as directory:
        ledger = ledger or Path(directory) / "ledger.jsonl"
        plan_path = Path(directory) / "plan.json"
        plan_path.write_text(json.dumps(plan or {}))
        options = ["--latency", str(latency), "--plan", str(plan_path), "--ledger", str(ledger)]
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.faultserver", *options], cwd=ROOT, stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        try:
            ready = process.stdout.readline()
            assert ready, "the fault server did not start: see its message above"
            server = Server(f"http://127.0.0.1:{json.loads(ready)['port']}/v1", ledger, process)
            yield server
        finally:
            process.kill()
            process.wait()
            process.stdout.close()

"""Running `distill-data` as a user does, and reading what it leaves behind.

Reads the published files and, of the run directory, only the journal's lines: the fault server's ledger tells the rest.
"""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faultserver import ROOT, Server

DISTILL = [sys.executable, "-m", "distill_data"]
CONFIGURES = re.compile("OPENAI_|DISTILL_|HF_|PYTHONDONTWRITEBYTECODE|(http|https|all|no)_proxy$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str
    seconds: float

    def ended(self, code: int) -> Done:
        """This, after a check of the exit code that shows what the command said."""
        assert self.code == code, f"exit code {self.code}, not {code}; stderr:\n{self.err}"
        assert "Traceback" not in self.err, self.err
        return self

    def complained(self, code: int, *words: str) -> Done:
        """This, after a check that stderr is one clear paragraph which holds these words."""
        self.ended(code)
        assert "\n\n" not in self.err.strip(), f"more than one paragraph:\n{self.err}"
        assert 20 < len(self.err) < 1200, self.err
        for word in words:
            assert re.search(word, self.err), f"{word!r} is not in:\n{self.err}"
        return self


@dataclass(frozen=True, slots=True)
class Output:
    """What a command leaves at `-o` and beside it."""

    path: Path

    def beside(self, ending: str) -> Path:
        """`out.jsonl` and `rejects.jsonl` give `out.rejects.jsonl`."""
        return self.path.with_name(f"{self.path.stem}.{ending}")

    @property
    def run(self) -> Path:
        return self.beside("run")

    @property
    def partial(self) -> Output:
        return Output(self.beside("partial.jsonl"))

    def records(self) -> list[dict[str, Any]]:
        return read_jsonl(self.path)

    def rejects(self) -> list[dict[str, Any]]:
        path = self.beside("rejects.jsonl")
        return read_jsonl(path) if path.exists() else []

    def manifest(self) -> dict[str, Any]:
        return dict(json.loads(self.beside("manifest.json").read_bytes()))

    def rows(self) -> list[str]:
        """The row marks of the records, in the order of the file."""
        return [found.group() for record in self.records() if (found := re.search(r"row-\d+", json.dumps(record)))]

    def on_disk(self) -> set[str]:
        """The row marks of the answers in the journal. What follows a segment's last newline is torn and no answer."""
        lines = (line for part in self.run.glob("journal/*.jsonl") for line in part.read_bytes().split(b"\n")[:-1])
        found = (re.search(rb"row-\d+", line) for line in lines if b'"t":"ok"' in line)
        return {mark.group().decode() for mark in found if mark}

    def accounted(self, items: int) -> dict[str, Any]:
        """The manifest's result, after a check that each of `items` items is listed once and the sums add up."""
        result: dict[str, Any] = self.manifest()["result"]
        rejects = self.rejects()
        assert result["items"] == items
        assert result["kept"] + result["rejected"] + result["failed"] + result.get("pending", 0) == items
        assert len(rejects) == result["rejected"] + result["failed"]
        assert all(row["outcome"] in {"rejected", "failed"} and row["reason"] for row in rejects)
        assert sum(result["reasons"].values()) == len(rejects)
        assert len(self.records() if self.path.exists() else []) == result["records"]
        return result


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().split(b"\n") if line]


def write_seeds(path: Path, instructions: Iterable[str]) -> Path:
    path.write_bytes(b"".join(json.dumps({"instruction": text}).encode() + b"\n" for text in instructions))
    return path


def marked(count: int, text: str = "say something about this number") -> list[str]:
    """Instructions that the fault server's ledger can tell apart."""
    return [f"row-{number:05d}: {text}" for number in range(count)]


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's variables without those that configure the tool, and with the repository importable."""
    clean = {name: value for name, value in os.environ.items() if not CONFIGURES.match(name)}
    return {**clean, "PYTHONPATH": str(ROOT), "NO_COLOR": "1", **(extra or {})}


def start(
    *args: str | Path, env: Mapping[str, str] | None = None, before: Callable[[], None] | None = None
) -> subprocess.Popen[bytes]:
    """The command in a process group of its own. `before` runs in the child before the program starts."""
    no_byte_code = {"PYTHONDONTWRITEBYTECODE": "1"} if before else {}  # under a limit it is cut, and found by the next
    return subprocess.Popen(
        [*DISTILL, *map(str, args)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**environment(env), **no_byte_code},
        preexec_fn=before,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[bytes], timeout: float = 60) -> Done:
    """Wait for a started command. One that outlives `timeout` seconds is killed and fails the test."""
    began = time.monotonic()
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise AssertionError(f"still running after {timeout} s; stderr:\n{process.communicate()[1].decode()}") from None
    return Done(process.returncode, out.decode(), err.decode(), time.monotonic() - began)


def run(
    *args: str | Path,
    env: Mapping[str, str] | None = None,
    before: Callable[[], None] | None = None,
    timeout: float = 60,
) -> Done:
    return finish(start(*args, env=env, before=before), timeout)


def label(seeds: Path, url: str, out: Output, *options: str) -> list[str | Path]:
    """The arguments of the usual job: the recipe `answer` and the fault server as its teacher."""
    job: list[str | Path] = [
        "label",
        seeds,
        "-r",
        "answer",
        "-t",
        "openai/test-model",
        "--base-url",
        url,
        "-o",
        out.path,
    ]
    return [*job, *options]


def wait_for_requests(server: Server, count: int, process: subprocess.Popen[bytes], timeout: float = 30) -> None:
    """Return once the server has been asked `count` times, or the command has ended."""
    deadline = time.monotonic() + timeout
    while server.asked() < count and process.poll() is None:
        assert time.monotonic() < deadline, f"{server.asked()} requests after {timeout} s, not {count}"
        time.sleep(0.002)


def signal_all(process: subprocess.Popen[bytes], sent: signal.Signals) -> None:
    """Send a signal to a started command and all that it started. It must not have ended by itself."""
    assert process.poll() is None, f"ended by itself with {process.returncode}:\n{process.communicate()[1].decode()}"
    os.killpg(process.pid, sent)


def small_files(limit: int) -> Callable[[], None]:
    """For `before`: no file of the child may grow past `limit` bytes, which a writer sees as a full disk."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

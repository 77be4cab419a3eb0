"""Fixtures that the system tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash import Fork, warm
from tests.faultserver import Server, serve
from tests.system.command import Output, marked, write_seeds


@pytest.fixture(scope="session")
def fork() -> Iterator[Fork]:
    """Runs commands in forks of a warm process: for tests that start many."""
    with warm() as running:
        yield running


@pytest.fixture
def server() -> Iterator[Server]:
    """A server that answers at once and rightly, until its plan is changed."""
    with serve() as running:
        yield running


@pytest.fixture
def slow_server() -> Iterator[Server]:
    """A server that takes 30 ms for an answer: long enough to be interrupted."""
    with serve(latency=0.03) as running:
        yield running


@pytest.fixture
def seeds(tmp_path: Path) -> Path:
    """Three hundred rows for the recipe `answer`."""
    return write_seeds(tmp_path / "seeds.jsonl", marked(300))


@pytest.fixture
def out(tmp_path: Path) -> Output:
    """Where a command writes."""
    return Output(tmp_path / "out.jsonl")

"""Shards as processes of this machine: started, listened to, started again where one dies, and stopped together.

Each is `python -m distill_data.cli.worker`, which reads its task from stdin and tells what happens on stdout, a line of
JSON each. Its stdin stays open as long as this process lives: its end tells a worker that nobody waits for it any more.
Knows nothing about what a task does.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from distill_data.commands.loop import signals_to
from distill_data.commands.task import End, Task, add_up
from distill_data.data.shard import Shard
from distill_data.reporting import Progress

LOG = logging.getLogger(__name__)
MOST_STARTS = 4
"""How often a shard is started in one command, when its process dies each time."""
LINE_BYTES = 1 << 24
CRASHED = 1


@dataclass(slots=True)
class _Crew:
    """The processes at work, and what they said."""

    say: Callable[[Progress], None]
    items: int
    """Of all shards."""
    started: float = field(default_factory=time.monotonic)
    at_work: dict[Shard, Process] = field(default_factory=dict)
    progress: dict[Shard, Progress] = field(default_factory=dict)
    warned: set[str] = field(default_factory=set)
    ready: set[Process] = field(default_factory=set)
    """Those that know what to do with a signal."""
    stopping: int = 0
    """The signal that asked all to stop."""

    def stop(self, number: int) -> None:
        """Hand a signal on: the first one lets what is in flight land, a second one lets it go."""
        self.stopping = number
        for process in self.at_work.values():
            with suppress(ProcessLookupError):
                process.send_signal(number if process in self.ready else signal.SIGTERM)

    def hear(self, shard: Shard, told: Mapping[str, Any]) -> None:
        self.ready.add(self.at_work[shard])
        if "progress" in told:
            self.progress[shard] = Progress(**told["progress"])
            self.say(add_up(self.progress, self.items, time.monotonic() - self.started))
        elif "log" in told and told["log"][1] not in self.warned:  # most have the same to say
            self.warned.add(told["log"][1])
            LOG.log(*told["log"])


async def run_workers(task: Task, of: int, items: int, say: Callable[[Progress], None]) -> dict[Shard, End]:
    """Run every shard of a task in a process of its own; how each ended. A signal to this process goes to all."""
    crew = _Crew(say, items)
    shards = [Shard(number, of) for number in range(1, of + 1)]
    with signals_to(crew.stop):
        ends = await asyncio.gather(*(_see_to(task.part(shard), shard, crew) for shard in shards))
    return dict(zip(shards, ends, strict=True))


async def _see_to(task: Task, shard: Shard, crew: _Crew) -> End:
    """Run one shard to its end. Where its process dies it is started again: what it paid for is on disk."""
    for start in range(1, MOST_STARTS + 1):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, *_path(), "-m", "distill_data.cli.worker"), stdin=PIPE, stdout=PIPE, limit=LINE_BYTES,
            start_new_session=True,  # a terminal's Ctrl-C would reach it beside ours, and be a second one
        )  # fmt: skip
        crew.at_work[shard] = process
        try:
            end = await _listen(process, task, shard, crew)
        finally:
            del crew.at_work[shard]
        if end is not None:
            return end
        code = process.returncode or 0
        if code >= 0 or crew.stopping:
            break
        died = f"shard {shard}: its process died by {signal.Signals(-code).name}"
        if start < MOST_STARTS:
            LOG.warning("%s and is started again; what was paid for is on disk", died)
    else:
        return End(CRASHED, f"{died}, {MOST_STARTS} times. What is done is kept: the same command goes on from here.")
    if crew.stopping:
        return End(128 + crew.stopping, "it was stopped before it began")
    return End(CRASHED, f"its process ended with {code}, and what it said above is a bug")


def _path() -> tuple[str, ...]:
    """Keep modules of the working directory out, unless the package itself is imported from there."""
    return () if Path.cwd() == Path(__file__).parents[2] else ("-P",)


async def _listen(process: Process, task: Task, shard: Shard, crew: _Crew) -> End | None:
    """Hand the task over, and hear the process until it ends; None where it did not say how."""
    assert process.stdin is not None
    assert process.stdout is not None
    end = None
    with suppress(ConnectionError, RuntimeError):  # uvloop's word for a pipe whose reader died at once
        process.stdin.write(task.to_json() + b"\n")
        await process.stdin.drain()
    if crew.stopping:  # the others have heard of it
        with suppress(ProcessLookupError):
            process.terminate()
    async for line in process.stdout:
        told = orjson.loads(line)
        if "end" in told:
            end = End(*told["end"])
        else:
            crew.hear(shard, told)
    await process.wait()
    return end

"""Task: a generating command with its arguments, as JSON for another process; and what comes back from there.

Options name environment variables and never hold their values, so no key is in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from distill_data.commands.options import Options, Summary
from distill_data.data.shard import Shard, parse_shard
from distill_data.errors import DistillError
from distill_data.reporting import Progress

_PATHS = ("previous", "replay", "run", "config")


class Task(NamedTuple):
    """A command to be run elsewhere, in the same directory."""

    command: str
    source: str
    recipe: str
    output: str
    options: Options
    in_process: bool = False
    """Whether a model runs in the process that does the task."""

    def part(self, shard: Shard) -> Task:
        """The same for one shard."""
        return self._replace(options=replace(self.options, shard=shard, shards=None, engine=""))

    def to_json(self) -> bytes:
        """One line."""
        return orjson.dumps({**self._asdict(), "options": asdict(self.options)}, default=str)

    def run(self, say: Callable[[Progress], None]) -> Summary:
        """Run it here. Raises DistillError."""
        from distill_data import commands

        run: Callable[..., Summary] = getattr(commands, self.command.replace("-", "_"))
        return run(self.source, recipe=self.recipe, output=self.output, options=self.options, progress=say)


def read_task(line: bytes) -> Task:
    """What `to_json` wrote."""
    told = orjson.loads(line)
    given: dict[str, Any] = told["options"]
    paths = {name: Path(given[name]) for name in _PATHS if given[name] is not None}
    options = {
        **given,
        **paths,
        **{name: tuple(given[name]) for name in ("teachers", "students")},
        "reuse": tuple(map(Path, given["reuse"])),
        "other_kinds": {kind: Path(path) for kind, path in given["other_kinds"].items()},
        "shard": parse_shard(given["shard"]) if given["shard"] else None,
    }
    return Task(**{**told, "options": Options(**options)})


class End(NamedTuple):
    """How a task ended elsewhere: by a summary, or by an error that left none."""

    code: int
    message: str
    history: Mapping[str, Any] | None = None
    """Of the summary."""


def run_to_end(task: Task, say: Callable[[Progress], None]) -> End:
    """Run a task here, for somebody elsewhere; what it raises is an end too."""
    try:
        summary = task.run(say)
    except DistillError as error:
        return End(error.exit_code, str(error))
    return End(summary.exit_code, summary.message, summary.history)


def add_up(parts: Mapping[Any, Progress], items: int, seconds: float) -> Progress:
    """The progress of all parts as one; those that have not begun are in `items`."""
    told = list(parts.values())
    costs = [each.cost for each in told]
    doubts = [each.cost_in_doubt for each in told]
    summed = ("kept", "rejected", "failed", "active", "bought", "reused", "prompt_tokens", "completion_tokens", "limit")
    return Progress(
        items=items,
        cost=None if None in costs else sum(filter(None, costs)),
        cost_in_doubt=None if None in doubts else sum(filter(None, doubts)),
        seconds=seconds,
        **{name: sum(getattr(each, name) for each in told) for name in summed},
    )

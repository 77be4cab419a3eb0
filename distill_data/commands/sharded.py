"""`--shards N`: all shards of a job at once, then the whole. Knows neither recipe nor teacher."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from distill_data.commands.options import Options, Summary
from distill_data.commands.plan import Seeds, find_seeds
from distill_data.commands.publish import publish
from distill_data.commands.shards import folder_of, run_of
from distill_data.commands.task import End, Task
from distill_data.commands.workers import run_workers
from distill_data.data.shard import Shard
from distill_data.engine.publish import files_of
from distill_data.engine.rundir import RunDirectory
from distill_data.errors import ShardError, UsageError
from distill_data.reporting import Progress

OF_AN_INVOCATION = ("bought", "reused", "retried")


@contextmanager
def _folder_for(output: Path) -> Iterator[RunDirectory]:
    """A place among the shards for a copy of piped seeds, which one process at a time may fill and read; it and the
    shards' folder are gone again where it was not worth while.
    """
    folder = folder_of(output)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    piped = RunDirectory(folder / "stdin")
    try:
        yield piped
    except UsageError:
        piped.abandon()
        with suppress(OSError):  # something is in it
            folder.rmdir()
        raise
    finally:
        piped.release()


def _known_teachers(output: Path) -> Mapping[str, Any]:
    """What a run for this output found out about the models before; nothing where none has begun."""
    runs = [run_of(output, None), *sorted(folder_of(output).glob("*.run"))]
    loaded = (RunDirectory(run).load().get("teachers", {}) for run in runs)
    return next(filter(None, loaded), {})


def with_shards(output: Path, options: Options) -> Options:
    """The options of a dry run, which counts what lies in shards as answered."""
    runs = [path.parent for path in sorted(folder_of(output).glob("*.run/run.json"))]
    return replace(options, reuse=(*options.reuse, *runs))


Look = Callable[[Seeds, Mapping[str, Any], bool], Summary | None]
"""From seeds, what is known about the models, and whether they may be asked what they can, to the summary of an output
that is whole; None where it isn't.

Checks all that can be checked without asking, so that a mistake is told once and not by every shard.
"""


def run_shards(
    loop: asyncio.Runner, task: Task, seeds: Seeds | None, look: Look, say: Callable[[Progress], None]
) -> Summary:
    """Run all shards and unite them; where one did not come to its end, what there is as `.partial`.

    Seeds are None where they are piped in: then they are copied for all shards. Raises ShardError for a shard that
    ended by an error, UsageError, and LockedError where another process has such a copy in use.
    """
    path, of = Path(task.output), task.options.shards or 1
    stored = _known_teachers(path)
    with _folder_for(path) as piped:
        if seeds is None:
            piped.claim()
            seeds = find_seeds(task.source, task.options, piped.path)
            task = task._replace(source=str(seeds.file.path))
        # With nothing there that could be whole, the shards ask, and once is enough for each.
        if done := look(seeds, stored, bool(stored) or files_of(path).manifest.is_file()):
            return done
        if task.options.engine:
            from distill_data.commands.on_ray import run_on_ray

            return _close(task, run_on_ray(task, of, seeds.rows, say))
        return _close(task, loop.run(run_workers(task, of, seeds.rows, say)))


def _close(task: Task, ends: Mapping[Shard, End]) -> Summary:
    unfinished = {shard: end for shard, end in ends.items() if end.code}
    for shard, end in unfinished.items():
        if end.history is None and end.code < 128:
            with suppress(OSError):  # something is in it
                folder_of(Path(task.output)).rmdir()
            raise ShardError(f"Shard {shard}: {end.message}", end.code)
    worst = next(((f"Shard {shard}: {end.message}", end.code) for shard, end in unfinished.items()), None)
    try:
        done = publish(task.output, partial=worst is not None, max_failed=task.options.max_failed, of=len(ends))
    except UsageError as error:
        if worst is None:
            raise
        raise ShardError(*worst) from error
    told = [end.history or {} for end in ends.values()]
    history = {**done.history, **{name: sum(each.get(name, 0) for each in told) for name in OF_AN_INVOCATION}}
    if worst is None:
        return replace(done, history=history)
    return replace(done, history=history, message=worst[0], exit_code=worst[1])

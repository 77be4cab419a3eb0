"""Shards as tasks of a Ray cluster: Ray places them, and starts again those whose process or machine dies.

Each is the ordinary run, in the same directory of a storage that all machines share. What a task is sent names
environment variables and holds no key: the keys are where the cluster's machines were started.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from distill_data.commands.loop import GRACE_SECONDS
from distill_data.commands.task import End, Task, add_up, read_task, run_to_end
from distill_data.commands.workers import MOST_STARTS
from distill_data.data.shard import Shard
from distill_data.errors import LockedError, UsageError
from distill_data.reporting import Progress

LOG = logging.getLogger(__name__)
LOOK_SECONDS = 0.2
LOCK_SECONDS = 120.0
"""How long a shard that is started again waits for the lock of a machine that died: a server of files takes a while."""
STORE_BYTES = 100 << 20
"""Of a Ray that is started here: nothing but lines of progress passes through it."""


def run_on_ray(task: Task, of: int, items: int, say: Callable[[Progress], None]) -> dict[Shard, End]:
    """Run every shard of a task on the cluster that RAY_ADDRESS names, else on a Ray started here; how each ended.

    Raises UsageError where Ray is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise UsageError(
            "--engine ray needs the extra `ray`: pip install 'distill-data[ray]' (in a checkout: pip install '.[ray]')."
        ) from None
    address = os.environ.get("RAY_ADDRESS")
    here: dict[str, Any] = {} if address else {"include_dashboard": False, "object_store_memory": STORE_BYTES}
    try:
        ray.init(address=address or "local", log_to_driver=False, logging_level=logging.ERROR, **here)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UsageError(f"--engine ray: {error}") from error
    started = time.monotonic()

    def show(told: Mapping[str, Any]) -> None:
        news = {name: Progress(**each) for name, each in told.items()}
        say(add_up(news, items, time.monotonic() - started))

    try:
        with _signals() as received:
            ends = _follow(ray, task, [Shard(number, of) for number in range(1, of + 1)], show, received)
    finally:
        ray.shutdown()
    if received:  # Ray knows one way to stop a task, so all say SIGINT
        return {shard: end._replace(code=128 + received[0]) if end.code > 128 else end for shard, end in ends.items()}
    return ends


def _follow(
    ray: Any, task: Task, shards: list[Shard], show: Callable[[Mapping[str, Any]], None], received: list[int]
) -> dict[Shard, End]:
    """Start the tasks, show how they go, hand signals on."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    board = ray.remote(num_cpus=0, scheduling_strategy=here)(Board).remote()
    gpus = 1 if task.in_process and ray.cluster_resources().get("GPU") else 0  # Ray hides those that are not asked for
    work = ray.remote(max_retries=MOST_STARTS - 1, num_gpus=gpus)(work_on)
    place = os.getcwd()  # noqa: PTH109 - a text for another machine
    tasks = {work.remote(task.part(shard).to_json(), place, board): shard for shard in shards}
    ends: dict[Shard, End] = {}
    handed = 0
    while len(ends) < len(shards):
        waiting = [each for each, shard in tasks.items() if shard not in ends]
        done, _ = ray.wait(waiting, num_returns=len(waiting), timeout=LOOK_SECONDS)
        for each in done:
            ends[tasks[each]] = _end_of(ray, each)
        if told := ray.get(board.read.remote()):
            show(told)
        if len(received) > handed:
            handed = len(received)
            for each in waiting:
                ray.cancel(each, force=False)
    return ends


def _end_of(ray: Any, task: Any) -> End:
    """How a task ended."""
    try:
        return End(*ray.get(task))
    except ray.exceptions.TaskCancelledError:
        return End(128 + signal.SIGINT, "stopped. What is done is kept: the same command goes on from here.")
    except ray.exceptions.RayTaskError as error:
        LOG.error("%s", error)
        return End(1, "what it said above is a bug")
    except ray.exceptions.RayError as error:
        again = "What is done is kept: the same command goes on from here."
        return End(1, f"Ray gave it up after {MOST_STARTS} starts ({type(error).__name__}). {again}")


def work_on(spec: bytes, place: str, board: Any) -> tuple[Any, ...]:
    """What a Ray task does: one shard, in the driver's directory. The fields of an `End`."""
    try:
        os.chdir(place)
    except OSError as error:
        return End(2, f"{place}: {error.strerror} on this machine of the cluster; all must share the storage.")
    task = read_task(spec)
    name, since = str(task.options.shard), time.monotonic()
    while True:
        end = run_to_end(task, lambda progress: board.write.remote(name, asdict(progress)))
        if end.code != LockedError.exit_code or time.monotonic() - since > LOCK_SECONDS:
            return end
        time.sleep(1)


class Board:
    """The last news of every shard, in a process that all can reach."""

    def __init__(self) -> None:
        self.news: dict[str, dict[str, Any]] = {}

    def write(self, name: str, progress: dict[str, Any]) -> None:
        self.news[name] = progress

    def read(self) -> dict[str, dict[str, Any]]:
        return self.news


@contextmanager
def _signals() -> Iterator[list[int]]:
    """The signals that came so far, in place of what they do otherwise."""
    received: list[int] = []
    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for number in GRACE_SECONDS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, lambda came, _: received.append(came))
    try:
        yield received
    finally:
        for heard, handler in before.items():
            signal.signal(heard, handler)

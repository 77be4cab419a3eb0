"""What a run notices beside its rows: that nothing ends any more, and that a model's name stands for several models.

Knows neither methods nor files.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from distill_data.engine.ask import Seat
from distill_data.reporting import Progress

LOG = logging.getLogger(__name__)
PATIENCE = 900.0
"""Seconds without an item or an answer, after which a person is told what the run waits for."""


def make_watch(start: float, seats: Mapping[str, Seat]) -> Callable[[Progress, float], None]:
    """A function to call with the progress and the time, a monotonic one that is `start` now.

    Where nothing has come for long it warns, once until something comes. The run goes on: a request's time is limited,
    so what waits longer is a server that is down, a limit that is asked to be patient, or a fault of ours.
    """
    seen, since, told = (0, 0, 0, 0), start, False

    def watch(progress: Progress, now: float) -> None:
        nonlocal seen, since, told
        done = (progress.bought, progress.kept, progress.rejected, progress.failed)
        if done != seen:
            seen, since, told = done, now, False
        elif now - since >= PATIENCE and not told:
            told = True
            waits = "; ".join(
                f"{role}, {seat.name}, has {seat.limiter.in_flight} requests in flight" for role, seat in seats.items()
            )
            LOG.warning(
                "nothing has come for %.0f minutes: %s. The run goes on waiting; stopping it loses nothing that is "
                "on disk",
                (now - since) / 60,
                waits or "nobody is asked",
            )

    return watch


def served_models(counts: Mapping[tuple[str, str], int]) -> dict[str, dict[str, int]]:
    """Role to model to answers, as the servers named it; without those that named none."""
    served: dict[str, dict[str, int]] = {}
    for (role, model), count in sorted(counts.items()):
        if model:
            served.setdefault(role, {})[model] = count
    return served


def other_models(served: Mapping[str, Mapping[str, int]]) -> str:
    """A warning where one role was answered by several models; empty where none was."""
    found = [
        f"{role}: " + ", ".join(f"{model} ({count})" for model, count in models.items())
        for role, models in served.items()
        if len(models) > 1
    ]
    return (
        f"The server answered with several models in this run ({'; '.join(found)}): the name that was asked for may "
        "have come to stand for another one."
        if found
        else ""
    )

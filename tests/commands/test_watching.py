"""What a run notices beside its rows."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any, cast

import pytest

from distill_data.commands.watching import PATIENCE, make_watch, other_models, served_models
from distill_data.engine.ask import Seat
from distill_data.engine.limiter import Limiter
from distill_data.reporting import Progress


def progress(bought: int) -> Progress:
    blank: dict[str, Any] = dict.fromkeys(Progress.__annotations__, 0)
    return replace(Progress(**blank), bought=bought)


def test_a_run_that_waits_for_long_says_so_once_until_something_comes(caplog: pytest.LogCaptureFixture) -> None:
    limiter = Limiter(4)
    limiter.in_flight = 3
    watch = make_watch(0.0, {"judge": Seat("openai/m", cast(Any, None), limiter)})
    with caplog.at_level(logging.WARNING):
        watch(progress(1), 10.0)
        watch(progress(1), PATIENCE + 9.0)
        assert not caplog.messages
        watch(progress(1), PATIENCE + 10.0)
        watch(progress(1), PATIENCE + 500.0)
        assert len(caplog.messages) == 1
        assert "15 minutes" in caplog.text and "judge, openai/m, has 3 requests in flight" in caplog.text
        watch(progress(2), PATIENCE + 600.0)
        watch(progress(2), 2 * PATIENCE + 599.0)
        assert len(caplog.messages) == 1
        watch(progress(2), 2 * PATIENCE + 600.0)
        assert len(caplog.messages) == 2


def test_models_that_answered_are_counted_by_role() -> None:
    served = served_models({("teacher", "b"): 2, ("teacher", "a"): 1, ("judge", "c"): 3, ("judge", ""): 9})
    assert served == {"judge": {"c": 3}, "teacher": {"a": 1, "b": 2}}
    assert "teacher: a (1), b (2)" in other_models(served)
    assert "judge" not in other_models(served)
    assert other_models({"judge": {"c": 3}}) == ""

"""What an event loop tells of a connection that broke for want of memory, and of a fault of ours."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from distill_data.commands.loop import one_loop

CONNECTION: dict[str, Any] = {"transport": object(), "protocol": object()}


@pytest.mark.parametrize(
    ("context", "told"),
    [
        ({**CONNECTION, "exception": MemoryError()}, 0),
        ({**CONNECTION, "exception": OSError(24, "none left")}, 0),
        ({**CONNECTION, "exception": KeyError("x")}, 1),
        ({"handle": object(), "exception": MemoryError()}, 1),
        ({"task": object(), "exception": OSError(28, "no space")}, 1),
    ],
)
def test_only_what_is_news_is_told(context: dict[str, Any], told: int, caplog: pytest.LogCaptureFixture) -> None:
    with one_loop() as runner:
        runner.get_loop().call_exception_handler({"message": "Fatal error", **context})
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == told

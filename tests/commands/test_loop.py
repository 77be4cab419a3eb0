"""What an event loop tells of a connection that broke for want of memory, and of a fault of ours."""

from __future__ import annotations

import logging

import pytest

from distill_data.commands.loop import one_loop


@pytest.mark.parametrize(("error", "told"), [(MemoryError(), 0), (OSError(24, "none left"), 0), (KeyError("x"), 1)])
def test_only_what_is_news_is_told(error: Exception, told: int, caplog: pytest.LogCaptureFixture) -> None:
    with one_loop() as runner:
        runner.get_loop().call_exception_handler({"message": "Fatal error on transport", "exception": error})
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == told

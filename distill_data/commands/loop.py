"""The event loop of a command. Knows nothing about what runs in it."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable, Iterator

from distill_data.errors import UsageError


@contextlib.contextmanager
def one_loop() -> Iterator[asyncio.Runner]:
    """One event loop for a command, uvloop's where there is one. Raises UsageError inside a running loop."""
    with contextlib.suppress(RuntimeError):
        asyncio.get_running_loop()
        raise UsageError("a run has its own event loop: from a coroutine, call it by asyncio.to_thread.")
    if sys.platform == "win32":
        factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
    else:
        from uvloop import new_event_loop as factory
    with asyncio.Runner(loop_factory=factory) as runner:
        yield runner

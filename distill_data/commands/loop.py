"""The event loop of a command, and the signals that ask it to stop. Knows nothing about what runs in it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

from distill_data.errors import UsageError

LOG = logging.getLogger(__name__)
GRACE_SECONDS = {signal.SIGINT: 60.0, signal.SIGTERM: 25.0, signal.SIGHUP: 25.0}
"""How long requests in flight may still land; those who send SIGTERM tend to kill after 30 seconds."""
SPARE_FILES = 12
"""How many more files a process must be allowed to open: a loop that cannot even be closed says nothing useful."""


@contextlib.contextmanager
def one_loop() -> Iterator[asyncio.Runner]:
    """One event loop for a command, uvloop's where there is one. Raises UsageError inside a running loop, and where
    there are too few descriptors for one.
    """
    _check_descriptors()
    with contextlib.suppress(RuntimeError):
        asyncio.get_running_loop()
        raise UsageError("a run has its own event loop: from a coroutine, call it by asyncio.to_thread.")
    if sys.platform == "win32":
        factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
    else:
        from uvloop import new_event_loop as factory
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.get_loop().set_exception_handler(_hear)
        yield runner


def _hear(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What the loop tells where nobody waits. A connection that breaks for want of memory or descriptors is told by the
    request that it was for, and a traceback beside it would be no news; all else is told."""
    if "transport" in context and isinstance(context.get("exception"), (MemoryError, OSError)):
        LOG.debug("%s: %r", context.get("message"), context["exception"])
    else:
        loop.default_exception_handler(context)


def _check_descriptors() -> None:
    with contextlib.ExitStack() as opened:
        try:
            for _ in range(SPARE_FILES // 2):
                for end in socket.socketpair():
                    opened.enter_context(end)
        except OSError as error:
            raise UsageError(
                f"{error.strerror}: a run needs {SPARE_FILES} more. Allow them by ulimit -n; nothing began."
            ) from None


@contextlib.contextmanager
def signals_to(receive: Callable[[signal.Signals], None]) -> Iterator[None]:
    """For the length of a block, what asks to stop goes to `receive`; afterwards to whom it went before.

    Elsewhere than in the main thread signals are somebody else's, and nohup wants one not heard.
    """
    loop, ours = asyncio.get_running_loop(), threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in GRACE_SECONDS if ours}
    before = {number: handler for number, handler in before.items() if handler is not signal.SIG_IGN}
    for number in before:
        loop.add_signal_handler(number, receive, number)
    try:
        yield
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler or signal.SIG_DFL)

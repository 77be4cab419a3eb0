"""One HTTP/1.1 connection: a request's bytes go out, one whole reply comes back. Knows no URL, key, proxy or retry.

httptools, llhttp's parser, reads; what is here decides when a reply is whole, and whether the connection may be used
again. What comes without having been asked for is never a reply.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Iterable
from typing import Any, NamedTuple, cast

import httptools

from distill_data.data.exchange import Lost

IDLE = 120.0
"""Seconds between two pieces of a body that has begun. Before it begins only the profile's timeout counts: a server
that does not stream says nothing while the model thinks. TCP keep-alive finds out that such a server is gone."""
HEAD_CAP = 2**16
"""Bytes of a reply before its body, interim replies such as 103 included."""
COMPRESSED = frozenset({"gzip", "x-gzip", "deflate"})
_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32


class RawReply(NamedTuple):
    """A reply as it came, its body decoded."""

    status: int
    headers: dict[str, str]
    """Names in lower case; of a name that came twice the first."""
    body: bytes


class TooLong(Exception):
    """A body past its cap. The argument is what came of it."""


class Broken(Exception):
    """The connection ended before the reply was whole."""

    def __init__(self, detail: str, unanswered: bool) -> None:
        super().__init__(detail)
        self.unanswered = unanswered
        """Whether it surely ended before the first byte of a reply. A reset may have swallowed some."""


class Wire(asyncio.Protocol):
    """One connection, for one request at a time."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[RawReply] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._reusable = True
        self._parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def secured(self, transport: asyncio.Transport) -> None:
        """Go on over TLS, through the tunnel that the request before opened."""
        self.transport = transport
        self._parser = httptools.HttpResponseParser(self)
        self._reusable = True

    @property
    def usable(self) -> bool:
        """Whether another request may be sent: the last was answered whole, and nobody hung up."""
        return self._reusable and self._waiter is None and not self.transport.is_closing()

    def abort(self) -> None:
        self._reusable = False
        self._end()
        self.transport.abort()

    async def ask(self, message: Iterable[bytes], cap: int, *, head_only: bool = False) -> RawReply:
        """Send a request and wait for its reply; with `head_only`, as CONNECT wants it, for the reply's head.

        Raises Broken, TooLong where more than `cap` bytes of a decoded body come, Lost for what is no HTTP or stalls,
        and MemoryError. Unless it returns, the connection is to be aborted.
        """
        waiter: asyncio.Future[RawReply] = self._loop.create_future()
        self._waiter = waiter
        self._cap, self._head_only = cap, head_only
        self._came = 0
        self._begin()
        self.transport.write(b"".join(message))
        return await waiter

    def _begin(self) -> None:
        """Before a head, of the reply or of an interim one."""
        self._headers: dict[str, str] = {}
        self._pieces: list[bytes] = []
        self._size = 0
        self._status = 0  # until the head is whole
        self._decoder: Any = None

    def data_received(self, data: bytes) -> None:
        if self._waiter is None:
            self.abort()
            return
        self._came += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fail(Lost("the reply is no HTTP/1.1: the server wants another protocol", sent=True))
        except (httptools.HttpParserError, MemoryError) as error:
            ours = error if isinstance(error, MemoryError) else error.__context__
            out_of_memory = isinstance(ours, MemoryError)
            self._fail(MemoryError() if out_of_memory else Lost(f"the reply is no HTTP/1.1: {error}", sent=True))
        if self._waiter is not None:
            self._wait_for_more()

    def _wait_for_more(self) -> None:
        if not self._status:
            if self._came > HEAD_CAP:
                self._fail(Lost(f"the reply's head is longer than {HEAD_CAP} bytes", sent=True))
            return
        self._heard = self._loop.time()
        if self._timer is None:
            self._timer = self._loop.call_later(IDLE, self._look)

    def _look(self) -> None:
        rest = self._heard + IDLE - self._loop.time()
        if rest > 0:
            self._timer = self._loop.call_later(rest, self._look)
        else:
            self._fail(Lost(f"the reply stalled for {IDLE:g} s", sent=True))

    def connection_lost(self, error: Exception | None) -> None:
        if self._waiter is None:
            return
        if error is None and self._status and self._is_until_end():
            self._complete()
        elif isinstance(error, MemoryError):
            self._fail(error)
        else:
            detail = str(error or "") or "the server closed it"
            self._fail(Broken(detail, not self._came and (error is None or isinstance(error, BrokenPipeError))))

    def _is_until_end(self) -> bool:
        """Whether nothing but the end of the connection ends the body."""
        return "content-length" not in self._headers and "transfer-encoding" not in self._headers

    # What the parser calls.

    def on_message_begin(self) -> None:
        if self._waiter is None:  # a second reply to one request
            self._reusable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._status:  # and no trailer
            self._headers.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))

    def on_headers_complete(self) -> None:
        if self._waiter is None:
            return
        self._status = self._parser.get_status_code()
        coding = self._headers.get("content-encoding")
        if coding and coding.lower() in COMPRESSED:
            self._decoder = zlib.decompressobj(_GZIP_OR_ZLIB)
        elif coding and coding.lower() != "identity":
            self._fail(Lost("the reply is compressed in a way that nobody asked for", sent=True))
        if self._head_only and self._status >= 200:
            self._complete()

    def on_body(self, piece: bytes) -> None:
        if self._waiter is None:
            return
        if self._decoder is not None:
            try:
                piece = self._decoder.decompress(piece, self._cap - self._size + 1)
            except zlib.error as error:
                self._fail(Lost(f"the reply cannot be decompressed: {error}", sent=True))
                return
        self._pieces.append(piece)
        self._size += len(piece)
        if self._size > self._cap or self._declared() > self._cap:
            self._fail(TooLong(b"".join(self._pieces)))

    def _declared(self) -> int:
        """Of a body that is cut where it is too long, also if the rest would never come."""
        return int(self._headers.get("content-length", 0))

    def on_message_complete(self) -> None:
        if self._waiter is None:
            return
        if self._status < 200:  # an interim reply, such as 103
            self._begin()
        else:
            self._complete()

    def _complete(self) -> None:
        if self._decoder is not None and self._pieces and not self._decoder.eof:
            self._fail(Lost("the reply cannot be decompressed: it breaks off", sent=True))
            return
        # A reply that comes before all of the request was taken leaves a rest that nobody wants.
        self._reusable = self._parser.should_keep_alive() and not self.transport.get_write_buffer_size()
        waiter = self._end()
        if waiter is not None and not waiter.done():
            waiter.set_result(RawReply(self._status, self._headers, b"".join(self._pieces)))

    def _fail(self, error: Exception) -> None:
        self._reusable = False
        waiter = self._end()
        if waiter is not None and not waiter.done():
            waiter.set_exception(error)
        self.transport.abort()

    def _end(self) -> asyncio.Future[RawReply] | None:
        """Nobody waits any more; who did."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiter, self._waiter = self._waiter, None
        return waiter

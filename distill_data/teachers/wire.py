"""One HTTP/1.1 connection: a request's bytes go out, one whole reply comes back. Knows no URL, key, proxy or retry.

httptools, llhttp's parser, reads; what is here decides when a reply is whole, and whether the connection may be used
again. What comes without having been asked for is no reply, as far as can be known: HTTP/1.1 numbers nothing, so what
a server says in the instant between the last look and the request is taken for an answer to it.
"""

from __future__ import annotations

import asyncio
import select
import zlib
from typing import Any, NamedTuple, cast

import httptools

from distill_data.data.exchange import Lost

IDLE = 120.0
"""Seconds between two pieces of a body that has begun. Before it begins only the profile's timeout counts: a server
that does not stream says nothing while the model thinks. TCP keep-alive finds out that such a server is gone."""
HEAD_CAP = 2**16
"""Bytes in a row that are no body: of a head with its interim replies such as 103, or of what ends a body in chunks."""
WRAPPED = 8
"""Times a body's cap that all of a reply may take: one byte in a chunk of its own takes six."""
EARLY = 2**16
"""Bytes of a request that a refusal may have come before the last of."""
EXCERPT = 2**16
"""Bytes that are kept of a body that is too long."""
GZIP, OTHERS = frozenset({"gzip", "x-gzip", "deflate"}), frozenset({"br", "zstd", "compress", "x-compress"})
"""What is decoded, and what nobody asks for. Other codings are none: some servers write `utf-8` there."""
CODINGS = frozenset({"transfer-encoding", "content-encoding"})
"""Headers of which several lines are a list."""
_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32


class RawReply(NamedTuple):
    """A reply as it came, its body decoded."""

    status: int
    headers: dict[str, str]
    """Names in lower case; of a name that came twice the first, of CODINGS all, with commas between."""
    body: bytes


class TooLong(Exception):
    """A body past its cap. The argument is the beginning of what came of it."""


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

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin anew: after connecting, and over TLS once that is agreed on."""
        self.transport = cast(asyncio.Transport, transport)
        self._reusable = True
        self._parser = httptools.HttpResponseParser(self)
        # What servers get away with, since other clients read it: bare line feeds, signs in values, "2  " for a size.
        self._parser.set_dangerous_leniencies(
            lenient_headers=True, lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
        )

    @property
    def usable(self) -> bool:
        """Whether another request may be sent: the last was answered whole, and nobody hung up."""
        return self._reusable and self._waiter is None and not self.transport.is_closing()

    def is_silent(self) -> bool:
        """Whether nothing has come that the loop did not yet read: an end, or a reply to nothing."""
        look = select.poll()
        look.register(self.transport.get_extra_info("socket").fileno(), select.POLLIN)
        return not look.poll(0)

    def abort(self) -> None:
        self._reusable = False
        self._release()
        self.transport.abort()

    async def ask(self, message: bytes, cap: int, *, head_only: bool = False) -> RawReply:
        """Send a request and wait for its reply; with `head_only`, as CONNECT wants it, for the reply's head.

        Raises Broken, TooLong where more than `cap` bytes of a decoded body come, Lost for what is no HTTP or stalls,
        and MemoryError. Unless it returns, the connection is to be aborted.
        """
        waiter: asyncio.Future[RawReply] = self._loop.create_future()
        self._waiter = waiter
        self._cap, self._head_only, self._may_be_early = cap, head_only, len(message) > EARLY
        self._came = self._bare = 0
        self._begin()
        self.transport.write(message)
        return await waiter

    def _begin(self) -> None:
        """Before a head, of the reply or of an interim one."""
        self._headers: dict[str, str] = {}
        self._body: bytes | bytearray = b""
        self._status = 0  # until the head is whole
        self._begun = False  # the body
        self._decoder: Any = None

    def data_received(self, data: bytes) -> None:
        if self._waiter is None:
            self.abort()
            return
        self._came += len(data)
        self._bare += len(data)
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
        if self._bare > HEAD_CAP:
            self._fail(Lost(f"the reply has more than {HEAD_CAP} bytes of headers", sent=True))
        elif self._came > WRAPPED * self._cap + HEAD_CAP:
            self._fail(TooLong(bytes(self._body[:EXCERPT])))
        elif self._begun:
            self._heard = self._loop.time()
            self._timer = self._timer or self._loop.call_later(IDLE, self._look)

    def _look(self) -> None:
        rest = self._heard + IDLE - self._loop.time()
        if rest > 0:
            self._timer = self._loop.call_later(rest, self._look)
        else:
            self._fail(Lost(f"the reply stalled for {IDLE:g} s", sent=True))

    def eof_received(self) -> None:
        self._end(None)

    def connection_lost(self, error: Exception | None) -> None:
        self._end(error)

    def _end(self, error: Exception | None) -> None:
        """Nothing more will come."""
        self._reusable = False
        if self._waiter is None:
            return
        try:
            if error is None and self._status and self._is_until_end():
                self._complete()
            elif isinstance(error, MemoryError):
                self._fail(error)
            else:
                detail = str(error or "") or "the server closed it"
                self._fail(Broken(detail, not self._came and (error is None or isinstance(error, BrokenPipeError))))
        except MemoryError as exhausted:
            self._fail(exhausted)

    def _is_until_end(self) -> bool:
        """Whether nothing but the end of the connection ends the body."""
        coding = self._headers.get("transfer-encoding", "")
        return "content-length" not in self._headers and not coding.lower().endswith("chunked")

    # What the parser calls.

    def on_message_begin(self) -> None:
        if self._waiter is None:  # a second reply to one request
            self._reusable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._status:  # a trailer
            return
        key, said = name.decode("latin-1").strip().lower(), value.decode("latin-1").strip()
        before = self._headers.setdefault(key, said)
        if before is not said and key in CODINGS:
            self._headers[key] = f"{before}, {said}"

    def on_headers_complete(self) -> None:
        if self._waiter is None:
            return
        self._status = self._parser.get_status_code()
        length, codings = self._headers.get("content-length", ""), self._headers.get("content-encoding", "")
        known = {each.strip().lower() for each in codings.split(",")} & (GZIP | OTHERS)  # a gateway may say one twice
        self._compressed = len(known) == 1 and known <= GZIP
        if self._head_only:
            if self._status >= 200:
                self._complete()
        elif known and not self._compressed:
            self._fail(Lost("the reply is compressed in a way that nobody asked for", sent=True))
        elif length.isdecimal() and int(length) > self._cap:
            self._fail(TooLong(b""))

    def on_body(self, piece: bytes) -> None:
        if self._waiter is None:
            return
        self._bare, self._begun = 0, True
        try:
            decoded = self._decode(piece) if self._compressed else piece
        except zlib.error as error:
            self._fail(Lost(f"the reply cannot be decompressed: {error}", sent=True))
            return
        if not self._body:
            self._body = decoded
        elif isinstance(self._body, bytearray):
            self._body += decoded
        else:
            self._body = bytearray(self._body) + decoded
        if len(self._body) > self._cap:
            self._fail(TooLong(bytes(self._body[:EXCERPT])))

    def _decode(self, piece: bytes) -> bytes:
        """At most a byte more than the cap allows. Several compressed pieces may follow each other, and then zeros."""
        decoded = b""
        while piece and len(self._body) + len(decoded) <= self._cap:
            if self._decoder is None or self._decoder.eof:
                if self._decoder is not None and not piece.strip(b"\0"):
                    break
                self._decoder = zlib.decompressobj(_GZIP_OR_ZLIB)
            decoded += self._decoder.decompress(piece, self._cap + 1 - len(self._body) - len(decoded))
            piece = self._decoder.unused_data
        return decoded

    def on_message_complete(self) -> None:
        if self._waiter is None:
            return
        if 100 <= self._status < 200:  # an interim reply, such as 103
            self._begin()
        else:
            self._complete()

    def _complete(self) -> None:
        if self._decoder is not None and not self._decoder.eof:
            self._fail(Lost("the reply cannot be decompressed: it breaks off", sent=True))
            return
        reply = RawReply(self._status, self._headers, bytes(self._body))
        # A refusal that comes before all of the request was taken leaves a rest that nobody wants. Over TLS the buffer
        # that is asked is not the one that holds it.
        early = self.transport.get_write_buffer_size() or (self._may_be_early and self._status >= 400)
        self._reusable = self._reusable and self._parser.should_keep_alive() and not early
        waiter = self._release()
        if waiter is not None and not waiter.done():
            waiter.set_result(reply)

    def _fail(self, error: Exception) -> None:
        self._reusable = False
        waiter = self._release()
        if waiter is not None and not waiter.done():
            waiter.set_exception(error)
        self.transport.abort()

    def _release(self) -> asyncio.Future[RawReply] | None:
        """Nobody waits any more; who did."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiter, self._waiter = self._waiter, None
        return waiter

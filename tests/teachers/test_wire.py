"""One connection's replies: what is whole, what is not, and what was never asked for. Bytes go in without a socket."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Callable
from itertools import pairwise
from typing import Any, cast

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_data.data.exchange import Lost
from distill_data.teachers.wire import EARLY, HEAD_CAP, Broken, RawReply, TooLong, Wire

CAP = 1000
OK = b"HTTP/1.1 200 OK\r\n"
WHOLE = OK + b"X-Name: a\r\nx-name: b\r\nContent-Length: 5\r\n\r\nhello"


class Socket:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.written = b""
        self.unsent = 0
        self.closed = False

    def write(self, data: bytes) -> None:
        self.written += data

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def is_closing(self) -> bool:
        return self.closed

    def abort(self) -> None:
        self.closed = True


def made(socket: Socket) -> Wire:
    wire = Wire()
    wire.connection_made(cast(asyncio.Transport, socket))
    return wire


def ended(wire: Wire, feed: Callable[[], Any], head_only: bool = False) -> Any:
    """Ask, let the server say something, and give the reply or the error; None where more would have to come."""

    async def run() -> Any:
        asked = asyncio.ensure_future(wire.ask(b"ask", CAP, head_only=head_only))
        await asyncio.sleep(0)
        feed()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        if not asked.done():
            asked.cancel()
            return None
        return asked.exception() or asked.result()

    return asyncio.get_running_loop().create_task(run())


def said(*pieces: bytes, hangs_up: bool = False, error: Exception | None = None, **how: Any) -> tuple[Any, Wire]:
    """What a request comes to where the server says these pieces; and the connection then."""

    async def run() -> tuple[Any, Wire]:
        wire = made(Socket())

        def feed() -> None:
            for piece in pieces:
                wire.data_received(piece)
            if hangs_up:
                wire.connection_lost(error)

        return await ended(wire, feed, **how), wire

    return asyncio.run(run())


def test_a_reply_is_whole_and_its_connection_can_be_used_again() -> None:
    async def run() -> None:
        socket = Socket()
        wire = made(socket)
        for count in (1, 2, 3):
            reply = await ended(wire, lambda: wire.data_received(WHOLE))
            assert reply == RawReply(200, {"x-name": "a", "content-length": "5"}, b"hello")
            assert wire.usable
            assert socket.written == b"ask" * count

    asyncio.run(run())


@given(st.lists(st.integers(1, len(WHOLE) - 1), max_size=6))
def test_pieces_make_no_difference(cuts: list[int]) -> None:
    bounds = sorted({0, *cuts, len(WHOLE)})
    reply, wire = said(*[WHOLE[start:end] for start, end in pairwise(bounds)])
    assert reply.body == b"hello"
    assert wire.usable


@given(st.lists(st.binary(max_size=60) | st.sampled_from([WHOLE, OK, WHOLE[:30], b"\r\n\r\n", b"5\r\nhello\r\n"])))
def test_any_bytes_are_a_reply_or_a_loss(pieces: list[bytes]) -> None:
    end, wire = said(*pieces, hangs_up=True)
    assert isinstance(end, (RawReply, Lost, Broken, TooLong))
    assert isinstance(end, RawReply) or not wire.usable


@pytest.mark.parametrize(
    ("head", "body"),
    [
        (b"HTTP/1.0 200 OK\r\n", b"\r\nhello"),
        (OK, b"Connection: close\r\n\r\nhello"),
        (OK, b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b"hello")),
    ],
    ids=["1.0", "close", "gzip"],
)
def test_where_nothing_tells_the_length_the_end_does(head: bytes, body: bytes) -> None:
    assert said(head + body)[0] is None
    reply, wire = said(head + body, hangs_up=True)
    assert reply.body == b"hello"
    assert not wire.usable
    end, _ = said(head + body, hangs_up=True, error=ConnectionResetError("reset"))
    assert isinstance(end, Broken) and not end.unanswered


@pytest.mark.parametrize(
    "length", [b"Content-Length: 6\r\n\r\nhello", b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"]
)
def test_where_something_does_the_end_is_a_break(length: bytes) -> None:
    end, _ = said(OK + length, hangs_up=True)
    assert isinstance(end, Broken) and not end.unanswered


@pytest.mark.parametrize(
    ("error", "unanswered"),
    [(None, True), (BrokenPipeError(), True), (ConnectionResetError(), False)],
    ids=["closed", "pipe", "reset"],
)
def test_only_a_reset_may_have_swallowed_a_reply(error: Exception | None, unanswered: bool) -> None:
    end, _ = said(hangs_up=True, error=error)
    assert isinstance(end, Broken) and end.unanswered == unanswered


def test_interim_replies_are_passed_over() -> None:
    reply, wire = said(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", WHOLE)
    assert (reply.status, reply.body, "link" in reply.headers) == (200, b"hello", False)
    assert wire.usable
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: " + b"x" * 1000 + b"\r\n\r\n"
    end, _ = said(*[hints] * (HEAD_CAP // 1000 + 1))
    assert "more than 65536 bytes of headers" in str(end)


def test_a_head_has_an_end() -> None:
    end, _ = said(OK, *[b"X: " + b"x" * 1000 + b"\r\n"] * (HEAD_CAP // 1000 + 1))
    assert isinstance(end, Lost) and end.sent
    end, _ = said(OK + b"X: " + b"x" * HEAD_CAP)
    assert isinstance(end, Lost) and end.sent


@pytest.mark.parametrize(
    "reply", [b"HTTP/1.1 101 Other\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", b"HTTP/3 200 OK\r\n"]
)
def test_another_protocol_is_none(reply: bytes) -> None:
    end, wire = said(reply)
    assert isinstance(end, Lost) and "no HTTP/1.1" in end.detail
    assert not wire.usable


@pytest.mark.parametrize("status", [b"000", b"099"])
def test_a_status_that_is_none_is_a_reply(status: bytes) -> None:
    assert said(WHOLE.replace(b"200", status))[0].status == int(status)


def test_an_offer_to_upgrade_is_no_upgrade() -> None:
    reply, _ = said(WHOLE.replace(b"X-Name: a", b"Upgrade: h2\r\nConnection: Upgrade, Keep-Alive"))
    assert reply.body == b"hello"


def test_a_trailer_is_no_header() -> None:
    reply, wire = said(OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nRetry-After: 9\r\n\r\n")
    assert (reply.body, reply.headers) == (b"hello", {"transfer-encoding": "chunked"})
    assert wire.usable


@pytest.mark.parametrize("more", [WHOLE, b"x", b"HTTP/1.1 2"])
@pytest.mark.parametrize("apart", [False, True])
def test_what_follows_a_reply_ends_the_connection(more: bytes, apart: bool) -> None:
    reply, wire = said(*([WHOLE, more] if apart else [WHOLE + more]))
    assert reply.body == b"hello"
    assert not wire.usable


def test_a_reply_before_all_was_sent_ends_the_connection() -> None:
    async def run() -> None:
        socket = Socket()
        socket.unsent = 1
        wire = made(socket)
        reply = await ended(wire, lambda: wire.data_received(WHOLE))
        assert reply.status == 200
        assert not wire.usable

    asyncio.run(run())


def test_a_refusal_of_a_long_request_ends_the_connection() -> None:
    """Over TLS nobody knows what is still to be sent."""

    async def run(message: bytes, status: bytes) -> bool:
        wire = made(Socket())
        asked = asyncio.ensure_future(wire.ask(message, CAP))
        await asyncio.sleep(0)
        wire.data_received(WHOLE.replace(b"200", status))
        await asked
        return wire.usable

    assert not asyncio.run(run(bytes(EARLY + 1), b"413"))
    assert asyncio.run(run(bytes(EARLY + 1), b"200"))
    assert asyncio.run(run(b"ask", b"413"))


def test_who_only_stops_sending_has_said_all() -> None:
    async def run() -> None:
        wire = made(Socket())
        reply = await ended(wire, lambda: (wire.data_received(OK + b"\r\nhello"), wire.eof_received()))
        assert reply.body == b"hello"
        assert not wire.usable

    asyncio.run(run())


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress], ids=["gzip", "deflate"])
def test_compressed_bodies_are_read(pack: Callable[[bytes], bytes]) -> None:
    def reply(packed: bytes) -> bytes:
        name = b"gzip" if pack is gzip.compress else b"deflate"
        return OK + b"Content-Encoding: %s\r\nContent-Length: %d\r\n\r\n" % (name, len(packed)) + packed

    packed = pack(b"hello" * 20)
    assert said(reply(packed))[0].body == b"hello" * 20
    for broken in (packed[:-9], packed[:1], b"nope"):
        until_end = OK + b"Content-Encoding: gzip\r\n\r\n" + broken
        for end, wire in (said(reply(broken)), said(until_end, hangs_up=True)):
            assert isinstance(end, Lost) and end.sent and "decompressed" in end.detail
            assert not wire.usable
    for size, whole in ((CAP, True), (CAP + 1, False), (10**7, False)):
        assert isinstance(said(reply(pack(bytes(size))))[0], RawReply) == whole, size


def test_several_compressed_pieces_are_one_body() -> None:
    packed = gzip.compress(b"hel") + gzip.compress(b"lo")
    head = OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
    assert said(head % len(packed) + packed)[0].body == b"hello"
    assert said(head % len(packed), *[bytes([byte]) for byte in packed])[0].body == b"hello"
    many = b"".join(gzip.compress(b"x" * 100) for _ in range(11))
    assert isinstance(said(head % len(many) + many)[0], TooLong)
    assert said(head % (len(packed) + 9) + packed, bytes(9))[0].body == b"hello"
    for rest in (packed[:-3], packed + b"garbage", packed + b"\0garbage"):
        end, _ = said(head % len(rest) + rest)
        assert isinstance(end, Lost) and "decompressed" in end.detail


@pytest.mark.parametrize(
    "reply",
    [
        WHOLE.replace(b"\r\n", b"\n"),
        WHOLE.replace(b": a", b": \x01a"),
        WHOLE.replace(b": a", b": a\r\n  folded"),
        WHOLE.replace(b"Length: 5", b"Length : 5"),
        OK + b"Transfer-Encoding: chunked\r\n\r\n5  \r\nhello\r\n0\r\n\r\n",
        OK + b"Content-Encoding: gzip \r\nContent-Length: 25\r\n\r\n" + gzip.compress(b"hello"),
        OK + b"Content-Encoding: gzip, utf-8\r\nContent-Length: 25\r\n\r\n" + gzip.compress(b"hello"),
        OK + b"Content-Encoding: gzip\r\n" * 2 + b"Content-Length: 25\r\n\r\n" + gzip.compress(b"hello"),
    ],
    ids=["bare line feeds", "control sign", "folded", "space", "size", "coding", "codings", "said twice"],
)
def test_what_other_clients_read_is_read(reply: bytes) -> None:
    assert said(reply)[0].body == b"hello"


def test_a_transfer_coding_that_is_none_lasts_to_the_end() -> None:
    reply = OK + b"Transfer-Encoding: identity\r\n\r\nhello"
    assert said(reply, hangs_up=True)[0].body == b"hello"
    twice = OK + b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
    for cut in (WHOLE.replace(b"Length: 5", b"Length : 6"), twice):
        assert isinstance(said(cut, hangs_up=True)[0], Broken)


def test_what_never_becomes_a_body_has_an_end() -> None:
    chunked = OK + b"Transfer-Encoding: chunked\r\n\r\n"
    trailer = chunked + b"2\r\n{}\r\n0\r\nX: "
    end, _ = said(trailer, *[b"x" * 1000] * 100)
    assert isinstance(end, Lost) and "bytes of headers" in end.detail
    packed = zlib.compressobj()
    begun = packed.compress(b"x") + packed.flush(zlib.Z_SYNC_FLUSH)
    empty = b"\x00\x00\x00\xff\xff"
    chunks = [b"%x\r\n%s\r\n" % (len(each), each) for each in (begun, *[empty] * 20_000)]
    end, _ = said(chunked.replace(b"\r\n\r\n", b"\r\nContent-Encoding: deflate\r\n\r\n"), *chunks)
    assert isinstance(end, TooLong) and end.args == (b"x",)


def test_a_body_of_one_byte_at_a_time_is_read() -> None:
    reply, _ = said(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * CAP, b"0\r\n\r\n")
    assert reply.body == b"x" * CAP


def test_other_compression_is_a_loss() -> None:
    end, _ = said(WHOLE.replace(b"X-Name: a", b"Content-Encoding: br"))
    assert isinstance(end, Lost) and end.sent
    for name in (b"gzip, br", b"gzip\r\nContent-Encoding: deflate"):
        end, _ = said(WHOLE.replace(b"X-Name: a", b"Content-Encoding: " + name))
        assert isinstance(end, Lost) and end.sent
    for name in (b"identity", b"utf-8", b"none", b"utf-8, identity"):
        assert said(WHOLE.replace(b"X-Name: a", b"Content-Encoding: " + name))[0].body == b"hello"


def test_what_is_too_long_is_cut() -> None:
    end, _ = said(OK + b"Content-Length: %d\r\n\r\n" % (CAP + 1))
    assert isinstance(end, TooLong) and end.args == (b"",)
    end, _ = said(OK + b"Connection: close\r\n\r\n", b"x" * CAP, b"y")
    assert isinstance(end, TooLong) and end.args == (b"x" * CAP + b"y",)


def test_the_head_of_a_tunnel_is_enough() -> None:
    for head in (OK + b"\r\n", OK + b"Content-Length: 0\r\n\r\n", b"HTTP/1.1 407 No\r\nContent-Length: 9\r\n\r\n"):
        assert said(head, head_only=True)[0].status in (200, 407)


def test_who_gives_up_ends_the_connection() -> None:
    async def run() -> None:
        socket = Socket()
        wire = made(socket)
        assert await ended(wire, lambda: wire.data_received(WHOLE[:30])) is None
        assert not wire.usable
        wire.data_received(WHOLE[30:])  # nobody is there to take it

    asyncio.run(run())


def test_memory_that_runs_out_is_no_loss_of_the_row(monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(self: object, *args: object) -> None:
        raise MemoryError

    assert isinstance(said(hangs_up=True, error=MemoryError())[0], MemoryError)  # type: ignore[arg-type]
    with monkeypatch.context() as patched:
        patched.setattr(Wire, "on_header", exhausted)
        assert isinstance(said(WHOLE)[0], MemoryError)
    with monkeypatch.context() as patched:
        methods = {"feed_data": exhausted, "set_dangerous_leniencies": lambda self, **which: None}
        patched.setattr(httptools, "HttpResponseParser", lambda wire: type("Parser", (), methods)())
        assert isinstance(said(WHOLE)[0], MemoryError)
    for whole, hangs_up in ((WHOLE, False), (OK + b"\r\nhello", True)):
        with monkeypatch.context() as patched:
            patched.setattr("distill_data.teachers.wire.RawReply", exhausted)
            assert isinstance(said(whole, hangs_up=hangs_up)[0], MemoryError)

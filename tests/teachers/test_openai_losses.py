"""What becomes of a request that gets no whole reply: every case is a Lost that says whether it may have been paid."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
import time
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web

from distill_data.data.exchange import Lost
from distill_data.teachers import Resolved, connections, open_teacher, wire
from distill_data.teachers import openai as backend
from distill_data.teachers.profiles import find_profile
from distill_data.teachers.protocol import Capabilities

from .loopback import Seen, completion, serve, serve_bytes

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
MEBI = 2**20


async def ask(url: str, timeout: float = 5.0) -> Any:
    """Send once. Gives the Reply, or the Lost."""
    identity = {"api": "openai-chat", "base_url": url}
    teacher = open_teacher(find_profile("openai/x", {}, timeout=timeout), Resolved(identity, Capabilities()))
    try:
        return await teacher.send(b"{}")
    except Lost as lost:
        return lost
    finally:
        await teacher.aclose()


def ask_bytes(*pieces: bytes | float, timeout: float = 5.0) -> Any:
    async def run() -> Any:
        async with serve_bytes(*pieces) as url:
            return await ask(url, timeout)

    return asyncio.run(run())


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def test_refused_was_not_sent() -> None:
    lost = asyncio.run(ask(f"http://127.0.0.1:{free_port()}/v1"))
    assert (lost.sent, lost.permanent) == (False, False)
    assert "127.0.0.1" in lost.detail


def test_a_proxy_that_refuses_was_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    lost = asyncio.run(ask("http://teacher.example/v1"))
    assert (lost.sent, lost.permanent) == (False, False)


def test_a_proxy_that_opens_no_tunnel_was_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> Any:
        async with serve(lambda seen: web.Response(status=407)) as proxy:
            monkeypatch.setenv("https_proxy", proxy.url.removesuffix("/v1"))
            return await ask("https://teacher.example/v1")

    lost = asyncio.run(run())
    assert (lost.sent, lost.permanent) == (False, False)


def test_a_connection_that_never_comes_was_not_sent_however_short_the_timeout() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(address)  # the queue of connections to accept is full now
        lost = asyncio.run(ask(f"http://127.0.0.1:{address[1]}/v1", timeout=0.4))
        for filler in fillers:
            filler.close()
    assert (lost.sent, lost.permanent) == (False, False)


@pytest.mark.parametrize(
    "pieces",
    [
        (),
        (b"HTTP/1.1 200",),
        (HEAD + b"Content-Length: 100\r\n\r\n" + b"{}",),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"2\r\n{}\r\n",),
        (b"this is not HTTP\r\n\r\n",),
        (HEAD + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\n" + b"nope",),
    ],
    ids=["nothing", "half a head", "short of its length", "cut chunks", "not http", "not gzip"],
)
def test_a_broken_reply_may_have_been_paid(pieces: tuple[bytes, ...]) -> None:
    lost = ask_bytes(*pieces)
    assert isinstance(lost, Lost)
    assert (lost.sent, lost.permanent) == (True, False)
    assert lost.detail


def test_a_reset_after_sending_may_have_been_paid() -> None:
    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"  # on, 0 seconds: close with RST
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()

    async def run() -> Any:
        listener = await asyncio.start_server(reset, "127.0.0.1", 0)
        async with listener:
            return await ask(f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1")

    lost = asyncio.run(run())
    assert (lost.sent, lost.permanent) == (True, False)


def test_the_total_timeout_ends_a_silent_server() -> None:
    start = time.monotonic()
    lost = ask_bytes(5.0, timeout=0.3)
    assert (lost.sent, lost.permanent) == (True, False)
    assert 0.25 < time.monotonic() - start < 1.5


def test_the_total_timeout_ends_a_drip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "IDLE", 0.2)
    drip = [part for _ in range(50) for part in (0.05, b" ")]
    start = time.monotonic()
    lost = ask_bytes(HEAD + b"Content-Length: 1000\r\n\r\n", *drip, timeout=0.5)
    assert lost.sent
    assert "0.5 s" in lost.detail
    assert time.monotonic() - start < 1.5


def test_a_body_that_stalls_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "IDLE", 0.2)
    start = time.monotonic()
    lost = ask_bytes(HEAD + b"Content-Length: 100\r\n\r\n{", 4.0)
    assert lost.sent
    assert "stalled" in lost.detail
    assert time.monotonic() - start < 1.5


def test_silence_before_the_reply_is_thinking_and_not_a_stall(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "IDLE", 0.1)
    reply = ask_bytes(0.4, HEAD + b"Content-Length: 2\r\n\r\n{}")
    assert (reply.status, reply.body) == (200, b"{}")


def test_connections_probe_a_silent_peer() -> None:
    address = (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 1))
    with connections._socket(address) as made:
        assert made.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60


def test_a_body_in_pieces_arrives_whole() -> None:
    body = orjson.dumps(completion("x" * 300_000))
    length = b"Content-Length: %d\r\n\r\n" % len(body)
    reply = ask_bytes(HEAD + length + body[:10], 0.02, body[10:200_000], 0.02, body[200_000:])
    assert reply.body == body


@pytest.mark.parametrize("length", [True, False], ids=["told", "not told"])
def test_a_body_past_the_cap_is_no_reply(length: bool) -> None:
    told = b"Content-Length: %d\r\n\r\n" % (17 * MEBI) if length else b"Connection: close\r\n\r\n"
    lost = ask_bytes(HEAD + told, *[bytes(MEBI)] * 17)
    assert isinstance(lost, Lost)
    assert lost.sent
    assert "16777216 bytes" in lost.detail


def test_a_body_just_under_the_cap_is_a_reply() -> None:
    body = b"x" * backend.BODY_CAP
    reply = ask_bytes(HEAD + b"Content-Length: %d\r\n\r\n" % len(body), body)
    assert len(reply.body) == backend.BODY_CAP


@pytest.mark.parametrize("large", [17, 100], ids=["small", "bomb"])
def test_the_cap_counts_decoded_bytes(large: int) -> None:
    packed = gzip.compress(bytes(large * MEBI))
    lost = ask_bytes(HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed), packed)
    assert isinstance(lost, Lost)
    assert lost.sent


def test_a_compressed_reply_is_read() -> None:
    async def run() -> Any:
        def handler(seen: Seen) -> web.Response:
            response = web.json_response(completion("x" * 1000))
            response.enable_compression(web.ContentCoding.gzip)
            return response

        async with serve(handler) as server:
            return await ask(server.url)

    reply = asyncio.run(run())
    assert orjson.loads(reply.body)["choices"][0]["message"]["content"] == "x" * 1000


def test_a_certificate_that_does_not_verify_is_permanent(tmp_path: Path) -> None:
    certificate = tmp_path / "self-signed.pem"
    certificate.write_text(SELF_SIGNED)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    async def run() -> Any:
        listener = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0, ssl=context)
        async with listener:
            return await ask(f"https://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1")

    lost = asyncio.run(run())
    assert (lost.sent, lost.permanent) == (False, True)
    assert "certificate" in lost.detail


def test_a_failed_handshake_was_not_sent() -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"this is not TLS")
        writer.close()

    async def run() -> Any:
        listener = await asyncio.start_server(babble, "127.0.0.1", 0)
        async with listener:
            return await ask(f"https://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1")

    lost = asyncio.run(run())
    assert (lost.sent, lost.permanent) == (False, False)


def test_a_loss_carries_no_request_along(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-loopback-0123456789")
    lost = ask_bytes(b"this is not HTTP\r\n\r\n")
    assert lost.__cause__ is None
    assert lost.__context__ is None


def test_a_name_that_does_not_resolve_was_not_sent() -> None:
    lost = asyncio.run(ask("https://teacher.invalid/v1"))
    assert (lost.sent, lost.permanent) == (False, False)
    assert "teacher.invalid:443: Name or service not known" in lost.detail


# A throw-away key pair for 127.0.0.1, signed by itself, so that nothing trusts it. Valid for a hundred years.
SELF_SIGNED = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgboVnCPme21lNKdD2
eNFXGFDwM5iivI5NMchbrZP4pDehRANCAAQDkzVx7vRXvvYyUyYELiJhVlpBASp5
MAg+xTdSTZpz6GNtFT5z9IkuoI/AT3LEkEJy7Kwbx1zj5tU9CYV1b9O6
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBnjCCAUSgAwIBAgIUIOB2SybcUXNY8KDqSkDXQacYhiQwCgYIKoZIzj0EAwIw
GzEZMBcGA1UEAwwQc2VsZi1zaWduZWQudGVzdDAgFw0yNjExMjMxOTA2NTNaGA8y
MTI2MTAzMDE5MDY1M1owGzEZMBcGA1UEAwwQc2VsZi1zaWduZWQudGVzdDBZMBMG
ByqGSM49AgEGCCqGSM49AwEHA0IABAOTNXHu9Fe+9jJTJgQuImFWWkEBKnkwCD7F
N1JNmnPoY20VPnP0iS6gj8BPcsSQQnLsrBvHXOPm1T0JhXVv07qjZDBiMB0GA1Ud
DgQWBBSWVPt4OkP1BcxufCVf/7JPFl/F+DAfBgNVHSMEGDAWgBSWVPt4OkP1Bcxu
fCVf/7JPFl/F+DAPBgNVHRMBAf8EBTADAQH/MA8GA1UdEQQIMAaHBH8AAAEwCgYI
KoZIzj0EAwIDSAAwRQIhAPf2yysDOUdXJB9TqNfeF6c2/1mdDFUxEQ4nSheUBXAv
AiBbPB0Myd5Mt3zRTTLnR1EJZOQ8WbthskI9sP3eDuEb2w==
-----END CERTIFICATE-----
"""

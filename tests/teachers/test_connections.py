"""Connections on real sockets, by the loop of the command line and by Python's own: kept ones, names, TLS, proxies."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
import struct
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import uvloop

from distill_data.data.exchange import Lost
from distill_data.teachers import connections as module
from distill_data.teachers.connections import Connections
from distill_data.teachers.wire import RawReply

from .test_openai_losses import SELF_SIGNED, free_port

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Run = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture(params=["uvloop", "asyncio"])
def run(request: pytest.FixtureRequest) -> Run:
    return uvloop.run if request.param == "uvloop" else asyncio.run


@asynccontextmanager
async def listening(talk: Talk, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> AsyncIterator[int]:
    """A server's port. What breaks in `talk` is over."""
    talks: set[asyncio.Task[Any]] = set()

    async def calm(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        talks.add(task)
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await talk(reader, writer)
        writer.close()

    listener = await asyncio.start_server(calm, host, 0, ssl=tls)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()
        for task in talks:
            task.cancel()
        await asyncio.gather(*talks)
        await asyncio.sleep(0.01)


async def read_request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
    return head + await reader.readexactly(length)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Say each request back, its head too."""
    while True:
        said = await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(said) + said)


async def post(to: Connections, body: bytes = b"{}") -> RawReply:
    return await to.post(to.head("/chat", {"X-Key": "k"}), body, 10_000_000)


async def lost_without_closing(to: Connections) -> Lost:
    with pytest.raises(Lost) as caught:
        await post(to)
    return caught.value


async def lost(to: Connections, body: bytes = b"{}") -> Lost:
    with pytest.raises(Lost) as caught:
        await post(to, body)
    await to.aclose()
    return caught.value


def look_up_by(monkeypatch: pytest.MonkeyPatch, lookup: Any) -> None:
    """Let connections ask another resolver than the loop's."""
    loop = asyncio.get_running_loop()
    methods = {"getaddrinfo": staticmethod(lookup), "__getattr__": lambda _, name: getattr(loop, name)}
    other = type("Loop", (), methods)()
    monkeypatch.setattr(module.asyncio, "get_running_loop", lambda: other)


def test_a_request_is_exactly_this(run: Run) -> None:
    async def main() -> None:
        async with listening(echo) as port:
            to = Connections(f"http://127.0.0.1:{port}/a b/é%20", None, 5.0)
            expected = f"POST /a%20b/%C3%A9%20/chat HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nX-Key: k\r\nContent-Length: "
            for body in (b"", b"{}", b"x" * 3_000_000):
                assert (await post(to, body)).body == f"{expected}{len(body)}\r\n\r\n".encode() + body
            await to.aclose()

    run(main())


def test_one_after_the_other_takes_one_connection_and_many_at_once_as_many(run: Run) -> None:
    async def main() -> None:
        made = []

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            made.append(writer)
            await echo(reader, writer)

        async with listening(talk) as port:
            to = Connections(f"http://127.0.0.1:{port}", None, 5.0)
            for _ in range(3):
                await post(to)
            assert len(made) == 1
            replies = await asyncio.gather(*(post(to, b"%d" % number) for number in range(20)))
            assert [reply.body.rpartition(b"\r\n")[2] for reply in replies] == [b"%d" % number for number in range(20)]
            assert len(made) == 20
            await to.aclose()

    run(main())


def test_a_connection_that_idled_too_long_is_not_used_again(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT", 0.05)

    async def main() -> None:
        ended = asyncio.Event()

        async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with pytest.raises(asyncio.IncompleteReadError):
                await echo(reader, writer)
            ended.set()

        async with listening(once) as port:
            to = Connections(f"http://127.0.0.1:{port}", None, 5.0)
            await asyncio.gather(post(to), post(to))
            await asyncio.sleep(0.1)
            await post(to)
            await asyncio.wait_for(ended.wait(), 5)
            await to.aclose()

    run(main())


@pytest.mark.parametrize("reset", [False, True])
def test_a_kept_connection_that_ends_at_once_was_not_sent_unless_it_was_reset(run: Run, reset: bool) -> None:
    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await read_request(reader)  # too late to say that this is over
        if reset:
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()

    async def main() -> None:
        async with listening(once) as port:
            to = Connections(f"http://127.0.0.1:{port}", None, 5.0)
            assert (await post(to)).status == 200
            end = await lost(to)
            assert (end.sent, end.kind) == ((True, "") if reset else (False, "stale"))

    run(main())


@pytest.mark.parametrize("secure", [False, True])
def test_a_reply_to_nothing_is_not_taken_for_the_next(run: Run, tls: ssl.SSLContext, secure: bool) -> None:
    """It comes while the loop is busy, and is not read yet when the next request is about to leave."""
    reply = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"

    def talk(listener: socket.socket) -> None:
        for _ in range(2):
            connection, _ = listener.accept()
            with tls.wrap_socket(connection, server_side=True) if secure else connection as client:
                client.recv(65536)
                client.sendall(reply + b"first")
                time.sleep(0.05)
                client.sendall(reply + b"stale")
                time.sleep(0.1)

    async def main(port: int) -> None:
        to = Connections(f"http{'s' * secure}://127.0.0.1:{port}", None, 5.0)
        for _ in range(2):
            assert (await post(to)).body == b"first"
            time.sleep(0.1)
        await to.aclose()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        talking = threading.Thread(target=talk, args=(listener,), daemon=True)
        talking.start()
        run(main(listener.getsockname()[1]))
        talking.join(5)


def test_who_is_cancelled_leaves_nothing_for_the_next(run: Run) -> None:
    async def main() -> None:
        async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            await asyncio.sleep(0.1)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst")
            await echo(reader, writer)

        async with listening(slow) as port:
            to = Connections(f"http://127.0.0.1:{port}", None, 5.0)
            first = asyncio.ensure_future(post(to))
            await asyncio.sleep(0.05)
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            await asyncio.sleep(0.1)
            assert (await post(to)).body == b"first"  # of a connection of its own
            await to.aclose()

    run(main())


def test_a_name_is_asked_for_once_and_its_addresses_take_turns(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        asked = []

        async def lookup(host: str, port: int, **how: Any) -> list[Any]:
            asked.append(host)
            await asyncio.sleep(0.01)
            return [
                (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in ("127.0.0.1", "127.0.0.2")
            ]

        seen = []

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            seen.append(writer.get_extra_info("sockname")[0])
            await echo(reader, writer)

        async with listening(talk, host="0.0.0.0") as port:
            to = Connections(f"http://teacher.example:{port}", None, 5.0)
            look_up_by(monkeypatch, lookup)
            await asyncio.gather(*(post(to) for _ in range(6)))
            monkeypatch.undo()
            await to.aclose()
        assert asked == ["teacher.example"]
        assert sorted(seen) == ["127.0.0.1"] * 3 + ["127.0.0.2"] * 3

    run(main())


def test_an_address_that_refuses_leaves_the_next(run: Run) -> None:
    async def main() -> None:
        async with listening(echo) as port:  # localhost is ::1 too, where nobody listens
            to = Connections(f"http://localhost:{port}", None, 5.0)
            assert (await post(to)).status == 200
            await to.aclose()

    run(main())


@pytest.fixture
def tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """A server's certificate for 127.0.0.1, which this process trusts."""
    certificate = tmp_path / "certificate.pem"
    certificate.write_text(SELF_SIGNED)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def test_tls(run: Run, tls: ssl.SSLContext) -> None:
    async def main() -> None:
        async with listening(echo, tls) as port:
            to = Connections(f"https://127.0.0.1:{port}", None, 5.0)
            for body in (b"{}", b"x" * 1_000_000):
                assert (await post(to, body)).body.endswith(body)
            await to.aclose()

    run(main())


@pytest.mark.parametrize("tunnel", [False, True])
def test_who_is_cancelled_while_tls_begins_leaves_no_trace(
    run: Run, tls: ssl.SSLContext, tunnel: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        told: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context))
        async with AsyncExitStack() as stack:
            port = await stack.enter_async_context(listening(echo, tls))
            proxy = await stack.enter_async_context(listening(tunnels([])))
            to = Connections(f"https://127.0.0.1:{port}", f"http://127.0.0.1:{proxy}" if tunnel else None, 5.0)
            for wait in range(60):
                asked = asyncio.ensure_future(post(to))
                await asyncio.sleep(wait / 10_000)
                asked.cancel()
                with suppress(asyncio.CancelledError):
                    await asked
            assert (await post(to)).status == 200
            await to.aclose()
        assert told == []

    run(main())
    assert caplog.records == []


def test_a_name_s_last_dot_is_not_on_its_certificate(
    run: Run, tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lookup(host: str, port: int, **how: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    async def main() -> None:
        look_up_by(monkeypatch, lookup)
        async with listening(echo, tls) as port:
            end = await lost(Connections(f"https://teacher.example.:{port}", None, 5.0))
            assert end.permanent and "'teacher.example'" in end.detail
        monkeypatch.undo()

    run(main())


def test_the_trusted_are_known_before_descriptors_run_out(tls: ssl.SSLContext) -> None:
    to = Connections("https://127.0.0.1:1", None, 5.0)
    assert to._context is not None and to._context.get_ca_certs()
    assert Connections("http://127.0.0.1:1", None, 5.0)._context is None
    assert Connections("http://127.0.0.1:1", "https://127.0.0.1:2", 5.0)._context is not None


def test_an_early_refusal_of_a_long_request_is_not_followed_by_another(run: Run, tls: ssl.SSLContext) -> None:
    async def main() -> None:
        made = []

        async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            made.append(writer)
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 413 Too large\r\nContent-Length: 0\r\n\r\n")
            await asyncio.sleep(5)

        for context in (None, tls):
            async with listening(refuse, context) as port:
                to = Connections(f"http{'s' * (context is tls)}://127.0.0.1:{port}", None, 5.0)
                for _ in range(2):
                    assert (await asyncio.wait_for(post(to, bytes(12_000_000)), 4)).status == 413
                await to.aclose()
        assert len(made) == 4

    run(main())


def test_who_stops_sending_before_all_was_read_is_heard(run: Run) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too large\r\n\r\nno")
        writer.write_eof()
        await asyncio.sleep(5)

    async def main() -> None:
        async with listening(refuse) as port:
            to = Connections(f"http://127.0.0.1:{port}", None, 5.0)
            reply = await asyncio.wait_for(post(to, bytes(12_000_000)), 4)
            assert (reply.status, reply.body) == (413, b"no")
            await to.aclose()

    run(main())


def test_a_header_is_sent_once_and_the_user_s_holds() -> None:
    to = Connections("http://127.0.0.1:1/v1", None, 5.0)
    head = to.head("/chat", {"User-Agent": "ours", "host": "teacher.example", "USER-AGENT": "theirs"}).decode()
    assert head.split("\r\n")[1:-1] == ["host: teacher.example", "USER-AGENT: theirs"]


def test_after_the_end_nothing_is_kept(run: Run) -> None:
    async def main() -> None:
        ended = asyncio.Event()

        async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            await asyncio.sleep(0.05)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            await reader.read()
            ended.set()

        async with listening(slow) as port:
            to = Connections(f"http://127.0.0.1:{port}", None, 5.0)
            asked = asyncio.ensure_future(post(to))
            await asyncio.sleep(0.02)
            await to.aclose()
            assert (await asked).status == 200
            await asyncio.wait_for(ended.wait(), 5)

    run(main())


def test_a_lookup_that_fails_when_nobody_waits_any_more_is_quiet(
    run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def slow(*_: Any, **__: Any) -> None:
        time.sleep(0.2)
        raise socket.gaierror(-2, "Name or service not known")

    async def main() -> None:
        to = Connections("http://teacher.example", None, 0.05)

        async def lookup(*_: Any, **__: Any) -> Any:
            return await asyncio.to_thread(slow)

        look_up_by(monkeypatch, lookup)
        end = await lost_without_closing(to)
        monkeypatch.undo()
        assert "within 0.05 s" in end.detail
        await asyncio.sleep(0.3)

    run(main())
    gc.collect()
    assert caplog.records == []


@pytest.mark.parametrize("host", ["foo..bar", "x" * 64 + ".example"])
def test_what_cannot_be_a_name_is_permanent(run: Run, host: str) -> None:
    end = run(lost(Connections(f"http://{host}/v1", None, 5.0)))
    assert (end.sent, end.permanent) == (False, True)


def test_a_certificate_for_another_name_is_permanent(run: Run, tls: ssl.SSLContext) -> None:
    async def main() -> None:
        async with listening(echo, tls) as port:
            end = await lost(Connections(f"https://localhost:{port}", None, 5.0))
            assert (end.sent, end.permanent) == (False, True)
            assert "certificate" in end.detail and "localhost" in end.detail

    run(main())


def tunnels(asked: list[bytes]) -> Talk:
    """A proxy that opens what CONNECT asks for."""

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await read_request(reader))
        host, _, port = asked[-1].split(b" ")[1].rpartition(b":")
        away, back = await asyncio.open_connection(host.decode(), int(port))
        writer.write(b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n")
        try:
            await asyncio.gather(pump(reader, back), pump(away, writer))
        finally:
            back.close()

    return talk


@pytest.mark.parametrize("secure", [False, True], ids=["http proxy", "https proxy"])
def test_a_proxy_s_tunnel_shows_it_nothing(run: Run, tls: ssl.SSLContext, secure: bool) -> None:
    async def main() -> None:
        asked: list[bytes] = []
        async with AsyncExitStack() as stack:
            port = await stack.enter_async_context(listening(echo, tls))
            proxy = await stack.enter_async_context(listening(tunnels(asked), tls if secure else None))
            url = f"http{'s' * secure}://joe:p%40ss@127.0.0.1:{proxy}"
            to = Connections(f"https://127.0.0.1:{port}/v1", url, 5.0)
            for body in (b"{}", b"x" * 1_000_000):
                reply = await post(to, body)
                assert reply.body.startswith(b"POST /v1/chat HTTP/1.1") and reply.body.endswith(body)
                assert b"Proxy" not in reply.body
            await to.aclose()
        server = f"127.0.0.1:{port}"
        told = "Proxy-Authorization: Basic am9lOnBAc3M="
        assert asked == [f"CONNECT {server} HTTP/1.1\r\nHost: {server}\r\n{told}\r\n\r\n".encode()]

    run(main())


def test_a_secure_proxy_of_a_plain_server(run: Run, tls: ssl.SSLContext) -> None:
    async def main() -> None:
        async with listening(echo, tls) as port:
            to = Connections("http://teacher.example:8000/v1", f"https://127.0.0.1:{port}", 5.0)
            head = b"POST http://teacher.example:8000/v1/chat HTTP/1.1\r\nHost: teacher.example:8000\r\n"
            assert (await post(to)).body.startswith(head)
            await to.aclose()

    run(main())


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"HTTP/1.1 407 Authenticate\r\nContent-Length: 0\r\n\r\n", "opens no tunnel, and answers 407"),
        (b"HTTP/1.1 200 OK\r\n\r\nthis is no TLS", ""),
        (b"HTTP/1.1 200 OK\r\n\r\n", ""),
        (b"SSH-2.0\r\n", "no HTTP"),
        (b"", "closed"),
    ],
    ids=["407", "no tls", "hangs up", "no http", "silent"],
)
def test_a_proxy_without_a_tunnel_was_not_sent(run: Run, answer: bytes, says: str) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(answer)

    async def main() -> None:
        async with listening(talk) as port:
            end = await lost(Connections("https://teacher.example/v1", f"http://joe:secret@127.0.0.1:{port}", 5.0))
            assert (end.sent, end.permanent) == (False, False)
            assert says in end.detail and f"the proxy 127.0.0.1:{port}" in end.detail and "secret" not in end.detail

    run(main())


@pytest.mark.parametrize("proxy", [False, True], ids=["handshake", "tunnel"])
def test_who_takes_a_connection_and_says_nothing_was_not_sent(run: Run, proxy: bool) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async def main() -> None:
        async with listening(silent) as port:
            url = f"http://127.0.0.1:{port}"
            server = "teacher.example" if proxy else f"127.0.0.1:{port}"
            end = await lost(Connections(f"https://{server}/v1", url if proxy else None, 0.2))
            assert (end.sent, end.permanent) == (False, False)
            assert "within 0.2 s" in end.detail

    run(main())


def test_nobody_there(run: Run) -> None:
    end = run(lost(Connections(f"http://[::1]:{free_port()}/v1", None, 5.0)))
    assert (end.sent, end.permanent) == (False, False)
    assert "no connection to [::1]:" in end.detail
    end = run(lost(Connections("http://teacher.invalid/v1", None, 5.0)))
    assert "no connection to teacher.invalid:80: " in end.detail

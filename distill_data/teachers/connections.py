"""Connections to one server, kept while they may be used again, directly or through a proxy. Knows no key and no retry.

Asking is what this program does all day, and a general HTTP client costs as much as all the rest of a request: two
small libraries that such clients stand on, httptools and aiohappyeyeballs, are asked for half of it.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from base64 import b64encode
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urlsplit

from aiohappyeyeballs import start_connection

from distill_data.data.exchange import Lost
from distill_data.teachers.endpoint import PORTS
from distill_data.teachers.wire import Broken, RawReply, Wire

KEPT = 4.0
"""Seconds that an idle connection is kept: less than servers do, of which the least patient wait five."""
STALE = 0.5
"""Seconds in which a kept connection that the server had closed shows so. One that breaks later may have worked."""
KNOWN = 10.0
"""Seconds for which a name's addresses are not asked for again."""
HAPPY_EYEBALLS = 0.25
"""Seconds before the next address of a name is tried beside the one that does not answer (RFC 8305)."""
_IN_PATHS = "/%:@!$&'()*+,;=~"

Address = tuple[Any, Any, int, str, tuple[Any, ...]]


class Place(NamedTuple):
    """Where a connection goes: to a server or to a proxy."""

    secure: bool
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Connections:
    """The connections to one base URL. Belongs to the event loop that it is first used in.

    Any number may be open: how many requests run at once is not decided here. `patience` is the seconds that getting
    one may take: name, TCP, TLS and proxy.
    """

    def __init__(self, base_url: str, proxy: str | None, patience: float) -> None:
        self._base = urlsplit(base_url)
        self._server = _place(base_url)
        self._proxy = _place(proxy) if proxy else None
        self._to_proxy = _proxy_head(proxy) if proxy else ""
        self._patience = patience
        self._idle: list[tuple[float, Wire]] = []
        self._found: asyncio.Future[list[Address]] | None = None
        self._found_at = 0.0
        self._turn = 0
        self._closed = False
        # Made before there is any connection: without a descriptor left it would come out empty, and trust nobody.
        secure = self._server.secure or (self._proxy is not None and self._proxy.secure)
        self._context = _tls_context() if secure else None

    def head(self, path: str, headers: Mapping[str, str]) -> bytes:
        """How a request to a path below the base URL begins, up to its length. Of two names that differ only in case
        the later one holds."""
        target = quote(self._base.path + path, safe=_IN_PATHS)
        told = ""
        if self._proxy and not self._server.secure:
            target, told = f"http://{self._base.netloc}{target}", self._to_proxy
        named = {"Host": self._base.netloc, **headers}
        told_once = {name.lower(): f"{name}: {value}" for name, value in named.items()}
        lines = [f"POST {target} HTTP/1.1", *told_once.values()]
        return ("\r\n".join(lines) + f"\r\n{told}Content-Length: ").encode()

    async def post(self, head: bytes, body: bytes, cap: int) -> RawReply:
        """Send a body, give the reply, whatever its status; redirects are replies.

        Raises Lost where no whole reply came, TooLong where it is longer than `cap` bytes once decoded, MemoryError.
        """
        wire = self._take()
        kept = wire is not None
        wire = wire or await self._opened()
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            return await wire.ask(b"%s%d\r\n\r\n%s" % (head, len(body), body), cap)
        except Broken as broken:
            if kept and broken.unanswered and loop.time() - began < STALE:
                detail = f"a kept connection was closed by the server: {broken}"
                raise Lost(detail, sent=False, kind="stale") from None
            raise Lost(f"the connection broke: {broken}", sent=True) from None
        finally:
            if wire.usable and not self._closed:
                self._idle.append((loop.time(), wire))
            else:
                wire.abort()

    async def aclose(self) -> None:
        """Close all that are kept, and keep none from now on."""
        self._closed = True
        for _, wire in self._idle:
            wire.abort()
        self._idle.clear()
        await asyncio.sleep(0)  # in which the sockets are closed

    def _take(self) -> Wire | None:
        """The connection that was used last, unless the server may be about to close it; those too old are closed."""
        if not self._idle:
            return None
        oldest = asyncio.get_running_loop().time() - KEPT
        while self._idle and self._idle[0][0] < oldest:
            self._idle.pop(0)[1].abort()
        while self._idle:
            _, wire = self._idle.pop()
            if wire.usable and wire.is_silent():
                return wire
            wire.abort()
        return None

    async def _opened(self) -> Wire:
        """A new connection. Raises Lost: nothing was sent."""
        first = self._proxy or self._server
        by = f"the proxy {first}" if self._proxy else str(first)
        try:
            async with asyncio.timeout(self._patience):
                wire = await self._connect(first)
            if wire.usable:
                return wire
            wire.abort()
            lost = Lost(f"no connection to {by}: it hung up", sent=False)
        except ssl.SSLCertVerificationError as error:
            detail = f"the server's certificate does not verify: {by}: {error.verify_message or error}"
            lost = Lost(detail, sent=False, permanent=True)
        except TimeoutError:
            lost = Lost(f"no connection to {by} within {self._patience:g} s", sent=False)
        except UnicodeError:
            lost = Lost(f"no connection to {by}: this is no host's name", sent=False, permanent=True)
        except (OSError, Broken, Lost) as error:
            lost = Lost(f"no connection to {by}: {getattr(error, 'strerror', None) or error}", sent=False)
        raise lost  # from here, so that no traceback carries what was sent to a proxy

    async def _connect(self, first: Place) -> Wire:
        loop = asyncio.get_running_loop()
        addresses = await self._addresses(first)
        made = await start_connection(addresses, happy_eyeballs_delay=HAPPY_EYEBALLS, socket_factory=_socket)
        try:
            _, wire = await loop.create_connection(Wire, sock=made)
        except BaseException:
            made.close()
            raise
        try:
            if first.secure:
                await self._secure(loop, wire, first.host)
            if self._proxy and self._server.secure:
                await self._tunnel(wire)
                await self._secure(loop, wire, self._server.host)
        except BaseException:
            wire.abort()
            raise
        return wire

    async def _secure(self, loop: asyncio.AbstractEventLoop, wire: Wire, host: str) -> None:
        """Speak TLS from now on, with who can show that it is this host."""
        assert self._context is not None
        name = host.rstrip(".")  # no certificate has the dot of a name that is whole
        over_tls = await loop.start_tls(wire.transport, wire, self._context, server_hostname=name)
        if over_tls is None:
            raise ConnectionResetError("it hung up")
        wire.connection_made(over_tls)

    async def _tunnel(self, wire: Wire) -> None:
        """Ask the proxy for a connection to the server. Raises OSError where it opens none."""
        ask = f"CONNECT {self._server} HTTP/1.1\r\nHost: {self._server}\r\n{self._to_proxy}\r\n"
        status = (await wire.ask(ask.encode(), 0, head_only=True)).status
        if status >= 300:
            raise OSError(f"it opens no tunnel, and answers {status}")

    async def _addresses(self, place: Place) -> list[Address]:
        """The addresses of a name, each time beginning with another one. Raises OSError."""
        loop = asyncio.get_running_loop()
        found, now = self._found, loop.time()
        if found is None or (found.done() and (found.exception() or self._found_at + KNOWN < now)):
            asked = loop.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
            self._found = found = asyncio.ensure_future(asked)
            self._found_at = now
            found.add_done_callback(_noticed)
        # Many wait for one lookup, so one that is cancelled does not cancel it.
        addresses = await asyncio.shield(found)
        self._turn += 1
        first = self._turn % len(addresses)
        return [*addresses[first:], *addresses[:first]]


def _tls_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def _noticed(lookup: asyncio.Future[Any]) -> None:
    """Whoever waited for it may be gone."""
    if not lookup.cancelled():
        lookup.exception()


def _place(url: str) -> Place:
    parts = urlsplit(url)
    return Place(
        parts.scheme == "https", parts.hostname or "", PORTS[parts.scheme] if parts.port is None else parts.port
    )


def _proxy_head(proxy: str) -> str:
    """The line that a proxy's user and password make, if its URL holds them."""
    parts = urlsplit(proxy)
    if parts.username is None:
        return ""
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
    return f"Proxy-Authorization: Basic {b64encode(pair).decode()}\r\n"


def _socket(address: Address) -> socket.socket:
    """One that probes a silent peer: a dead one is noticed, and no router forgets the connection while it is silent."""
    family, kind, protocol = address[:3]
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 30), ("TCP_KEEPCNT", 4)):
        if hasattr(socket, option):
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    return made

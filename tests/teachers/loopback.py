"""Loopback servers for the tests of teachers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web


def completion(content: Any = "hello", **message: Any) -> dict[str, Any]:
    """A chat completion as servers send it."""
    return {
        "id": "x",
        "object": "chat.completion",
        "model": "served",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": content, **message}, "finish_reason": "stop"}
        ],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
    }


@dataclass
class Seen:
    """One request as the server got it."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


Handler = Callable[[Seen], Awaitable[web.StreamResponse] | web.StreamResponse]


@dataclass
class Server:
    url: str
    seen: list[Seen] = field(default_factory=list)


def answering(content: Any = "hello") -> Handler:
    return lambda seen: web.json_response(completion(content))


@asynccontextmanager
async def serve(handler: Handler) -> AsyncIterator[Server]:
    """An HTTP server on a free port that shows each request to the handler and keeps it."""
    server = Server("")

    async def handle(request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        seen = Seen(request.raw_path, headers, await request.read())
        server.seen.append(seen)
        response = handler(seen)
        return response if isinstance(response, web.StreamResponse) else await response

    app = web.Application(client_max_size=2**26)
    app.router.add_route("*", "/{rest:.*}", handle)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    try:
        yield server
    finally:
        await runner.cleanup()


@asynccontextmanager
async def serve_bytes(*pieces: bytes | float) -> AsyncIterator[str]:
    """A socket that reads a request, writes these bytes, waits where a piece is a number of seconds, and hangs up."""

    open_connections: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        open_connections.add(task)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(length)
            for piece in pieces:
                if isinstance(piece, bytes):
                    writer.write(piece)
                    await writer.drain()
                else:
                    await asyncio.sleep(piece)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            open_connections.discard(task)

    listener = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1"
    finally:
        listener.close()
        waiting = list(open_connections)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting)
        await asyncio.sleep(0)

"""A teacher on the loopback that costs much less than its clients, for benchmarks: no faults, no plan, no ledger file.

    python benchmarks/lean.py LATENCY       seconds; prints the base URL, and serves until its stdin ends

Every prompt holds `row-NNNNNNN`, and the answer repeats it. `GET /` tells how many requests came and for how many rows.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple, cast

import uvloop

ANSWER = (
    b'{"id":"chatcmpl-1","object":"chat.completion","created":0,"model":"test-model","choices":[{"index":0,"message":'
    b'{"role":"assistant","content":"answer to %s: a thing about it"},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":10,"completion_tokens":12,"total_tokens":22}}'
)
MARK = len(b"row-0000000")


class Asked(NamedTuple):
    """What came to the server."""

    requests: int
    rows: int


class Teacher(NamedTuple):
    """A running server."""

    url: str

    def asked(self) -> Asked:
        with urllib.request.urlopen(self.url) as reply:
            return Asked(*json.loads(reply.read()))


class Connection(asyncio.Protocol):
    """One client connection: requests with a length, one after the other."""

    def __init__(self, latency: float, seen: dict[bytes, int]) -> None:
        self.latency, self.seen = latency, seen
        self.rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        data = self.rest + data
        while (end := data.find(b"\r\n\r\n") + 4) > 3:
            at = data.lower().find(b"content-length:", 0, end) + len(b"content-length:")
            whole = end + (int(data[at : data.index(b"\r", at)]) if at > len(b"content-length:") else 0)
            if len(data) < whole:
                break
            self.answer(data[end:whole])
            data = data[whole:]
        self.rest = data

    def answer(self, body: bytes) -> None:
        if not body:
            self.write(json.dumps([sum(self.seen.values()), len(self.seen)]).encode())
            return
        at = body.index(b"row-")
        mark = body[at : at + MARK]
        self.seen[mark] = self.seen.get(mark, 0) + 1
        if self.latency:
            asyncio.get_running_loop().call_later(self.latency, self.write, ANSWER % mark)
        else:
            self.write(ANSWER % mark)

    def write(self, body: bytes) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
        self.transport.write(head + body)


async def main(latency: float) -> None:
    loop, seen = asyncio.get_running_loop(), dict[bytes, int]()
    server = await loop.create_server(lambda: Connection(latency, seen), "127.0.0.1", 0, backlog=4096)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


@contextmanager
def teacher(latency: float = 0.0) -> Iterator[Teacher]:
    """A server in a process of its own."""
    command = [sys.executable, __file__, str(latency)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin and process.stdout
    try:
        yield Teacher(process.stdout.readline().strip())
    finally:
        process.stdin.close()
        process.wait()


if __name__ == "__main__":
    uvloop.run(main(float(sys.argv[1])))

"""Which answer a request gets, the ledger line it leaves, and the small HTTP/1.1 server around both.

Written by hand over `asyncio.Protocol`, so that a test may break any byte of a reply.
Takes what the usual clients send: a request line, headers, a body with a length. Does not know what a fault writes.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import orjson

from tests.faultserver.faults import FAULTS, OK, Exchange, Fault, refused, response

CHAT, EMBEDDINGS, MODELS, PLAN = "/v1/chat/completions", "/v1/embeddings", "/v1/models", "/plan"
NOT_FOUND = refused(404, "no such path")
ROW = re.compile(r"row-\d+")


@dataclass(frozen=True, slots=True)
class Plan:
    """Which fault happens when. The first of the following that applies decides; else the answer is right."""

    always: str = ""
    """Every request, `GET /v1/models` included, gets this fault."""
    markers: Mapping[str, str] = field(default_factory=dict)
    """A prompt that holds this text gets this fault, each time it is asked."""
    once: Mapping[str, str] = field(default_factory=dict)
    """A prompt that holds this text gets this fault the first time it is asked."""
    first: Mapping[str, int] = field(default_factory=dict)
    """The first so many chat requests get this fault; several are taken in order."""
    rates: Mapping[str, float] = field(default_factory=dict)
    """Share of chat requests, drawn from seed, body and how often that body came: not from the order of arrival."""
    seed: int = 1
    retry_after: str = "1"
    keys: tuple[str, ...] = ()
    """The keys that are taken; any other is answered with 401. Empty takes every one, and none."""
    bodies: bool = False
    """Whether the ledger holds the parsed request bodies."""

    def __post_init__(self) -> None:
        unknown = {self.always, *self.markers.values(), *self.once.values(), *self.first, *self.rates} - {"", *FAULTS}
        if unknown:
            raise SystemExit(f"the plan names unknown faults {sorted(unknown)}; known are {sorted(FAULTS)}")

    def choose(self, text: str, digest: str, nth: int, seen: int) -> str:
        """The fault for a chat request, the `nth` of all (from 0), whose body came `seen` times before."""
        if self.always:
            return self.always
        for marker, fault in self.markers.items():
            if marker in text:
                return fault
        for marker, fault in self.once.items():
            if marker in text and not seen:
                return fault
        for fault, count in self.first.items():
            if nth < count:
                return fault
            nth -= count
        if self.rates:
            draw = hashlib.sha256(f"{self.seed}:{digest}:{seen}".encode()).digest()
            position = int.from_bytes(draw[:8]) / 2**64
            for fault, rate in self.rates.items():
                if position < rate:
                    return fault
                position -= rate
        return "ok"


class Service:
    """What all connections share: the plan, the counts and the ledger."""

    def __init__(self, latency: float, plan: Plan, ledger: Path) -> None:
        self.latency = latency
        self.plan = plan
        self.lines = ledger.open("ab", buffering=0)
        self.arrived = 0
        self.chats = 0
        self.seen: Counter[str] = Counter()

    def connection(self) -> Connection:
        return Connection(self)

    def handle(self, exchange: Exchange) -> None:
        """Choose the answer, write the ledger line, and answer after the latency.

        The line is written before the answer: a client that dies while it waits has still asked and is still billed.
        """
        if exchange.path == PLAN:
            self.plan = Plan(**exchange.payload)
            exchange.write(response(200, b"{}"))
            return
        digest = hashlib.sha256(exchange.body).hexdigest()
        name, fault = self.decide(exchange, digest)
        row = ROW.search(exchange.text)
        line = {
            "n": self.arrived,
            "path": exchange.path,
            "digest": digest,
            "row": row.group() if row else "",
            "status": fault.status,
            "paid": fault.paid,
            "fault": name,
            "authorization": exchange.headers.get(b"authorization", b"").decode(),
        }
        if self.plan.bodies:
            line["body"] = exchange.payload
        self.lines.write(orjson.dumps(line) + b"\n")
        self.arrived += 1
        if self.latency:
            asyncio.get_running_loop().call_later(self.latency, fault.write, exchange)
        else:
            fault.write(exchange)

    def decide(self, exchange: Exchange, digest: str) -> tuple[str, Fault]:
        """The fault's name and the fault, by path and plan."""
        bearer = exchange.headers.get(b"authorization", b"").decode().removeprefix("Bearer ")
        if self.plan.keys and bearer not in self.plan.keys:
            return "401", FAULTS["401"]
        if self.plan.always:
            return self.plan.always, FAULTS[self.plan.always]
        if exchange.path == MODELS and exchange.method == "GET":
            return "models", Fault(200, False, write_models)
        if exchange.path not in (CHAT, EMBEDDINGS) or exchange.method != "POST":
            return "no such path", NOT_FOUND
        name = self.plan.choose(exchange.text, digest, self.chats, self.seen[digest])
        self.chats += 1
        self.seen[digest] += 1
        right = OK if exchange.path == CHAT else EMBEDDED
        return name, right if name == "ok" else FAULTS[name]


def write_models(exchange: Exchange) -> None:
    model = {"id": "test-model", "object": "model", "created": 0, "owned_by": "loopback"}
    exchange.write(response(200, orjson.dumps({"object": "list", "data": [model]})))


def write_embedding(exchange: Exchange) -> None:
    """Eight numbers that are a function of the text alone."""
    drawn = hashlib.sha256(exchange.text.encode()).digest()[:8]
    vector = [(byte - 127.5) / 100 for byte in drawn]
    found = {
        "object": "list",
        "model": exchange.payload.get("model", ""),
        "data": [{"object": "embedding", "index": 0, "embedding": vector}],
        "usage": {"prompt_tokens": len(exchange.text) // 4 + 1, "total_tokens": len(exchange.text) // 4 + 1},
    }
    exchange.write(response(200, orjson.dumps(found)))


EMBEDDED = Fault(200, True, write_embedding)


class Connection(asyncio.Protocol):
    """One client connection, kept alive, one request after the other."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            first, *lines = self.buffer[:end].split(b"\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
            whole = end + 4 + int(headers.get(b"content-length", 0))
            if len(self.buffer) < whole:
                return
            body, self.buffer = self.buffer[end + 4 : whole], self.buffer[whole:]
            method, path, _ = first.decode().split(" ", 2)
            payload = orjson.loads(body) if body else {}
            exchange = Exchange(
                self.transport,
                method,
                path,
                headers,
                body,
                payload,
                last_user_text(payload),
                self.service.plan.retry_after,
            )
            self.service.handle(exchange)


def last_user_text(payload: Mapping[str, Any]) -> str:
    """The text that the answer is made of: to be embedded, or the user's last message."""
    if payload.get("input"):
        return str(payload["input"][0])
    for message in reversed(payload.get("messages", [])):
        if message.get("role") == "user":
            return str(message.get("content", ""))
    return ""

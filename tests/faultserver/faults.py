"""What the server can answer: one table, from a fault's name to its status, whether it is billed, and its bytes.

Knows HTTP and the chat completion format; does not know when a fault happens.
"""

from __future__ import annotations

import asyncio
import codecs
import gzip
import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any, NamedTuple

import orjson

REASONS = {200: "OK", 307: "Temporary Redirect", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found"}
HUGE = 20 * 2**20
LARGE = 12 * 2**20


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and the connection that its answer goes to."""

    transport: asyncio.Transport
    method: str
    path: str
    headers: dict[bytes, bytes]
    body: bytes
    payload: dict[str, Any]
    text: str
    """The last user message."""
    retry_after: str

    def write(self, data: bytes) -> None:
        """Hand bytes to the socket, unless the client is gone."""
        if not self.transport.is_closing():
            self.transport.write(data)


class Fault(NamedTuple):
    """How the server answers. `paid` tells whether a provider would bill it: a 200 is presumed billed."""

    status: int
    paid: bool
    write: Callable[[Exchange], None]


def response(status: int, body: bytes, *headers: str, kind: str = "application/json") -> bytes:
    """A whole HTTP response with its length."""
    head = [
        f"HTTP/1.1 {status} {REASONS.get(status, 'Status')}",
        f"content-type: {kind}",
        f"content-length: {len(body)}",
    ]
    return "\r\n".join([*head, *headers, "\r\n"]).encode() + body


def completion(exchange: Exchange, **choice: Any) -> dict[str, Any]:
    """The right answer, a function of the request's body alone, whose digest is its id. `choice` changes its choice."""
    content = "answer to " + exchange.text[:60]
    first: dict[str, Any] = {
        "index": 0,
        "message": {"role": "assistant", "content": content},
        "finish_reason": "stop",
    }
    prompt_tokens, completion_tokens = len(exchange.text) // 4 + 1, len(content) // 4 + 1
    return {
        "id": hashlib.sha256(exchange.body).hexdigest(),
        "object": "chat.completion",
        "created": 0,
        "model": exchange.payload.get("model", ""),
        "choices": [first | choice],
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
        },
    }


def answered(change: Callable[[bytes], bytes] = bytes, **choice: Any) -> Fault:
    """A 200 whose choice, or whose bytes, differ from the right ones."""
    return Fault(200, True, lambda e: e.write(response(200, change(orjson.dumps(completion(e, **choice))))))


def said(content: str | None, finish: str = "stop", **message: Any) -> Fault:
    """A 200 with this message in place of the right one."""
    message = {"role": "assistant", "content": content, **message}
    return answered(message=message, finish_reason=finish)


def invented(exchange: Exchange) -> None:
    """Eight tasks as a numbered list, drawn from the request: of ten, three are nearly a known one and one is junk."""
    rng = random.Random(exchange.body)
    lines = []
    for number in range(1, 9):
        fresh = " ".join("".join(rng.choices("abcdefghijklmnop", k=6)) for _ in range(9))
        kind = rng.random()
        known = "Tell me about the number of things that are nearly the same here"
        lines.append(f"{number}. {'...' if kind < 0.1 else known + f' {number}' if kind < 0.4 else fresh}")
    message = {"role": "assistant", "content": "\n".join(lines)}
    exchange.write(response(200, orjson.dumps(completion(exchange, message=message))))


def refused(status: int, message: str, code: str | None = None, *headers: str) -> Fault:
    """An error in the format of the OpenAI API."""

    def write(exchange: Exchange) -> None:
        body = orjson.dumps({"error": {"message": message, "type": "error", "param": None, "code": code}})
        filled = (header.replace("{retry_after}", exchange.retry_after) for header in headers)
        exchange.write(response(status, body, *filled))

    return Fault(status, False, write)


def echo_authorization(exchange: Exchange) -> None:
    """A debug page's habit: the error tells the request back, key included, in the body and in a header."""
    authorization = exchange.headers.get(b"authorization", b"").decode()
    body = orjson.dumps({"error": {"message": f"cannot parse request with Authorization: {authorization}"}})
    exchange.write(response(400, body, f"x-request-authorization: {authorization}"))


def page(status: int) -> Fault:
    """An error that a proxy on the way wrote, for people."""
    body = b"<html><h1>Something went wrong</h1></html>"
    return Fault(status, False, lambda e: e.write(response(status, body, kind="text/html")))


def later(seconds: float) -> Callable[[Exchange], None]:
    """A 429 that asks to wait until a time of day, by the server's own clock, which is wrong."""

    def write(exchange: Exchange) -> None:
        then, now = formatdate(86400 + seconds, usegmt=True), formatdate(86400, usegmt=True)
        refused(429, "Rate limit reached", None, f"date: {now}", f"retry-after: {then}").write(exchange)

    return write


def half_a_head(exchange: Exchange) -> None:
    exchange.write(b"HTTP/1.1 200 OK\r\ncontent-ty")
    exchange.transport.close()


def late_reset(exchange: Exchange) -> None:
    """Long enough after the request that the server may have worked on it."""
    asyncio.get_running_loop().call_later(0.8, exchange.transport.abort)


def then_close(exchange: Exchange) -> None:
    """The right answer, and the end of a connection that was to be kept."""
    OK.write(exchange)
    exchange.transport.close()


class Gone(asyncio.Protocol):
    """A connection whose server forgot it: the next bytes are answered with a reset, and nobody reads them."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.abort()


def forget(exchange: Exchange) -> None:
    OK.write(exchange)
    exchange.transport.set_protocol(Gone(exchange.transport))


def endless(exchange: Exchange) -> None:
    """An answer that grows by a mebibyte every five milliseconds until the client hangs up."""
    exchange.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 10000000000\r\n\r\n")
    loop = asyncio.get_running_loop()

    def more() -> None:
        if not exchange.transport.is_closing():
            exchange.write(b" " * 2**20)
            loop.call_later(0.005, more)

    more()


def cut_chunks(exchange: Exchange) -> None:
    body = orjson.dumps(completion(exchange))
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    exchange.write(head + b"%x\r\n" % len(body) + body + b"\r\n")
    exchange.transport.close()


def forged(exchange: Exchange) -> None:
    """The right answer, and behind it one that nobody asked for."""
    whole = response(200, orjson.dumps(completion(exchange)))
    exchange.write(whole + whole.replace(b"answer", b"forged"))


def two_choices(exchange: Exchange) -> None:
    body = completion(exchange)
    other = {**body["choices"][0], "index": 1, "message": {"role": "assistant", "content": "the other one"}}
    exchange.write(response(200, orjson.dumps(body | {"choices": [other, *body["choices"]]})))


def cut_stream(exchange: Exchange) -> None:
    """A stream that nobody asked for, and that ends in the middle."""
    piece = orjson.dumps({"choices": [{"index": 0, "delta": {"content": "answ"}}]})
    exchange.write(response(200, b"data: " + piece + b"\n\nda", kind="text/event-stream"))


def slow_body(exchange: Exchange) -> None:
    """The right answer at a byte a second."""
    data = response(200, orjson.dumps(completion(exchange)))
    head = data.index(b"\r\n\r\n") + 4
    exchange.write(data[:head])
    loop = asyncio.get_running_loop()
    for second, start in enumerate(range(head, len(data))):
        loop.call_later(second, exchange.write, data[start : start + 1])


def until_close(exchange: Exchange) -> None:
    """The right answer without a length: its end is the end of the connection."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n"
    exchange.write(head + orjson.dumps(completion(exchange)))
    exchange.transport.close()


def cut(exchange: Exchange) -> None:
    """A length, and the connection closed before that many bytes came."""
    exchange.write(response(200, orjson.dumps(completion(exchange)))[:-40])
    exchange.transport.close()


def half(body: bytes) -> bytes:
    return body[: len(body) // 2]


OK = answered()
FAULTS: dict[str, Fault] = {
    "ok": OK,
    "tasks": Fault(200, True, invented),
    "no": said("no"),
    "instance": said('{"input": "", "output": "a short text that solves it"}'),
    # refusals of the whole request
    "400": refused(400, "the request is malformed", "invalid_request"),
    "too_long": refused(400, "maximum context length is 8 tokens", "context_length_exceeded"),
    "401": refused(401, "Incorrect API key provided", "invalid_api_key"),
    "escapes": refused(401, "\x1b[31mbad key\x1b]0;owned\x07 \x9b31m", "invalid_api_key"),
    "402": refused(402, "payment required", "billing_hard_limit"),
    "404": refused(404, "The model does not exist", "model_not_found"),
    "429": refused(429, "Rate limit reached", "rate_limit_exceeded", "retry-after: {retry_after}"),
    "insufficient_quota": refused(429, "You exceeded your current quota", "insufficient_quota"),
    "500": refused(500, "internal error"),
    "503": refused(503, "overloaded", None, "retry-after: {retry_after}"),
    "echo_auth": Fault(400, False, echo_authorization),
    "redirect": refused(307, "moved", None, "location: /elsewhere"),
    "429_none": refused(429, "Rate limit reached", "rate_limit_exceeded"),
    "429_fraction": refused(429, "Rate limit reached", None, "retry-after: 0.05"),
    "429_ms": refused(429, "Rate limit reached", None, "retry-after-ms: 50", "retry-after: 900"),
    "429_past": Fault(429, False, later(-30)),
    "429_future": Fault(429, False, later(1)),
    "429_garbage": refused(429, "Rate limit reached", None, "retry-after: soon; nan"),
    "429_reset": refused(429, "Rate limit reached", None, "x-ratelimit-reset-requests: 50ms"),
    "429_tomorrow": refused(429, "Rate limit reached", None, "retry-after: 86400"),
    "403": refused(403, "You may not use this model"),
    "408": refused(408, "timed out"),
    "409": refused(409, "conflict"),
    "425": refused(425, "too early"),
    "502_html": page(502),
    "503_none": refused(503, "overloaded"),
    "504_html": page(504),
    "520_html": page(520),
    "529": refused(529, "overloaded", "overloaded_error"),
    # a connection that fails
    "late_reset": Fault(0, False, late_reset),
    "half_head": Fault(200, True, half_a_head),
    "then_close": Fault(200, True, then_close),
    "forget": Fault(200, True, forget),
    "cut_chunks": Fault(200, True, cut_chunks),
    "endless": Fault(200, True, endless),
    "hang": Fault(0, False, lambda exchange: None),
    "reset": Fault(0, False, lambda exchange: exchange.transport.abort()),
    "cut": Fault(200, True, cut),
    "slowloris": Fault(200, True, slow_body),
    "no_content_length": Fault(200, True, until_close),
    # a body that is not the answer
    "truncated": answered(half),
    "html": Fault(200, True, lambda e: e.write(response(200, b"<html><h1>Log in</h1></html>", kind="text/html"))),
    "error_in_200": Fault(200, True, lambda e: e.write(response(200, b'{"error": {"message": "upstream failed"}}'))),
    "empty": Fault(200, True, lambda e: e.write(response(200, orjson.dumps(completion(e) | {"choices": []})))),
    "bad_utf8": answered(lambda body: body.replace(b"answer", b"answ\xff\xfe", 1)),
    "surrogate": answered(lambda body: body.replace(b"answer to", rb"answer \ud800 to", 1)),
    "separators": answered(lambda body: body.replace(b"answer to", "a\u2028b\u0085c\\u0000d\\re".encode(), 1)),
    "large": answered(lambda body: body.replace(b"answer to", b"answer " + b"a" * LARGE, 1)),
    "huge": answered(lambda body: body.replace(b"answer to", b"answer " + b"a" * HUGE, 1)),
    "gzip_bomb": Fault(
        200,
        True,
        lambda e: e.write(response(200, gzip.compress(b" " * (2 * HUGE), 1), "content-encoding: gzip")),
    ),
    "trailing": answered(lambda body: body + b"}"),
    "forged": Fault(200, True, forged),
    "bom": answered(lambda body: codecs.BOM_UTF8 + body),
    "utf16": answered(lambda body: body.decode().encode("utf-16")),
    "nan": answered(lambda body: body.replace(b'"index":0', b'"index":NaN', 1)),
    "duplicate": answered(lambda body: body.replace(b'"content":', b'"content":"an earlier","content":', 1)),
    "huge_int": answered(lambda body: body.replace(b'"created":0', b'"created":' + b"9" * 5000, 1)),
    "deep": Fault(200, True, lambda e: e.write(response(200, b"[" * 100_000))),
    "two_choices": Fault(200, True, two_choices),
    "parts": answered(message={"role": "assistant", "content": [{"type": "text", "text": "answer in parts"}]}),
    "think": said("<think>so <think>or</think> so</think>\n\nanswer after thinking"),
    "code_think": said("```\n<think>\n```\nanswer about a tag"),
    "reasoning": said("answer with reasons", reasoning_content="so or so"),
    "other_model": Fault(200, True, lambda e: e.write(response(200, orjson.dumps(completion(e) | {"model": "newer"})))),
    "cut_stream": Fault(200, True, cut_stream),
    # an answer that says no
    "null": said(None),
    "finish_null": answered(finish_reason=None),
    "finish_odd": answered(finish_reason="because"),
    "refusal": said(None, refusal="I cannot help with that"),
    "content_filter": said("", "content_filter"),
    "length": said("answer cut off", "length"),
    "blank": said(""),
    "unclosed_think": said("<think>and so on and"),
    "tool_calls": said(None, "tool_calls", tool_calls=[]),
}

"""A server that says back what it was sent, in every way that servers do. The first part of a URL's path says which.

Runs in a fork, and keeps a ledger that shows where each request came in.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

MASKED = "sk-CANAR*****"


@dataclass(frozen=True, slots=True)
class Echoes:
    """A running server."""

    root: str
    ledger_path: Path

    def url(self, how: str) -> str:
        """The base URL under which it answers so."""
        return f"{self.root}/{how}/v1"

    def ledger(self) -> list[dict[str, Any]]:
        """Path and headers, by lower-case name, of every request."""
        return [json.loads(line) for line in self.ledger_path.read_text().splitlines()]

    def forgetful(self) -> Echoes:
        """The same server, whose ledger begins again."""
        self.ledger_path.write_text("")
        return self


def completion(text: str) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    vector = {"data": [{"index": 0, "embedding": [0.1, 0.2]}]}
    return json.dumps({"id": "x", "model": "test-model", "choices": [choice], "usage": usage, **vector}).encode()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    ledger: Path
    text: bytes = b""
    """What the answer `said` says, and the refusal `refused`, as JSON text."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        with self.ledger.open("a") as lines:
            lines.write(json.dumps({"path": self.path, "headers": headers}) + "\n")
        how = self.path.split("/")[1]
        said = "\n".join(f"{name}: {value}" for name, value in headers.items())
        status, body, extra = answer(how, said, headers, self.text)
        if how == "hangs":
            time.sleep(3)
        if how == "cuts":
            self.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n" + body)
            self.close_connection = True
            return
        self.send_response(status)
        for name, value in {"content-length": str(len(body)), **extra}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_PUT = do_HEAD = do_POST  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


def answer(how: str, said: str, headers: dict[str, str], text: bytes) -> tuple[int, bytes, dict[str, str]]:
    key = headers.get("authorization", "").removeprefix("Bearer ")

    def error(message: str, code: str | None = None) -> bytes:
        return json.dumps({"error": {"message": message, "code": code}}).encode()

    in_base64 = base64.b64encode(said.encode()).decode()
    table: dict[str, tuple[int, bytes, dict[str, str]]] = {
        "ok": (200, completion("1. yes"), {}),
        "said": (200, completion(json.loads(text or b'""')), {}),
        "refused": (401, b'{"error": {"message": %s, "code": "invalid_api_key"}}' % (text or b'""'), {}),
        "unknown": (404, b'{"error": {"message": %s, "code": "model_not_found"}}' % (text or b'""'), {}),
        "busy": (500, b'{"error": {"message": %s}}' % (text or b'""'), {}),
        "401": (401, error(f"not authorised: {said}", "invalid_api_key"), {"x-echo": key}),
        "masked": (401, error(f"Incorrect API key provided: {key[:8]}*****{key[-4:]}.", "invalid_api_key"), {}),
        "base64": (400, error(f"bad header {in_base64}"), {}),
        "400": (400, error(f"cannot parse: {said}"), {}),
        "quota": (429, error(f"quota of {key} is spent", "insufficient_quota"), {}),
        "500": (500, f"<html><pre>{said}</pre></html>".encode(), {"content-type": "text/html", "x-echo": key}),
        "garbage": (200, b'{"choices": [' + said.encode(), {}),
        "error-in-200": (200, error(f"upstream said {said} of {key[:8]}*****{key[-4:]}"), {}),
        "cuts": (200, said.encode(), {}),
        "hangs": (200, said.encode(), {}),
        "redirect": (307, said.encode(), {"location": f"http://127.0.0.2:1/elsewhere?key={key}"}),
        "here": (308, said.encode(), {"location": "/elsewhere/v1/chat/completions"}),
    }
    return table.get(how, (404, error("no such path"), {}))


@contextlib.contextmanager
def echoing(folder: Path, text: str = "") -> Iterator[Echoes]:
    """A server for the length of a `with` block; `text` is what `said`, `refused`, `unknown` and `busy` say."""
    ledger = folder / "ledger.jsonl"
    ledger.touch()
    made = type("Bound", (Handler,), {"ledger": ledger, "text": json.dumps(text).encode()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), made)
    child = os.fork()
    if child == 0:
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            server.serve_forever()
        finally:
            os._exit(0)
    server.socket.close()
    try:
        yield Echoes(f"http://127.0.0.1:{server.server_address[1]}", ledger)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)

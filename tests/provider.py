"""A loopback chat endpoint that bills: tokens by length, a prefix cache of a few prompts, and a ledger of every answer.

    with serve() as provider:       # the base URL is provider.url
        ...
        provider.ledger             # a `Billed` for each answer, told by the server and not by the client

Runs in threads of this process. Knows no distill-data.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import takewhile
from typing import Any, NamedTuple

CHARACTERS = 8
"""A token."""


class Billed(NamedTuple):
    """One answer that was paid for."""

    model: str
    prompt: str
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int


@dataclass
class Provider:
    """What the endpoint knows."""

    answer: Callable[[str, int], str]
    """From the prompt, and how often it came before, to what is said."""
    latency: float
    capacity: int
    """Prompts that the cache holds."""
    url: str = ""
    ledger: list[Billed] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)
    cache: OrderedDict[str, None] = field(default_factory=OrderedDict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def reply(self, body: Mapping[str, Any]) -> dict[str, Any]:
        prompt = "\n".join(f"{each['role']}: {each['content']}" for each in body["messages"])
        with self.lock:
            text = self.answer(prompt, self.seen[prompt])
            self.seen[prompt] += 1
            shared = max((_shared(prompt, other) for other in self.cache), default=0)
            self.cache[prompt] = None
            self.cache.move_to_end(prompt)
            if len(self.cache) > self.capacity:
                self.cache.popitem(last=False)
            billed = Billed(
                body["model"], prompt, len(prompt) // CHARACTERS + 1, len(text) // CHARACTERS + 1, shared // CHARACTERS
            )
            self.ledger.append(billed)
        usage = {
            "prompt_tokens": billed.prompt_tokens,
            "completion_tokens": billed.completion_tokens,
            "prompt_tokens_details": {"cached_tokens": billed.cached_tokens},
        }
        said = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        return {"id": "x", "object": "chat.completion", "model": body["model"], "choices": [said], "usage": usage}

    def bill(self, prices: Mapping[str, tuple[float, float, float]]) -> float:
        """USD by model: price of a million prompt, completion and cached tokens."""
        total = 0.0
        for each in self.ledger:
            prompt, completion, cached = prices[each.model]
            fresh = each.prompt_tokens - each.cached_tokens
            total += fresh * prompt + each.cached_tokens * cached + each.completion_tokens * completion
        return total / 1e6


def _shared(one: str, other: str) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


@contextlib.contextmanager
def serve(
    answer: Callable[[str, int], str] = lambda prompt, before: "An answer of some length.",
    latency: float = 0.0,
    capacity: int = 4,
) -> Iterator[Provider]:
    """A provider on a free port of 127.0.0.1 for the length of a `with` block; `latency` is seconds."""
    provider = Provider(answer, latency, capacity)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            data = json.dumps(provider.reply(body)).encode()
            time.sleep(provider.latency)
            with contextlib.suppress(OSError):  # whoever asked is gone, and is billed
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    class Listener(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 256

        def handle_error(self, *_: object) -> None:
            pass

    listener = Listener(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    provider.url = f"http://127.0.0.1:{listener.server_address[1]}/v1"
    try:
        yield provider
    finally:
        listener.shutdown()
        listener.server_close()
        thread.join()

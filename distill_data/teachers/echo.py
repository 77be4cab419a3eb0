"""The teacher that answers with the prompt: free and deterministic, for docs and plumbing. Knows no model."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from typing import Any

import orjson

from distill_data.data.exchange import Reply, Request
from distill_data.errors import UsageError
from distill_data.teachers import Resolved
from distill_data.teachers.lowering import embed_body
from distill_data.teachers.protocol import Capabilities, Profile, Teacher

DIMENSIONS = 64
"""Numbers of an embedding."""


async def resolve(profile: Profile, needs: frozenset[str]) -> Resolved:
    known = Capabilities(choice="grammar", json_schema=True, seed=True, logprobs=True, vision=True)
    return Resolved({"engine": "echo"}, known)


def open_teacher(profile: Profile, resolved: Resolved) -> Teacher:
    return EchoTeacher(profile.name, resolved.identity)


def slots(profile: Profile, resolved: Resolved) -> None:
    return None


class EchoTeacher:
    """Says the last user message; of a closed set of answers, the first that stands in it. A text's embedding counts
    its pieces of three characters, each at the place of its hash, so texts that share many are near each other."""

    def __init__(self, name: str, identity: Mapping[str, str]) -> None:
        self.identity = identity
        self._name = name

    def lower(self, request: Request) -> dict[str, Any]:
        if request.kind == "embed":
            return embed_body(self._name, request)
        if request.kind != "chat":
            raise UsageError(f"{self._name}: a request of kind {request.kind!r} cannot be sent; chat and embed can.")
        return {"messages": request.messages, **request.sampling, "choices": list(request.choices)}

    async def send(self, body: bytes) -> Reply:
        request = orjson.loads(body)
        if "input" in request:
            return _embedded(request["input"][0])
        prompt = "\n".join(_text(message) for message in request["messages"])
        said = [_text(message) for message in request["messages"] if message.get("role") == "user"]
        text = said[-1] if said else ""
        if request["choices"]:
            text = next((choice for choice in request["choices"] if _occurs(choice, text)), request["choices"][0])
        counts = {"prompt_tokens": len(prompt.split()), "completion_tokens": len(text.split())}
        completion = {
            "object": "chat.completion",
            "model": "echo",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
            "usage": {**counts, "total_tokens": sum(counts.values())},
        }
        return Reply(200, {"content-type": "application/json"}, orjson.dumps(completion))

    async def aclose(self) -> None:
        """Nothing is open."""


def _embedded(text: str) -> Reply:
    vector = [0] * DIMENSIONS
    for at in range(len(text) + 1):
        mark = zlib.crc32(f" {text} "[at : at + 3].encode("utf-8", "surrogatepass"))
        vector[mark % DIMENSIONS] += 1 if mark & 1 << 16 else -1
    found = {
        "object": "list",
        "model": "echo",
        "data": [{"object": "embedding", "index": 0, "embedding": vector}],
        "usage": {"prompt_tokens": len(text.split()), "total_tokens": len(text.split())},
    }
    return Reply(200, {"content-type": "application/json"}, orjson.dumps(found))


def _text(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, list):
        return "\n".join(part["text"] for part in content if part.get("type") == "text")
    return content or ""


def _occurs(choice: str, text: str) -> bool:
    """As a word where words have edges: letters beside it that are not ASCII, as in Chinese, do not hide it."""
    return re.search(rf"(?<!\w){re.escape(choice)}(?!\w)", text, re.ASCII | re.IGNORECASE) is not None

"""Any server with an OpenAI-shaped `/chat/completions`: OpenAI, vLLM, SGLang, Ollama, llama.cpp, gateways.

Raw text goes to `/completions` beside it, a text to embed to `/embeddings`; what a given text's scores take is
server_scoring's.

Posts JSON and gives back what came, once: retrying, pacing and judging are the engine's.
"""

from __future__ import annotations

import codecs
from collections.abc import Coroutine, Mapping
from typing import Any, Literal
from urllib.parse import urlsplit

import orjson

from distill_data import __version__
from distill_data.data.exchange import EXCERPT, Answer, Lost, Reply, Request
from distill_data.errors import UsageError
from distill_data.teachers import ProbeFailed, Resolved
from distill_data.teachers.connections import Connections
from distill_data.teachers.deadlines import Deadlines
from distill_data.teachers.endpoint import OPENAI_HOST, Credentials, base_url_of, proxy_of, read_credentials
from distill_data.teachers.lowering import chat_body, embed_body, is_embed, is_raw
from distill_data.teachers.protocol import Capabilities, Profile, Teacher
from distill_data.teachers.replies import BadReply, read_answer
from distill_data.teachers.server_scoring import (
    CHAT,
    RAW,
    SCORE_CAP,
    Prompts,
    is_score,
    probe_scoring,
    score,
    score_body,
)
from distill_data.teachers.wire import RawReply, TooLong

BODY_CAP = 16 * 2**20
"""Bytes of a decoded body. A longer one is no answer; scores of a given text have a cap of their own."""
CONNECT = 10.0
"""Seconds to get a connection: name, TCP, TLS and proxy. Of a short timeout half, so that a connection that never came
is not taken for an answer that never came."""
OK = 200
EMBEDDINGS = "/embeddings"
HEADERS = {
    "Accept": "*/*",
    "Accept-Encoding": "gzip",
    "Content-Type": "application/json",
    "User-Agent": f"distill-data/{__version__}",
}

_PROBE = Request(
    [{"role": "user", "content": "Is fire hot? Answer yes or no."}], {"max_tokens": 16}, choices=("yes", "no")
)


async def resolve(profile: Profile, needs: frozenset[str]) -> Resolved:
    """See `distill_data.teachers.resolve`. Choice, json_schema and score are probed; seed and logprobs are declared."""
    base_url = base_url_of(profile)
    read_credentials(profile, base_url)  # this and the next, so that mistakes show before anything is sent
    proxy_of(base_url)
    identity = {"api": "openai-chat", "base_url": base_url}
    declared = dict(profile.capabilities)
    if urlsplit(base_url).hostname == OPENAI_HOST:
        declared.setdefault("max_tokens_field", "max_completion_tokens")
    unknown = needs & {"choice", "json_schema"} - declared.keys()
    if unknown and "json_schema" not in declared:
        declared["json_schema"] = await _probe(profile, identity, declared)
    declared.setdefault("choice", "json_schema" if declared.get("json_schema") else "none")
    if "score" in needs and not declared.get("tokenizer"):
        declared["scoring"], declared["tokenizer"] = await _probe_scoring(profile, identity, declared)
    return Resolved(identity, Capabilities(**declared))


def open_teacher(profile: Profile, resolved: Resolved) -> Teacher:
    return OpenAITeacher(profile, resolved)


def slots(profile: Profile, resolved: Resolved) -> None:
    return None


class OpenAITeacher:
    """One model behind one base URL. Belongs to the event loop that first sends."""

    def __init__(self, profile: Profile, resolved: Resolved) -> None:
        self.identity: Mapping[str, str] = resolved.identity
        self._profile = profile
        self._capabilities = resolved.capabilities
        self._model = profile.model.partition("/")[2]
        self._base_url = resolved.identity["base_url"]
        self._connections: Connections | None = None
        self._deadlines = Deadlines(profile.timeout)
        self._prompts = Prompts()

    def lower(self, request: Request) -> dict[str, Any]:
        if request.kind == "embed":
            return {"model": self._model, **embed_body(self._profile.name, request)}
        make = score_body if request.kind == "score" else chat_body
        return {"model": self._model, **make(self._profile.name, self._capabilities, request)}

    def send(self, body: bytes) -> Coroutine[Any, Any, Reply]:
        """Post the body. Raises Lost where no whole reply came, UsageError where a key is missing."""
        if is_score(body):
            return score(self.post_for_scores, self._capabilities, body, self._prompts)
        return self._exchange(path_of(body), body, BODY_CAP)

    async def post_for_scores(self, path: str, fields: Mapping[str, Any]) -> Reply:
        """One of the posts that a text's scores take. Raises as `send` does."""
        return await self._exchange(path, orjson.dumps(fields), SCORE_CAP)

    async def _exchange(self, path: str, body: bytes, cap: int) -> Reply:
        connections = self._connections or self._connect()
        refused = self._credentials
        try:
            reply = await self._post(connections, path, body, cap)
            if reply.status == 401 and self._renew(connections, refused):
                reply = await self._post(connections, path, body, cap)
            return reply
        except Lost as error:
            lost = error
        except TimeoutError:
            lost = Lost(f"no whole reply within {self._profile.timeout:g} s", sent=True)
        raise lost  # from here, so that no traceback carries the request's headers along

    async def aclose(self) -> None:
        connections, self._connections = self._connections, None
        if connections is not None:
            await connections.aclose()

    async def _post(self, connections: Connections, path: str, body: bytes, cap: int) -> Reply:
        hide = self._credentials
        try:
            with self._deadlines:
                return _shown(await connections.post(self._heads[path], body, cap), hide)
        except TooLong as long:
            start = hide.redact(long.args[0])[:EXCERPT].decode("utf-8", "backslashreplace")
        begins = f" and begins: {start}" if start else ""
        raise Lost(f"the reply is longer than {cap} bytes{begins}", sent=True, kind="too-long")

    def _connect(self) -> Connections:
        credentials = read_credentials(self._profile, self._base_url)
        patience = min(CONNECT, self._profile.timeout / 2)
        self._connections = Connections(self._base_url, proxy_of(self._base_url), patience)
        self._introduce(self._connections, credentials)
        return self._connections

    def _introduce(self, connections: Connections, credentials: Credentials) -> None:
        """Write the heads of requests, once for each key."""
        self._credentials = credentials
        headers = {**HEADERS, **credentials.headers}
        self._heads = {path: connections.head(path, headers) for path in (CHAT, RAW, EMBEDDINGS)}

    def _renew(self, connections: Connections, refused: Credentials) -> bool:
        """Read the key again, in case it was rotated. False where it is the one that was just refused."""
        try:
            fresh = read_credentials(self._profile, self._base_url)
        except UsageError:
            return False
        if fresh.headers == refused.headers:
            return False
        self._introduce(connections, fresh)
        return True


def _shown(raw: RawReply, hide: Credentials) -> Reply:
    """A reply without the key that it was asked with, for servers that say it back."""
    status, headers, content = raw
    content = content.removeprefix(codecs.BOM_UTF8)
    refused = status != OK
    if refused or b'"error"' in content[:64]:  # a gateway may say 200 and mean another server's refusal
        content = hide.redact_refusal(content)
    if refused:
        headers = {name: hide.redact_text(value) for name, value in headers.items()}
    return Reply(status, headers, hide.redact(content))


def path_of(body: bytes) -> str:
    """The endpoint that an encoded body is for, where it is no question about scores."""
    if b'"messages":' in body:  # inside of texts quotes are escaped
        return CHAT
    return EMBEDDINGS if is_embed(body) else RAW if is_raw(body) else CHAT


async def _probe(profile: Profile, identity: Mapping[str, str], declared: Mapping[str, Any]) -> bool:
    """Whether a response format with a schema is taken and honoured, found out by one tiny request."""
    field: Literal["max_tokens", "max_completion_tokens"] = declared.get("max_tokens_field", "max_tokens")
    assumed = Capabilities(choice="json_schema", json_schema=True, max_tokens_field=field)
    teacher = OpenAITeacher(profile, Resolved(identity, assumed))
    try:
        reply = await teacher.send(orjson.dumps(teacher.lower(_PROBE)))
    except Lost as lost:
        raise ProbeFailed(lost) from None
    finally:
        await teacher.aclose()
    if reply.status in (400, 422):
        return False
    if reply.status != 200:
        raise ProbeFailed(reply)
    try:
        return _honours(read_answer(reply.body))
    except BadReply:
        raise ProbeFailed(reply) from None


async def _probe_scoring(
    profile: Profile, identity: Mapping[str, str], declared: Mapping[str, Any]
) -> tuple[str, dict[str, Any]]:
    """How the endpoint scores a given text, and its tokenizer's fingerprint."""
    model = profile.model.partition("/")[2]
    teacher = OpenAITeacher(profile, Resolved(identity, Capabilities()))
    try:
        return await probe_scoring(profile.name, model, teacher.post_for_scores, declared.get("scoring"))
    finally:
        await teacher.aclose()


def _honours(answer: Answer) -> bool:
    """A model that was cut while it thought, or inside the object, did nothing wrong."""
    text = answer.text.strip()
    if answer.finish == "length" and (not text or text.startswith("{")):
        return True
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return isinstance(value, dict) and value.get("answer") in _PROBE.choices

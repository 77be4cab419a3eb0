"""Any server with an OpenAI-shaped `/chat/completions`: OpenAI, vLLM, SGLang, Ollama, llama.cpp, gateways.

Raw text goes to `/completions` beside it, a text to embed to `/embeddings`; what a given text's scores take is
server_scoring's.

Posts JSON with aiohttp and gives back what came, once: retrying, pacing and judging are the engine's.
"""

from __future__ import annotations

import asyncio
import codecs
import errno
import io
import socket
import time
from collections.abc import Coroutine, Mapping
from contextvars import ContextVar
from typing import Any, Literal
from urllib.parse import urlsplit

import aiohttp
import orjson
from yarl import URL

from distill_data import __version__
from distill_data.data.exchange import EXCERPT, Answer, Lost, Reply, Request
from distill_data.errors import UsageError
from distill_data.teachers import ProbeFailed, Resolved
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

KEPT = 4.0
"""Seconds that an idle connection is kept: less than servers do, of which the least patient wait five."""
STALE = 0.5
"""Seconds in which a kept connection that the server had closed shows so. One that breaks later may have worked."""
BODY_CAP = 16 * 2**20
"""Bytes of a decoded body. A longer one is no answer; scores of a given text have a cap of their own."""
CONNECT = 10.0
"""Seconds to get a connection: name, TCP, TLS and proxy."""
IDLE = 120.0
"""Seconds between two pieces of a body that has begun. Before it begins only the profile's timeout counts: a server
that does not stream says nothing while the model thinks. TCP keep-alive finds out that such a server is gone."""
OK = 200
EMBEDDINGS = "/embeddings"
_LARGE = 2**20
"""Bytes from which aiohttp wants a request's body as a file, to write it in pieces."""

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
        self._urls = {path: URL(self._base_url + path, encoded=True) for path in (CHAT, RAW, EMBEDDINGS)}
        self._session: aiohttp.ClientSession | None = None
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
        session = self._session or self._connect()
        used = self._credentials
        made: list[socket.socket] = []
        _MADE.set(made)
        began = time.monotonic()
        try:
            reply = await self._post(session, path, body, cap)
            if reply.status == 401 and self._renew(session, used.headers):
                reply = await self._post(session, path, body, cap)
            return reply
        except (aiohttp.ClientError, OSError) as error:
            lost = _lost(error, used.redact_text(str(error)), self._profile.timeout)
            if not made and time.monotonic() - began < STALE and _is_unanswered(error):
                lost = Lost(f"a kept connection was closed by the server: {lost.detail}", sent=False, kind="stale")
        raise lost  # from here, so that no traceback carries the request's headers along

    async def aclose(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _post(self, session: aiohttp.ClientSession, path: str, body: bytes, cap: int) -> Reply:
        data = io.BytesIO(body) if len(body) > _LARGE else body
        hide = self._credentials
        with self._deadlines:
            apart = hide.headers if self._proxy else None
            response = await session.post(self._urls[path], data=data, headers=apart, allow_redirects=False)
            try:
                content = await _read(response, cap, hide)  # to its end, which gives the connection back
            except BaseException:
                response.close()
                raise
        content = content.removeprefix(codecs.BOM_UTF8)
        headers: Mapping[str, str] = response.headers  # looks names up in any case
        refused = response.status != OK
        if refused or b'"error"' in content[:64]:  # a gateway may say 200 and mean another server's refusal
            content = hide.redact_refusal(content)
        if refused:
            headers = {name.lower(): hide.redact_text(value) for name, value in headers.items()}
        return Reply(response.status, headers, hide.redact(content))

    def _connect(self) -> aiohttp.ClientSession:
        self._credentials = read_credentials(self._profile, self._base_url)
        self._proxy = proxy_of(self._base_url)
        # aiohttp sends a session's own headers to the proxy that it asks for a tunnel, the key as Proxy-Authorization.
        secret = {} if self._proxy else self._credentials.headers
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEPT, socket_factory=_socket),
            # Half of a short total, so that a connection that never came is not taken for an answer that never came.
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=min(CONNECT, self._profile.timeout / 2)),
            headers={
                "Content-Type": "application/json",
                "User-Agent": f"distill-data/{__version__}",
                **secret,
            },
            cookie_jar=aiohttp.DummyCookieJar(),
            proxy=self._proxy,
        )
        return self._session

    def _renew(self, session: aiohttp.ClientSession, refused: Mapping[str, str]) -> bool:
        """Read the key again, in case it was rotated. False where it is the one that was just refused."""
        try:
            fresh = read_credentials(self._profile, self._base_url)
        except UsageError:
            return False
        if fresh.headers == refused:
            return False
        self._credentials = fresh
        if not self._proxy:
            session.headers.update(fresh.headers)
        return True


def path_of(body: bytes) -> str:
    """The endpoint that an encoded body is for, where it is no question about scores."""
    if b'"messages":' in body:  # inside of texts quotes are escaped
        return CHAT
    return EMBEDDINGS if is_embed(body) else RAW if is_raw(body) else CHAT


_MADE: ContextVar[list[socket.socket]] = ContextVar("_MADE")
"""The sockets that the request at hand made: none, where it went over a kept connection."""


def _socket(address: aiohttp.AddrInfoType) -> socket.socket:
    """One that probes a silent peer: a dead one is noticed, and no router forgets the connection while it is silent."""
    family, kind, protocol = address[:3]
    made = socket.socket(family, kind, protocol)
    _MADE.get([]).append(made)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 30), ("TCP_KEEPCNT", 4)):
        if hasattr(socket, option):
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    return made


async def _read(response: aiohttp.ClientResponse, cap: int, hide: Credentials) -> bytes:
    """The whole decoded body. Raises Lost past the cap, and where the body stalls."""
    content = response.content
    if content.is_eof() and content.total_bytes <= cap:
        return content.read_nowait()  # all of it is here: the usual case, and worth neither timer nor coroutine
    pieces: list[bytes] = []
    size = 0
    while max(size, response.content_length or 0) <= cap:
        try:
            async with asyncio.timeout(IDLE) as idle:
                piece = await content.readany()
        except TimeoutError:
            if not idle.expired():
                raise
            raise Lost(f"the reply stalled for {IDLE:g} s", sent=True) from None
        if not piece:
            return b"".join(pieces)
        pieces.append(piece)
        size += len(piece)
    start = hide.redact(b"".join(pieces))[:EXCERPT].decode("utf-8", "backslashreplace")
    begins = f" and begins: {start}" if start else ""
    raise Lost(f"the reply is longer than {cap} bytes{begins}", sent=True, kind="too-long")


def _is_unanswered(error: Exception) -> bool:
    """Whether the connection surely broke before the first byte of a reply. A reset may come after half a head."""
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return isinstance(error.message, str)
    return isinstance(error, aiohttp.ClientOSError) and error.errno == errno.EPIPE


def _lost(error: Exception, text: str, timeout: float) -> Lost:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return Lost(f"the server's certificate does not verify: {text}", sent=False, permanent=True)
    if isinstance(error, aiohttp.InvalidURL):
        return Lost(f"the URL cannot be asked: {text}", sent=False, permanent=True)
    if isinstance(error, aiohttp.ConnectionTimeoutError | aiohttp.ClientConnectorError | aiohttp.ClientHttpProxyError):
        return Lost(text or type(error).__name__, sent=False)
    if isinstance(error, TimeoutError):
        return Lost(f"no whole reply within {timeout:g} s", sent=True)
    return Lost(f"the connection broke: {text or type(error).__name__}", sent=True)


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

"""A text's own tokens scored by an OpenAI-compatible server: what is asked for, what becomes of it, who can do it.

Raw text takes one post. A chat row takes two: x alone with the generation prompt, to learn which ids it takes, then x
and y together; y's tokens are those after x's. Needs to be handed a way to post; retrying is the engine's.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from distill_data.data.arrays import encode
from distill_data.data.exchange import Lost, Message, Reply, Request
from distill_data.data.fingerprints import PROBE, probe_digest
from distill_data.data.items import canonical
from distill_data.errors import UsageError
from distill_data.teachers import ProbeFailed
from distill_data.teachers.lowering import blind, has_image
from distill_data.teachers.prompt_scores import (
    READERS,
    BadScores,
    Scores,
    Way,
    likelihood,
    read_ids,
    read_prompt_logprobs,
    topk_arrays,
)
from distill_data.teachers.protocol import Capabilities
from distill_data.teachers.replies import BadReply, read_answer

SCORE_CAP = 256 * 2**20
"""Bytes of a decoded body with scores: an entry is written in about 75, so k = 64 over 32,000 tokens has 150 MB."""
KNOWN_PROMPTS = 4096
CHAT, RAW, LIKELIHOOD = "/chat/completions", "/completions", "likelihood"

Post = Callable[[str, Mapping[str, Any]], Awaitable[Reply]]
"""Posts a body to a path below the base URL."""

_LOCAL = "a teacher that runs here does: -t transformers/ORG/NAME"
_TOO_LONG = re.compile(r"context.?(length|size|window)|max(imum)?.model.len", re.IGNORECASE)
_TOO_MANY = re.compile(r"logprobs.*(greater|max|at most|exceed|between|less than)", re.IGNORECASE)
_LACKING = frozenset({400, 404, 405, 422, 501})
"""Statuses of a probe that say that the server does not know what it is asked for."""


def score_body(name: str, capabilities: Capabilities, request: Request) -> dict[str, Any]:
    """The body of a request of kind `score`, without a model's name: everything that decides the answer.

    Sampling settings do not apply to a given text. Raises UsageError for what a server cannot do.
    """
    feature = dict(request.feature or {})
    if feature.get("of") == LIKELIHOOD:
        feature["k"] = 1  # the fewest that all servers give
    elif feature.get("of") != "topk":
        raise UsageError(
            f"{name}: a server tells the most likely tokens (topk), how likely y is, and nothing else of its model, so "
            f"{feature.get('of')!r} cannot be had from it; {_LOCAL}."
        )
    if type(feature.get("k")) is not int or feature["k"] < 1:
        raise UsageError(f"{name}: topk: k must be a whole number above 0, not {feature.get('k')!r}.")
    if feature.get("temperature", 1.0) != 1.0:
        raise UsageError(f"{name}: a server scores at temperature 1.0 only; set that, or {_LOCAL}.")
    if feature.get("truncate"):
        raise UsageError(f"{name}: a server cuts what is too long at the wrong end; do without truncate, or {_LOCAL}.")
    if capabilities.scoring not in READERS:
        raise UsageError(f"{name}: this server is not known to score a given text; {_LOCAL}.")
    if not request.messages:
        text = request.completion[0]["content"]
        if not isinstance(text, str):
            raise UsageError(f"{name}: raw text to score must be text, not {type(text).__name__}.")
        return {"prompt": text, "feature": feature}
    if capabilities.scoring == "echo":
        raise UsageError(
            f"{name}: this server scores raw text only (echo with logprobs), because no chat template is applied on "
            "that way, and these rows have a prompt and a completion. Give rows with `text` instead, serve the model "
            f"with vLLM 0.10.2 or later, or {_LOCAL}."
        )
    messages = [*request.messages, *request.completion]
    if not capabilities.vision and any(map(has_image, messages)):
        raise UsageError(blind(name))
    return {"messages": request.messages, "completion": list(request.completion), "feature": feature}


def is_score(body: bytes) -> bool:
    """Whether an encoded body asks for scores: no other body may have this field."""
    return b'"feature":' in body and "feature" in orjson.loads(body)


@dataclass(slots=True)
class _Prompt:
    """What is known of one x."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    ids: list[int] | None = None
    usage: Counter[str] = field(default_factory=Counter)
    """What asking for the ids took, until a reply has told it."""


class Prompts:
    """Which ids the latest prompts take: another try, and another y of the same x, need not buy them again."""

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, _Prompt] = OrderedDict()

    def of(self, messages: Sequence[Message]) -> _Prompt:
        digest = hashlib.sha256(canonical(messages)).digest()
        prompt = self._known.setdefault(digest, _Prompt())
        self._known.move_to_end(digest)
        if len(self._known) > KNOWN_PROMPTS:
            self._known.popitem(last=False)
        return prompt


async def score(post: Post, capabilities: Capabilities, body: bytes, prompts: Prompts) -> Reply:
    """The row's arrays as the reply's blob, with a small body that describes them.

    A row that cannot be scored is a reply without a blob whose `feature` says why (`rejected`). What the server refuses
    is its own reply. Scores that cannot be used are an error under a 200, which is asked again. Raises Lost, and
    UsageError where the server gives fewer than k.
    """
    row = _Row(post, orjson.loads(body), prompts)
    try:
        return await (row.score_text(capabilities) if "prompt" in row.request else row.score_chat(capabilities))
    except _Ended as ended:
        return ended.reply
    except BadScores as error:
        words = f"the server's scores cannot be used: {error}"
        return Reply(200, row.headers, orjson.dumps({"error": {"message": words, "type": "bad_scores"}}))


async def probe_scoring(name: str, model: str, post: Post, declared: str | None) -> tuple[Way, dict[str, Any]]:
    """How the server scores, and its tokenizer's fingerprint, from scoring a short text in at most two ways.

    Raises UsageError where it does in none, ProbeFailed where it cannot be told.
    """
    if declared == "none":
        raise UsageError(f'{name}: the model\'s profile says scoring = "none", and this needs scores; {_LOCAL}.')
    lacks = []
    for way in READERS:
        if declared in (None, way):
            found = await _try(way, model, post)
            if not isinstance(found, str):
                return way, {"name": model, "vocab_size": 0, "template": "", "probe": probe_digest(found.ids)}
            lacks.append(f"{_SPOKEN[way]}, {found}")
    raise UsageError(
        f"{name}: this server cannot score a given text. {'. '.join(lacks)}. Serve the model with vLLM 0.10.2 or later "
        f"(a server that names tokens by their text instead of their ids will not do), or {_LOCAL}."
    )


_SPOKEN: Mapping[Way, str] = {"prompt_logprobs": "Asked for prompt_logprobs", "echo": "Asked for echo with logprobs"}


async def _try(way: Way, model: str, post: Post) -> Scores | str:
    """The probe's scores, or what is wrong with the answer."""
    try:
        reply = await post(RAW, {"model": model, "prompt": PROBE, **_wishes(way, 1), "add_special_tokens": False})
    except Lost as lost:
        raise ProbeFailed(lost) from None
    words = _words(reply)
    if reply.status in _LACKING and not (reply.status == 404 and "model" in words.lower()):
        return f"it said {reply.status} {words}".strip()
    if not _is_success(reply):
        raise ProbeFailed(reply)
    try:
        read_answer(reply.body)
        return READERS[way](_loads(reply.body), 1, 1)
    except BadReply:
        raise ProbeFailed(reply) from None
    except BadScores as error:
        return f"it answered, but {error}"


@dataclass(slots=True)
class _Row:
    """One row's posts, and what they have cost so far."""

    post: Post
    request: dict[str, Any]
    prompts: Prompts
    headers: Mapping[str, str] = field(default_factory=dict)
    model: str = ""
    usage: Counter[str] = field(default_factory=Counter)
    prompt: _Prompt | None = None

    async def score_text(self, capabilities: Capabilities) -> Reply:
        k, way = self.request["feature"]["k"], _way(capabilities)
        if not self.request["prompt"]:
            return self.rejected("empty-completion", "the text is empty")
        data = await self.ask(RAW, {"prompt": self.request["prompt"], **_wishes(way, k)})
        scores = READERS[way](data, k, 1)
        self.check_length(scores.ids)
        if len(scores.ids) < 2:
            return self.rejected("empty-completion", "the text is one token, and nothing stands before it")
        return self.scored(scores, len(scores.ids))

    async def score_chat(self, capabilities: Capabilities) -> Reply:
        k, messages, completion = self.request["feature"]["k"], self.request["messages"], self.request["completion"]
        if not any(message.get("content") or message.get("tool_calls") for message in completion):
            return self.rejected("empty-completion", "the completion is empty")
        wishes = _wishes("prompt_logprobs", k, capabilities.max_tokens_field)
        whole = {**wishes, "messages": [*messages, *completion], "add_generation_prompt": False}
        prompt = await self.ids_of(messages, capabilities.max_tokens_field)
        self.check_length(prompt)
        data = await self.ask(CHAT, whole)
        ids = read_ids(data)
        self.check_length(ids)
        if ids[: len(prompt)] != prompt or len(ids) == len(prompt):
            detail = "under the server's chat template the conversation does not begin with the prompt's tokens"
            return self.rejected("unaligned", detail)
        scores = read_prompt_logprobs(data, k, len(prompt))
        return self.scored(scores, _end_of_turn(scores, completion[-1].get("content")))

    async def ids_of(self, messages: list[Message], limit: str) -> list[int]:
        """The ids of x, which the whole conversation begins with."""
        known = self.prompts.of(messages)
        async with known.lock:
            if known.ids is None:
                wishes = _wishes("prompt_logprobs", 0, limit)
                del wishes["prompt_logprobs"]
                data = await self.ask(CHAT, {**wishes, "messages": messages, "add_generation_prompt": True})
                known.usage, self.usage = self.usage, Counter()
                known.ids = read_ids(data)
        self.prompt = known
        return known.ids

    async def ask(self, path: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        """The body of a success. Raises _Ended where the row ends here."""
        reply = await self.post(path, {"model": self.request["model"], **fields})
        self.headers = reply.headers
        if not _is_success(reply):
            words = _words(reply)
            k = self.request["feature"]["k"]
            if reply.status in (400, 422) and _TOO_MANY.search(words):
                raise UsageError(
                    f"{self.request['model']}: the server refuses k = {k}: {words} Give --set k=N with a smaller N, or "
                    "let the server give more (vLLM: --max-logprobs)."
                )
            too_long = reply.status in (400, 413, 422) and _TOO_LONG.search(words)
            raise _Ended(self.rejected("too-long", words) if too_long else reply)
        data = _loads(reply.body)
        if data.get("error"):
            raise _Ended(reply)
        usage = data.get("usage")
        for name in ("prompt_tokens", "completion_tokens"):
            count = usage.get(name) if isinstance(usage, dict) else None
            self.usage[name] += count if type(count) is int and count > 0 else 0
        self.model = data["model"] if isinstance(data.get("model"), str) else self.request["model"]
        return data

    def check_length(self, ids: list[int]) -> None:
        """Raises _Ended where the row has more tokens than it may."""
        most = self.request["feature"].get("max_length", 0)
        if 0 < most < len(ids):
            raise _Ended(self.rejected("too-long", f"{len(ids)} tokens, and max_length is {most}"))

    def rejected(self, reason: str, detail: str) -> Reply:
        of = self.request["feature"]["of"]
        return self.reply({"of": of, "tokens": 0, "rejected": reason, "detail": detail})

    def scored(self, scores: Scores, end: int) -> Reply:
        feature = self.request["feature"]
        told = {"of": feature["of"], "tokens": end - scores.start, "truncated": False}
        if feature["of"] == LIKELIHOOD:
            return self.reply({**told, "logprob": likelihood(scores, end)})
        arrays, tail = topk_arrays(scores, feature["k"], end)
        header, blob = encode(arrays)
        return self.reply({**told, "tail": tail, "arrays": header}, blob)

    def reply(self, feature: Mapping[str, Any], blob: bytes = b"") -> Reply:
        if self.prompt is not None:
            self.usage += self.prompt.usage
            self.prompt.usage = Counter()
        body = {
            "object": "feature",
            "model": self.model or self.request["model"],
            "choices": [{"index": 0, "text": "", "finish_reason": "stop"}],
            "usage": {name: self.usage[name] for name in ("prompt_tokens", "completion_tokens")},
            "feature": feature,
        }
        return Reply(200, self.headers, orjson.dumps(body), blob)


class _Ended(Exception):
    """A row whose reply is known before its scores are."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.status)
        self.reply = reply


def _end_of_turn(scores: Scores, content: Any) -> int:
    """Where y's tokens end: after the token that ends its turn, before the line break that templates put behind it.

    White space at the end is dropped where what stands before it is not y's own: there is a token that ends the turn
    then. Without one the white space itself ends the turn, or is y's, and stays.
    """
    last = len(scores.texts)
    while last > 1 and scores.texts[last - 1].isspace():
        last -= 1
    before = scores.texts[last - 1].strip()
    own = isinstance(content, str) and (not before or content.rstrip().endswith(before))
    return len(scores.ids) if own else scores.start + last


def _wishes(way: Way, k: int, limit: str = "max_tokens") -> dict[str, Any]:
    """Fields that ask for a text's scores. One token is generated and left out: some servers refuse to make none."""
    fields = {limit: 1, "temperature": 1.0}
    if way == "echo":
        return {**fields, "echo": True, "logprobs": k, "return_tokens_as_token_ids": True}
    return {**fields, "prompt_logprobs": k, "return_token_ids": True}


def _way(capabilities: Capabilities) -> Way:
    return "echo" if capabilities.scoring == "echo" else "prompt_logprobs"


def _is_success(reply: Reply) -> bool:
    return 200 <= reply.status < 300


def _loads(body: bytes) -> dict[str, Any]:
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadScores(f"the reply is not JSON: {error}") from None
    if not isinstance(data, dict):
        raise BadScores("the reply is not an object")
    return data


def _words(reply: Reply) -> str:
    """What a refusal says, for a person: on one line, at most 300 characters."""
    try:
        data = orjson.loads(reply.body)
    except orjson.JSONDecodeError:
        data = None
    inner = data.get("error", data) if isinstance(data, dict) else None
    said = inner.get("message") or inner.get("detail") if isinstance(inner, dict) else inner
    text = said if isinstance(said, str) else reply.body[:1200].decode("utf-8", "replace")
    return "".join(char if char.isprintable() else " " for char in text[:300]).strip()

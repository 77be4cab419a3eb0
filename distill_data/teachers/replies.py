"""A completion's bytes, chat or raw, or an embedding's -> Answer. Knows the JSON that servers send, nothing else."""

from __future__ import annotations

import json
import re
import sys
from typing import Any

import orjson

from distill_data.data.exchange import Answer

MOST_TOKENS = 1 << 40
"""A reply with a larger count does not know what it says, and sums of such have no place in JSON."""
_THINK = re.compile(r"</?think>")


class BadReply(Exception):
    """A body of a success that is not a usable chat completion.

    `reason` is `not-json`, `error-body` (an error object under a 200), `no-choices` or `bad-shape`.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


def read_answer(body: bytes) -> Answer:
    """Read the choice with index 0, or the embedding of a body that has `data` and no choices.

    The body must be strict JSON as a whole: cut, padded or invalid is `not-json`. Raises MemoryError where there is no
    room for it.
    """
    try:
        return _read(orjson.loads(body))
    except orjson.JSONDecodeError as error:
        if error.msg.startswith("Not enough memory"):  # which says nothing about the answer
            raise MemoryError from error
        answer = _read(_with_surrogates(body, str(error)))
    reasoning, finish, model = map(encodable, (answer.reasoning, answer.finish, answer.model))
    return answer._replace(reasoning=reasoning, finish=finish, model=model)


def _read(data: Any) -> Answer:
    if not isinstance(data, dict):
        raise BadReply("bad-shape", "the body is not an object")
    if "choices" not in data and isinstance(data.get("data"), list) and not data.get("error"):
        return _read_embedding(data)
    choice = _first_choice(data)
    message = choice.get("message")
    if message is None and isinstance(choice.get("text"), str):
        message = {"content": choice["text"]}  # a raw completion
    if not isinstance(message, dict):
        raise BadReply("bad-shape", "the choice has no message")
    text, reasoning, finish = _read_message(message, choice.get("finish_reason"))
    usage, model = _table(data.get("usage")), data.get("model")
    details = usage.get("prompt_tokens_details")
    return Answer(
        text,
        reasoning,
        finish,
        model if isinstance(model, str) else "",
        _count(usage.get("prompt_tokens")),
        _count(usage.get("completion_tokens")),
        _count(_table(details).get("cached_tokens")) if details else 0,
        choice.get("logprobs"),
        _table(data.get("feature")) or None if data.get("object") == "feature" else None,
    )


def _read_embedding(data: dict[str, Any]) -> Answer:
    """The vector of one text. Its tokens are all in the prompt, and some servers tell the total alone."""
    if len(data["data"]) != 1:
        raise BadReply("bad-shape", f"the reply holds {len(data['data'])} embeddings, and one is wanted")
    vector = _table(data["data"][0]).get("embedding")
    if not isinstance(vector, list) or not vector or not all(map(_is_finite, vector)):
        raise BadReply("bad-shape", "the reply holds no embedding, a list of finite numbers")
    usage, model = _table(data.get("usage")), data.get("model")
    return Answer(
        text="",
        reasoning="",
        finish="stop",
        model=model if isinstance(model, str) else "",
        prompt_tokens=_count(usage.get("prompt_tokens")) or _count(usage.get("total_tokens")),
        completion_tokens=0,
        embedding=tuple(map(float, vector)),
    )


def _is_finite(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= sys.float_info.max


def _with_surrogates(body: bytes, complaint: str) -> Any:
    """Half a surrogate pair in an escape is the one oddity that is read: it is paid for, and the parser rejects it."""
    if b"\\u" not in body:
        raise BadReply("not-json", complaint)
    try:
        return json.loads(body.decode(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise BadReply("not-json", complaint) from None


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)


def encodable(text: str) -> str:
    """The text, with lone surrogates written out as escapes: they cannot be encoded in UTF-8."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _first_choice(data: dict[str, Any]) -> dict[str, Any]:
    if data.get("error"):
        raise BadReply("error-body", _excerpt(data["error"]))
    choices = data.get("choices")
    if not isinstance(choices, list) or not choices:
        raise BadReply("no-choices")
    for choice in choices:
        if isinstance(choice, dict) and choice.get("index", 0) in (0, None):
            if choice.get("error"):
                raise BadReply("error-body", _excerpt(choice["error"]))
            return choice
    raise BadReply("bad-shape", "no choice has index 0")


def _read_message(message: dict[str, Any], said: Any) -> tuple[str, str, str]:
    """Text, reasoning and finish."""
    text = _text(message.get("content"))
    finish = said if isinstance(said, str) and said else "unknown"
    refusal = message.get("refusal")
    if not text and isinstance(refusal, str) and refusal:
        text, finish = refusal, "refusal"
    if message.get("tool_calls"):
        finish = "tool_calls"
    for name in ("reasoning_content", "reasoning"):
        thought = message.get(name)
        if thought and isinstance(thought, str):
            return text, thought, finish
    if "<think>" in text and text.lstrip().startswith("<think>"):
        return _cut_thinking(text, finish)
    return text, "", finish


def _text(content: Any) -> str:
    """A message's content: a string, null, or a list of parts of which those of type text count."""
    if isinstance(content, str):
        return content
    if content is None:
        return ""
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        raise BadReply("bad-shape", "the content is neither text nor a list of parts")
    texts = [part.get("text") for part in content if part.get("type") == "text"]
    if not all(isinstance(text, str) for text in texts):
        raise BadReply("bad-shape", "a text part holds no text")
    return "".join(texts)


def _cut_thinking(text: str, finish: str) -> tuple[str, str, str]:
    """Split off the leading `<think>` block, nested ones inside it included. One that never closes was cut short."""
    start = text.index("<think>") + len("<think>")
    depth = 1
    for tag in _THINK.finditer(text, start):
        depth += 1 if tag[0] == "<think>" else -1
        if depth == 0:
            return text[tag.end() :].lstrip(), text[start : tag.start()].strip(), finish
    return "", text[start:].strip(), "length"


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _count(value: Any) -> int:
    return value if type(value) is int and 0 <= value < MOST_TOKENS else 0


def _excerpt(error: Any) -> str:
    message = error.get("message") if isinstance(error, dict) else error
    return message[:500] if isinstance(message, str) else ""

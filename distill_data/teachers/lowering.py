"""Request -> body of an OpenAI-shaped completion, chat or raw. Pure, and shared by every backend of this shape."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from distill_data.data.exchange import Request
from distill_data.errors import UsageError
from distill_data.teachers.protocol import Capabilities

RESERVED = {
    "n": "ask for several samples with --samples: every sample is a request of its own",
    "stream": "answers are stored whole, so they are not streamed",
    "model": "name the model with --teacher",
    "messages": "the messages come from the recipe's body",
    "prompt": "the prompt comes from the recipe's body",
    "feature": "the command feature asks for scores of given texts",
    "input": "the text to embed comes from the row",
    "encoding_format": "vectors are read as lists of numbers",
}
"""Body fields that no recipe may set, and what to do instead."""

_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def chat_body(name: str, capabilities: Capabilities, request: Request) -> dict[str, Any]:
    """The body without a model's name. `name` is the teacher's, for messages.

    A request of kind `complete` has one message, whose content is the raw text to go on from: its body has a `prompt`.
    Raises UsageError for what the endpoint cannot do, so that nothing is dropped in silence.
    """
    raw = request.kind == "complete"
    if not raw and request.kind != "chat":
        raise UsageError(f"{name}: a request of kind {request.kind!r} cannot be sent yet; chat and complete can.")
    if not capabilities.vision:
        for message in request.messages:
            if type(message.get("content")) is not str and has_image(message):
                raise UsageError(blind(name))
    body: dict[str, Any] = {"prompt": request.messages[0]["content"]} if raw else {"messages": request.messages}
    for key, value in request.sampling.items():
        if key in RESERVED:
            raise _reserved(name, key)
        if value is None or key == "extra_body":
            continue
        if key == "seed":
            body["seed"] = _seed(name, capabilities, value) + request.sample
        elif key == "max_tokens":
            body["max_tokens" if raw else capabilities.max_tokens_field] = value
        else:
            body[key] = value
    if body.get("logprobs") and not capabilities.logprobs:
        raise UsageError(_undeclared(name, "logprobs"))
    if not raw and (request.choices or request.schema is not None):
        body.update(_constraint(capabilities, request))
    if extra := request.sampling.get("extra_body"):
        body.update(_extra_body(name, extra))
    return body


def embed_body(name: str, request: Request) -> dict[str, Any]:
    """The body of a request of kind `embed`, without a model's name. Of the sampling only `extra_body` has a meaning,
    such as `dimensions`. Raises UsageError for the rest of it."""
    sampling = {key: value for key, value in request.sampling.items() if value is not None}
    extra = sampling.pop("extra_body", None) or {}
    if sampling or not isinstance(extra, Mapping):
        raise UsageError(
            f"{name}: a text is embedded, so there is nothing to sample; drop {', '.join(sampling) or 'extra_body'}."
        )
    _refuse_reserved(name, extra)
    return {"input": [request.messages[0]["content"]], "encoding_format": "float", **extra}


def is_raw(body: bytes) -> bool:
    """Whether an encoded body asks for a raw completion. Inside of texts quotes are escaped, so the key is a key."""
    return b'"messages":' not in body and "prompt" in orjson.loads(body)


def is_embed(body: bytes) -> bool:
    """Whether an encoded body asks for an embedding."""
    return b'"messages":' not in body and "encoding_format" in orjson.loads(body)


def grammar(choices: tuple[str, ...]) -> str:
    """A GBNF grammar whose language is exactly these strings."""
    return "root ::= " + " | ".join(f'"{_escape(choice)}"' for choice in choices)


def choice_schema(choices: tuple[str, ...]) -> dict[str, Any]:
    """The schema of `{"answer": CHOICE}`: response formats take an object at the top, not a bare string."""
    return {
        "type": "object",
        "properties": {"answer": {"type": "string", "enum": list(choices)}},
        "required": ["answer"],
        "additionalProperties": False,
    }


def response_format(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON schema as a `response_format`, strict where the schema is closed enough for strict servers to take it."""
    return {
        "type": "json_schema",
        "json_schema": {"name": "answer", "strict": _is_closed(schema), "schema": dict(schema)},
    }


def _constraint(capabilities: Capabilities, request: Request) -> dict[str, Any]:
    if request.choices:
        match capabilities.choice:
            case "grammar":
                return {"grammar": grammar(request.choices)}
            case "guided_choice":
                return {"guided_choice": list(request.choices)}
            case "json_schema":
                return {"response_format": response_format(choice_schema(request.choices))}
            case "none":
                return {}
    if request.schema is not None and capabilities.json_schema:
        return {"response_format": response_format(request.schema)}
    return {}


def _is_closed(schema: Any) -> bool:
    """Whether every object in it lists all its properties as required and allows no others."""
    if isinstance(schema, list):
        return all(map(_is_closed, schema))
    if not isinstance(schema, Mapping):
        return True
    if schema.get("type") == "object" or "properties" in schema:
        properties = schema.get("properties", {})
        if schema.get("additionalProperties") is not False or set(schema.get("required", ())) != set(properties):
            return False
    return all(map(_is_closed, schema.values()))


def _refuse_reserved(name: str, fields: Mapping[str, Any]) -> None:
    for key in fields:
        if key in RESERVED:
            raise _reserved(name, key)


def _reserved(name: str, key: str) -> UsageError:
    return UsageError(f"{name}: the sampling parameter {key!r} cannot be set; {RESERVED[key]}.")


def _extra_body(name: str, extra: Any) -> Mapping[str, Any]:
    if not isinstance(extra, Mapping):
        raise UsageError(f"{name}: the sampling parameter 'extra_body' must be a table of body fields.")
    _refuse_reserved(name, extra)
    return extra


def _seed(name: str, capabilities: Capabilities, value: Any) -> int:
    if not capabilities.seed:
        raise UsageError(_undeclared(name, "seed"))
    if type(value) is not int or value < 0:
        raise UsageError(f"{name}: the sampling parameter 'seed' must be an integer from 0, not {value!r}.")
    return value


def _undeclared(name: str, capability: str) -> str:
    return (
        f"{name}: the sampling asks for {capability}, and this endpoint is not known to take it. If it does, say so in "
        f"the model's profile in distill.toml: capabilities = {{ {capability} = true }}; else drop it."
    )


def blind(name: str) -> str:
    """What to say of a teacher that is shown an image and isn't known to see."""
    return (
        f"{name}: the recipe shows images, and this model is not known to see them. If it does, say so in its profile "
        "in distill.toml: capabilities = { vision = true }; else choose another teacher with -t."
    )


def has_image(message: Mapping[str, Any]) -> bool:
    """Whether one of the message's parts is an image."""
    content = message.get("content")
    return isinstance(content, list) and any(part.get("type") == "image_url" for part in content)


def _escape(text: str) -> str:
    return "".join(_ESCAPES.get(char) or (char if char.isprintable() else _code(char)) for char in text)


def _code(char: str) -> str:
    return f"\\U{ord(char):08X}" if ord(char) > 0xFF else f"\\x{ord(char):02X}"

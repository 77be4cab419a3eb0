"""Request -> body, for a model that runs here. Pure, and refuses all that could not be honoured; loads nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from distill_data.data.exchange import Request
from distill_data.errors import UsageError
from distill_data.teachers.lowering import RESERVED, blind, embed_body
from distill_data.teachers.sampling import KNOWN, Refused, read_settings

Check = tuple[Callable[[Any], bool], str]


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 1


def _is_positive(value: Any) -> bool:
    return type(value) in (int, float) and 0 < value < math.inf


def _is_from_zero(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_layers(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and bool(value) and all(type(layer) is int for layer in value)


def _one_of(*names: str) -> Check:
    return (lambda value: value in names), "one of " + ", ".join(names)


_COUNT: Check = (_is_count, "a whole number above 0")
_POSITIVE: Check = (_is_positive, "a number above 0")
_FROM_ZERO: Check = (_is_from_zero, "a whole number from 0")
_LAYERS: Check = (_is_layers, "a list of layers, such as [-1]")
_FLOAT = _one_of("float16", "float32")
_EVERY: Mapping[str, Check] = {
    "truncate": (lambda value: type(value) is bool, "true or false"),
    "max_length": _FROM_ZERO,
}
FEATURES: Mapping[str, Mapping[str, Check]] = {
    "topk": {"k": _COUNT, "temperature": _POSITIVE},
    "sampled": {"draws": _COUNT, "temperature": _POSITIVE, "seed": _FROM_ZERO},
    "hidden": {"layers": _LAYERS, "pool": _one_of("none", "mean", "last"), "dtype": _FLOAT},
    "attention": {"layers": _LAYERS, "heads": _one_of("all", "mean"), "dtype": _FLOAT},
    "likelihood": {},
    "reward": {},
}
"""Kinds of φ: what each must say besides `truncate` and `max_length`."""
FIRST_LAYER = {"hidden": 0, "attention": 1}
"""Embeddings are layer 0 and attend to nothing."""


def make_body(name: str, layers: int, request: Request) -> dict[str, Any]:
    """The body of a chat, a raw completion, a score or an embedding. `name` is the teacher's, for messages; `layers`
    how many it has.

    Raises UsageError for what such a model cannot be asked.
    """
    for message in (*request.messages, *request.completion):
        content = message.get("content")
        if isinstance(content, list) and any(_shows(part) for part in content):
            raise UsageError(blind(name))
    match request.kind:
        case "score":
            return _score_body(name, layers, request)
        case "embed":
            if request.sampling:
                raise UsageError(
                    f"{name}: a text is embedded as the model does it; drop {', '.join(request.sampling)}."
                )
            return embed_body(name, request)
        case "chat":
            body = {"messages": request.messages, **_read_sampling(name, request)}
            if request.choices:
                body["choices"] = list(request.choices)
            elif request.schema is not None:
                body["schema"] = dict(request.schema)
            return body
        case "complete":
            return {"prompt": request.messages[0]["content"], **_read_sampling(name, request)}
        case _:
            raise UsageError(
                f"{name}: a request of kind {request.kind!r} cannot be sent; chat, complete, score, embed can."
            )


def _shows(part: Any) -> bool:
    return isinstance(part, Mapping) and part.get("type") != "text"


def _read_sampling(name: str, request: Request) -> dict[str, Any]:
    """The sampling parameters, all of which are known and make sense. The seed differs with the sample."""
    extra = request.sampling.get("extra_body") or {}
    if not isinstance(extra, Mapping):
        raise UsageError(f"{name}: the sampling parameter 'extra_body' must be a table of body fields.")
    given = {key: value for key, value in {**request.sampling, **extra}.items() if value is not None}
    given.pop("extra_body", None)
    for key in given:
        if key in RESERVED:
            raise UsageError(f"{name}: the sampling parameter {key!r} cannot be set; {RESERVED[key]}.")
        if key not in KNOWN:
            known = ", ".join(sorted(KNOWN))
            raise UsageError(f"{name}: the sampling parameter {key!r} is not known to this backend. Known: {known}.")
    try:
        settings = read_settings(given)
    except Refused as refused:
        raise UsageError(f"{name}: the sampling parameter {refused.message}") from None
    return {**given, "seed": settings.seed + request.sample}


def _score_body(name: str, layers: int, request: Request) -> dict[str, Any]:
    if set_anyway := sorted(key for key, value in request.sampling.items() if value is not None):
        raise UsageError(
            f"{name}: a given text is scored, so there is nothing to sample; drop {', '.join(set_anyway)}."
        )
    if not request.completion or (not request.messages and len(request.completion) != 1):
        raise UsageError(f"{name}: what is to be scored is missing: a completion, or one raw text without messages.")
    feature = dict(request.feature or {})
    of: Any = feature.get("of")
    if of not in FEATURES:
        raise UsageError(f"{name}: there is no feature {of!r} to compute; there are {', '.join(FEATURES)}.")
    checks = {**FEATURES[of], **_EVERY}
    for key, (accepts, expected) in checks.items():
        if not accepts(feature.get(key)):
            raise UsageError(f"{name}: {of}: {key} must be {expected}, not {feature.get(key)!r}.")
    if unknown := sorted(feature.keys() - checks.keys() - {"of"}):
        raise UsageError(f"{name}: {of}: there is no setting {unknown[0]!r}; there are {', '.join(checks)}.")
    if "layers" in checks:
        _refuse_layers(name, of, layers, feature["layers"])
    return {"messages": request.messages, "completion": list(request.completion), "feature": feature}


def _refuse_layers(name: str, of: str, count: int, asked: list[int]) -> None:
    """Layers are numbered from the front to `count`, and from the end from -1."""
    first = FIRST_LAYER[of]
    for layer in asked:
        if count and not (first <= layer <= count or first - count - 1 <= layer <= -1):
            raise UsageError(
                f"{name}: {of}: there is no layer {layer}; this model has the layers {first} to {count}, or from the "
                f"end -1 to {first - count - 1}."
            )

"""What the user says about models: `[models.NAME]` tables of distill.toml, and `backend/model` names.

    [models.big]
    model = "openai/some-model"
    base_url = "https://gateway.example/v1"
    api_key_env = "GATEWAY_KEY"                 # or api_key_file = "/run/secrets/key", which may be rotated in a run
    headers = { X-Team = "GATEWAY_TEAM" }       # header name = the environment variable that holds its value
    timeout = 300
    concurrency = 32
    rpm = 500
    tpm = 200000
    price = { input = 2.5, output = 10.0, cached = 1.25 }      # USD per million tokens; `cached` may be left out
    capabilities = { json_schema = true, seed = true }

Reads no key and sends nothing; whether a variable is set is found out when a teacher is about to be asked.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from distill_data.errors import UsageError
from distill_data.teachers import BACKENDS
from distill_data.teachers.prices import FREE, Price
from distill_data.teachers.protocol import Profile

DEFAULT_TEACHER = "local/smollm2"
ON_THE_WIRE = frozenset({"openai"})
"""Backends that have a base URL, a key and headers."""
COST_NOTHING = frozenset({"local", "transformers", "echo"})
"""Backends that run in this process."""
LONGEST = 1 << 20
"""Bytes of a configuration."""

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_CONNECTION = frozenset(
    {"accept-encoding", "connection", "content-length", "expect", "te", "transfer-encoding", "upgrade"}
)
"""Headers that say how a body travels, which is not the user's to say."""
_CHOICES = ("grammar", "json_schema", "guided_choice", "none")
_TOKEN_FIELDS = ("max_tokens", "max_completion_tokens")
_SCORING = ("prompt_logprobs", "echo", "none")


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _is_flag(value: Any) -> bool:
    return type(value) is bool


def _is_positive(value: Any) -> bool:
    return type(value) in (int, float) and 0 < value < math.inf


def _is_count(value: Any) -> bool:
    return type(value) is int and value > 0


def _is_variable(value: Any) -> bool:
    return isinstance(value, str) and _VARIABLE.fullmatch(value) is not None


def _is_headers(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        _HEADER.fullmatch(key) and key.lower() not in _CONNECTION and _is_variable(value[key]) for key in value
    )


def _is_price(value: Any) -> bool:
    if not isinstance(value, Mapping) or not {"input", "output"} <= set(value) <= {"input", "output", "cached"}:
        return False
    return all(type(amount) in (int, float) and 0 <= amount < math.inf for amount in value.values())


Check = tuple[Callable[[Any], bool], str]

FIELDS: Mapping[str, Check] = {
    "model": (_is_text, 'a string such as "openai/some-model"'),
    "base_url": (_is_text, "a URL"),
    "api_key_env": (_is_variable, "the name of an environment variable, never the key itself"),
    "api_key_file": (_is_text, "the path of a file that holds the key alone"),
    "headers": (_is_headers, "a table of header names, each with the name of an environment variable"),
    "timeout": (_is_positive, "a number of seconds above 0"),
    "concurrency": (_is_count, "a whole number above 0"),
    "rpm": (_is_positive, "a number above 0"),
    "tpm": (_is_positive, "a number above 0"),
    "price": (_is_price, "{ input = X, output = Y, cached = Z }, in USD per million tokens"),
    "enqueued_tokens": (_is_count, "a whole number above 0"),
    "insecure_http": (_is_flag, "true or false"),
    "capabilities": (lambda value: isinstance(value, Mapping), "a table"),
}
"""Keys of a `[models.NAME]` table: the check, and what it expects in words."""

CAPABILITIES: Mapping[str, Check] = {
    "choice": (lambda value: value in _CHOICES, "one of " + ", ".join(_CHOICES)),
    "json_schema": (_is_flag, "true or false"),
    "seed": (_is_flag, "true or false"),
    "logprobs": (_is_flag, "true or false"),
    "vision": (_is_flag, "true or false"),
    "scoring": (lambda value: value in _SCORING, "one of " + ", ".join(_SCORING)),
    "max_tokens_field": (lambda value: value in _TOKEN_FIELDS, "one of " + ", ".join(_TOKEN_FIELDS)),
}


def load_profiles(path: Path | None = None) -> dict[str, Profile]:
    """Profiles by name from this file; without one, from $DISTILL_CONFIG, or ./distill.toml if there is one.

    Raises UsageError that names the file and the key. A value is never shown: it might be a secret put by mistake.
    """
    named = path or (Path(os.environ["DISTILL_CONFIG"]) if os.environ.get("DISTILL_CONFIG") else None)
    source = named or Path("distill.toml")
    try:
        with source.open("rb") as stream:
            content = stream.read(LONGEST + 1)  # it may have no end, as /dev/zero has none
        text = content.decode()
    except FileNotFoundError:
        if named is None:
            return {}
        raise UsageError(f"{source}: there is no such configuration file.") from None
    except OSError as error:
        raise UsageError(f"{source}: the configuration cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{source}: this is not TOML: {error}.") from None
    if len(content) > LONGEST:
        raise UsageError(f"{source}: the configuration is longer than {LONGEST} bytes.")
    told = _parse(text, source)
    _refuse_unknown(told, ["models"], f"{source}:")
    tables = told.get("models", {})
    if not isinstance(tables, dict):
        raise UsageError(f"{source}: models must be tables, one [models.NAME] for each model.")
    how = "named" if named else "found"
    return {name: _read_profile(name, table, f"{source}: [models.{name}]", how) for name, table in tables.items()}


def _parse(text: str, source: Path) -> dict[str, Any]:
    import tomllib  # most runs have no file, and every start would pay

    try:
        return tomllib.loads(text)
    except ValueError as error:  # not always a TOMLDecodeError: of a number it may be int's own
        raise UsageError(f"{source}: this is not TOML: {error}.") from None
    except RecursionError:
        raise UsageError(f"{source}: this is nested too deeply.") from None


def find_profile(name: str, profiles: Mapping[str, Profile], **overrides: Any) -> Profile:
    """The profile of this name, or one made for `backend/model` (or `echo`).

    Overrides that are not None replace what the profile says: base_url, api_key_env, headers (added to the profile's),
    timeout, concurrency, rpm, tpm. Raises UsageError for unknown names, and for values that cannot be.
    """
    profile = profiles.get(name) or _bare_profile(name, profiles)
    given = {key: value for key, value in overrides.items() if value is not None}
    for key, value in given.items():
        _verify(value, FIELDS[key], "--" + ("header" if key == "headers" else key.replace("_", "-")))
    if "headers" in given:
        given["headers"] = {**profile.headers, **given["headers"]}
    if "base_url" in given:
        given["base_url_from"] = ""
    return _settle(replace(profile, **given), name)


def _bare_profile(name: str, profiles: Mapping[str, Profile]) -> Profile:
    backend, _, model = name.partition("/")
    if backend in BACKENDS and (model or backend == "echo"):
        return Profile(name=name, model=name)
    if "/" in name or backend in BACKENDS:
        raise UsageError(f"{name}: {_no_model(backend)}")
    known = ", ".join(sorted(profiles)) or "none is configured"
    raise UsageError(
        f"{name}: there is no profile of this name (profiles: {known}){_nearest(name, [*profiles, *BACKENDS])}; "
        f"a model without a profile is written backend/model, such as {DEFAULT_TEACHER}."
    )


def _no_model(backend: str) -> str:
    if backend in BACKENDS:
        return f"a model's name must follow: {backend}/MODEL."
    backends = ", ".join(BACKENDS)
    return f"there is no backend {backend!r}{_nearest(backend, BACKENDS)}. The backends are {backends}."


def _read_profile(name: str, table: Any, where: str, how: str) -> Profile:
    """`how` the file came to be read: see `Profile.base_url_from`."""
    if not isinstance(table, dict):
        raise UsageError(f"{where} must be a table.")
    if "/" in name or name in BACKENDS:
        raise UsageError(f"{where}: a profile's name holds no slash and is not a backend's; choose another.")
    _refuse_unknown(table, FIELDS, where)
    if "model" not in table:
        raise UsageError(f'{where}: the key model is missing, such as model = "openai/some-model".')
    for key, value in table.items():
        _verify(value, FIELDS[key], f"{where}: {key}")
    capabilities = table.get("capabilities", {})
    _refuse_unknown(capabilities, CAPABILITIES, f"{where} capabilities:")
    for key, value in capabilities.items():
        _verify(value, CAPABILITIES[key], f"{where}: capabilities.{key}")
    backend, _, model = table["model"].partition("/")
    if backend not in BACKENDS or not (model or backend == "echo"):
        raise UsageError(f"{where}: model: {_no_model(backend)}")
    told = table.get("price")
    price = Price(told["input"], told["output"], told.get("cached")) if told else None
    chosen = {"base_url_from": how} if "base_url" in table else {}
    return _settle(Profile(name=name, **{**table, **chosen, "price": price}), where)


def _settle(profile: Profile, where: str) -> Profile:
    """Prices that are known without being told, and settings that a backend without a wire cannot use."""
    backend = profile.model.partition("/")[0]
    if backend not in ON_THE_WIRE and (
        profile.base_url or profile.api_key_env or profile.api_key_file or profile.headers
    ):
        raise UsageError(
            f"{where}: {backend} runs in this process and takes no base URL, key or headers. "
            "To ask a server, name one of its models: -t openai/MODEL."
        )
    return replace(profile, price=FREE) if backend in COST_NOTHING and profile.price is None else profile


def _verify(value: Any, check: Check, where: str) -> None:
    accepts, expected = check
    if not accepts(value):
        raise UsageError(f"{where} must be {expected}.")


def _refuse_unknown(table: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    for key in table:
        if key not in known:
            raise UsageError(f"{where} there is no key {key!r}{_nearest(key, known)}. Known: {', '.join(known)}.")


def _nearest(word: str, known: Iterable[str]) -> str:
    from difflib import get_close_matches

    near = get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""

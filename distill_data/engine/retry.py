"""What a reply, or the lack of one, means for its request: keep it, ask again, fail this request or stop the run.

The one place that knows status codes, error codes and the headers that ask for patience. Everything is a pure
function: it does not know clocks, chance, how often a request was asked already, nor who asks.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from typing import Any, Literal

import orjson

from distill_data.data.exchange import EXCERPT, Lost, Reply

LONGEST_WAIT = 600.0
"""Seconds. A server that asks for more than this stops the run, which can go on later."""
TRIES = 8
"""Attempts that a request gets in all."""
SHOWN = 500
"""Characters of a server's message that are shown."""
_IMPLAUSIBLE = 1e9
"""Seconds: more than that is no wait but a mistake, or a time of day."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do about one attempt. A rule of the tables below is a verdict whose detail is the advice alone."""

    action: Literal["accept", "retry", "fail", "stop"]
    reason: str = ""
    """Short and stable, because it is counted."""
    detail: str = ""
    """For a person: what came back and what to do about it. Free of control characters."""
    floor: float = 0.0
    """Seconds that the server asked to wait."""
    limited: bool = False
    """The server refused because of the load we make: concurrency is cut."""
    doubt: bool = False
    """May have been billed although no answer was stored."""
    tries: int = TRIES
    """Attempts in all that this kind deserves."""
    at_once: bool = False
    """The first time there is nothing to wait for."""
    spent: Literal["fail", "stop"] = "fail"
    """What a retry becomes once its tries are used up."""


_ACCEPT = Verdict("accept")
_AGAIN = "Run the same command again when that is done; what is on disk is not bought twice."
_QUOTA = Verdict(
    "stop",
    "quota",
    f"The account's quota or budget is used up: add credit or raise the limit at the provider. {_AGAIN}",
)
_UNAUTHORISED = Verdict(
    "stop",
    "unauthorised",
    "Check the key in the variable that --api-key-env names, and that it may use this model at this --base-url.",
)
_NO_MODEL = Verdict(
    "stop",
    "no-such-model",
    "Check the model's name, and that --base-url is the root of the API, which for most servers ends in /v1.",
)
_CONTEXT = Verdict(
    "fail",
    "context-length",
    "The request is too long for this model: shorten the row or the prompt, or lower max_tokens.",
)
_POLICY = Verdict("fail", "content-policy", "The provider refuses this content; asking again would not help.")
_BAD_REQUEST = Verdict("fail", "bad-request", "Check the recipe's sampling settings and what this model supports.")
_TIMEOUT = Verdict("retry", "timeout", "The server gave up waiting: try again later or with a lower --concurrency.")
_GATEWAY_TIMEOUT = replace(_TIMEOUT, doubt=True, tries=3)
_BUSY = Verdict("retry", "server-error", "The server is in trouble: try again later.")

STATUSES: Mapping[int, Verdict] = {
    400: _BAD_REQUEST,
    401: _UNAUTHORISED,
    402: _QUOTA,
    403: _UNAUTHORISED,
    404: _NO_MODEL,
    408: _TIMEOUT,
    409: Verdict("retry", "conflict", "The server is busy with something that excludes this: try again later."),
    413: replace(_CONTEXT, reason="bad-request"),
    422: _BAD_REQUEST,
    425: Verdict("retry", "too-early", "The server was not ready: try again later."),
    429: Verdict("retry", "rate-limited", "Set --rpm, --tpm or a lower --concurrency to your limits.", limited=True),
    501: replace(_BAD_REQUEST, detail="The server does not have this function; asking again would not help."),
    504: _GATEWAY_TIMEOUT,
    524: _GATEWAY_TIMEOUT,
}
"""Status to rule. The others go by their hundred."""

HUNDREDS: Mapping[int, Verdict] = {
    2: _ACCEPT,
    3: Verdict(
        "stop",
        "redirect",
        "Redirects are not followed, because the key would travel along: give the final address as --base-url.",
    ),
    4: _BAD_REQUEST,
    5: _BUSY,
}

CODES: Mapping[str, Verdict] = {
    "insufficient_quota": _QUOTA,
    "billing_hard_limit_reached": _QUOTA,
    "billing_not_active": _QUOTA,
    "budget_exceeded": _QUOTA,
    "exceeded_current_quota_error": _QUOTA,
    "insufficient_user_quota": _QUOTA,
    "invalid_api_key": _UNAUTHORISED,
    "model_not_found": _NO_MODEL,
    "model_decommissioned": _NO_MODEL,
    "DeploymentNotFound": _NO_MODEL,
    "context_length_exceeded": _CONTEXT,
    "exceed_context_size_error": _CONTEXT,
    "string_above_max_length": _CONTEXT,
    "content_policy_violation": _POLICY,
    "content_filter": _POLICY,
    "ResponsibleAIPolicyViolation": _POLICY,
    "data_inspection_failed": _POLICY,
}
"""A `code` or `type` in an error body, compared as a whole. It is more precise than the status and goes first."""


def judge(reply: Reply) -> Verdict:
    """The verdict over a reply by its status, the codes in its body and its headers. Of a success no body is read."""
    status = reply.status
    if 200 <= status < 300:
        return _ACCEPT
    message, codes = _read_error(reply.body)
    rule = next((CODES[code] for code in codes if code in CODES), None)
    rule = rule or STATUSES.get(status) or HUNDREDS.get(status // 100, _BUSY)
    if rule.reason == "redirect" and "location" in reply.headers:
        message = f"to {reply.headers['location']}"
    said = f"{status} {': '.join(part for part in (*codes[:1], message) if part)}".rstrip()
    detail = f"The server said {shown(said)}. {rule.detail}"
    if rule.action != "retry":
        return replace(rule, detail=detail)
    floor = retry_after(reply.headers, limited=status == 429)
    if floor > LONGEST_WAIT:
        later = f"It asks to wait {_spoken(floor)}: run the same command again after that."
        return Verdict("stop", rule.reason, f"The server said {shown(said)}. {later}", floor, rule.limited, rule.doubt)
    limited = rule.limited or (status in (503, 529) and floor > 0)
    return replace(rule, detail=detail, floor=floor, limited=limited)


def judge_bad_reply(reason: str, detail: str, body: bytes) -> Verdict:
    """The verdict over a success that holds no usable completion. It may have been billed, so it is tried thrice."""
    what = shown(f"{reason}: {detail}" if detail else reason)
    start = body[:EXCERPT].decode("utf-8", "backslashreplace").strip()
    page = start.startswith("<")
    advice = "If every reply is like this, check that --base-url is an API and not a web page; most end in /v1."
    if page:
        advice = "Is --base-url an API, and does no proxy or login page of this network answer in its place?"
    said = f"The reply is no usable completion ({what}); it begins: {shown(start)} {advice}"
    return Verdict("retry", "web-page" if page else reason, said, doubt=True, tries=3)


def judge_lost(lost: Lost, ever_succeeded: bool) -> Verdict:
    """The verdict over a request that got no reply.

    `ever_succeeded` tells whether this process had a success of this endpoint before: if not, its address is likely
    wrong, and a few tries settle that.
    """
    what = f"No reply: {shown(lost.detail)}."
    if lost.kind == "stale":
        return Verdict(
            "retry", "stale-connection", f"{what} If this goes on, look at the proxies on the way.", at_once=True
        )
    if lost.kind == "too-long":
        return Verdict("fail", "too-long-reply", f"{what} Lower max_tokens if the model rambles.", doubt=True)
    if lost.permanent:
        advice = "Check --base-url; for a certificate authority of your own set SSL_CERT_FILE."
        return Verdict("stop", "unreachable", f"{what} {advice}", doubt=lost.sent)
    if lost.sent:
        advice = "If the model needs longer than that, raise --timeout."
        return Verdict("retry", "lost", f"{what} {advice}", doubt=True, tries=3)
    advice = "Check that the server runs, --base-url, the network, and HTTPS_PROXY and NO_PROXY."
    rule = Verdict("retry", "unreachable", f"{what} {advice}", spent="stop")
    return rule if ever_succeeded else replace(rule, tries=3)


def backoff(attempt: int, floor: float, draw: float) -> float:
    """Seconds to wait before asking again: full jitter over a doubling span, never less than the server's floor.

    `attempt` counts the retries made so far, from 0; `draw` is a number from [0, 1).
    """
    return max(floor * (1 + 0.1 * draw), draw * min(60.0, 2.0 ** min(attempt, 6)))


def retry_after(headers: Mapping[str, str], limited: bool = True) -> float:
    """Seconds that a refusal's headers ask to wait; 0.0 where they say nothing that makes sense.

    `retry-after-ms` goes before `Retry-After`, whose date counts from the reply's own `Date`; without that it is
    ignored. Where neither is there and `limited`, the reply being a 429, the rate limits' reset times count.
    """
    text = headers.get("retry-after", "")
    milliseconds = _number(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return milliseconds / 1000
    seconds = _number(text)
    if seconds is None:
        seconds = _until(text, headers.get("date", ""))
    if seconds is not None:
        return seconds
    if not limited:
        return 0.0
    return reset_after(headers) or min(
        filter(None, (duration(headers.get(name, "")) for _, name in LIMITS)), default=0.0
    )


LIMITS = (
    ("x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),
    ("x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
)


def reset_after(headers: Mapping[str, str]) -> float:
    """Seconds until every limit of which nothing remains is filled again; 0.0 where something remains of each."""
    wait = 0.0
    for remaining, reset in LIMITS:
        left = headers.get(remaining)
        if left is not None and _number(left) == 0:
            wait = max(wait, duration(headers.get(reset, "")) or 0.0)
    return wait


_NUMBER = re.compile(r"[ \t]*([0-9]{1,15}(?:\.[0-9]{1,15})?)[ \t]*")
_DURATION = re.compile(
    r"[ \t]*(?=[0-9])"
    + "".join(rf"(?:([0-9]{{1,15}}(?:\.[0-9]{{1,15}})?){unit})?" for unit in ("d", "h", "m", "s", "ms"))
    + r"[ \t]*"
)
_UNITS = (86400.0, 3600.0, 60.0, 1.0, 0.001)


def duration(text: str) -> float | None:
    """Seconds in a text like `20ms`, `1.5s`, `6m0s` or `2`; None where it is none, or not a plausible one."""
    parts = _DURATION.fullmatch(text)
    if parts is None:
        return _number(text)
    seconds = sum(float(part) * unit for part, unit in zip(parts.groups(), _UNITS, strict=True) if part)
    return seconds if seconds <= _IMPLAUSIBLE else None


def shown(text: str) -> str:
    """Foreign text for a terminal: at most 500 characters, and those that steer it written as escapes."""
    safe = "".join(char if char.isprintable() else _escape(char) for char in text[: SHOWN + 1])
    return safe if len(safe) <= SHOWN else safe[: SHOWN - 1] + "…"


def _escape(char: str) -> str:
    code = ord(char)
    if unicodedata.category(char) == "Zs":
        return char
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _number(text: str) -> float | None:
    match = _NUMBER.fullmatch(text)
    value = float(match[1]) if match else None
    return value if value is not None and value <= _IMPLAUSIBLE else None


def _until(text: str, now: str) -> float | None:
    """Seconds from one HTTP date to another; 0.0 where it is past, None where one is no date."""
    if not text or not now or max(len(text), len(now)) > 64:
        return None
    try:
        then, since = parsedate_to_datetime(text), parsedate_to_datetime(now)
        seconds = then.timestamp() - since.timestamp()
    except (ValueError, TypeError, IndexError, OverflowError, OSError):
        return None
    return max(0.0, seconds) if seconds <= _IMPLAUSIBLE else None


def _spoken(seconds: float) -> str:
    minutes = int(-(-seconds // 60))
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def _read_error(body: bytes) -> tuple[str, list[str]]:
    """The message of an error body, and the codes in it, the most precise first. Without JSON it is all message."""
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError:
        data = None
    if isinstance(data, list) and data:
        data = data[0]
    if not isinstance(data, dict):
        return body[: 4 * SHOWN].decode("utf-8", "replace").strip(), []
    inner = data.get("error")
    error = inner if isinstance(inner, dict) else data
    messages = (error.get("message"), inner, data.get("detail"))
    message = next((text for text in messages if isinstance(text, str) and text), None)
    if message is None:
        message = body[: 4 * SHOWN].decode("utf-8", "replace").strip()
    return message, list(dict.fromkeys(_codes(error)))


def _codes(error: dict[str, Any]) -> Iterator[str]:
    deeper = error.get("innererror")
    for table in (deeper if isinstance(deeper, dict) else {}, error):
        for name in ("code", "type"):
            value = table.get(name)
            if isinstance(value, str) and value:
                yield value

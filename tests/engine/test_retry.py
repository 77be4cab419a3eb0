"""Verdicts over replies, and the headers that ask for patience."""

from __future__ import annotations

import json
import math
import time
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_data.data.exchange import Lost, Reply
from distill_data.engine.retry import (
    CODES,
    LONGEST_WAIT,
    STATUSES,
    Verdict,
    backoff,
    duration,
    judge,
    judge_bad_reply,
    judge_lost,
    reset_after,
    retry_after,
    shown,
)


def verdict(status: int, body: Any = b"", **headers: str) -> Verdict:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return judge(Reply(status, {name.replace("_", "-"): value for name, value in headers.items()}, raw))


def error(message: str = "", **fields: Any) -> dict[str, Any]:
    return {"error": {"message": message, **fields}}


@pytest.mark.parametrize(
    ("status", "action", "reason"),
    [
        (200, "accept", ""),
        (201, "accept", ""),
        *((status, "stop", "redirect") for status in (301, 302, 303, 304, 307, 308)),
        (400, "fail", "bad-request"),
        (401, "stop", "unauthorised"),
        (402, "stop", "quota"),
        (403, "stop", "unauthorised"),
        (404, "stop", "no-such-model"),
        (405, "fail", "bad-request"),
        (408, "retry", "timeout"),
        (409, "retry", "conflict"),
        (413, "fail", "bad-request"),
        (418, "fail", "bad-request"),
        (422, "fail", "bad-request"),
        (425, "retry", "too-early"),
        (429, "retry", "rate-limited"),
        (501, "fail", "bad-request"),
        (504, "retry", "timeout"),
        (524, "retry", "timeout"),
        *((status, "retry", "server-error") for status in (500, 502, 503, 520, 521, 522, 523, 525, 526, 527, 529)),
        (599, "retry", "server-error"),
        (999, "retry", "server-error"),
    ],
)
@pytest.mark.parametrize("body", [b"", b"<html>\r\n<h1>No</h1>", b"[]", b"null", b"{", b"\xff\xfe", b"[" * 9000])
def test_each_status_has_a_verdict_whatever_the_body(status: int, action: str, reason: str, body: bytes) -> None:
    found = verdict(status, body)
    assert (found.action, found.reason) == (action, reason)
    assert found.limited == (status == 429)
    assert found.doubt == (status in (504, 524))
    assert found.tries == (3 if found.doubt else 8)
    assert found.detail.isprintable()
    if action != "accept":
        assert str(status) in found.detail
        assert found.detail.endswith(".")


@pytest.mark.parametrize(
    ("status", "body", "action", "reason"),
    [
        (429, error(code="insufficient_quota", type="insufficient_quota"), "stop", "quota"),
        (429, error(code=None, type="insufficient_quota"), "stop", "quota"),
        (429, error(code="billing_hard_limit_reached"), "stop", "quota"),
        (400, error(code="400", type="budget_exceeded"), "stop", "quota"),
        (403, error(code="insufficient_user_quota"), "stop", "quota"),
        (429, error("insufficient_quota and budget_exceeded", code="rate_limit_exceeded"), "retry", "rate-limited"),
        (429, error(code="not_insufficient_quota"), "retry", "rate-limited"),
        (400, error(code="context_length_exceeded"), "fail", "context-length"),
        (400, error(code=400, type="exceed_context_size_error", n_ctx=512), "fail", "context-length"),
        (500, error(code=500, type="exceed_context_size_error"), "fail", "context-length"),
        (400, error("maximum context_length_exceeded", code="other"), "fail", "bad-request"),
        (400, error(code="content_policy_violation"), "fail", "content-policy"),
        (400, error(innererror={"code": "ResponsibleAIPolicyViolation"}, code="other"), "fail", "content-policy"),
        (400, error(code="model_not_found"), "stop", "no-such-model"),
        (404, {"error": "model 'x' not found"}, "stop", "no-such-model"),
        (400, {"object": "error", "message": "m", "type": "context_length_exceeded"}, "fail", "context-length"),
        (400, [error(code="context_length_exceeded")], "fail", "context-length"),
        (422, {"detail": [{"loc": ["body"], "msg": "Field required"}]}, "fail", "bad-request"),
        (400, error(code={"insufficient_quota": 1}, type=["insufficient_quota"]), "fail", "bad-request"),
    ],
)
def test_codes_in_the_body_are_compared_whole_and_go_first(status: int, body: Any, action: str, reason: str) -> None:
    found = verdict(status, body)
    assert (found.action, found.reason) == (action, reason)


def test_a_success_is_not_read() -> None:
    assert verdict(200, error(code="insufficient_quota")) == Verdict("accept")


@pytest.mark.parametrize("rule", [*STATUSES.values(), *CODES.values()], ids=lambda rule: rule.reason)
def test_every_rule_says_what_to_do(rule: Verdict) -> None:
    assert rule.reason
    assert len(rule.detail) > 20
    assert rule.detail.endswith(".")


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (verdict(401, error("Incorrect API key")), ["401", "Incorrect API key", "--api-key-env"]),
        (verdict(404, error("no such model")), ["404", "no such model", "model's name", "--base-url", "/v1"]),
        (verdict(302, location="https://elsewhere.example/v1"), ["302", "https://elsewhere.example/v1", "--base-url"]),
        (verdict(402), ["402", "credit", "same command again"]),
        (verdict(400, {"error": "too hot"}), ["400", "too hot"]),
        (verdict(422, {"detail": [{"msg": "Field required"}]}), ["422", "Field required"]),
        (verdict(429, error("slow", code="rate_limit_exceeded")), ["rate_limit_exceeded: slow", "--rpm"]),
        (verdict(429, retry_after="7500"), ["2 h 5 min", "same command again"]),
    ],
)
def test_messages_carry_the_server_s_words_and_advice(found: Verdict, words: list[str]) -> None:
    assert [word for word in words if word not in found.detail] == []


def test_a_server_s_message_is_cut_and_cannot_steer_a_terminal() -> None:
    found = verdict(400, error("\x1b]52;c;\x07 bell\nline\x9b \u202e \u2028 " + "x" * 10**4))
    assert "\\x1b]52;c;\\x07 bell\\x0aline\\x9b \\u202e \\u2028" in found.detail
    assert found.detail.isprintable()
    assert len(found.detail) < 700
    assert len(verdict(500, b"<p>" * 10**6).detail) < 700


@given(st.text(st.characters(), max_size=1200))
def test_shown_text_is_printable_and_short(text: str) -> None:
    safe = shown(text)
    assert len(safe) <= 500
    assert all(char.isprintable() or char.isspace() for char in safe)
    assert not set(safe) & {"\n", "\r", "\t", "\x85", "\u2028", "\u2029"}
    safe.encode()


@given(
    st.integers(0, 999), st.binary(max_size=300), st.dictionaries(st.sampled_from(["retry-after", "date"]), st.text())
)
def test_any_reply_has_a_verdict(status: int, body: bytes, headers: dict[str, str]) -> None:
    found = judge(Reply(status, headers, body))
    assert found.action in ("accept", "retry", "fail", "stop")
    assert 0.0 <= found.floor <= LONGEST_WAIT or found.action == "stop"


BODIES = st.recursive(
    st.none() | st.integers() | st.text(max_size=20) | st.sampled_from(sorted(CODES)),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["error", "code", "type", "message", "detail", "innererror"]), inner, max_size=5
        )
    ),
    max_leaves=12,
)


@given(st.sampled_from([400, 429, 500]), BODIES)
def test_any_json_has_a_verdict(status: int, body: Any) -> None:
    assert judge(Reply(status, {}, json.dumps(body).encode())).action in ("retry", "fail", "stop")


# Waits

DATE = {"date": "Mon, 23 Nov 2026 10:00:00 GMT"}


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 0.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "1"}, 1.0),
        ({"retry-after": " 2.5 "}, 2.5),
        ({"retry-after": "1000000000"}, 1e9),
        ({"retry-after": "1000000001"}, 0.0),
        ({"retry-after": "1" + "0" * 400}, 0.0),
        ({"retry-after": "1e3"}, 0.0),
        ({"retry-after": "-5"}, 0.0),
        ({"retry-after": "nan"}, 0.0),
        ({"retry-after": "inf"}, 0.0),
        ({"retry-after": "Infinity"}, 0.0),
        ({"retry-after": "1_0"}, 0.0),
        ({"retry-after": "٣"}, 0.0),
        ({"retry-after": "soon"}, 0.0),
        ({"retry-after": ""}, 0.0),
        ({"retry-after": "5\n"}, 0.0),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after-ms": "0", "retry-after": "9"}, 0.0),
        ({"retry-after-ms": "x", "retry-after": "9"}, 9.0),
        ({"retry-after-ms": "2s", "retry-after": "9"}, 9.0),
        ({"retry-after": "Mon, 23 Nov 2026 10:00:30 GMT", **DATE}, 30.0),
        ({"retry-after": "Monday, 23-Nov-26 10:01:00 GMT", **DATE}, 60.0),
        ({"retry-after": "Mon Nov 23 10:00:05 2026", **DATE}, 5.0),
        ({"retry-after": "Mon, 23 Nov 2026 09:00:00 GMT", **DATE}, 0.0),
        ({"retry-after": "Mon, 23 Nov 9026 09:00:00 GMT", **DATE}, 0.0),
        ({"retry-after": "Mon, 23 Nov 2026 10:00:30 GMT"}, 0.0),
        ({"retry-after": "Mon, 23 Nov 2026 10:00:30 GMT", "date": "today"}, 0.0),
        ({"retry-after": "Mon, 99 Foo 2026 10:00:30 GMT", **DATE}, 0.0),
        ({"retry-after": "3", "x-ratelimit-reset-requests": "9s"}, 3.0),
        ({"x-ratelimit-reset-requests": "1s"}, 1.0),
        ({"x-ratelimit-reset-requests": "6m0s"}, 360.0),
        ({"x-ratelimit-reset-tokens": "20ms"}, 0.02),
        ({"x-ratelimit-reset-requests": "9h", "x-ratelimit-reset-tokens": "7s"}, 7.0),
        (
            {
                "x-ratelimit-reset-requests": "9s",
                "x-ratelimit-remaining-requests": "0",
                "x-ratelimit-reset-tokens": "7s",
                "x-ratelimit-remaining-tokens": "12",
            },
            9.0,
        ),
    ],
)
def test_what_headers_ask_for(headers: dict[str, str], seconds: float) -> None:
    assert retry_after(headers) == seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1s", 1.0),
        ("6m0s", 360.0),
        ("20ms", 0.02),
        ("1h2m3.5s", 3723.5),
        ("1d", 86400.0),
        ("1m500ms", 60.5),
        ("12", 12.0),
        ("1764000000", None),
        ("99999d", None),
        ("s", None),
        ("", None),
        ("1s2m", None),
        ("-1s", None),
        ("1 s", None),
    ],
)
def test_durations(text: str, seconds: float | None) -> None:
    assert duration(text) == seconds


NAMES = ("retry-after-ms", "retry-after", "date", "x-ratelimit-reset-requests", "x-ratelimit-remaining-requests")
VALUES = st.one_of(
    st.text(max_size=40),
    st.floats().map(str),
    st.integers().map(str),
    st.from_regex(r"\A[0-9.dhms -]{0,60}\Z"),
    st.from_regex(
        r"\A[A-Z][a-z]{2}, [0-9]{1,12} (Nov|Feb|Xyz) [0-9]{1,12} [0-9]{1,9}:[0-9]{1,3}:[0-9]{1,3} [-+A-Z0-9]{0,9}\Z"
    ),
)


@given(st.dictionaries(st.sampled_from(NAMES), VALUES))
def test_no_header_breaks_the_parsing(headers: dict[str, str]) -> None:
    for seconds in (retry_after(headers), retry_after(headers, limited=False), reset_after(headers)):
        assert math.isfinite(seconds)
        assert 0.0 <= seconds <= 1e9


@given(st.integers(0, 10**9), st.booleans())
def test_whole_seconds_are_read_as_they_are(seconds: int, milliseconds: bool) -> None:
    name, scale = ("retry-after-ms", 1000) if milliseconds else ("retry-after", 1)
    assert retry_after({name: str(seconds)}) == seconds / scale


def test_parsing_is_linear_in_the_length() -> None:
    start = time.perf_counter()
    for text in ("9" * 10**5, "1d1h" * 10**5, " " * 10**5 + "x", "Mon, " * 10**5):
        retry_after({"retry-after-ms": text, "retry-after": text, "x-ratelimit-reset-requests": text, **DATE})
    assert time.perf_counter() - start < 0.5


def test_only_a_429_waits_for_the_rate_limits_and_only_real_pushback_counts_as_one() -> None:
    reset = {"x_ratelimit_reset_requests": "3s"}
    assert (verdict(429, **reset).floor, verdict(500, **reset).floor) == (3.0, 0.0)
    assert not verdict(503, **reset).limited
    assert verdict(503, retry_after="2") == verdict(503, retry_after="2.0")
    assert (verdict(503, retry_after="2").limited, verdict(503, retry_after="2").floor) == (True, 2.0)
    assert verdict(529, retry_after="2").limited
    assert not verdict(500, retry_after="2").limited


def test_a_wait_that_is_too_long_stops_the_run() -> None:
    assert verdict(429, retry_after="600").action == "retry"
    found = verdict(429, retry_after="601")
    assert (found.action, found.reason, found.floor) == ("stop", "rate-limited", 601.0)
    assert "11 min" in found.detail
    assert verdict(503, retry_after="601").action == "stop"
    assert verdict(400, retry_after="601").action == "fail"


@given(st.integers(0, 10**6), st.floats(0, LONGEST_WAIT), st.floats(0, 1, exclude_max=True))
def test_a_wait_lies_between_the_floor_and_a_minute_or_a_tenth_more(attempt: int, floor: float, draw: float) -> None:
    wait = backoff(attempt, floor, draw)
    assert floor <= wait <= max(60.0, floor * 1.1)
    assert wait >= draw * min(60, 2 ** min(attempt, 60))


def test_waits_double() -> None:
    assert [backoff(attempt, 0.0, 0.5) for attempt in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    assert backoff(0, 10.0, 0.5) == 10.5


# No reply, or none that can be used


def test_an_unusable_reply_is_asked_again_thrice_and_may_have_cost() -> None:
    found = judge_bad_reply("not-json", "unexpected end\x1b[2J", b'{"cho\x1b' + bytes(1000))
    assert (found.action, found.reason, found.tries, found.doubt) == ("retry", "not-json", 3, True)
    assert "not-json: unexpected end\\x1b[2J" in found.detail
    assert 'begins: {"cho\\x1b\\x00' in found.detail
    assert len(found.detail) < 1500
    assert found.spent == "fail"


@pytest.mark.parametrize(
    ("sent", "permanent", "before", "expected"),
    [
        (False, False, True, ("retry", "unreachable", 8, False, "stop")),
        (False, False, False, ("retry", "unreachable", 3, False, "stop")),
        (True, False, False, ("retry", "lost", 3, True, "fail")),
        (True, False, True, ("retry", "lost", 3, True, "fail")),
        (False, True, True, ("stop", "unreachable", 8, False, "fail")),
    ],
)
def test_a_lost_request(sent: bool, permanent: bool, before: bool, expected: tuple[object, ...]) -> None:
    found = judge_lost(Lost("name\nunknown", sent=sent, permanent=permanent), before)
    assert (found.action, found.reason, found.tries, found.doubt, found.spent) == expected
    assert "name\\x0aunknown" in found.detail
    assert "--" in found.detail

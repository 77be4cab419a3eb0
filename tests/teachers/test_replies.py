"""Reply bodies to answers: what servers send, and anything at all."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from distill_data.data.exchange import Answer
from distill_data.teachers import BadReply, read_answer

from .loopback import completion


def read(content: Any = "hello", finish: Any = "stop", **message: Any) -> Answer:
    body = completion(content, **message)
    body["choices"][0]["finish_reason"] = finish
    return read_answer(orjson.dumps(body))


def test_a_plain_completion() -> None:
    body = completion()
    body["usage"]["prompt_tokens_details"] = {"cached_tokens": 1}
    body["choices"][0]["logprobs"] = {"content": []}
    assert read_answer(orjson.dumps(body)) == Answer(
        text="hello",
        reasoning="",
        finish="stop",
        model="served",
        prompt_tokens=3,
        completion_tokens=2,
        cached_tokens=1,
        logprobs={"content": []},
    )


@pytest.mark.parametrize(
    "usage",
    [None, {}, {"prompt_tokens": None}, {"prompt_tokens": -1}, {"prompt_tokens": "3"}, {"prompt_tokens": 1 << 40}, []],
)
def test_missing_or_odd_usage_counts_nothing(usage: Any) -> None:
    answer = read_answer(orjson.dumps({**completion(), "usage": usage}))
    assert (answer.prompt_tokens, answer.completion_tokens, answer.cached_tokens) == (0, 0, 0)


def test_the_choice_with_index_0_is_the_answer() -> None:
    body = completion("zero")
    body["choices"].insert(0, {**completion("one")["choices"][0], "index": 1})
    assert read_answer(orjson.dumps(body)).text == "zero"


def test_a_refusal_is_its_own_finish() -> None:
    answer = read(None, refusal="I cannot help with that.")
    assert (answer.text, answer.finish) == ("I cannot help with that.", "refusal")
    assert read("fine", refusal=None).finish == "stop"


@pytest.mark.parametrize(("finish", "said"), [("content_filter", "content_filter"), (None, "unknown"), (3, "unknown")])
def test_no_content_is_an_empty_text_with_its_finish(finish: Any, said: str) -> None:
    answer = read(None, finish)
    assert (answer.text, answer.finish) == ("", said)


def test_text_parts_are_joined() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "image_url"}, {"type": "text", "text": "b"}]
    assert read(parts).text == "ab"


def test_tool_calls_are_a_finish() -> None:
    assert read(None, "stop", tool_calls=[{"id": "1"}]).finish == "tool_calls"
    assert read("x", "stop", tool_calls=[]).finish == "stop"


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_reasoning_from_its_own_field(field: str) -> None:
    answer = read("42", **{field: "six by seven"})
    assert (answer.text, answer.reasoning) == ("42", "six by seven")


@pytest.mark.parametrize(
    ("content", "text", "reasoning", "finish"),
    [
        ("<think>six by seven</think>\n\n42", "42", "six by seven", "stop"),
        ("\n<think>\nx\n</think>42\n", "42\n", "x", "stop"),
        ("<think></think>42", "42", "", "stop"),
        ("<think>a <think>b</think> c</think>42", "42", "a <think>b</think> c", "stop"),
        ("<think>never closed", "", "never closed", "length"),
        ("<think>a <think>b</think> never closed", "", "a <think>b</think> never closed", "length"),
        ("Say <think>x</think>", "Say <think>x</think>", "", "stop"),
        ("```\n<think>x</think>\n```", "```\n<think>x</think>\n```", "", "stop"),
        ("x</think>42", "x</think>42", "", "stop"),
    ],
)
def test_a_leading_think_block(content: str, text: str, reasoning: str, finish: str) -> None:
    answer = read(content)
    assert (answer.text, answer.reasoning, answer.finish) == (text, reasoning, finish)


def test_a_think_block_stays_where_reasoning_has_its_own_field() -> None:
    assert read("<think>x</think>y", reasoning_content="z").text == "<think>x</think>y"


WHOLE = orjson.dumps(completion())


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not-json"),
        (b"<html>Sign in</html>", "not-json"),
        (WHOLE[:-1], "not-json"),
        (WHOLE + b"{}", "not-json"),
        (b"\xef\xbb\xbf" + WHOLE, "not-json"),
        (WHOLE.decode().encode("utf-16"), "not-json"),
        (WHOLE.replace(b"hello", b"\xff"), "not-json"),
        (WHOLE.replace(b'"hello"', b"NaN"), "not-json"),
        (b"[" * 100_000, "not-json"),
        (b"[]", "bad-shape"),
        (b"null", "bad-shape"),
        (orjson.dumps({"error": {"message": "overloaded"}}), "error-body"),
        (orjson.dumps({"error": "overloaded"}), "error-body"),
        (orjson.dumps({**completion(), "error": {"code": 500}}), "error-body"),
        (orjson.dumps({"choices": [{"index": 0, "error": {"message": "cut"}}]}), "error-body"),
        (orjson.dumps({"detail": "x"}), "no-choices"),
        (orjson.dumps({"choices": []}), "no-choices"),
        (orjson.dumps({"choices": None}), "no-choices"),
        (orjson.dumps({"choices": [3]}), "bad-shape"),
        (orjson.dumps({"choices": [{"index": 1, "message": {}}]}), "bad-shape"),
        (orjson.dumps({"choices": [{"index": 0}]}), "bad-shape"),
        (orjson.dumps(completion(3)), "bad-shape"),
        (orjson.dumps(completion(["a"])), "bad-shape"),
        (orjson.dumps(completion([{"type": "text"}])), "bad-shape"),
    ],
)
def test_what_is_no_completion_has_a_reason(body: bytes, reason: str) -> None:
    with pytest.raises(BadReply) as refusal:
        read_answer(body)
    assert refusal.value.reason == reason


def answers_or_refuses(body: bytes) -> None:
    try:
        answer = read_answer(body)
    except BadReply as refusal:
        assert refusal.reason in {"not-json", "error-body", "no-choices", "bad-shape"}
    else:
        for text in (answer.text, answer.reasoning, answer.finish, answer.model):
            text.encode()  # no lone surrogates
        assert answer.prompt_tokens >= 0


@given(st.binary())
@example(b"9" * 5000)
@example(b"1e400")
def test_any_bytes_are_an_answer_or_a_bad_reply(body: bytes) -> None:
    answers_or_refuses(body)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("<think>"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "text", "message"]), inner),
    max_leaves=6,
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "error": JSON,
            "model": JSON,
            "usage": JSON | st.fixed_dictionaries({"prompt_tokens": JSON, "prompt_tokens_details": JSON}),
            "choices": JSON
            | st.lists(
                st.fixed_dictionaries(
                    {},
                    optional={
                        "index": JSON,
                        "finish_reason": JSON,
                        "message": JSON
                        | st.fixed_dictionaries(
                            {}, optional=dict.fromkeys(("content", "refusal", "reasoning", "tool_calls"), JSON)
                        ),
                    },
                ),
                max_size=2,
            ),
        },
    )
)
def test_any_shape_is_an_answer_or_a_bad_reply(value: Any) -> None:
    answers_or_refuses(json.dumps(value).encode())


@given(st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"])))
def test_a_text_survives_as_it_is(text: str, reasoning: str) -> None:
    answer = read(text, reasoning_content=reasoning)
    if reasoning:
        assert (answer.text, answer.reasoning) == (text, reasoning)


def test_half_a_surrogate_pair_is_read_because_it_is_paid_for() -> None:
    answer = read_answer(WHOLE.replace(b"hello", b"\\ud800"))
    assert "\ud800" in answer.text
    answer.model.encode()

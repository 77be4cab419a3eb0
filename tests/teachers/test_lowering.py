"""Requests to bodies: every field that goes out, and the ones that may not."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_data.data.exchange import Request
from distill_data.data.items import canonical
from distill_data.errors import UsageError
from distill_data.teachers.lowering import chat_body, grammar, is_raw, response_format
from distill_data.teachers.protocol import Capabilities

HI = [{"role": "user", "content": "Hi"}]
ALL = Capabilities(choice="json_schema", json_schema=True, seed=True, logprobs=True)
CHOICES = ("yes", "no")


def body(request: Request, capabilities: Capabilities = ALL) -> dict[str, Any]:
    return chat_body("openai/m", capabilities, request)


def test_a_plain_request_is_its_messages() -> None:
    assert body(Request(HI)) == {"messages": HI}


def test_sampling_goes_out_as_it_is_and_unset_values_do_not() -> None:
    sampling = {"temperature": 0.7, "top_p": None, "stop": ["\n"], "max_tokens": 9}
    assert body(Request(HI, sampling)) == {"messages": HI, "temperature": 0.7, "stop": ["\n"], "max_tokens": 9}


def test_the_token_limit_is_renamed() -> None:
    renamed = Capabilities(max_tokens_field="max_completion_tokens")
    assert body(Request(HI, {"max_tokens": 9}), renamed) == {"messages": HI, "max_completion_tokens": 9}


def test_the_extra_body_is_merged_at_the_top_and_wins() -> None:
    sampling = {"temperature": 1, "extra_body": {"top_k": 5, "temperature": 0}}
    assert body(Request(HI, sampling)) == {"messages": HI, "temperature": 0, "top_k": 5}


def test_every_sample_has_a_seed_of_its_own() -> None:
    assert [body(Request(HI, {"seed": 40}, sample=n))["seed"] for n in range(3)] == [40, 41, 42]


def test_a_sample_without_a_seed_leaves_no_trace() -> None:
    assert body(Request(HI, sample=3)) == {"messages": HI}


def test_a_raw_completion_has_a_prompt_and_nothing_that_only_chats_take() -> None:
    renamed = Capabilities(choice="json_schema", json_schema=True, max_tokens_field="max_completion_tokens")
    header = [{"role": "user", "content": '<|im_start|>user\n"messages":'}]
    lowered = body(Request(header, {"max_tokens": 9, "stop": ["\n"]}, "complete", CHOICES), renamed)
    assert lowered == {"prompt": header[0]["content"], "max_tokens": 9, "stop": ["\n"]}
    assert is_raw(canonical(lowered))
    assert not is_raw(canonical(body(Request([{"role": "user", "content": '{"prompt": 1}'}]))))


@pytest.mark.parametrize("field", ["n", "stream", "model", "messages", "prompt"])
@pytest.mark.parametrize("extra", [True, False])
def test_reserved_fields_are_refused(field: str, extra: bool) -> None:
    sampling = {"extra_body": {field: 2}} if extra else {field: 2}
    with pytest.raises(UsageError, match=f"'{field}' cannot be set"):
        body(Request(HI, sampling))


@pytest.mark.parametrize("sampling", [{"seed": 1}, {"logprobs": True}])
def test_what_the_endpoint_may_not_take_is_an_error_that_says_how_to_declare_it(sampling: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"capabilities = \{ (seed|logprobs) = true \}"):
        body(Request(HI, sampling), Capabilities())


@pytest.mark.parametrize("sampling", [{"seed": "7"}, {"seed": -1}, {"seed": True}, {"extra_body": "x"}])
def test_wrong_types_are_refused(sampling: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        body(Request(HI, sampling))


@pytest.mark.parametrize("kind", ["score", "embed"])
def test_other_kinds_are_refused(kind: Any) -> None:
    with pytest.raises(UsageError, match=kind):
        body(Request(HI, kind=kind))


def test_choices_by_schema() -> None:
    schema = {
        "type": "object",
        "properties": {"answer": {"type": "string", "enum": ["yes", "no"]}},
        "required": ["answer"],
        "additionalProperties": False,
    }
    expected = {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}
    assert body(Request(HI, choices=CHOICES))["response_format"] == expected


def test_choices_by_grammar_by_list_and_not_at_all() -> None:
    request = Request(HI, choices=CHOICES)
    assert body(request, Capabilities(choice="grammar")) == {"messages": HI, "grammar": 'root ::= "yes" | "no"'}
    assert body(request, Capabilities(choice="guided_choice")) == {"messages": HI, "guided_choice": ["yes", "no"]}
    assert body(request, Capabilities()) == {"messages": HI}


def test_a_schema_goes_out_only_where_it_is_understood() -> None:
    request = Request(HI, schema={"type": "object"})
    assert body(request)["response_format"]["json_schema"]["schema"] == {"type": "object"}
    assert body(request, Capabilities()) == {"messages": HI}


CLOSED = {"type": "object", "properties": {"a": {}}, "required": ["a"], "additionalProperties": False}


@pytest.mark.parametrize(
    ("schema", "strict"),
    [
        (CLOSED, True),
        ({**CLOSED, "additionalProperties": True}, False),
        ({**CLOSED, "required": []}, False),
        ({"type": "object"}, False),
        ({"type": "array", "items": CLOSED}, True),
        ({**CLOSED, "properties": {"a": {"type": "object"}}}, False),
        ({"anyOf": [CLOSED, {"type": "object"}]}, False),
        ({"type": "string"}, True),
    ],
)
def test_strict_is_asked_for_where_every_object_is_closed(schema: dict[str, Any], strict: bool) -> None:
    assert response_format(schema)["json_schema"]["strict"] is strict


def language(source: str) -> list[str]:
    """The strings of a GBNF grammar that is one list of literals; refuses anything else."""
    start = "root ::= "
    assert source.startswith(start)
    literal = r'"((?:[^"\\\n\r]|\\["\\nrt]|\\x[0-9A-F]{2}|\\U[0-9A-F]{8})*)"'
    assert re.fullmatch(rf"{literal}(?: \| {literal})*", source[len(start) :])
    plain = {"n": "\n", "r": "\r", "t": "\t"}

    def char(match: re.Match[str]) -> str:
        code = match[1]
        return chr(int(code[1:], 16)) if code[0] in "xU" else plain.get(code, code)

    return [re.sub(r'\\(["\\nrt]|x..|U.{8})', char, found) for found in re.findall(literal, source[len(start) :])]


def test_a_grammar_with_every_kind_of_escape() -> None:
    source = grammar(('say "yes"\\no', "two\nlines", "正面", "\u2028\x01"))
    assert source == 'root ::= "say \\"yes\\"\\\\no" | "two\\nlines" | "正面" | "\\U00002028\\x01"'


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=5))
def test_the_language_of_a_grammar_is_the_choices(choices: list[str]) -> None:
    assert language(grammar(tuple(choices))) == choices


def test_lowering_leaves_the_request_as_it_was() -> None:
    sampling = {"seed": 1, "extra_body": {"top_k": 5}}
    body(Request(HI, sampling, choices=CHOICES))
    assert sampling == {"seed": 1, "extra_body": {"top_k": 5}}

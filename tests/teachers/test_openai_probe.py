"""What an endpoint can do: declared, or found out by one tiny request, or else the reason why it could not be."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

from distill_data.data.exchange import Lost, Reply
from distill_data.teachers import ProbeFailed, Resolved, resolve
from distill_data.teachers.profiles import find_profile, load_profiles
from distill_data.teachers.protocol import Capabilities

from .loopback import Handler, Seen, answering, completion, serve

CHOICE = frozenset({"choice"})


def probe(handler: Handler, needs: frozenset[str] = CHOICE, **capabilities: Any) -> tuple[Resolved, list[Seen]]:
    async def run() -> tuple[Resolved, list[Seen]]:
        async with serve(handler) as server:
            profile = find_profile("openai/m", {}, base_url=server.url)
            return await resolve(replace(profile, capabilities=capabilities), needs), server.seen

    return asyncio.run(run())


def test_a_server_that_honours_the_schema_can() -> None:
    resolved, seen = probe(answering('{"answer": "yes"}'))
    assert resolved.capabilities == Capabilities(choice="json_schema", json_schema=True)
    (asked,) = seen
    assert asked.json["max_tokens"] == 16
    schema = asked.json["response_format"]["json_schema"]
    assert schema["strict"] is True
    assert schema["schema"]["properties"]["answer"]["enum"] == ["yes", "no"]


@pytest.mark.parametrize("content", ["Yes.", '```json\n{"answer": "yes"}\n```', '{"answer": "perhaps"}', '["yes"]', ""])
def test_a_server_that_ignores_the_schema_cannot(content: str) -> None:
    assert probe(answering(content))[0].capabilities == Capabilities()


@pytest.mark.parametrize("content", ["", '{ "answer": "y'])
def test_a_model_cut_while_thinking_or_inside_the_object_can(content: str) -> None:
    cut = completion(content)
    cut["choices"][0]["finish_reason"] = "length"
    assert probe(lambda seen: web.json_response(cut))[0].capabilities.choice == "json_schema"


@pytest.mark.parametrize("status", [400, 422])
def test_a_server_that_refuses_the_schema_cannot(status: int) -> None:
    refusal = {"error": {"message": "unknown field response_format"}}
    assert probe(lambda seen: web.json_response(refusal, status=status))[0].capabilities == Capabilities()


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503, 307])
def test_any_other_status_decides_nothing(status: int) -> None:
    with pytest.raises(ProbeFailed) as failure:
        probe(lambda seen: web.json_response({"error": {"message": "x"}}, status=status))
    assert isinstance(failure.value.result, Reply)
    assert failure.value.result.status == status


def test_a_success_that_is_no_completion_decides_nothing() -> None:
    with pytest.raises(ProbeFailed) as failure:
        probe(lambda seen: web.Response(text="<html>Sign in</html>", content_type="text/html"))
    assert isinstance(failure.value.result, Reply)
    assert b"Sign in" in failure.value.result.body


def test_no_reply_decides_nothing() -> None:
    profile = find_profile("openai/m", {}, base_url="http://127.0.0.1:1/v1")
    with pytest.raises(ProbeFailed) as failure:
        asyncio.run(resolve(profile, CHOICE))
    assert isinstance(failure.value.result, Lost)
    assert not failure.value.result.sent


@pytest.mark.parametrize("needs", [frozenset(), frozenset({"seed"}), frozenset({"logprobs"})])
def test_needs_that_no_probe_answers_send_nothing(needs: frozenset[str]) -> None:
    resolved, seen = probe(answering("{}"), needs)
    assert resolved.capabilities == Capabilities()
    assert seen == []


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ({"choice": "none"}, Capabilities()),
        ({"choice": "grammar"}, Capabilities(choice="grammar")),
        ({"json_schema": True}, Capabilities(choice="json_schema", json_schema=True)),
        ({"json_schema": False}, Capabilities()),
        ({"choice": "guided_choice", "seed": True}, Capabilities(choice="guided_choice", seed=True)),
    ],
)
def test_what_is_declared_is_not_probed(declared: dict[str, Any], expected: Capabilities) -> None:
    resolved, seen = probe(answering("{}"), **declared)
    assert resolved.capabilities == expected
    assert seen == []


def test_a_declared_choice_leaves_the_schema_to_the_probe() -> None:
    resolved, seen = probe(answering('{"answer": "no"}'), frozenset({"choice", "json_schema"}), choice="grammar")
    assert resolved.capabilities == Capabilities(choice="grammar", json_schema=True)
    assert len(seen) == 1


def test_openai_itself_wants_the_newer_token_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-none-none-none")
    resolved = asyncio.run(resolve(find_profile("openai/m", {}), frozenset()))
    assert resolved.identity == {"api": "openai-chat", "base_url": "https://api.openai.com/v1"}
    assert resolved.capabilities.max_tokens_field == "max_completion_tokens"


def test_the_environment_s_base_url_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://LOCALHOST:80/v1/")
    resolved = asyncio.run(resolve(find_profile("openai/m", {}), frozenset()))
    assert resolved.identity["base_url"] == "http://localhost/v1"


def test_resolved_survives_its_json() -> None:
    resolved = Resolved({"engine": "echo"}, Capabilities(choice="grammar", json_schema=True, logprobs=True))
    assert Resolved.from_json(resolved.to_json()) == resolved


def test_declared_capabilities_come_from_the_file(tmp_path: Any) -> None:
    path = tmp_path / "distill.toml"
    path.write_text(
        '[models.m]\nmodel = "openai/m"\nbase_url = "http://localhost:1"\ncapabilities = { choice = "none" }\n'
    )
    resolved = asyncio.run(resolve(find_profile("m", load_profiles(path)), CHOICE))
    assert resolved.capabilities == Capabilities()

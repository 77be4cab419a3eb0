"""What goes over the wire to an OpenAI-shaped server, and what of the reply comes back."""

from __future__ import annotations

import asyncio
import logging
import pickle
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import pytest
from aiohttp import web

from distill_data import __version__
from distill_data.data.exchange import Reply, Request
from distill_data.errors import UsageError
from distill_data.teachers import open_teacher, read_answer, resolve
from distill_data.teachers.endpoint import read_credentials
from distill_data.teachers.openai import OpenAITeacher
from distill_data.teachers.profiles import find_profile
from distill_data.teachers.protocol import Profile

from .loopback import Handler, Seen, Server, answering, completion, serve

KEY = "sk-loopback/0123456789"
HELLO = Request([{"role": "user", "content": "Hi"}], {"max_tokens": 5})


def talk(handler: Handler, script: Callable[[OpenAITeacher, Server], Awaitable[Any]], **settings: Any) -> Any:
    """Run a script against a teacher at a loopback server."""

    async def run() -> Any:
        async with serve(handler) as server:
            profile = find_profile("openai/gpt-x/large", {}, base_url=server.url + "/", **settings)
            teacher = open_teacher(profile, await resolve(profile, frozenset()))
            assert isinstance(teacher, OpenAITeacher)
            try:
                return await script(teacher, server)
            finally:
                await teacher.aclose()

    return asyncio.run(run())


def encoded(teacher: OpenAITeacher, request: Request = HELLO) -> bytes:
    return orjson.dumps(teacher.lower(request))


def test_raw_text_is_completed_at_its_own_path() -> None:
    def said(seen: Seen) -> web.Response:
        assert "messages" not in orjson.loads(seen.body)
        choice = {"index": 0, "text": "What is tea?", "finish_reason": "stop"}
        return web.json_response({"model": "m", "choices": [choice], "usage": {"completion_tokens": 4}})

    async def script(teacher: OpenAITeacher, server: Server) -> Any:
        raw = Request([{"role": "user", "content": "<|im_start|>user\n"}], {"max_tokens": 5}, "complete")
        return await teacher.send(encoded(teacher, raw)), server.seen[0].path

    reply, path = talk(said, script)
    assert path.endswith("/completions")
    assert "chat" not in path
    assert (read_answer(reply.body).text, read_answer(reply.body).finish) == ("What is tea?", "stop")


def test_body_and_headers_are_exactly_these(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("TEAM", "blue")

    async def script(teacher: OpenAITeacher, server: Server) -> None:
        reply = await teacher.send(encoded(teacher))
        assert read_answer(reply.body).text == "hello"
        assert reply.status == 200
        assert reply.headers["x-request-id"] == "7"
        (seen,) = server.seen
        assert seen.path == "/v1/chat/completions"
        assert seen.json == {
            "model": "gpt-x/large",
            "messages": [{"role": "user", "content": "Hi"}],
            "max_tokens": 5,
        }
        for name in ("host", "accept", "accept-encoding", "content-length"):
            del seen.headers[name]
        assert seen.headers == {
            "authorization": f"Bearer {KEY}",
            "content-type": "application/json",
            "user-agent": f"distill-data/{__version__}",
            "x-team": "blue",
        }

    def handler(seen: Seen) -> web.Response:
        return web.json_response(completion(), headers={"X-Request-ID": "7"})

    talk(handler, script, headers={"X-Team": "TEAM"})


def test_identity_is_the_normalised_url_and_nothing_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)

    async def script(teacher: OpenAITeacher, server: Server) -> None:
        assert teacher.identity == {"api": "openai-chat", "base_url": server.url}
        assert server.seen == []  # resolving without needs asks nothing

    talk(answering(), script)


def test_a_server_s_cookies_are_not_kept() -> None:
    cookies = []

    def handler(seen: Seen) -> web.Response:
        cookies.append(seen.headers.get("cookie"))
        response = web.json_response(completion())
        response.set_cookie("session", "1")
        return response

    async def run() -> None:
        async with serve(handler) as server:
            # By name: cookies of bare addresses are dropped in any case.
            profile = find_profile("openai/m", {}, base_url=server.url.replace("127.0.0.1", "localhost"))
            teacher = open_teacher(profile, await resolve(profile, frozenset()))
            await teacher.send(b"{}")
            await teacher.send(b"{}")
            await teacher.aclose()

    asyncio.run(run())
    assert cookies == [None, None]


def test_a_redirect_is_a_reply_and_is_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)

    async def script(teacher: OpenAITeacher, server: Server) -> Reply:
        reply = await teacher.send(encoded(teacher))
        assert len(server.seen) == 1
        return reply

    reply = talk(lambda seen: web.Response(status=307, headers={"Location": "/elsewhere"}), script)
    assert (reply.status, reply.headers["location"]) == (307, "/elsewhere")


@pytest.mark.parametrize("spelling", [KEY, KEY.replace("/", "\\/"), KEY.replace("/", "%2F")])
def test_a_server_that_says_the_key_back_is_redacted(monkeypatch: pytest.MonkeyPatch, spelling: str) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    told = f'{{"error": {{"message": "bad key Bearer {spelling}!"}}}}'

    async def script(teacher: OpenAITeacher, server: Server) -> Reply:
        return await teacher.send(encoded(teacher))

    reply = talk(lambda seen: web.Response(status=403, text=told, headers={"X-Told": spelling}), script)
    assert orjson.loads(reply.body)["error"]["message"] == "bad key Bearer [redacted]!"
    assert reply.headers["x-told"] == "[redacted]"


def test_a_placeholder_key_does_not_eat_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_KEY", "ollama")

    async def script(teacher: OpenAITeacher, server: Server) -> str:
        return read_answer((await teacher.send(encoded(teacher))).body).text

    assert talk(answering("I am ollama."), script, api_key_env="LOCAL_KEY") == "I am ollama."


def test_a_rotated_key_is_read_again_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-old-old-old")
    valid = "Bearer sk-new-new-new"

    def handler(seen: Seen) -> web.Response:
        good = seen.headers["authorization"] == valid
        return web.json_response(completion() if good else {"error": {}}, status=200 if good else 401)

    async def script(teacher: OpenAITeacher, server: Server) -> None:
        assert (await teacher.send(encoded(teacher))).status == 401
        assert len(server.seen) == 1  # the same key is not tried twice
        monkeypatch.setenv("OPENAI_API_KEY", "sk-new-new-new")
        replies = await asyncio.gather(*(teacher.send(encoded(teacher)) for _ in range(8)))
        assert [reply.status for reply in replies] == [200] * 8
        assert len(server.seen) == 1 + 16
        monkeypatch.setenv("OPENAI_API_KEY", "sk-wrong-wrong")
        assert (await teacher.send(encoded(teacher))).status == 200
        assert len(server.seen) == 1 + 16 + 1  # a key that works stays in use

    talk(handler, script)


def test_a_key_that_vanished_leaves_the_401(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_KEY", KEY)

    async def script(teacher: OpenAITeacher, server: Server) -> int:
        await teacher.send(encoded(teacher))
        monkeypatch.delenv("GATEWAY_KEY")
        return (await teacher.send(encoded(teacher))).status

    assert talk(lambda seen: web.Response(status=401), script, api_key_env="GATEWAY_KEY") == 401


def test_nothing_that_shows_itself_shows_the_key(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    caplog.set_level(logging.DEBUG)

    async def script(teacher: OpenAITeacher, server: Server) -> str:
        await teacher.send(encoded(teacher))
        return repr(teacher) + str(teacher) + repr(teacher._credentials) + f"{teacher._credentials}"

    assert KEY not in talk(answering(), script) + caplog.text
    credentials = read_credentials(Profile("x", "openai/x"), "https://gateway.example/v1")
    with pytest.raises(TypeError):
        pickle.dumps(credentials)


def test_a_large_body_goes_out_whole() -> None:
    text = "x" * 3_000_000

    async def script(teacher: OpenAITeacher, server: Server) -> None:
        reply = await teacher.send(encoded(teacher, Request([{"role": "user", "content": text}])))
        assert reply.status == 200
        assert server.seen[0].json["messages"][0]["content"] == text

    talk(answering(), script)


def test_a_missing_key_is_found_by_resolve_and_by_send_but_not_by_lower(monkeypatch: pytest.MonkeyPatch) -> None:
    profile = find_profile("openai/gpt-x", {})
    with pytest.raises(UsageError, match="OPENAI_API_KEY"):
        asyncio.run(resolve(profile, frozenset()))
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    resolved = asyncio.run(resolve(profile, frozenset()))
    monkeypatch.delenv("OPENAI_API_KEY")
    teacher = open_teacher(profile, resolved)
    assert teacher.lower(HELLO)["max_completion_tokens"] == 5
    with pytest.raises(UsageError, match="OPENAI_API_KEY"):
        asyncio.run(teacher.send(b"{}"))


def test_a_proxy_is_used_for_other_machines_only(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        async with serve(answering()) as proxy:
            address = proxy.url.removeprefix("http://").removesuffix("/v1")
            monkeypatch.setenv("http_proxy", f"http://joe:pass@{address}")
            away = find_profile("openai/x", {}, base_url="http://teacher.example:8000/v1")
            teacher = open_teacher(away, await resolve(away, frozenset()))
            assert (await teacher.send(b"{}")).status == 200
            await teacher.aclose()
            assert proxy.seen[0].path == "http://teacher.example:8000/v1/chat/completions"
            assert proxy.seen[0].headers["proxy-authorization"] == "Basic am9lOnBhc3M="
            monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")  # would refuse
            home = find_profile("openai/x", {}, base_url=proxy.url)
            teacher = open_teacher(home, await resolve(home, frozenset()))
            assert (await teacher.send(b"{}")).status == 200
            await teacher.aclose()
            assert proxy.seen[1].path == "/v1/chat/completions"

    asyncio.run(run())


def test_netrc_does_not_override_the_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login joe password other\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("OPENAI_API_KEY", KEY)

    async def script(teacher: OpenAITeacher, server: Server) -> str:
        await teacher.send(encoded(teacher))
        return server.seen[0].headers["authorization"]

    assert talk(answering(), script) == f"Bearer {KEY}"

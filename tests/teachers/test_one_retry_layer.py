"""Asking again is the engine's alone: no client beside it retries, and none follows a redirect."""

from __future__ import annotations

import ast
import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from distill_data.data.exchange import Lost
from distill_data.teachers import Resolved, open_teacher
from distill_data.teachers.profiles import find_profile
from distill_data.teachers.protocol import Capabilities

from .loopback import answering, serve

PACKAGE = Path(__file__).parents[2] / "distill_data"
CLIENTS = {"OpenAI", "AsyncOpenAI", "AzureOpenAI", "AsyncAzureOpenAI"}
TRANSPORTS = {"DefaultHttpxClient", "DefaultAsyncHttpxClient", "DefaultAioHttpClient", "Client", "AsyncClient"}

MAKERS = CLIENTS | TRANSPORTS | {"post"}


def calls(source: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Each call in a module: the last part of its name, and its named arguments as they are written."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func).rpartition(".")[2]
            yield name, {word.arg: ast.unparse(word.value) for word in node.keywords if word.arg}


def offences(source: str) -> list[str]:
    found = []
    for name, given in calls(source):
        if name in CLIENTS and (given.get("max_retries") != "0" or "http_client" not in given):
            found.append(f"{name} may retry, or brings a transport of its own")
        if name in TRANSPORTS and given.get("follow_redirects") != "False":
            found.append(f"{name} may follow redirects")
        if name == "post" and given.get("allow_redirects", "False") != "False":
            found.append("a post follows redirects")
    return found


def test_no_client_retries_or_follows_redirects() -> None:
    texts = {path: path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")}
    sources = {path: text for path, text in texts.items() if any(f"{name}(" in text for name in MAKERS)}
    assert {str(path): offences(source) for path, source in sources.items() if offences(source)} == {}
    made = [name for source in sources.values() for name, _ in calls(source)]
    assert CLIENTS & set(made) and TRANSPORTS & set(made), "there are some to look at"


@pytest.mark.parametrize(
    "source",
    [
        "openai.OpenAI(http_client=x)",
        "AsyncOpenAI(max_retries=2, http_client=x)",
        "openai.OpenAI(max_retries=0)",
        "openai.DefaultHttpxClient()",
        "session.post(url, allow_redirects=True)",
    ],
)
def test_the_rule_finds_what_breaks_it(source: str) -> None:
    assert offences(source)


def test_a_name_that_comes_and_goes_was_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's own resolver fails twice, as it does where a network flaps."""
    real, asked = socket.getaddrinfo, []

    def flap(host: str, *rest: object, **more: object) -> object:
        asked.append(host)
        if len(asked) <= 2:
            raise socket.gaierror(-3, "Temporary failure in name resolution")
        return real("127.0.0.1", *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", flap)
    monkeypatch.setenv("NO_PROXY", "*")
    asyncio.run(ask_three_times())


async def ask_three_times() -> None:
    async with serve(answering()) as server:
        url = server.url.replace("127.0.0.1", "flapping.test")
        identity = {"api": "openai-chat", "base_url": url}
        teacher = open_teacher(find_profile("openai/x", {}), Resolved(identity, Capabilities()))
        for _ in range(2):
            with pytest.raises(Lost) as caught:
                await teacher.send(b"{}")
            assert (caught.value.sent, caught.value.permanent) == (False, False)
            assert "flapping.test" in caught.value.detail
        assert (await teacher.send(b"{}")).status == 200
        await teacher.aclose()
        assert len(server.seen) == 1

"""Kept connections, marks before a body, and keys that change while a run goes on."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from distill_data.data.exchange import Lost
from distill_data.errors import UsageError
from distill_data.teachers import Resolved, connections, open_teacher
from distill_data.teachers import openai as backend
from distill_data.teachers.profiles import find_profile, load_profiles
from distill_data.teachers.protocol import Capabilities, Teacher

from .loopback import completion, serve_bytes

BODY = orjson.dumps(completion())
WHOLE = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def read_request(reader: asyncio.StreamReader) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    await reader.readexactly(length)


def teacher_at(url: str) -> Teacher:
    identity = {"api": "openai-chat", "base_url": url}
    return open_teacher(find_profile("openai/x", {}, timeout=5.0), Resolved(identity, Capabilities()))


def ask_twice(talk: Talk, pause: float = 0.0) -> list[Any]:
    """Two requests one after the other; gives the Reply, or the Lost, of each."""

    async def run() -> list[Any]:
        listener = await asyncio.start_server(talk, "127.0.0.1", 0)
        ends: list[Any] = []
        async with listener:
            teacher = teacher_at(f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1")
            for _ in range(2):
                try:
                    ends.append(await teacher.send(b"{}"))
                except Lost as lost:
                    ends.append(lost)
                await asyncio.sleep(pause)
            await teacher.aclose()
        return ends

    return asyncio.run(run())


def test_a_kept_connection_that_the_server_closed_was_not_sent() -> None:
    async def answer_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(WHOLE)
        await read_request(reader)  # too late to say that this is over
        writer.close()

    first, second = ask_twice(answer_once)
    assert first.status == 200
    assert (second.sent, second.permanent, second.kind) == (False, False, "stale")


def test_one_that_breaks_later_may_have_been_paid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "STALE", 0.05)

    async def answer_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(WHOLE)
        await read_request(reader)
        await asyncio.sleep(0.1)
        writer.transport.abort()

    first, second = ask_twice(answer_once)
    assert first.status == 200
    assert (second.sent, second.kind) == (True, "")


@pytest.mark.parametrize("reset", [False, True])
def test_half_a_head_on_a_kept_connection_may_have_been_paid(reset: bool) -> None:
    async def answer_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(WHOLE)
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-")
        await writer.drain()
        if reset:
            await asyncio.sleep(0.02)
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.close()

    first, second = ask_twice(answer_once)
    assert first.status == 200
    assert (second.sent, second.kind) == (True, "")


def test_bytes_after_a_body_are_never_the_next_reply() -> None:
    forged = WHOLE.replace(b"hello", b"wrong")

    async def answer_twice(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(WHOLE + forged)
        try:
            await read_request(reader)
            writer.write(WHOLE)
        except asyncio.IncompleteReadError:
            writer.close()

    for reply in ask_twice(answer_twice, pause=0.02):
        assert orjson.loads(reply.body)["choices"][0]["message"]["content"] == "hello"


def test_an_idle_connection_is_not_kept_as_long_as_servers_keep_it() -> None:
    assert connections.KEPT < 5.0, "uvicorn's patience, and so vLLM's"


def test_a_byte_order_mark_is_no_part_of_the_body() -> None:
    async def run() -> Any:
        marked = b"\xef\xbb\xbf" + BODY
        async with serve_bytes(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(marked) + marked) as url:
            teacher = teacher_at(url)
            try:
                return await teacher.send(b"{}")
            finally:
                await teacher.aclose()

    assert asyncio.run(run()).body == BODY


def test_the_evidence_of_a_long_reply_holds_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-loopback-0123456789")
    monkeypatch.setattr(backend, "BODY_CAP", 300)
    body = b"x" * (backend.EXCERPT - 9) + b"sk-loopback-0123456789" + b"y" * 300

    async def run() -> None:
        async with serve_bytes(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", body) as url:
            teacher = teacher_at(url)
            try:
                await teacher.send(b"{}")
            finally:
                await teacher.aclose()

    with pytest.raises(Lost, match="longer than 300 bytes and begins: xxx") as caught:
        asyncio.run(run())
    assert caught.value.kind == "too-long"
    assert "sk-loop" not in caught.value.detail


def profile_with(tmp_path: Path, key: str, mode: int = 0o600) -> Any:
    secret = tmp_path / "key"
    secret.write_text(key)
    secret.chmod(mode)
    (tmp_path / "d.toml").write_text(f'[models.m]\nmodel = "openai/x"\napi_key_file = "{secret}"\n')
    return find_profile("m", load_profiles(tmp_path / "d.toml"))


def test_a_key_comes_from_a_file(tmp_path: Path) -> None:
    profile = profile_with(tmp_path, "sk-from-a-file\n")
    assert backend.read_credentials(profile, "https://x.example/v1").headers["Authorization"] == "Bearer sk-from-a-file"
    with pytest.raises(UsageError, match="plain http"):
        backend.read_credentials(profile, "http://x.example/v1")


@pytest.mark.parametrize(
    ("key", "mode", "says"),
    [("", 0o600, "empty"), ("a\nb", 0o600, "characters"), ("k", 0o644, "everybody"), ("\x80é", 0o600, "characters")],
)
def test_a_file_that_holds_no_key_is_named_and_not_shown(tmp_path: Path, key: str, mode: int, says: str) -> None:
    profile = profile_with(tmp_path, key, mode)
    with pytest.raises(UsageError, match=says) as caught:
        backend.read_credentials(profile, "https://x.example/v1")
    assert str(tmp_path / "key") in str(caught.value)
    (tmp_path / "key").unlink()
    with pytest.raises(UsageError, match="cannot be read"):
        backend.read_credentials(profile, "https://x.example/v1")

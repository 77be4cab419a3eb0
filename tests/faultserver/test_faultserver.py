"""The oracle's own tests: each fault does what its name says, and the ledger tells what was asked and paid."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import aiohttp
import pytest

from tests.faultserver import Server, serve
from tests.faultserver.faults import FAULTS, HUGE

READ, BROKEN, SILENT = "read", "broken", "silent"
UNREAD = {
    **dict.fromkeys(["reset", "cut", "half_head", "cut_chunks"], BROKEN),
    **dict.fromkeys(["hang", "slowloris", "late_reset", "endless"], SILENT),
}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve(plan={"markers": {f"<{fault}>": fault for fault in FAULTS}}) as running:
        yield running


async def post(server: Server, text: str, seconds: float = 0.5) -> tuple[str, int, bytes]:
    """How one request ended: the kind of end, the status, the body."""
    body = {"model": "test-model", "messages": [{"role": "user", "content": text}]}
    timeout = aiohttp.ClientTimeout(total=seconds)
    async with aiohttp.ClientSession(timeout=timeout, read_bufsize=2**25) as session:
        try:
            url, headers = f"{server.url}/chat/completions", {"Authorization": "Bearer k-1"}
            call = session.post(url, json=body, headers=headers, allow_redirects=False)
            async with call as reply:
                return READ, reply.status, await reply.read()
        except TimeoutError:
            return SILENT, 0, b""
        except aiohttp.ClientError:
            return BROKEN, 0, b""


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_arrives_as_its_table_says(server: Server, fault: str) -> None:
    end, status, _ = asyncio.run(post(server, f"row-1 <{fault}>"))
    line = server.ledger()[-1]
    assert (end, line["fault"], line["row"]) == (UNREAD.get(fault, READ), fault, "row-1")
    assert end != READ or status == line["status"] == FAULTS[fault].status
    assert line["paid"] == FAULTS[fault].paid


@pytest.mark.parametrize(
    ("fault", "content"),
    [
        ("ok", "answer to row-7 <ok>"),
        ("no_content_length", "answer to row-7 <no_content_length>"),
        ("surrogate", "answer \ud800 to row-7 <surrogate>"),
        ("separators", "a\u2028b\u0085c\x00d\re row-7 <separators>"),
        ("huge", "answer " + "a" * HUGE + " row-7 <huge>"),
        ("blank", ""),
    ],
)
def test_odd_answers_are_still_json(server: Server, fault: str, content: str) -> None:
    _, _, body = asyncio.run(post(server, f"row-7 <{fault}>"))
    assert json.loads(body)["choices"][0]["message"]["content"] == content


@pytest.mark.parametrize("fault", ["truncated", "html", "bad_utf8", "gzip_bomb", "trailing", "utf16", "deep"])
def test_broken_bodies_are_not_json(server: Server, fault: str) -> None:
    _, status, body = asyncio.run(post(server, f"<{fault}>"))
    assert status == 200
    with pytest.raises((ValueError, RecursionError)):
        json.loads(body.decode())


def test_the_key_comes_back_in_the_error(server: Server) -> None:
    assert b"Bearer k-1" in asyncio.run(post(server, "<echo_auth>"))[2]


def test_rates_depend_on_bodies_and_not_on_their_order() -> None:
    async def faults(plan: dict[str, object], texts: list[str]) -> dict[str, str]:
        with serve(plan=plan) as server:
            await asyncio.gather(*(post(server, text, 30.0) for text in texts))
            return {line["row"]: line["fault"] for line in server.ledger()}

    plan, texts = {"seed": 5, "rates": {"429": 0.2, "500": 0.1}}, [f"row-{n}" for n in range(100)]
    once = asyncio.run(faults(plan, texts))
    assert once == asyncio.run(faults(plan, texts[::-1]))
    assert 10 <= list(once.values()).count("429") <= 30
    assert set(once.values()) == {"429", "500", "ok"}


def test_first_counts_requests_and_a_new_plan_keeps_the_ledger() -> None:
    with serve(plan={"first": {"ok": 1, "503": 2}}) as server:
        for _ in range(4):
            asyncio.run(post(server, "row-1"))
        server.replan({"always": "401"})
        asyncio.run(post(server, "row-1"))
        assert [line["fault"] for line in server.ledger()] == ["ok", "503", "503", "ok", "401"]


def test_a_fault_may_come_once_and_a_connection_may_be_forgotten() -> None:
    async def main(server: Server) -> list[tuple[str, int]]:
        async with aiohttp.ClientSession() as session:
            ends = []
            for text in ("<x>", "<x>", "<y>", "<z>"):
                body = {"messages": [{"role": "user", "content": text}]}
                try:
                    async with session.post(f"{server.url}/chat/completions", json=body) as reply:
                        ends.append((text, reply.status))
                        await reply.read()
                except aiohttp.ClientError:
                    ends.append((text, 0))
            return ends

    with serve(plan={"once": {"<x>": "500", "<y>": "forget"}}) as server:
        assert asyncio.run(main(server)) == [("<x>", 500), ("<x>", 200), ("<y>", 200), ("<z>", 0)]
        assert [line["fault"] for line in server.ledger()] == ["500", "ok", "forget"], (
            "what nobody read is in no ledger"
        )


def test_only_the_keys_of_the_plan_are_taken() -> None:
    with serve(plan={"keys": ["k-2"]}) as server:
        assert asyncio.run(post(server, "row-1"))[1] == 401
        server.replan({"keys": ["k-1"]})
        assert asyncio.run(post(server, "row-1"))[1] == 200


def test_a_killed_client_has_still_asked() -> None:
    code = "import sys, urllib.request as u; u.urlopen(sys.argv[1], b'{}')"
    with serve(latency=30) as server:
        client = subprocess.Popen([sys.executable, "-c", code, f"{server.url}/chat/completions"])
        while not server.asked():
            assert client.poll() is None
        os.kill(client.pid, signal.SIGKILL)
        client.wait()
        assert [line["paid"] for line in server.ledger()] == [True]

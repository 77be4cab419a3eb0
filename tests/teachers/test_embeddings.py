"""A text to embed on its way to a server and its vector on the way back; what echo gives instead."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import orjson
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from distill_data.data.exchange import Answer, Request
from distill_data.data.items import canonical
from distill_data.engine.ask import estimate
from distill_data.errors import UsageError
from distill_data.teachers import BadReply, open_teacher, read_answer, resolve
from distill_data.teachers.lowering import embed_body, is_embed, is_raw
from distill_data.teachers.profiles import find_profile

from .loopback import serve

TEXT = 'What is tea? "messages": 茶'
EMBED = Request([{"role": "user", "content": TEXT}], kind="embed")


def reply(**changed: Any) -> bytes:
    told = {"object": "list", "model": "e", "data": [{"object": "embedding", "index": 0, "embedding": [0.5, -1, 0]}]}
    return orjson.dumps({**told, "usage": {"prompt_tokens": 7, "total_tokens": 7}, **changed})


async def ask_echo(text: str) -> Answer:
    profile = find_profile("echo", {})
    teacher = open_teacher(profile, await resolve(profile, frozenset({"embed"})))
    request = EMBED._replace(messages=[{"role": "user", "content": text}])
    return read_answer((await teacher.send(canonical(teacher.lower(request)))).body)


def test_a_text_goes_to_its_own_path_as_one_input() -> None:
    async def run() -> tuple[Any, str, Answer]:
        async with serve(lambda seen: web.Response(body=reply())) as server:
            profile = find_profile("openai/embed-x", {}, base_url=server.url)
            teacher = open_teacher(profile, await resolve(profile, frozenset({"embed"})))
            try:
                sent = await teacher.send(canonical(teacher.lower(EMBED)))
            finally:
                await teacher.aclose()
            return server.seen[0].json, server.seen[0].path, read_answer(sent.body)

    body, path, answer = asyncio.run(run())
    assert body == {"model": "embed-x", "input": [TEXT], "encoding_format": "float"}
    assert path == "/v1/embeddings"
    assert answer == Answer("", "", "stop", "e", 7, 0, embedding=(0.5, -1.0, 0.0))


def test_bodies_are_told_apart_whatever_their_texts_say() -> None:
    body = canonical(embed_body("e", EMBED))
    assert is_embed(body) and not is_raw(body)
    assert not is_embed(canonical({"messages": [{"role": "user", "content": '"encoding_format":'}]}))
    assert not is_embed(canonical({"prompt": '"encoding_format":'}))


def test_only_the_extra_body_has_a_meaning() -> None:
    more = EMBED._replace(sampling={"extra_body": {"dimensions": 256}, "top_p": None})
    assert embed_body("e", more)["dimensions"] == 256
    for sampling, words in (
        ({"temperature": 0.5}, "nothing to sample; drop temperature"),
        ({"extra_body": {"encoding_format": "base64"}}, "lists of numbers"),
        ({"extra_body": {"input": "a"}}, "comes from the row"),
    ):
        with pytest.raises(UsageError, match=words):
            embed_body("e", EMBED._replace(sampling=sampling))


def test_what_it_may_cost_is_the_text_alone() -> None:
    body = canonical(embed_body("e", EMBED))
    assert estimate(body, EMBED) == (len(body) // 3 + 1, 0)


@pytest.mark.parametrize("usage", [{"prompt_tokens": 7}, {"total_tokens": 7}, {"prompt_tokens": 7, "total_tokens": 9}])
def test_tokens_are_those_of_the_prompt_or_the_total_where_nothing_else_is_told(usage: Mapping[str, int]) -> None:
    assert read_answer(reply(usage=usage)).prompt_tokens == 7


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"data": []}, "bad-shape"),
        ({"data": [3]}, "bad-shape"),
        ({"data": [{"index": 1, "embedding": [9]}, {"index": 0, "embedding": [1]}]}, "bad-shape"),
        ({"data": [{"embedding": []}]}, "bad-shape"),
        ({"data": [{"embedding": "AACAPw=="}]}, "bad-shape"),
        ({"data": [{"embedding": [1, None]}]}, "bad-shape"),
        ({"data": [{"embedding": [1, True]}]}, "bad-shape"),
        ({"data": None}, "no-choices"),
        ({"error": {"message": "busy"}}, "error-body"),
    ],
)
def test_what_is_no_embedding_has_a_reason(changed: Mapping[str, Any], reason: str) -> None:
    with pytest.raises(BadReply) as refusal:
        read_answer(reply(**changed))
    assert refusal.value.reason == reason


def test_a_number_that_no_float_can_hold_is_no_embedding() -> None:
    """The reader of odd escapes gives whole numbers of any size."""
    body = b'{"odd": "\\ud800", "data": [{"embedding": [1, %s]}]}'
    assert read_answer(body % b"2").embedding == (1.0, 2.0)
    for number in (b"1" + b"0" * 400, b"-1" + b"0" * 400, b"1e400"):
        with pytest.raises(BadReply, match="finite numbers"):
            read_answer(body % number)


@given(text=st.text(st.characters(codec=None), max_size=40))
def test_echo_gives_every_text_the_same_vector_again(text: str) -> None:
    text = text.encode("utf-8", "ignore").decode()
    first, second = asyncio.run(ask_echo(text)), asyncio.run(ask_echo(text))
    assert first == second and len(first.embedding) == 64
    assert first.completion_tokens == 0

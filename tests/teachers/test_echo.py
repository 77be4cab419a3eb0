"""The teacher that answers with the prompt."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from distill_data.data.exchange import Answer, Request
from distill_data.errors import UsageError
from distill_data.teachers import open_teacher, read_answer, resolve
from distill_data.teachers.profiles import find_profile

PROFILE = find_profile("echo", {})


def ask(*contents: Any, choices: tuple[str, ...] = (), **sampling: Any) -> Answer:
    async def run() -> Answer:
        teacher = open_teacher(PROFILE, await resolve(PROFILE, frozenset({"choice", "json_schema"})))
        messages = [{"role": "user", "content": content} for content in contents]
        request = Request([{"role": "system", "content": "Be brief."}, *messages], sampling, choices=choices)
        reply = await teacher.send(orjson.dumps(teacher.lower(request)))
        assert reply.status == 200
        return read_answer(reply.body)

    return asyncio.run(run())


def test_it_says_the_last_user_message() -> None:
    answer = ask("first", "the last one", temperature=1, seed=3, max_tokens=1)
    assert answer == Answer("the last one", "", "stop", "echo", prompt_tokens=6, completion_tokens=3)
    assert answer == ask("first", "the last one", temperature=1, seed=3, max_tokens=1)


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("This is Negative, clearly.", "negative"),
        ("positively negative", "negative"),
        ("nothing of the kind", "positive"),
        ("negative before positive", "positive"),
        ("我觉得这是正面的评价", "正面"),
    ],
)
def test_of_choices_it_says_the_first_that_stands_in_the_text(text: str, choice: str) -> None:
    assert ask(text, choices=("positive", "negative", "正面")).text == choice


def test_parts_without_text_and_no_user_message() -> None:
    assert ask([{"type": "text", "text": "a"}, {"type": "image_url"}]).text == "a"
    assert ask().text == ""


def test_identity_and_other_kinds() -> None:
    resolved = asyncio.run(resolve(PROFILE, frozenset()))
    assert resolved.identity == {"engine": "echo"}
    with pytest.raises(UsageError, match="score"):
        open_teacher(PROFILE, resolved).lower(Request([], kind="score"))

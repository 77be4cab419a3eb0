"""The embedded teacher. What needs its engine and weights is marked `local`."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import orjson
import pytest

from distill_data.data.exchange import Reply, Request
from distill_data.errors import UsageError
from distill_data.teachers import Resolved, open_teacher, read_answer, resolve, weights
from distill_data.teachers.local import LocalTeacher
from distill_data.teachers.profiles import DEFAULT_TEACHER, find_profile
from distill_data.teachers.protocol import Capabilities

CAN = Capabilities(choice="grammar", json_schema=True, seed=True, logprobs=True)
IDENTITY = {"engine": "xllamacpp", "version": "1", "weights": "0" * 64}
HI = [{"role": "user", "content": "Hi"}]


def unloaded() -> LocalTeacher:
    """As a replay opens it: with neither engine nor weights."""
    teacher = open_teacher(find_profile(DEFAULT_TEACHER, {}), Resolved(IDENTITY, CAN))
    assert isinstance(teacher, LocalTeacher)
    return teacher


def installed(monkeypatch: pytest.MonkeyPatch, version: str | None) -> None:
    def lookup(package: str) -> str:
        if version is None:
            raise metadata.PackageNotFoundError(package)
        return version

    monkeypatch.setattr(metadata, "version", lookup)


def test_lowering_needs_nothing_and_always_sets_a_seed() -> None:
    teacher = unloaded()
    request = Request(HI, {"max_tokens": 5, "logprobs": True}, choices=("yes", "no"), sample=2)
    assert teacher.lower(request) == {
        "messages": HI,
        "max_tokens": 5,
        "logprobs": True,
        "grammar": 'root ::= "yes" | "no"',
        "seed": 2,
    }
    assert teacher.lower(Request(HI, {"seed": 40}, sample=2))["seed"] == 42
    assert teacher.lower(Request(HI, {"seed": 2**32 - 1}))["seed"] == 0  # the engine takes this one for "draw one"
    schema = {"type": "object"}
    assert teacher.lower(Request(HI, schema=schema))["response_format"]["json_schema"]["schema"] == schema


def test_a_missing_engine_and_missing_weights_say_what_to_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DISTILL_CACHE", str(tmp_path))
    installed(monkeypatch, None)
    with pytest.raises(UsageError, match=r"pip install '.\[local\]'"):
        asyncio.run(resolve(find_profile(DEFAULT_TEACHER, {}), frozenset()))
    installed(monkeypatch, "1")
    with pytest.raises(UsageError, match="distill-data models pull smollm2"):
        asyncio.run(resolve(find_profile(DEFAULT_TEACHER, {}), frozenset()))
    with pytest.raises(UsageError, match=r"no weights at .*gone\.gguf"):
        asyncio.run(resolve(find_profile(f"local/{tmp_path}/gone.gguf", {}), frozenset()))
    with pytest.raises(UsageError, match="no such model"):
        asyncio.run(resolve(find_profile("local/other", {}), frozenset()))


def test_sending_without_weights_is_the_same_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DISTILL_CACHE", str(tmp_path))
    installed(monkeypatch, "1")
    teacher = unloaded()
    with pytest.raises(UsageError, match="models pull"):
        asyncio.run(teacher.send(b"{}"))
    asyncio.run(teacher.aclose())


def test_identity_is_the_content_of_the_weights_and_not_their_path(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    installed(monkeypatch, "7")
    seen = []
    for name in ("a.gguf", "b.gguf"):
        (tmp_path / name).write_bytes(b"the same weights")
        resolved = asyncio.run(resolve(find_profile(f"local/{tmp_path}/{name}", {}), frozenset({"choice"})))
        assert resolved.capabilities == CAN
        seen.append(resolved.identity)
    assert seen[0] == seen[1]
    assert seen[0]["version"] == "7"
    assert str(tmp_path) not in str(seen)


def test_other_weights_than_the_run_s_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    installed(monkeypatch, "1")
    (tmp_path / "a.gguf").write_bytes(b"other weights")
    teacher = open_teacher(find_profile(f"local/{tmp_path}/a.gguf", {}), Resolved(IDENTITY, CAN))
    with pytest.raises(UsageError, match="other weights"):
        asyncio.run(teacher.send(b"{}"))
    asyncio.run(teacher.aclose())


# With the engine.


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[asyncio.Runner, LocalTeacher]]:
    with asyncio.Runner() as runner:
        profile = find_profile(f"local/{weights.locate('smollm2')}", {})
        teacher = open_teacher(profile, runner.run(resolve(profile, frozenset({"choice"}))))
        assert isinstance(teacher, LocalTeacher)
        yield runner, teacher
        runner.run(teacher.aclose())


Running = tuple[asyncio.Runner, LocalTeacher]


def ask(running: Running, *requests: Request) -> list[Reply]:
    runner, teacher = running

    async def run() -> list[Reply]:
        return await asyncio.gather(*(teacher.send(orjson.dumps(teacher.lower(request))) for request in requests))

    return runner.run(run())


def greedy(content: str, **more: Any) -> Request:
    return Request([{"role": "user", "content": content}], {"temperature": 0, "max_tokens": 40}, **more)


@pytest.mark.local
@pytest.mark.parametrize("choice", ['say "yes"\\no', "two\nlines", "正面", "tab\t\x01", "\u2028", " lead", "é😀"])
def test_the_engine_says_exactly_the_choice(running: Running, choice: str) -> None:
    (reply,) = ask(running, greedy("Hi", choices=(choice,)))
    assert read_answer(reply.body).text == choice


@pytest.mark.local
def test_it_labels(running: Running) -> None:
    texts = {"I love it, wonderful!": "positive", "Awful. It broke at once, I want my money back.": "negative"}
    prompt = "Classify the sentiment of the text as positive or negative.\n\nText: {}\n\nAnswer with one word."
    replies = ask(
        running, *(greedy(prompt.replace("{}", text), choices=("positive", "negative")) for text in [*texts] * 8)
    )
    assert [read_answer(reply.body).text for reply in replies] == [*texts.values()] * 8


@pytest.mark.local
def test_a_schema_is_followed(running: Running) -> None:
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 10}, "age": {"type": "integer", "maximum": 99}},
        "required": ["name", "age"],
        "additionalProperties": False,
    }
    (reply,) = ask(running, greedy("Ann is 5. Give the name and age as JSON.", schema=schema))
    assert set(json.loads(read_answer(reply.body).text)) == {"name", "age"}


@pytest.mark.local
def test_samples_differ_and_repeat(running: Running) -> None:
    story = [{"role": "user", "content": "Begin a story."}]
    texts = [
        read_answer(ask(running, Request(story, {"temperature": 1.0, "max_tokens": 20}, sample=sample))[0].body).text
        for sample in (0, 0, 1)
    ]
    assert texts[0] == texts[1] != texts[2]


@pytest.mark.local
def test_the_stored_body_holds_nothing_of_this_machine_or_moment(running: Running) -> None:
    first, second = (ask(running, greedy("Hi"))[0] for _ in range(2))
    assert first.body == second.body
    body = orjson.loads(first.body)
    assert set(body) == {"object", "choices", "usage", "model"}
    assert body["model"] == weights.WEIGHTS["smollm2"].file
    assert set(body["usage"]) == {"prompt_tokens", "completion_tokens", "total_tokens"}
    assert b"/" not in orjson.dumps(body["model"])


@pytest.mark.local
def test_logprobs_are_read(running: Running) -> None:
    (reply,) = ask(running, Request(HI, {"max_tokens": 2, "logprobs": True, "top_logprobs": 2}))
    assert len(read_answer(reply.body).logprobs["content"][0]["top_logprobs"]) == 2


@pytest.mark.local
@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (greedy("x " * 5000), "exceed_context_size_error"),
        (greedy("x", schema={"type": "nonsense"}), "nonsense"),
        (Request([{"content": "no role"}]), "role"),
        (Request(HI, {"temperature": "hot"}), "temperature"),
    ],
)
def test_what_the_engine_refuses_is_a_reply_with_its_status(running: Running, request_: Request, said: str) -> None:
    (reply,) = ask(running, request_)
    assert reply.status == 400
    assert said.encode() in reply.body


@pytest.mark.local
def test_the_loop_goes_on_while_the_engine_works(running: Running) -> None:
    runner, teacher = running
    ask(running, greedy("Hi"))

    async def run() -> float:
        slowest = 0.0
        work = asyncio.gather(*(teacher.send(orjson.dumps(teacher.lower(greedy(f"Count to {n}.")))) for n in range(8)))
        while not work.done():
            start = time.monotonic()
            await asyncio.sleep(0.005)
            slowest = max(slowest, time.monotonic() - start)
        return slowest

    assert runner.run(run()) < 0.3


@pytest.mark.local
def test_a_file_that_is_no_model_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "bad.gguf").write_bytes(b"GGUF and nothing more")
    profile = find_profile(f"local/{tmp_path}/bad.gguf", {})

    async def run() -> None:
        teacher = open_teacher(profile, await resolve(profile, frozenset()))
        try:
            await teacher.send(orjson.dumps({"messages": HI}))
        finally:
            await teacher.aclose()

    with pytest.raises(UsageError, match="cannot load"):
        asyncio.run(run())


@pytest.mark.local
def test_raw_text_is_completed_and_stops_where_it_is_told(running: Running) -> None:
    header = [{"role": "user", "content": "<|im_start|>system\nYou help.<|im_end|>\n<|im_start|>user\n"}]
    sampling = {"temperature": 1, "max_tokens": 40, "stop": ["\n", "<|im_end|>"]}
    first, again = (ask(running, Request(header, sampling, "complete"))[0] for _ in range(2))
    said = read_answer(first.body)
    assert first == again
    assert said.text
    assert "\n" not in said.text
    assert said.finish in ("stop", "length")

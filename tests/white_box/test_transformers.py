"""The backend as the engine uses it: resolve, lower, and many sends at the same time."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import orjson
import pytest

from distill_data.data.exchange import Reply, Request
from distill_data.errors import UsageError
from distill_data.teachers import Resolved, bound_concurrency, choosing, forward, open_teacher, resolve, scoring
from distill_data.teachers import transformers as backend
from distill_data.teachers.protocol import Capabilities, Profile, Teacher
from tests.white_box.tiny import make_tiny

pytestmark = [pytest.mark.white_box]

ASK = [{"role": "user", "content": "What is the capital of France?"}]
TOPK = {"of": "topk", "k": 4, "temperature": 1.0, "truncate": False, "max_length": 0}
HIDDEN = {"of": "hidden", "layers": [-1], "pool": "mean", "dtype": "float32", "truncate": False, "max_length": 0}


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    name = f"transformers/{make_tiny(tmp_path_factory.mktemp('models') / 'tiny')}"
    return Profile(name=name, model=name)


def teacher_with(layers: int = 2) -> Teacher:
    profile = Profile(name="transformers/tiny", model="transformers/tiny")
    return open_teacher(profile, Resolved({"engine": "transformers"}, Capabilities(layers=layers)))


def score(text: str, feature: dict[str, Any] = TOPK) -> Request:
    return Request(ASK, kind="score", completion=({"role": "assistant", "content": text},), feature=feature)


def run(profile: Profile, *requests: Request) -> list[Reply]:
    async def ask() -> list[Reply]:
        resolved = await resolve(profile, frozenset())
        teacher = open_teacher(profile, resolved)
        try:
            return await asyncio.gather(*(teacher.send(orjson.dumps(teacher.lower(each))) for each in requests))
        finally:
            await teacher.aclose()

    return asyncio.run(ask())


def test_what_is_resolved_says_all_that_a_plan_needs(profile: Profile) -> None:
    resolved = asyncio.run(resolve(profile, frozenset({"score"})))
    can = resolved.capabilities
    assert (can.scoring, can.layers, can.seed, can.logprobs, can.json_schema) == ("local", 2, True, True, True)
    assert can.choice == "grammar" and not can.vision and can.tokenizer is not None
    assert Resolved.from_json(orjson.loads(orjson.dumps(resolved.to_json()))) == resolved
    assert asyncio.run(resolve(profile, frozenset())).capabilities.tokenizer is None
    assert bound_concurrency(Profile(profile.name, profile.model, concurrency=1000), resolved) == backend.SLOTS


def test_many_kinds_at_once_are_each_answered(profile: Profile) -> None:
    texts = [f"Paris, said {number} of {number * 7} people." for number in range(12)]
    requests = [
        *(score(text) for text in texts),
        *(score(text, HIDDEN) for text in texts[:3]),
        Request(ASK, sampling={"max_tokens": 5, "temperature": 0}),
        Request(ASK, choices=("yes", "no")),
        Request([{"role": "user", "content": "The quick"}], sampling={"max_tokens": 3}, kind="complete"),
        Request([{"role": "user", "content": "one " * 600}], sampling={"max_tokens": 5}),
    ]
    replies = run(profile, *requests)
    assert [reply.status for reply in replies] == [200] * 18 + [400]
    bodies = [orjson.loads(reply.body) for reply in replies]
    for body, reply in zip(bodies[:12], replies, strict=False):
        assert body["feature"]["of"] == "topk" and len(reply.blob) > 0
    assert bodies[16]["choices"][0]["message"]["content"] in ("yes", "no")
    assert "text" in bodies[17]["choices"][0]


def test_a_batch_gives_what_each_row_alone_gives(profile: Profile) -> None:
    from distill_data.data.arrays import decode, topk_of

    requests = [score("word " * number) for number in (1, 40, 7, 90, 3)]
    together, alone = run(profile, *requests), [run(profile, request)[0] for request in requests]
    for one, other in zip(together, alone, strict=True):
        found, expected = (
            topk_of(decode(orjson.loads(each.body)["feature"]["arrays"], each.blob)) for each in (one, other)
        )
        assert (found.tokens == expected.tokens).all()
        assert abs(found.chosen - expected.chosen).max() <= 1e-3


def test_a_batch_that_runs_out_of_memory_is_halved(profile: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    run_all, sizes = scoring.run, []

    def narrow(loaded: Any, rows: Any, proceed: Any) -> list[Reply]:
        sizes.append(len(rows))
        if len(rows) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return run_all(loaded, rows, proceed)

    monkeypatch.setattr(scoring, "run", narrow)
    replies = run(profile, *(score("yes") for _ in range(8)))
    assert [reply.status for reply in replies] == [200] * 8 and max(sizes) > 2
    monkeypatch.setattr(scoring, "run", lambda *given: (_ for _ in ()).throw(MemoryError()))
    (reply,) = run(profile, score("yes"))
    assert reply.status == 400 and b"does not fit into the memory" in reply.body


@pytest.mark.parametrize(
    "request_",
    [
        Request(ASK, sampling={"max_tokens": 450, "temperature": 30}),
        Request(ASK, choices=tuple(f"{number} legs" for number in range(99))),
        score("legs " * 90),
    ],
)
def test_closing_ends_what_is_under_way(profile: Profile, monkeypatch: pytest.MonkeyPatch, request_: Request) -> None:
    """Each of these takes more than nine seconds where it is not ended."""
    from torch.nn.modules.module import register_module_forward_hook

    begun = threading.Event()

    def linger(module: Any, given: Any, made: Any) -> None:
        if getattr(module, "out_features", 0) == 400:  # the head
            begun.set()
            time.sleep(0.1)

    async def ask() -> float:
        teacher = open_teacher(profile, await resolve(profile, frozenset()))
        asked = asyncio.ensure_future(teacher.send(orjson.dumps(teacher.lower(request_))))
        await asyncio.to_thread(begun.wait, 20)
        started = time.monotonic()
        await teacher.aclose()
        with pytest.raises(asyncio.CancelledError):
            await asked
        return time.monotonic() - started

    monkeypatch.setattr(forward, "SLICE", 400)
    monkeypatch.setattr(choosing, "TOKENS", 1)
    hook = register_module_forward_hook(linger)
    try:
        assert asyncio.run(ask()) < 3
    finally:
        hook.remove()


def test_messages_that_the_template_refuses_are_told_apart_from_errors(tmp_path: Path) -> None:
    folder = make_tiny(tmp_path / "picky", layers=1)
    (folder / "chat_template.jinja").write_text("{{ raise_exception('no system role') }}")
    name = f"transformers/{folder}"
    replies = run(Profile(name=name, model=name), score("Paris"), Request(ASK))
    assert [reply.status for reply in replies] == [200, 400]
    assert orjson.loads(replies[0].body)["feature"]["tokens"] == 0
    assert all(b"no system role" in reply.body for reply in replies)


def test_another_model_than_the_resolved_one_is_not_asked(profile: Profile) -> None:
    async def ask() -> None:
        resolved = await resolve(profile, frozenset())
        other = Resolved({**resolved.identity, "weights": "0" * 64}, resolved.capabilities)
        teacher = open_teacher(profile, other)
        await asyncio.gather(*(teacher.send(orjson.dumps(teacher.lower(score("yes")))) for _ in range(3)))

    with pytest.raises(UsageError, match="another model"):
        asyncio.run(ask())


def test_a_model_that_cannot_be_loaded_is_tried_once(profile: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[Profile] = []

    def fail(profile: Profile, head: str) -> None:
        tried.append(profile)
        raise UsageError("its weights lack 3 tensors")

    async def ask() -> list[Any]:
        teacher = open_teacher(profile, await resolve(profile, frozenset()))
        sends = (teacher.send(orjson.dumps(teacher.lower(score("yes")))) for _ in range(3))
        return await asyncio.gather(*sends, return_exceptions=True)

    monkeypatch.setattr(backend, "load", fail)
    assert [type(each) for each in asyncio.run(ask())] == [UsageError] * 3
    assert len(tried) == 1


def test_bodies_say_everything_that_decides_the_answer() -> None:
    teacher = teacher_with()
    chat = Request(ASK, {"temperature": 0.5, "seed": 7, "top_p": None}, schema={"type": "object"}, sample=2)
    assert teacher.lower(chat) == {"messages": ASK, "temperature": 0.5, "seed": 9, "schema": {"type": "object"}}
    assert teacher.lower(Request(ASK, choices=("a", "b"))) == {"messages": ASK, "seed": 0, "choices": ["a", "b"]}
    raw = Request([{"role": "user", "content": "Once"}], {"max_tokens": 9}, kind="complete", sample=1)
    assert teacher.lower(raw) == {"prompt": "Once", "max_tokens": 9, "seed": 1}
    body = teacher.lower(score("Paris"))
    assert body == {"messages": ASK, "completion": [{"role": "assistant", "content": "Paris"}], "feature": TOPK}


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (Request(ASK, {"temprature": 1}), "'temprature' is not known"),
        (Request(ASK, {"extra_body": {"guided_regex": "x"}}), "'guided_regex' is not known"),
        (Request(ASK, {"n": 3}), "--samples"),
        (Request(ASK, {"temperature": "hot"}), "temperature must be"),
        (Request(ASK, {"seed": -1}), "seed must be"),
        (Request(ASK, {"temperature": 1}, kind="embed"), "embedded as the model does it; drop temperature"),
        (Request(ASK, kind="guess"), "kind 'guess'"),  # type: ignore[arg-type]
        (Request([{"role": "user", "content": [{"type": "image_url"}]}]), "not known to see"),
        (Request(ASK, kind="score", feature=TOPK), "to be scored is missing"),
        (score("x", {}), "no feature None"),
        (score("x", {**TOPK, "of": "gradients"}), "no feature 'gradients'"),
        (score("x", {**TOPK, "k": 0}), "k must be"),
        (score("x", {**TOPK, "temperature": 0}), "temperature must be"),
        (score("x", {**TOPK, "depth": 3}), "no setting 'depth'"),
        (score("x", {**HIDDEN, "layers": [3]}), "no layer 3; this model has the layers 0 to 2"),
        (score("x", {**HIDDEN, "layers": [-4]}), "no layer -4"),
        (score("x", {**HIDDEN, "layers": []}), "layers must be"),
        (score("x", {**HIDDEN, "of": "attention", "pool": "mean"}), "heads must be"),
        (score("x")._replace(sampling={"temperature": 1}), "nothing to sample"),
    ],
)
def test_what_cannot_be_honoured_is_refused_before_anything_is_sent(request_: Request, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        teacher_with().lower(request_)


def test_parts_that_are_no_mappings_show_nothing() -> None:
    parts = [{"role": "user", "content": ["Hi", None, {"type": "text", "text": "there"}]}]
    assert teacher_with().lower(Request(parts))["messages"] == parts


def test_layers_count_from_both_ends() -> None:
    teacher = teacher_with()
    for layer in (0, 2, -1, -3):
        teacher.lower(score("x", {**HIDDEN, "layers": [layer]}))
    attention = {
        "of": "attention",
        "heads": "all",
        "layers": [0],
        "dtype": "float16",
        "truncate": True,
        "max_length": 0,
    }
    with pytest.raises(UsageError, match="the layers 1 to 2"):
        teacher.lower(score("x", attention))

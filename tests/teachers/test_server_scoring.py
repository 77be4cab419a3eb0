"""Given texts scored by servers: two formats, one result; chat rows; what is refused, rejected and asked again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import orjson
import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_data.data.arrays import decode, topk_of
from distill_data.data.exchange import Lost, Reply, Request
from distill_data.data.fingerprints import PROBE, matches, probe_digest
from distill_data.engine.retry import judge
from distill_data.errors import UsageError
from distill_data.teachers import BadReply, ProbeFailed, Resolved, open_teacher, read_answer, resolve
from distill_data.teachers import openai as backend
from distill_data.teachers.openai import OpenAITeacher
from distill_data.teachers.profiles import find_profile
from distill_data.teachers.protocol import Capabilities, Profile
from distill_data.teachers.server_scoring import Prompts, score
from tests import scoring_server as toy

from .loopback import Handler, Seen, Server, answering, completion, serve

KEY = "sk-loopback/0123456789"
SCORE = frozenset({"score"})
K = 5
TOPK = {"of": "topk", "k": K, "temperature": 1.0, "truncate": False, "max_length": 0}
TEXT = "Tea is 茶, and 3 cups 🍵 do."
X = [{"role": "user", "content": "What is tea?"}]
Y = ({"role": "assistant", "content": "A drink.\n"},)
Change = Callable[[str, dict[str, Any]], Any]


def raw(text: str = TEXT, **feature: Any) -> Request:
    return Request([], kind="score", completion=({"content": text},), feature={**TOPK, **feature})


def chat(*completion: dict[str, Any], **feature: Any) -> Request:
    return Request(X, kind="score", completion=completion or Y, feature={**TOPK, **feature})


def toy_handler(able: toy.Settings, change: Change = lambda path, body: body) -> Handler:
    def handle(seen: Seen) -> web.Response:
        status, body = toy.answer(seen.path, seen.json, able)
        return web.json_response(change(seen.path, body) if status == 200 else body, status=status)

    return handle


def talk(
    handler: Handler, script: Callable[[OpenAITeacher, Server], Awaitable[Any]], scoring: str, **settings: Any
) -> Any:
    """Run a script against a teacher at a loopback server, resolved as this way of scoring."""

    async def run() -> Any:
        async with serve(handler) as server:
            profile = find_profile("openai/toy", {}, base_url=server.url, **settings)
            resolved = await resolve(profile, frozenset())
            able = replace(resolved.capabilities, scoring=scoring)  # type: ignore[arg-type]
            teacher = open_teacher(profile, Resolved(resolved.identity, able))
            assert isinstance(teacher, OpenAITeacher)
            try:
                return await script(teacher, server)
            finally:
                await teacher.aclose()

    return asyncio.run(run())


def send(request: Request, ways: str = "prompt_logprobs", change: Change | None = None, **able: Any) -> Reply:
    """The reply of the toy to a request, its bodies changed."""

    async def script(teacher: OpenAITeacher, server: Server) -> Reply:
        return await teacher.send(orjson.dumps(teacher.lower(request)))

    handler = toy_handler(toy.Settings(ways, **able), change or (lambda path, body: body))
    reply = talk(handler, script, ways)
    assert isinstance(reply, Reply)
    return reply


def feature_of(reply: Reply) -> Mapping[str, Any]:
    assert reply.status == 200
    found = read_answer(reply.body).feature
    assert found is not None
    return found


def complaint(reply: Reply) -> str:
    """Why a success will be asked again."""
    assert (reply.status, reply.blob) == (200, b"")
    with pytest.raises(BadReply) as failure:
        read_answer(reply.body)
    return str(failure.value)


def expected(ids: list[int], start: int, end: int) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays straight from the toy's distributions, by plain loops."""
    rows = [toy.distribution(ids, at) for at in range(start, end)]
    best = [sorted(range(toy.VOCAB_SIZE), key=lambda number: (-row[number], number))[:K] for row in rows]
    return {
        "tokens": np.array(ids[start:end]),
        "chosen": np.array([row[ids[start + at]] for at, row in enumerate(rows)]),
        "ids": np.array(best),
        "logprobs": np.array([row[numbers] for row, numbers in zip(rows, best, strict=True)]),
        "tail": np.array([1 - np.exp(row[numbers]).sum() for row, numbers in zip(rows, best, strict=True)]),
    }


def assert_scores(reply: Reply, ids: list[int], start: int, end: int) -> None:
    feature, right = feature_of(reply), expected(ids, start, end)
    arrays = decode(feature["arrays"], reply.blob)
    assert {name: (array.dtype.name, array.shape) for name, array in arrays.items()} == {
        "tokens": ("int32", (end - start,)),
        "chosen": ("uint16", (end - start,)),
        "ids": ("int32", (end - start, K)),
        "logprobs": ("uint16", (end - start, K)),
        "tail": ("float16", (end - start,)),
    }
    found = topk_of(arrays)
    assert found.tokens.tolist() == right["tokens"].tolist()
    assert found.ids.tolist() == right["ids"].tolist()
    np.testing.assert_allclose(found.chosen, right["chosen"], atol=1 / 4000)
    np.testing.assert_allclose(found.logprobs, right["logprobs"], atol=1 / 4000)
    np.testing.assert_allclose(found.tail, right["tail"], atol=1e-3)
    assert (feature["tokens"], feature["truncated"]) == (end - start, False)
    assert feature["tail"] == pytest.approx(right["tail"].sum())


# -- what comes of a text ----------------------------------------------------------------------------------------------


def test_both_ways_give_the_same_record() -> None:
    one, other = send(raw(), "prompt_logprobs"), send(raw(), "echo")
    ids = toy.encode(TEXT)
    assert_scores(one, ids, 1, len(ids))
    assert one.blob == other.blob
    assert one.body == other.body
    assert orjson.loads(one.body)["usage"] == {"prompt_tokens": len(ids), "completion_tokens": 1}


def test_the_text_s_own_token_is_often_none_of_the_k() -> None:
    """Else nothing here would show that an entry too many is left out."""
    ids = toy.encode(TEXT)
    sizes = {len(table) for table in toy.prompt_logprobs(ids, K)[1:] if table is not None}
    assert sizes == {K, K + 1}


@pytest.mark.parametrize("ways", ["prompt_logprobs", "echo"])
def test_a_token_that_the_tokenizer_puts_first_is_context(ways: str) -> None:
    ids = [toy.BOS, *toy.encode(TEXT)]
    assert_scores(send(raw(), ways, bos=True), ids, 1, len(ids))


def test_what_goes_over_the_wire() -> None:
    async def script(teacher: OpenAITeacher, server: Server) -> Any:
        lowered = teacher.lower(raw())
        await teacher.send(orjson.dumps(lowered))
        return lowered, [(seen.path, seen.json) for seen in server.seen]

    common = {"model": "toy", "prompt": TEXT, "max_tokens": 1, "temperature": 1.0}
    lowered, seen = talk(toy_handler(toy.Settings()), script, "prompt_logprobs")
    assert lowered == {"model": "toy", "prompt": TEXT, "feature": TOPK}
    assert seen == [("/v1/completions", {**common, "prompt_logprobs": K, "return_token_ids": True})]
    lowered, seen = talk(toy_handler(toy.Settings("echo")), script, "echo")
    wish = {"echo": True, "logprobs": K, "return_tokens_as_token_ids": True}
    assert seen == [("/v1/completions", {**common, **wish})]


def test_a_server_that_leaves_the_text_s_own_token_out_of_the_table_gives_the_same() -> None:
    def drop(path: str, body: dict[str, Any]) -> Any:
        told = body["choices"][0]["logprobs"]
        for name, table in zip(told["tokens"], told["top_logprobs"], strict=True):
            if table is not None and len(table) > K:
                del table[name]
        return body

    assert send(raw(), "echo", drop).blob == send(raw(), "echo").blob


# -- prompt and completion ---------------------------------------------------------------------------------------------


def spans() -> tuple[list[int], int, int]:
    whole = toy.encode(toy.render([*X, *Y], False))
    return whole, len(toy.encode(toy.render(X, True))), len(whole) - 1


def test_a_chat_row_is_scored_from_after_the_generation_prompt_to_the_end_of_the_turn() -> None:
    async def script(teacher: OpenAITeacher, server: Server) -> Any:
        lowered = teacher.lower(chat())
        reply = await teacher.send(orjson.dumps(lowered))
        return lowered, reply, [(seen.path, seen.json) for seen in server.seen]

    lowered, reply, seen = talk(toy_handler(toy.Settings()), script, "prompt_logprobs")
    ids, start, end = spans()
    assert ids[start:] == [*toy.encode("A drink.\n"), toy.IM_END, *toy.encode("\n")]
    assert_scores(reply, ids, start, end)
    assert lowered == {"model": "toy", "messages": X, "completion": list(Y), "feature": TOPK}
    assert [path for path, _ in seen] == ["/v1/chat/completions"] * 2
    assert [body["add_generation_prompt"] for _, body in seen] == [True, False]
    assert [body["messages"] for _, body in seen] == [X, [*X, *Y]]
    assert [body.get("prompt_logprobs") for _, body in seen] == [None, K]
    usage = orjson.loads(reply.body)["usage"]
    assert usage == {"prompt_tokens": start + len(ids), "completion_tokens": 2}, "both posts are paid for"


@pytest.mark.parametrize(
    ("after", "dropped"), [("<|im_end|>\n", 1), ("<|im_end|>", 0), ("<|im_end|>\n \n", 3), ("\n", 0), ("", 0)]
)
def test_only_white_space_after_the_end_of_the_turn_is_left_out(
    after: str, dropped: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def render(messages: list[dict[str, Any]], add_generation_prompt: bool) -> str:
        return f"<s>{messages[0]['content']}<|im_start|>" + ("".join(one["content"] + after for one in messages[1:]))

    monkeypatch.setattr(toy, "render", render)
    ids = toy.encode(render([*X, *Y], False))
    start = len(toy.encode(render(X, True)))
    assert_scores(send(chat()), ids, start, len(ids) - dropped)


def test_a_template_that_does_not_begin_with_the_prompt_is_unaligned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toy, "render", lambda messages, add: f"{len(messages)}{messages[-1]['content']}")
    reply = send(chat())
    assert feature_of(reply)["rejected"] == "unaligned"
    assert reply.blob == b""


def test_the_newer_token_limit_is_used_where_it_is_declared() -> None:
    async def script(teacher: OpenAITeacher, server: Server) -> Any:
        newer = replace(teacher._capabilities, max_tokens_field="max_completion_tokens")
        await score(teacher.post_for_scores, newer, orjson.dumps(teacher.lower(chat())), Prompts())
        return [set(seen.json) & {"max_tokens", "max_completion_tokens"} for seen in server.seen]

    assert talk(toy_handler(toy.Settings()), script, "prompt_logprobs") == [{"max_completion_tokens"}] * 2


# -- rows that cannot be scored ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens.",
        "The decoder prompt (length 5000) is longer than the maximum model length of 4096.",
        "The input (5000 tokens) is longer than the model's context length (4096 tokens).",
        "the request exceeds the available context size",
    ],
)
def test_the_words_of_servers_for_too_long_are_known(words: str) -> None:
    async def post(path: str, fields: Mapping[str, Any]) -> Reply:
        return Reply(400, {}, orjson.dumps({"error": {"message": words, "code": 400}}))

    body = orjson.dumps({"model": "toy", "prompt": TEXT, "feature": TOPK})
    feature = feature_of(asyncio.run(score(post, Capabilities(scoring="echo"), body, Prompts())))
    assert (feature["rejected"], feature["detail"]) == ("too-long", words)


@pytest.mark.parametrize(
    ("request_", "able", "reason"),
    [
        (raw(""), {}, "empty-completion"),
        (raw("T"), {}, "empty-completion"),
        (chat({"role": "assistant", "content": ""}), {}, "empty-completion"),
        (raw(), {"context": 10}, "too-long"),
        (chat(), {"context": 40}, "too-long"),
        (raw(max_length=10), {}, "too-long"),
        (chat(max_length=10), {}, "too-long"),
        (chat(max_length=len(spans()[0]) - 1), {}, "too-long"),
    ],
)
def test_a_row_that_cannot_be_scored_is_an_answer_without_arrays(
    request_: Request, able: dict[str, Any], reason: str
) -> None:
    reply = send(request_, **able)
    feature = feature_of(reply)
    assert (feature["of"], feature["tokens"], feature["rejected"], reply.blob) == ("topk", 0, reason, b"")
    assert feature["detail"]
    if "context" in able:
        assert "maximum context length" in feature["detail"]


def test_a_prompt_that_is_too_long_by_itself_is_not_asked_about_again() -> None:
    async def script(teacher: OpenAITeacher, server: Server) -> Any:
        reply = await teacher.send(orjson.dumps(teacher.lower(chat(max_length=10))))
        return feature_of(reply)["rejected"], len(server.seen)

    assert talk(toy_handler(toy.Settings()), script, "prompt_logprobs") == ("too-long", 1)


def test_a_length_that_is_just_allowed_is_scored() -> None:
    assert feature_of(send(raw(max_length=len(toy.encode(TEXT)))))["tokens"] == len(toy.encode(TEXT)) - 1


@pytest.mark.parametrize("request_", [raw(k=30), chat(k=30)])
def test_a_server_s_cap_on_k_is_the_user_s_to_settle(request_: Request) -> None:
    with pytest.raises(UsageError, match=r"k = 30.*greater than max allowed: 20.*--set k=N"):
        send(request_, most=20)


def test_another_try_and_another_y_do_not_buy_x_again() -> None:
    """What x took is told once, by the first reply that can."""
    refused = [0]

    def handle(seen: Seen) -> web.Response:
        status, body = toy.answer(seen.path, seen.json, toy.Settings())
        if seen.json.get("prompt_logprobs") is not None and refused[0] < 2:
            refused[0] += 1
            return web.json_response({"error": {"message": "slow down"}}, status=429)
        return web.json_response(body, status=status)

    async def script(teacher: OpenAITeacher, server: Server) -> Any:
        body, other = (
            orjson.dumps(teacher.lower(asked)) for asked in (chat(), chat({"role": "assistant", "content": "No."}))
        )
        replies = [await teacher.send(body) for _ in range(3)]
        replies += await asyncio.gather(teacher.send(other), teacher.send(body))
        return replies, [seen.json.get("prompt_logprobs") for seen in server.seen]

    replies, asked = talk(handle, script, "prompt_logprobs")
    assert [reply.status for reply in replies] == [429, 429, 200, 200, 200]
    assert asked.count(None) == 1, "x was asked for once"
    x = len(toy.encode(toy.render(X, True)))
    usage = [orjson.loads(reply.body)["usage"]["prompt_tokens"] for reply in replies[2:]]
    whole = [len(toy.encode(toy.render([*X, y], False))) for y in (Y[0], {"role": "assistant", "content": "No."}, Y[0])]
    assert usage == [whole[0] + x, whole[1], whole[2]]


def test_equal_prompts_at_once_are_asked_for_once() -> None:
    async def script(teacher: OpenAITeacher, server: Server) -> Any:
        bodies = [orjson.dumps(teacher.lower(chat({"role": "assistant", "content": f"{n}"}))) for n in range(5)]
        await asyncio.gather(*map(teacher.send, bodies))
        return [seen.json.get("prompt_logprobs") for seen in server.seen]

    assert talk(toy_handler(toy.Settings()), script, "prompt_logprobs").count(None) == 1


@pytest.mark.parametrize("refuse_at", [1, 2])
def test_a_refusal_of_either_post_is_the_reply(refuse_at: int) -> None:
    async def script(teacher: OpenAITeacher, server: Server) -> Any:
        return await teacher.send(orjson.dumps(teacher.lower(chat()))), len(server.seen)

    posts = 0

    def handle(seen: Seen) -> web.Response:
        nonlocal posts
        posts += 1
        if posts == refuse_at:
            return web.json_response({"error": {"message": "slow down"}}, status=429, headers={"Retry-After": "7"})
        return web.json_response(toy.answer(seen.path, seen.json, toy.Settings())[1])

    reply, asked = talk(handle, script, "prompt_logprobs")
    assert (reply.status, reply.headers["retry-after"], asked) == (429, "7", refuse_at)
    assert judge(reply).floor == 7


# -- what no server can do, said before anything is sent ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "scoring", "words"),
    [
        (raw(of="hidden"), "prompt_logprobs", "'hidden'"),
        (raw(of="sampled"), "echo", "'sampled'"),
        (raw(of="attention"), "echo", "'attention'"),
        (raw(temperature=2.0), "prompt_logprobs", "temperature 1.0 only"),
        (raw(truncate=True), "prompt_logprobs", "without truncate"),
        (chat(), "echo", "raw text only"),
        (raw(), "none", "not known to score"),
        (Request([], kind="score", completion=({"content": ["x"]},), feature=TOPK), "echo", "not list"),
        (
            Request([{"role": "user", "content": [{"type": "image_url"}]}], kind="score", completion=Y, feature=TOPK),
            "prompt_logprobs",
            "not known to see",
        ),
    ],
)
def test_what_cannot_be_had_is_refused(request_: Request, scoring: Any, words: str) -> None:
    teacher = OpenAITeacher(
        Profile("me", "openai/toy"), Resolved({"base_url": "http://x/v1"}, Capabilities(scoring=scoring))
    )
    with pytest.raises(UsageError) as failure:
        teacher.lower(request_)
    assert str(failure.value).startswith("me: ")
    assert words in str(failure.value)


def test_no_other_body_can_be_taken_for_one_that_asks_for_scores() -> None:
    teacher = OpenAITeacher(Profile("me", "openai/toy"), Resolved({"base_url": "http://x/v1"}, Capabilities()))
    with pytest.raises(UsageError, match="'feature' cannot be set"):
        teacher.lower(Request(X, {"extra_body": {"feature": {}}}))


# -- what servers get wrong --------------------------------------------------------------------------------------------


def choice_of(body: dict[str, Any]) -> dict[str, Any]:
    found = body["choices"][0]
    assert isinstance(found, dict)
    return found


def at_three(value: Any) -> Change:
    """The table of token 3, or what `value` makes of it."""

    def change(path: str, body: dict[str, Any]) -> Any:
        tables = choice_of(body)["prompt_logprobs"]
        tables[3] = value(tables[3]) if callable(value) else value
        return body

    return change


def with_logprob(logprob: Any) -> Change:
    return at_three(lambda table: {key: {**entry, "logprob": logprob} for key, entry in table.items()})


def edited(name: str, edit: Callable[[Any], Any]) -> Change:
    """A field of the choice, or of its logprobs, as `edit` makes it."""

    def change(path: str, body: dict[str, Any]) -> Any:
        choice = choice_of(body)
        holder = choice if name in choice else choice["logprobs"]
        holder[name] = edit(holder[name])
        return body

    return change


def without(*names: str) -> Change:
    def change(path: str, body: dict[str, Any]) -> Any:
        for name in names:
            choice_of(body).pop(name, None)
        return body

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without("prompt_logprobs"), "no prompt_logprobs"),
        (without("prompt_token_ids"), "no prompt_token_ids"),
        (edited("prompt_logprobs", lambda tables: tables[:-1]), "and prompt_token_ids of"),
        (edited("prompt_logprobs", lambda tables: [*tables, None]), "and prompt_token_ids of"),
        (edited("prompt_token_ids", lambda ids: []), "no prompt_token_ids"),
        (edited("prompt_token_ids", lambda ids: [True, *ids[1:]]), "are not token ids"),
        (edited("prompt_token_ids", lambda ids: [-1, *ids[1:]]), "are not token ids"),
        (edited("prompt_token_ids", lambda ids: [2**31, *ids[1:]]), "are not token ids"),
        (at_three(lambda table: {**table, "2147483648": {"logprob": -9.0}}), "not named by its id"),
        (at_three(None), "token 3 is no table"),
        (at_three({"1": None}), "token 3 is no table"),
        (at_three({}), "token itself"),
        (at_three(lambda table: dict(list(table.items())[:2])), "2 tokens, and 5 were asked for"),
        (at_three(lambda table: {**table, "300": {"logprob": -9.0}, "301": {"logprob": -9.0}}), "5 were asked for"),
        (at_three(lambda table: {**table, "x1": {"logprob": -9.0}}), "not named by its id"),
        (at_three(lambda table: {"0" + key: value for key, value in table.items()}), "not named by its id"),
        (with_logprob(None), "no finite number"),
        (with_logprob("-1"), "no finite number"),
        (with_logprob(True), "no finite number"),
        (with_logprob(-1e300), "no finite number"),
        (with_logprob(0.5), "no log-probabilities"),
        (with_logprob(-0.1), "no log-probabilities"),
        (lambda path, body: {**body, "choices": []}, "no prompt_logprobs"),
        (lambda path, body: [body], "not an object"),
        (lambda path, body: float("-inf"), "not JSON"),
        (lambda path, body: {"error": {"message": "upstream failed"}}, "upstream failed"),
    ],
)
def test_scores_that_cannot_be_used_are_asked_again_with_the_reason(change: Change, words: str) -> None:
    assert words in complaint(send(raw(), change=change))


def test_a_log_probability_a_rounding_above_zero_is_zero() -> None:
    def certain(table: dict[str, Any]) -> dict[str, Any]:
        values = iter([1e-6])
        return {key: {"logprob": next(values, -9999.0)} for key in table}

    reply = send(raw(), change=at_three(certain))
    found = topk_of(decode(feature_of(reply)["arrays"], reply.blob))
    assert found.chosen[2] == 0
    assert found.ids[2, 0] == found.tokens[2]
    assert found.ids[2, 1:].tolist() == [-1] * (K - 1), "what a server calls impossible is no entry"
    assert found.tail[2] == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without("logprobs"), "no logprobs"),
        (edited("tokens", lambda tokens: tokens[:-1]), "not equally long"),
        (edited("tokens", lambda tokens: [token.removeprefix("token_id:") for token in tokens]), "not named by its id"),
        (edited("top_logprobs", lambda tables: [None, {"97": -1.0}, *tables[2:]]), "spelled as token_id:N"),
        (edited("top_logprobs", lambda tables: None), "lack one of"),
        (lambda path, body: {**body, "usage": None}, "counts None tokens"),
        (lambda path, body: {**body, "usage": {"prompt_tokens": 10**6}}, "counts 1000000 tokens"),
    ],
)
def test_an_echo_that_cannot_be_used_is_asked_again(change: Change, words: str) -> None:
    assert words in complaint(send(raw(), "echo", change))


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
NEARLY = st.dictionaries(
    st.sampled_from(["97", "097", "1e3", "٣", "99999999999", "token_id:97", "token_id:", *map(str, range(6))]),
    st.fixed_dictionaries({"logprob": JSON | st.floats(-9, 0.1)}, optional={"decoded_token": JSON})
    | st.floats(-9, 0.1),
    min_size=4,
    max_size=7,
)
"""Tables for the text's third token, the `a`, whose id is 97."""
FIELDS = (
    "prompt_logprobs",
    "prompt_token_ids",
    "logprobs",
    "tokens",
    "token_logprobs",
    "top_logprobs",
    "usage",
    "choices",
)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(["prompt_logprobs", "echo"]), st.sampled_from(FIELDS), JSON | NEARLY, st.booleans(), st.booleans()
)
def test_any_json_in_place_of_any_field_gives_a_reply(
    ways: Any, field: str, value: Any, inside: bool, as_chat: bool
) -> None:
    """Either arrays, or a reason; no exception of any kind."""

    async def post(path: str, fields: Mapping[str, Any]) -> Reply:
        body = toy.answer(path, fields, toy.Settings(ways))[1]
        holders = [body, body["choices"][0], body["choices"][0].get("logprobs") or {}]
        for holder in [holder for holder in holders if field in holder]:
            if inside and isinstance(holder[field], list) and len(holder[field]) > 2:
                holder[field][2] = value
            else:
                holder[field] = value
        return Reply(200, {}, orjson.dumps(body))

    chosen = chat() if as_chat and ways == "prompt_logprobs" else raw()
    parts = {"messages": chosen.messages, "completion": chosen.completion} if chosen.messages else {"prompt": TEXT}
    body = orjson.dumps({"model": "toy", **parts, "feature": TOPK})
    reply = asyncio.run(score(post, Capabilities(scoring=ways), body, Prompts()))
    assert reply.status == 200
    if reply.blob:
        feature = feature_of(reply)
        assert topk_of(decode(feature["arrays"], reply.blob)).ids.shape == (feature["tokens"], K)
    else:
        said = orjson.loads(reply.body)
        assert said.get("error") or said["feature"]["rejected"]


def test_any_bytes_give_a_reply() -> None:
    async def post(path: str, fields: Mapping[str, Any]) -> Reply:
        return Reply(200, {}, b'{"choices": [\xff')

    body = orjson.dumps({"model": "toy", "prompt": TEXT, "feature": TOPK})
    assert "not JSON" in complaint(asyncio.run(score(post, Capabilities(scoring="echo"), body, Prompts())))


def test_scores_have_a_cap_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "BODY_CAP", 1000)
    assert feature_of(send(raw()))["tokens"]
    monkeypatch.setattr(backend, "SCORE_CAP", 1000)
    with pytest.raises(Lost, match="longer than 1000 bytes"):
        send(raw())


# -- finding out -------------------------------------------------------------------------------------------------------


def probe(handler: Handler, **capabilities: Any) -> tuple[Resolved, list[Seen]]:
    async def run() -> tuple[Resolved, list[Seen]]:
        async with serve(handler) as server:
            profile = find_profile("openai/org/toy", {}, base_url=server.url)
            return await resolve(replace(profile, capabilities=capabilities), SCORE), server.seen

    return asyncio.run(run())


PRINT = {"name": "org/toy", "vocab_size": 0, "template": "", "probe": probe_digest(toy.encode(PROBE))}


@pytest.mark.parametrize(("ways", "posts"), [("prompt_logprobs", 1), ("echo", 2)])
def test_the_way_and_the_fingerprint_are_found_out(ways: str, posts: int) -> None:
    resolved, seen = probe(toy_handler(toy.Settings(ways, bos=True)))
    assert resolved.capabilities == Capabilities(scoring=ways, tokenizer=PRINT)  # type: ignore[arg-type]
    assert len(seen) == posts
    assert all(one.json["prompt"] == PROBE and one.json["max_tokens"] == 1 for one in seen)
    local = {"name": "elsewhere", "vocab_size": toy.VOCAB_SIZE, "template": "f" * 16, "probe": PRINT["probe"]}
    assert matches(PRINT, local) == "same"


def test_a_declared_way_is_asked_only_for_the_fingerprint() -> None:
    resolved, seen = probe(toy_handler(toy.Settings("echo")), scoring="echo")
    assert resolved.capabilities == Capabilities(scoring="echo", tokenizer=PRINT)
    assert [one.json.get("echo") for one in seen] == [True]


def test_what_is_known_is_not_asked_again() -> None:
    resolved, seen = probe(answering(), scoring="echo", tokenizer=PRINT)
    assert (resolved.capabilities.scoring, resolved.capabilities.tokenizer, seen) == ("echo", PRINT, [])


def test_a_declared_none_is_believed() -> None:
    with pytest.raises(UsageError, match='scoring = "none"'):
        probe(toy_handler(toy.Settings()), scoring="none")


def by_text(path: str, body: dict[str, Any]) -> Any:
    """Tokens by their text, as servers have it that do not know ids in this format."""
    told = choice_of(body).get("logprobs")
    if told:
        told["tokens"] = [toy.say(int(token.removeprefix("token_id:"))) for token in told["tokens"]]
    return body


@pytest.mark.parametrize(
    ("handler", "words"),
    [
        (toy_handler(toy.Settings("none")), ["no prompt_logprobs", "no logprobs"]),
        (toy_handler(toy.Settings(), without("prompt_token_ids")), ["no prompt_token_ids", "no logprobs"]),
        (toy_handler(toy.Settings("echo"), by_text), ["not named by its id"]),
        (lambda seen: web.json_response({"detail": "Not Found"}, status=404), ["it said 404 Not Found"]),
        (
            lambda seen: web.json_response({"error": {"message": "unknown field\x1b[31m"}}, status=400),
            ["it said 400 unknown field [31m"],
        ),
    ],
)
def test_a_server_with_neither_is_refused_before_row_one(handler: Handler, words: list[str]) -> None:
    with pytest.raises(UsageError) as failure:
        probe(handler)
    said = str(failure.value)
    assert all(part in said for part in ["openai/org/toy: this server cannot score", "vLLM", "transformers/", *words])


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
def test_any_other_status_decides_nothing(status: int) -> None:
    with pytest.raises(ProbeFailed) as failure:
        probe(lambda seen: web.json_response({"error": {"message": "x"}}, status=status))
    assert isinstance(failure.value.result, Reply)
    assert failure.value.result.status == status


@pytest.mark.parametrize(
    "handler",
    [
        lambda seen: web.json_response({"error": {"message": "The model `toy` does not exist."}}, status=404),
        lambda seen: web.Response(text="<html>Sign in</html>", content_type="text/html"),
        lambda seen: web.json_response({"error": {"message": "upstream failed"}}),
    ],
)
def test_a_missing_model_and_what_is_no_completion_decide_nothing(handler: Handler) -> None:
    with pytest.raises(ProbeFailed):
        probe(handler)


def test_no_reply_decides_nothing() -> None:
    with pytest.raises(ProbeFailed) as failure:
        asyncio.run(resolve(find_profile("openai/m", {}, base_url="http://127.0.0.1:1/v1"), SCORE))
    assert isinstance(failure.value.result, Lost)


def test_a_chat_server_without_scores_is_told_from_its_answer() -> None:
    with pytest.raises(UsageError, match="no prompt_logprobs"):
        probe(lambda seen: web.json_response(completion("hello")))


# -- secrets and the server as a process -------------------------------------------------------------------------------


def test_a_key_that_the_server_says_back_is_in_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)

    def gossip(seen: Seen) -> web.Response:
        return web.json_response(
            {"error": {"message": f"no such field for {seen.headers['authorization']}"}}, status=400
        )

    with pytest.raises(UsageError) as failure:
        probe(gossip)
    assert KEY not in str(failure.value)
    assert "[redacted]" in str(failure.value)

    async def script(teacher: OpenAITeacher, server: Server) -> Reply:
        return await teacher.send(orjson.dumps(teacher.lower(raw())))

    def too_long(seen: Seen) -> web.Response:
        words = f"maximum context length, said {seen.headers['authorization']}"
        return web.json_response({"error": {"message": words}}, status=400)

    for handler in (gossip, too_long):
        assert KEY.encode() not in talk(handler, script, "prompt_logprobs").body


def test_the_server_is_a_process_with_a_ledger() -> None:
    async def script(url: str) -> Reply:
        profile = find_profile("openai/toy", {}, base_url=url)
        teacher = open_teacher(profile, await resolve(profile, SCORE))
        try:
            return await teacher.send(orjson.dumps(teacher.lower(raw("row-7: " + TEXT))))
        finally:
            await teacher.aclose()

    with toy.serve("prompt_logprobs") as server:
        reply = asyncio.run(script(server.url))
        lines = server.ledger()
    ids = toy.encode("row-7: " + TEXT)
    assert_scores(reply, ids, 1, len(ids))
    assert [(line["n"], line["row"], line["status"]) for line in lines] == [(0, "", 200), (1, "row-7", 200)]

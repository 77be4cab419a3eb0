"""`ask`: one key is one purchase, whoever asks, and whatever becomes of those who do."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_data.data.exchange import Answer, Reply, Request
from distill_data.data.items import canonical
from distill_data.engine.ask import (
    Call,
    Miss,
    Parked,
    Parking,
    Seat,
    Tally,
    estimate,
    make_ask,
    make_park,
    make_refuse,
    request_key,
)
from distill_data.engine.journal import Journal
from distill_data.engine.limiter import Limiter
from distill_data.errors import AnswerFailed, DamageError, MissingAnswer
from distill_data.teachers.prices import Price

PRICE = Price(1.0, 2.0)
ONE, TWO = "0000000000000001", "0000000000000002"


@dataclasses.dataclass
class Plain:
    """A teacher whose body says everything that a request does, but for the sample."""

    identity: Mapping[str, str]

    def lower(self, request: Request) -> dict[str, Any]:
        body = request._asdict()
        del body["sample"]
        return body

    async def send(self, body: bytes) -> Reply:
        raise AssertionError("a policy of these tests never sends")

    async def aclose(self) -> None: ...


def seat(identity: str = "here", price: Price | None = PRICE) -> Seat:
    return Seat(identity, Plain({"url": identity}), Limiter(8), price)


def request(text: str = "Hi?", sample: int = 0, **sampling: Any) -> Request:
    return Request([{"role": "user", "content": text}], sampling, sample=sample)


def completion(text: str) -> bytes:
    return orjson.dumps({"choices": [{"message": {"content": text}, "finish_reason": "stop"}]})


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = Journal(tmp_path / "journal")
    made.prepare()
    yield made
    made.close()


class Shop:
    """A policy that sells answers when it is told to, and keeps them in a journal."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.calls: list[Call] = []
        self.open = asyncio.Event()
        self.error: BaseException | None = None

    async def sell(self, call: Call) -> Answer:
        self.calls.append(call)
        await self.open.wait()
        if self.error is not None:
            raise self.error
        text = f"answer {len(self.calls)}"
        await self.journal.commit(call.key, call.owner, (0, 0, 0), completion(text))
        return Answer(text, "", "stop", "", 0, 0)


async def later(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def make(journal: Journal, miss: Miss, **options: Any) -> tuple[Callable[[str], Any], Tally]:
    tally = Tally()
    return make_ask({"teacher": seat(), "student": seat("there")}, journal, (), miss, tally, **options), tally


def test_an_answer_is_bought_once_and_then_read(journal: Journal) -> None:
    async def main() -> None:
        shop = Shop(journal)
        shop.open.set()
        ask_for, tally = make(journal, shop.sell)
        first = await ask_for(ONE)(request(max_tokens=7))
        again = await ask_for(TWO)(request(max_tokens=7))
        assert first.text == again.text == "answer 1"
        assert tally.reused == 1
        [call] = shop.calls
        assert (call.owner, call.role, call.seat.name, call.completion_tokens) == (ONE, "teacher", "here", 7)
        assert call.prompt_tokens == len(call.body) // 3 + 1
        assert call.key == request_key(canonical({"url": "here"}), call.body, 0)
        await ask_for(ONE)(request(max_tokens=7), "student")
        await ask_for(ONE)(request(max_tokens=7, sample=1))
        assert len(shop.calls) == 3

    asyncio.run(main())


def test_equal_requests_in_flight_share_one_purchase(journal: Journal) -> None:
    async def main() -> None:
        shop = Shop(journal)
        ask_for, tally = make(journal, shop.sell)
        asking = [asyncio.ensure_future(ask_for(f"{n:016x}")(request())) for n in range(10)]
        await later()
        shop.open.set()
        assert {answer.text for answer in await asyncio.gather(*asking)} == {"answer 1"}
        assert len(shop.calls) == 1
        assert tally.reused == 0

    asyncio.run(main())


@pytest.mark.parametrize("error", [AnswerFailed("bad-request", "no"), Parked(), MissingAnswer("none")])
def test_equal_requests_in_flight_share_the_failure_and_the_next_one_tries_anew(
    journal: Journal, error: BaseException
) -> None:
    async def main() -> None:
        shop = Shop(journal)
        shop.error = error
        ask_for, _ = make(journal, shop.sell)
        asking = [asyncio.ensure_future(ask_for(ONE)(request())) for _ in range(3)]
        await later()
        shop.open.set()
        assert await asyncio.gather(*asking, return_exceptions=True) == [error] * 3
        shop.error = None
        assert (await ask_for(ONE)(request())).text == "answer 2"

    asyncio.run(main())


def test_one_who_waits_can_go_without_the_others(journal: Journal) -> None:
    async def main() -> None:
        shop = Shop(journal)
        ask_for, _ = make(journal, shop.sell)
        first, second, third = (asyncio.ensure_future(ask_for(ONE)(request())) for _ in range(3))
        await later()
        second.cancel()
        await later()
        assert second.cancelled()
        shop.open.set()
        assert (await first).text == (await third).text == "answer 1"
        assert len(shop.calls) == 1

    asyncio.run(main())


def test_where_the_buyer_goes_the_next_in_line_buys_for_the_rest(journal: Journal) -> None:
    """The cancellation is the first asker's own: it must not end the items of the others."""

    async def main() -> None:
        shop = Shop(journal)
        ask_for, _ = make(journal, shop.sell)
        first, *others = (asyncio.ensure_future(ask_for(f"{n:016x}")(request())) for n in (1, 2, 3))
        await later()
        first.cancel()
        await later()
        assert first.cancelled()
        shop.open.set()
        assert [answer.text for answer in await asyncio.gather(*others)] == ["answer 2"] * 2
        assert [call.owner for call in shop.calls] == [f"{n:016x}" for n in (1, 2)]

    asyncio.run(main())


def test_a_run_that_is_cancelled_buys_nothing_more(journal: Journal) -> None:
    async def main() -> None:
        shop = Shop(journal)
        ask_for, _ = make(journal, shop.sell)
        asking = [asyncio.ensure_future(ask_for(ONE)(request())) for _ in range(4)]
        await later()
        for each in asking:
            each.cancel()
        await asyncio.wait(asking)
        assert all(each.cancelled() for each in asking)
        assert len(shop.calls) == 1

    asyncio.run(main())


# What a key says

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
REQUESTS = st.builds(
    Request,
    messages=st.lists(
        st.fixed_dictionaries({"role": st.sampled_from(["user", "system"]), "content": JSON}), max_size=2
    ),
    sampling=st.dictionaries(st.sampled_from(["temperature", "stop", "seed"]), JSON, max_size=2),
    kind=st.sampled_from(["chat", "complete", "score"]),
    choices=st.lists(st.text(max_size=2), max_size=2).map(tuple),
    schema=st.none() | st.dictionaries(st.text(max_size=2), JSON, max_size=1),
    sample=st.integers(0, 12),
    completion=st.lists(st.fixed_dictionaries({"role": st.just("assistant"), "content": JSON}), max_size=2).map(tuple),
    feature=st.none() | st.dictionaries(st.sampled_from(["of", "k"]), JSON, max_size=2),
)
IDENTITIES = st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2)


def key_of(identity: Mapping[str, str], asked: Request) -> str:
    return request_key(canonical(identity), canonical(Plain(identity).lower(asked)), asked.sample)


def reversed_keys(value: Any) -> Any:
    """The same JSON with every object's members in another order."""
    if isinstance(value, dict):
        return {key: reversed_keys(value[key]) for key in reversed(value)}
    return [reversed_keys(each) for each in value] if isinstance(value, list | tuple) else value


def tokens(value: Any) -> str:
    """JSON with `1`, `1.0` and `true` apart, which are equal in Python."""
    return canonical(value).decode()


@given(one=st.tuples(IDENTITIES, REQUESTS), other=st.tuples(IDENTITIES, REQUESTS))
def test_keys_are_equal_where_identity_request_and_sample_are(
    one: tuple[dict[str, str], Request], other: tuple[dict[str, str], Request]
) -> None:
    equal = tokens([one[0], one[1]._asdict()]) == tokens([other[0], other[1]._asdict()])
    assert (key_of(*one) == key_of(*other)) is equal


@given(identity=IDENTITIES, asked=REQUESTS, field=st.sampled_from(Request._fields), other=REQUESTS)
def test_a_key_changes_with_each_field_and_with_nothing_else(
    identity: dict[str, str], asked: Request, field: str, other: Request
) -> None:
    value = getattr(other, field)
    changed = asked._replace(**{field: value})
    same = tokens(getattr(asked, field)) == tokens(value)
    assert (key_of(identity, asked) == key_of(identity, changed)) is same
    turned = asked._replace(messages=reversed_keys(asked.messages), sampling=reversed_keys(asked.sampling))
    assert key_of(reversed_keys(identity), turned) == key_of(identity, asked)


@settings(max_examples=30, deadline=None)
@given(identity=IDENTITIES, asked=REQUESTS)
def test_a_key_is_the_same_whatever_the_seat_the_role_and_the_owner(identity: dict[str, str], asked: Request) -> None:
    keys = []

    async def note(call: Call) -> Answer:
        keys.append(call.key)
        return Answer("", "", "stop", "", 0, 0)

    class Empty:
        def find(self, key: str) -> None: ...

    for name, role, owner in (("a", "teacher", ONE), ("b", "student", TWO)):
        seats = {role: Seat(name, Plain(identity), Limiter(3, rpm=9.0), (1.0, 1.0))}
        ask = make_ask(seats, Empty(), (), note, Tally())(owner)  # type: ignore[arg-type]
        asyncio.run(ask(asked, role))
    assert keys == [key_of(identity, asked)] * 2


def test_a_key_is_what_it_always_was() -> None:
    """Another encoding would make every run on disk worthless."""
    expected = "b2a8c766502cbd2be47ed42bebd63c47"
    assert request_key(b'{"url":"u"}', b'{"model":"m"}', 3)[:32] == expected


# Shelves and policies


def test_other_runs_are_read_after_the_own_one_and_only_the_own_ones_answers_are_watched(
    journal: Journal, tmp_path: Path
) -> None:
    async def main() -> None:
        shop = Shop(journal)
        shop.open.set()
        ask_for, _ = make(journal, shop.sell)
        await ask_for(ONE)(request("a"))
        empty = Journal(tmp_path / "other")
        tally = Tally()
        ask_for = make_ask({"teacher": seat()}, empty, [empty, journal], make_refuse([empty]), tally, watch=True)
        assert (await ask_for(TWO)(request("a"))).text == "answer 1"
        assert (tally.reused, dict(tally.used)) == (1, {})
        ask_for, tally = make(journal, shop.sell, watch=True)
        for _ in range(2):
            await ask_for(TWO)(request("a"))
        assert dict(tally.used) == {ONE: 2}
        empty.close()

    asyncio.run(main())


def test_an_answer_on_disk_that_cannot_be_read_is_damage(journal: Journal) -> None:
    async def main() -> None:
        body = canonical(Plain({}).lower(request()))
        await journal.commit(request_key(canonical({"url": "here"}), body, 0), ONE, (0, 0, 0), b"[]")
        ask_for, _ = make(journal, make_refuse([journal]))
        with pytest.raises(DamageError, match="cannot be read"):
            await ask_for(ONE)(request())

    asyncio.run(main())


def test_parking_counts_each_request_once(journal: Journal) -> None:
    async def main() -> None:
        parking = Parking()
        ask_for, _ = make(journal, make_park(parking))
        for owner, text in ((ONE, "a"), (TWO, "a"), (ONE, "a"), (TWO, "bb")):
            with pytest.raises(Parked):
                await ask_for(owner)(request(text, max_tokens=100))
        bodies = [canonical(Plain({}).lower(request(text, max_tokens=100))) for text in ("a", "bb")]
        prompts = sum(len(body) // 3 + 1 for body in bodies)
        assert len(parking.keys) == 2
        assert parking.owners == {ONE, TWO}
        assert (parking.prompt_tokens, parking.completion_tokens) == (prompts, 200)
        assert parking.cost == pytest.approx((prompts * 1.0 + 200 * 2.0) / 1e6)
        assert parking.first_body == bodies[0]

    asyncio.run(main())


def test_a_replay_repeats_recorded_failures_and_misses_loudly(journal: Journal) -> None:
    async def main() -> None:
        body = canonical(Plain({}).lower(request("refused")))
        key = request_key(canonical({"url": "here"}), body, 0)
        await journal.commit_failure(key, ONE, "bad-request", "too long \u2028")
        ask_for, _ = make(journal, make_refuse([journal]))
        with pytest.raises(AnswerFailed) as caught:
            await ask_for(TWO)(request("refused"))
        assert (caught.value.reason, caught.value.detail) == ("bad-request", "too long \u2028")
        with pytest.raises(MissingAnswer, match=f"item {TWO} .* to student"):
            await ask_for(TWO)(request("refused"), "student")

    asyncio.run(main())


def test_a_failure_on_disk_is_no_answer_where_sending_is_on(journal: Journal) -> None:
    async def main() -> None:
        shop = Shop(journal)
        shop.open.set()
        ask_for, _ = make(journal, shop.sell)
        key = request_key(canonical({"url": "here"}), canonical(Plain({}).lower(request())), 0)
        await journal.commit_failure(key, ONE, "bad-request", "")
        assert (await ask_for(ONE)(request())).text == "answer 1"

    asyncio.run(main())


@pytest.mark.parametrize(("sampling", "tokens"), [({"max_tokens": 9}, 9), ({}, 0), ({"max_tokens": None}, 0)])
def test_estimates_go_by_the_body_and_the_limit(sampling: dict[str, Any], tokens: int) -> None:
    assert estimate(b"x" * 30, Request([], sampling)) == (11, tokens)


def test_the_estimate_of_scores_has_x_twice() -> None:
    asked = Request([{"role": "user", "content": "x" * 300}], kind="score", completion=({"content": "y"},))
    assert estimate(b"b" * 330, asked) == ((330 + len(canonical(asked.messages))) // 3 + 2, 2)

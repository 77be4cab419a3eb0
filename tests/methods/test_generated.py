"""`generated`: which log-probabilities of a reply are taken, what becomes of tokens without ids, what is dropped."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from distill_data.commands.check_arrays import check_arrays
from distill_data.data.arrays import logprobs_of, spellings_of, topk_of
from distill_data.data.exchange import Answer, Request
from distill_data.data.items import Item, Outcome
from distill_data.errors import AnswerFailed, UsageError
from distill_data.formats import COLUMNS
from distill_data.methods.generated import Spoken, read_logprobs
from tests.methods.knowing import TOKENIZER, Array, items_of, open_method, open_recipe, stored
from tests.methods.scripted import outcome_of

[ITEM] = items_of({"prompt": "Name a colour."})
NO_LOGPROBS, UNALIGNED, EMPTY = "no-logprobs", "unaligned", "empty-completion"


def entry(token: str, probability: float, top: Mapping[str, float] | None = None, **more: Any) -> dict[str, Any]:
    """A token with what was likely at its place, as servers write it; without `top` the token alone."""
    likely = {token: probability} if top is None else top
    return {**named(token, probability, **more), "top_logprobs": [named(*pair, **more) for pair in likely.items()]}


def named(token: str, probability: float, numbers: Sequence[str] = (), spelt: bool = False) -> dict[str, Any]:
    """`numbers` are the tokens whose ids are told; `spelt` tells their bytes."""
    return {
        "token": token,
        "logprob": math.log(probability),
        **({"id": 200 + numbers.index(token)} if token in numbers else {}),
        **({"bytes": list(token.encode())} if spelt else {}),
    }


BLUE = [
    entry("Bl", 0.5, {"Bl": 0.5, "Re": 0.25}),
    entry("ue", 0.75, {"ue": 0.75, "ond": 0.125}),
]


def told(*content: Any, text: str = "Blue", **more: Any) -> Answer:
    return Answer(text, "", "stop", "toy-1", 7, len(content), logprobs={"content": list(content)})._replace(**more)


def read(answer: Answer, k: int = 2, vocab_size: int = 0) -> Spoken:
    found = read_logprobs(answer, k, vocab_size)
    assert isinstance(found, Spoken)
    return found


def spelt(found: Spoken) -> list[list[str]]:
    """The entries of each token as texts, most likely first."""
    words, likely = spellings_of(found.arrays), topk_of(found.arrays)
    assert words is not None
    return [[words[number].decode() for number in ids if number >= 0] for ids in likely.ids]


# -- one reply ---------------------------------------------------------------------------------------------------------


def test_tokens_without_ids_are_numbered_as_they_come() -> None:
    found = read(told(*BLUE))
    assert (found.tokens, found.numbered) == (2, False)
    assert spellings_of(found.arrays) == [b"Bl", b"ue", b"Re", b"ond"]
    assert found.arrays["tokens"].tolist() == [0, 1]
    assert spelt(found) == [["Bl", "Re"], ["ue", "ond"]]
    likely = topk_of(found.arrays)
    assert np.exp(likely.logprobs) == pytest.approx(np.array([[0.5, 0.25], [0.75, 0.125]]), rel=1e-3)
    assert np.exp(likely.chosen) == pytest.approx(np.array([0.5, 0.75]), rel=1e-3)
    assert likely.tail.tolist() == [0.25, 0.125]
    assert found.tail == 0.375
    assert found.arrays["ids"].dtype == np.uint16
    assert read(told(*BLUE), vocab_size=70_000).arrays["ids"].dtype == np.uint16


def test_ids_that_the_server_tells_are_the_models_own() -> None:
    numbers = ["Bl", "ue", "Re", "ond"]
    content = [
        entry("Bl", 0.5, {"Bl": 0.5, "Re": 0.25}, numbers=numbers),
        entry("ue", 0.125, {"ond": 0.8, "ue": 0.125}, numbers=numbers),
    ]
    found = read(told(*content), vocab_size=300)
    assert found.numbered and spellings_of(found.arrays) is None
    assert found.arrays["tokens"].tolist() == [200, 201]
    assert found.arrays["ids"].tolist() == [[200, 202], [203, 201]]
    assert found.arrays["ids"].dtype == np.uint16
    assert read(told(*content)).arrays["ids"].dtype == np.int32
    one_without = [content[0], entry("ue", 0.125, {"ond": 0.8, "ue": 0.125}, numbers=numbers[:-1])]
    assert spelt(read(told(*one_without))) == [["Bl", "Re"], ["ond", "ue"]]


@pytest.mark.parametrize("bad", [-1, 1 << 31, 1.0, "200", True, None])
def test_ids_that_are_none_are_not_taken(bad: Any) -> None:
    content = entry("Blue", 0.5, numbers=["Blue"])
    content["top_logprobs"][0]["id"] = bad
    assert read(told(content)).numbered is False


def test_bytes_spell_what_text_cannot() -> None:
    """A part of a character is a replacement character in the text of every server."""
    halves = [{"token": "\ufffd", "logprob": -1.5, "bytes": [byte]} for byte in "é".encode()]
    content = [{**half, "top_logprobs": halves} for half in halves]
    found = read(told(*content, text="é"))
    assert spellings_of(found.arrays) == [b"\xc3", b"\xa9"]
    assert read_logprobs(told(*[{**half, "bytes": None} for half in content], text="é"), 2, 0) == UNALIGNED


@pytest.mark.parametrize("text", ["\ufffd!", "\ufffd\ufffd!", "\ufffd\ufffd\ufffd!"])
def test_a_broken_character_may_be_written_as_any_number_of_marks(text: str) -> None:
    halves = [{"token": "\ufffd", "logprob": -1.5, "bytes": [byte]} for byte in b"\xff\x80"]
    content = [*({**half, "top_logprobs": halves} for half in halves), entry("!", 0.5, spelt=True)]
    assert read(told(*content, text=text)).tokens == 3
    assert read_logprobs(told(*content, text=text.replace("\ufffd", "")), 2, 0) == UNALIGNED


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        (["Bl", "ue", "<|im_end|>"], "Blue"),
        ([" Bl", "ue\n"], "Blue"),
        (["\n\n", "Blue", "<|im_end|>"], "Blue"),
        (["Bl", "ue"], " Blue\n"),
        (["Bl", "ue", "</s>"], "Blue</s>"),
    ],
)
def test_the_end_of_the_turn_and_white_space_may_be_told(tokens: list[str], text: str) -> None:
    assert read(told(*[entry(token, 0.5) for token in tokens], text=text)).tokens == len(tokens)


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        (["Bl", "ue", ".", "<|im_end|>"], "Blue"),
        (["<think>", "Sky?", "</think>", "Blue"], "Blue"),
        (["Bl"], "Blue"),
        (["B", "l", "u", "e", "."], "Blu"),
    ],
)
def test_tokens_that_do_not_spell_the_answer(tokens: list[str], text: str) -> None:
    assert read_logprobs(told(*[entry(token, 0.5) for token in tokens], text=text), 2, 0) == UNALIGNED


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in entry("Blue", 0.5).items() if key != name}


GOOD = entry("Blue", 0.5)


@pytest.mark.parametrize(
    "content",
    [
        None,
        [],
        {},
        "Blue",
        [None],
        [[]],
        [without("token")],
        [without("logprob")],
        [without("top_logprobs")],
        [{**GOOD, "top_logprobs": []}],
        [{**GOOD, "top_logprobs": {}}],
        [{**GOOD, "top_logprobs": [None]}],
        [{**GOOD, "top_logprobs": [{**GOOD, "logprob": None}]}],
        [{**GOOD, "token": 7}],
        [{**GOOD, "logprob": "-0.5"}],
        [{**GOOD, "logprob": math.nan}],
        [{**GOOD, "logprob": 0.5}],
        [{**GOOD, "logprob": math.inf}],
        [{**GOOD, "bytes": "Blue"}],
        [{**GOOD, "bytes": [66, 256]}],
        [{**GOOD, "bytes": [66.0]}],
        [GOOD, {**GOOD, "logprob": 0.5}],
    ],
)
def test_log_probabilities_that_are_none(content: Any) -> None:
    assert read_logprobs(told()._replace(logprobs={"content": content}), 2, 0) == NO_LOGPROBS


@pytest.mark.parametrize("logprobs", [None, [], {}, "x", 7, {"tokens": ["Blue"], "token_logprobs": [-0.5]}])
def test_log_probabilities_of_another_shape(logprobs: Any) -> None:
    assert read_logprobs(told()._replace(logprobs=logprobs), 2, 0) == NO_LOGPROBS


def test_more_mass_than_there_is_and_answers_of_nothing() -> None:
    crowded = {**GOOD, "top_logprobs": [named("Blue", 0.5), named("Red", 0.6)]}
    assert read_logprobs(told(crowded), 2, 0) == NO_LOGPROBS
    assert read_logprobs(told(entry("<|im_end|>", 0.9), text=""), 2, 0) == EMPTY


def test_a_token_is_as_likely_as_it_was_said_to_be() -> None:
    top = [named("Blue", 0.25), named("Red", 0.125)]
    found = topk_of(read(told({**GOOD, "top_logprobs": top})).arrays)
    assert np.exp(found.logprobs[0]) == pytest.approx([0.5, 0.125], rel=1e-3)
    assert found.tail.tolist() == [0.375]


def test_ids_beyond_the_vocabulary_are_not_taken() -> None:
    numbers = ["Blue"]
    assert read(told(entry("Blue", 0.5, numbers=numbers)), vocab_size=201).numbered is True
    assert read(told(entry("Blue", 0.5, numbers=numbers)), vocab_size=200).numbered is False


def test_numbers_at_the_ends() -> None:
    """A server's rounding above 0 is certainty, and what is as good as impossible is no entry."""
    content = {
        **GOOD,
        "logprob": 0.0005,
        "top_logprobs": [{**GOOD, "logprob": 0.0005}, {**named("no", 1), "logprob": -99}],
    }
    found = topk_of(read(told(content)).arrays)
    assert found.chosen.tolist() == [0.0]
    assert found.logprobs.tolist() == [[0.0, -math.inf]]
    assert found.ids.tolist() == [[0, -1]]
    assert found.tail.tolist() == [0.0]


def test_a_token_that_is_listed_twice_counts_once() -> None:
    top = [named("Blue", 0.5), named("Red", 0.25), named("Red", 0.125), named("Blue", 0.5)]
    found = read(told({**GOOD, "top_logprobs": top}), k=4)
    assert spelt(found) == [["Blue", "Red"]]
    assert np.exp(topk_of(found.arrays).logprobs[0][:2]) == pytest.approx([0.5, 0.25], rel=1e-3)
    assert found.tail == 0.25


def test_fewer_and_more_entries_than_were_asked_for() -> None:
    few = read(told(*BLUE, entry("!", 0.5), text="Blue!"), k=5)
    assert few.arrays["ids"].shape == (3, 5)
    assert [len(each) for each in spelt(few)] == [2, 2, 1]
    many = read(told(entry("Blue", 0.1, {"a": 0.125, "b": 0.5, "Blue": 0.1, "c": 0.25})), k=2)
    assert spelt(many) == [["b", "c"]]
    assert many.tail == 0.25


# -- records -----------------------------------------------------------------------------------------------------------


class Saying:
    """An `ask` over answers by role and sample."""

    def __init__(self, answers: Mapping[tuple[str, int], Answer]) -> None:
        self.answers, self.asked = answers, list[tuple[str, Request]]()

    async def __call__(self, request: Request, to: str = "teacher") -> Answer:
        self.asked.append((to, request))
        if (to, request.sample) not in self.answers:
            raise AnswerFailed("bad-request")
        return self.answers[to, request.sample]


def generated(answers: Mapping[tuple[str, int], Answer], item: Item = ITEM, **options: Any) -> Outcome:
    return outcome_of(open_method("generated", **options), item, Saying(answers))


def test_what_is_asked() -> None:
    ask = Saying({(role, sample): told(*BLUE) for role in ("teacher", "teacher-2") for sample in (0, 1)})
    [item] = items_of({"messages": [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Ho."}]})
    outcome_of(open_method("generated", teachers=2, samples=2, k=5, temperature=0.5), item, ask)
    assert [(to, request.sample) for to, request in ask.asked] == [
        ("teacher", 0), ("teacher-2", 0), ("teacher", 1), ("teacher-2", 1)
    ]  # fmt: skip
    [request] = {str(request._replace(sample=0)): request._replace(sample=0) for _, request in ask.asked}.values()
    sampling = {"temperature": 0.5, "max_tokens": 512, "logprobs": True, "top_logprobs": 5}
    assert request == Request([{"role": "user", "content": "Hi."}], sampling)


def test_a_record() -> None:
    [item] = items_of({"prompt": "Name a colour.", "id": "b" * 16})
    outcome = generated({("teacher", 0): told(*BLUE)}, item)
    [record], [arrays] = outcome.records, outcome.arrays
    assert list(record) == ["id", "kind", *COLUMNS["logits"], "meta"]
    assert record["kind"] == "logits"
    assert record["prompt"] == [{"role": "user", "content": "Name a colour."}]
    assert record["completion"] == [{"role": "assistant", "content": "Blue"}]
    assert record["features"] == {"file": "", "tokens": 2, "kind": "generated", "tail": 0.1875}
    details = json.loads(record["meta"].pop("details"))
    assert record["meta"] == {
        "method": "feature",
        "recipe": "generated",
        "recipe_digest": open_recipe("generated").digest[:16],
        "seed_id": item.id,
        "teacher": "toy/teacher",
        "model": "toy-1",
    }
    assert details == {
        "feature": {"of": "generated", "k": 20},
        "sampling": {"temperature": 1.0, "max_tokens": 512},
        "sample": 0,
        "finish": "stop",
        "prompt_tokens": 7,
        "completion_tokens": 2,
        "parent": "b" * 16,
    }
    assert stored(arrays)["logprobs"].shape == (2, 20)


def test_the_tokenizer_is_named_where_ids_are_its_own() -> None:
    content = entry("Blue", 0.5, numbers=["Blue"])
    assert generated({("teacher", 0): told(content)}).records[0]["features"]["tokenizer"] == TOKENIZER
    assert "tokenizer" not in generated({("teacher", 0): told(content)}, known=False).records[0]["features"]


def test_every_teacher_and_sample_is_a_record() -> None:
    said = {
        (role, sample): told(entry(f"{role} {sample}", 0.5), text=f"{role} {sample}")
        for role in ("teacher", "teacher-2")
        for sample in (0, 1)
    }
    outcome = generated(said, teachers=2, samples=2)
    texts = [record["completion"][0]["content"] for record in outcome.records]
    assert texts == ["teacher 0", "teacher-2 0", "teacher 1", "teacher-2 1"]
    assert [record["meta"]["teacher"] for record in outcome.records] == ["toy/teacher", "toy/teacher-2"] * 2
    assert len({record["id"] for record in outcome.records}) == 4
    assert [bytes(stored(arrays)["spellings"]).decode() for arrays in outcome.arrays] == texts
    assert outcome.dropped == {}


def test_samples_that_are_worth_nothing_are_dropped() -> None:
    said = [told(*BLUE, finish="length"), told(*BLUE), told(*BLUE, logprobs=None), told(*BLUE, text="Red")]
    outcome = generated({("teacher", sample): each for sample, each in enumerate(said)}, samples=4)
    assert outcome.status == "kept"
    assert [json.loads(record["meta"]["details"])["sample"] for record in outcome.records] == [1]
    assert len(outcome.arrays) == 1
    assert outcome.dropped == {"truncated": 1, NO_LOGPROBS: 1, UNALIGNED: 1}


@pytest.mark.parametrize(
    ("finish", "reason"),
    [
        ("length", "truncated"),
        ("content_filter", "content-filter"),
        ("refusal", "refusal"),
        ("tool_calls", "tool-calls"),
    ],
)
def test_an_answer_that_did_not_end_is_a_reject(finish: str, reason: str) -> None:
    outcome = generated({("teacher", 0): told(*BLUE, finish=finish)})
    assert (outcome.status, outcome.reason, outcome.answers) == ("rejected", reason, ("Blue",))


def test_a_refused_sample_passes_through_after_all_were_asked() -> None:
    ask = Saying({("teacher", 0): told(*BLUE)})
    with pytest.raises(AnswerFailed):
        outcome_of(open_method("generated", teachers=2, samples=2), ITEM, ask)
    assert len(ask.asked) == 4


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"k": 0}, "k=0: must be a whole number of at least 1"),
        ({"k": "20"}, "k"),
        ({"samples": 2, "temperature": 0}, "2 samples at temperature 0"),
    ],
)
def test_settings_that_cannot_be(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        open_method("generated", **options)


# -- any reply ---------------------------------------------------------------------------------------------------------

TOKENS = st.sampled_from(["a", "b", "", " ", "\n", "é", "🙂", "<|im_end|>"]) | st.text(max_size=3)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(1 << 63), 1 << 63)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TOKENS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TOKENS, inner, max_size=3),
    max_leaves=6,
)


@st.composite
def likely_tokens(draw: st.DrawFn, broken: bool = True) -> dict[str, Any]:
    """A token and what was likely at its place: parts of one, and now and then what is none where it may be broken."""
    tokens = draw(st.lists(TOKENS, min_size=1, max_size=5, unique=True))
    weights = draw(st.lists(st.floats(0, 1), min_size=len(tokens) + 1, max_size=len(tokens) + 1))
    spelt, numbers = draw(st.booleans()), draw(st.sampled_from([[], tokens]))
    parts = {token: max(weight / (sum(weights) or 1), 1e-20) for token, weight in zip(tokens, weights, strict=False)}
    made = entry(tokens[0], parts[tokens[0]], parts, numbers=numbers, spelt=spelt)
    made["top_logprobs"] = draw(st.permutations(made["top_logprobs"]))[: draw(st.integers(1, 5))]
    if broken and draw(st.integers(0, 9)) == 0:
        made[draw(st.sampled_from(sorted(made)))] = draw(JSON)
    return made


@settings(max_examples=150, deadline=None)
@given(
    st.one_of(JSON, JSON.map(lambda content: {"content": content}), st.lists(likely_tokens(), max_size=4)),
    st.integers(1, 6),
    st.none() | TOKENS,
)
def test_any_log_probabilities_give_arrays_with_nothing_wrong_or_a_reason(
    logprobs: Any, k: int, text: str | None
) -> None:
    content = logprobs if isinstance(logprobs, list) else []
    spelling = "".join(str(each.get("token")) for each in content if isinstance(each, dict)) if text is None else text
    sent = orjson.loads(orjson.dumps({"content": content} if content else logprobs))
    outcome = generated({("teacher", 0): told(text=spelling, logprobs=sent)}, k=k, known=False)
    if outcome.status == "rejected":
        assert outcome.reason in (NO_LOGPROBS, UNALIGNED, EMPTY)
        return
    [record], [arrays] = outcome.records, outcome.arrays
    assert record["features"]["tokens"] == len(content)
    assert list(check_arrays(stored(arrays), {"of": "generated", "k": k}, record)) == []


@settings(deadline=None)
@given(st.lists(likely_tokens(broken=False), min_size=1, max_size=4), st.sampled_from(["", "<|im_end|>"]))
def test_what_a_good_reply_holds_is_found_again(content: list[dict[str, Any]], end: str) -> None:
    """Or the test above might reject everything."""
    text = "".join(token["token"] for token in content)
    assume(text.strip())
    ending = [entry(end, 0.5)] if end else []
    found = read(told(*content, *ending, text=text), 5)
    assert found.tokens == len(content) + len(ending)
    own: Array = logprobs_of(found.arrays["chosen"])[: len(content)]
    assert own == pytest.approx([max(token["logprob"], -32) for token in content], abs=1e-3)
    most = [math.exp(max(each["logprob"] for each in token["top_logprobs"])) for token in content]
    assert np.exp(topk_of(found.arrays).logprobs[: len(content), 0]) == pytest.approx(most, abs=1e-3)

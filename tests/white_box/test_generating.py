"""Batches of chat and raw completions from a tiny model, against the plain generation of transformers."""

from __future__ import annotations

import copy
import dataclasses
import math
from pathlib import Path
from typing import Any

import orjson
import pytest

from distill_data.data.exchange import Reply
from distill_data.engine.retry import judge
from distill_data.teachers import forward
from distill_data.teachers.generating import Prepared, prepare, run
from distill_data.teachers.loading import Loaded
from distill_data.teachers.logprobs import make_spell
from distill_data.teachers.replies import read_answer
from distill_data.teachers.spans import encode_prompt, encode_text
from tests.white_box.answers import ask, ids_of, open_tiny, read, say, text_of
from tests.white_box.tiny import POSITIONS, make_model, make_tokenizer

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.white_box

QUESTIONS = ("Hi", "How many legs has a spider?", "What is 12 * 12? " * 6, "naïve café 東京 🦊")


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    return open_tiny(tmp_path_factory.mktemp("tiny"), vocab_extra=13)


def plain_greedy(loaded: Loaded, prompt: list[int], tokens: int) -> list[int]:
    """What a loop over unpadded forward passes says."""
    ids = list(prompt)
    with torch.inference_mode():
        for _ in range(tokens):
            ids.append(int(loaded.model(torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
            if ids[-1] in loaded.stops:
                break
    return ids[len(prompt) :]


def plain_logprobs(loaded: Loaded, prompt: list[int], said: list[int]) -> Any:
    with torch.inference_mode():
        logits = loaded.model(torch.tensor([[*prompt, *said]]), use_cache=False).logits[0]
    return torch.log_softmax(logits[len(prompt) - 1 : -1], -1)


def test_greedy_equals_a_plain_loop_of_one_row(loaded: Loaded) -> None:
    bodies = [say(text, temperature=0, max_tokens=20, logprobs=True) for text in QUESTIONS]
    for body, reply in zip(bodies, ask(loaded, *bodies), strict=True):
        expected = plain_greedy(loaded, encode_prompt(loaded.tokenizer, body["messages"]), 20)
        assert ids_of(reply) == expected
        assert reply["usage"]["completion_tokens"] == len(expected)


def test_a_row_says_the_same_alone_and_in_any_batch(loaded: Loaded) -> None:
    bodies = [
        say(QUESTIONS[0], max_tokens=25, seed=1),
        say(QUESTIONS[2], max_tokens=9, seed=1, temperature=2.5, top_k=30),
        {"prompt": "def add(a, b):", "max_tokens": 17, "seed": 5, "top_p": 0.8},
        say(QUESTIONS[3], max_tokens=30, temperature=0),
        say(QUESTIONS[1], max_tokens=12, seed=2, min_p=0.05, frequency_penalty=1.5),
        say(QUESTIONS[0], max_tokens=25, seed=2, stop=["e", "a"]),
    ]
    alone = [ask(loaded, body)[0] for body in bodies]
    assert ask(loaded, *bodies) == alone
    assert ask(loaded, *reversed(bodies)) == alone[::-1]
    assert len({text_of(reply) for reply in alone}) == len(bodies)


def test_rows_that_fit_alone_never_go_beyond_the_context_together(loaded: Loaded) -> None:
    bodies = [
        say("Hi", temperature=0, max_tokens=POSITIONS - 40, logprobs=True),
        say("x y z " * 70, temperature=0, max_tokens=20, logprobs=True),
        say("Hi", temperature=0, max_tokens=30, logprobs=True),
    ]
    places = []

    def watch(module: Any, given: Any, named: Any) -> None:
        places.append(int(named["position_ids"].max()))

    quiet = dataclasses.replace(loaded, stops=frozenset())
    hook = loaded.model.register_forward_pre_hook(watch, with_kwargs=True)
    try:
        together = ask(quiet, *bodies)
        assert max(places) < POSITIONS
    finally:
        hook.remove()
    assert [len(ids_of(reply)) for reply in together] == [POSITIONS - 40, 20, 30]
    assert [ids_of(reply) for reply in together] == [ids_of(ask(quiet, body)[0]) for body in bodies]


LONGROPE = {"rope_type": "longrope", "rope_theta": 10000.0, "short_factor": [1.0] * 4, "long_factor": [4.0] * 4}
SWITCH = 64


@pytest.fixture(scope="module")
def longrope(loaded: Loaded) -> Loaded:
    parameters = {**LONGROPE, "original_max_position_embeddings": SWITCH}
    made = {"original_max_position_embeddings": SWITCH, "rope_parameters": parameters}
    return dataclasses.replace(loaded, model=make_model("phi3", loaded.vocab_size, **made), stops=frozenset())


def test_rows_of_a_model_with_two_sets_of_factors_do_not_change_each_other(longrope: Loaded) -> None:
    """Below, beyond and across the switch; and below it each, but not where all begin behind the longest prompt."""
    lengths = [("Hi", 20), ("x y z " * 25, 20), ("x y z " * 40, 9), ("Hi", 60), ("x y z " * 3, 30), ("Hi", 45)]
    bodies = [say(text, temperature=0, max_tokens=tokens, logprobs=True) for text, tokens in lengths]
    assert ask_by_group(longrope, *bodies) == [ids_of(ask(longrope, body)[0]) for body in bodies]
    groups = [row.group for row in prepared(longrope, *bodies)]
    assert len(set(groups)) == 3 and groups[0] == groups[4] == groups[5] and groups[1] == groups[2]


@pytest.mark.parametrize("family", ["rwkv", "minimax", "mamba", "lfm2"])
def test_rows_do_not_change_each_other_whatever_the_model_makes_of_padding(loaded: Loaded, family: str) -> None:
    odd = dataclasses.replace(loaded, model=make_model(family, loaded.vocab_size))
    bodies = [say(text, temperature=0, max_tokens=8, logprobs=True) for text in (*QUESTIONS, "Ho")]
    assert [ids_of(reply) for reply in ask(odd, *bodies)] == [ids_of(ask(odd, body)[0]) for body in bodies]
    assert forward.writes_in_batches(odd.model) == (family in ("mamba", "lfm2"))
    assert forward.writes_in_batches(loaded.model)


def prepared(loaded: Loaded, *bodies: dict[str, Any]) -> list[Prepared]:
    return [row for body in bodies if isinstance(row := prepare(loaded, body), Prepared)]


def ask_by_group(loaded: Loaded, *bodies: dict[str, Any]) -> list[list[int]]:
    """The ids that are said, each group in one batch."""
    groups: dict[str, list[int]] = {}
    for place, row in enumerate(prepared(loaded, *bodies)):
        groups.setdefault(row.group, []).append(place)
    said = {
        place: ids_of(reply)
        for places in groups.values()
        for place, reply in zip(places, ask(loaded, *(bodies[place] for place in places)), strict=True)
    }
    return [said[place] for place in range(len(bodies))]


def test_a_seed_decides_what_is_said(loaded: Loaded) -> None:
    said = [text_of(reply) for reply in ask(loaded, *(say("Hi", max_tokens=12, seed=seed) for seed in (1, 2, 1, 3)))]
    assert said[0] == said[2]
    assert len(set(said)) == 3


def test_absent_temperature_is_one_and_zero_is_greedy(loaded: Loaded) -> None:
    absent, one, cold = ask(
        loaded, say("Hi", seed=4), say("Hi", seed=4, temperature=1), say("Hi", seed=4, temperature=0, max_tokens=5)
    )
    assert text_of(absent) == text_of(one)
    assert not text_of(absent).startswith(text_of(cold))


def test_first_tokens_have_the_frequencies_of_the_models_softmax(loaded: Loaded) -> None:
    """Chi-square over the ten most likely tokens and the rest, of 2,000 seeds: 29.59 is passed once in a thousand."""
    draws, body = 2000, say("Hi", max_tokens=1, logprobs=True)
    counts: dict[int, int] = {}
    for first in range(0, draws, 250):
        for reply in ask(loaded, *({**body, "seed": seed} for seed in range(first, first + 250))):
            counts[ids_of(reply)[0]] = counts.get(ids_of(reply)[0], 0) + 1
    shares = plain_logprobs(loaded, encode_prompt(loaded.tokenizer, body["messages"]), [0])[0].exp()

    def chi_square(shares: Any) -> float:
        top = shares.topk(10).indices.tolist()
        expected = [float(shares[number]) * draws for number in top]
        seen = [counts.get(number, 0) for number in top]
        expected, seen = [*expected, draws - sum(expected)], [*seen, draws - sum(seen)]
        return sum((one - other) ** 2 / other for one, other in zip(seen, expected, strict=True))

    assert chi_square(shares) < 29.59
    assert chi_square(torch.softmax(shares.log() / 1.2, -1)) > 29.59  # a slightly other temperature is found


def test_the_models_own_defaults_do_not_leak_in(loaded: Loaded) -> None:
    from transformers import GenerationConfig

    body = say("Hi", temperature=0, max_tokens=20)
    expected = ask(loaded, body)
    loaded.model.generation_config = GenerationConfig(
        repetition_penalty=5.0, do_sample=True, top_k=1, max_new_tokens=2, suppress_tokens=[5, 6, 7], num_beams=2
    )
    assert ask(loaded, body) == expected


def test_a_turn_ends_at_its_token_and_a_limit_is_kept(loaded: Loaded) -> None:
    replies = ask(loaded, *(say("Hi", seed=seed, max_tokens=60, temperature=3, logprobs=True) for seed in range(30)))
    finishes = {reply["choices"][0]["finish_reason"] for reply in replies}
    assert finishes == {"stop", "length"}
    for reply in replies:
        ids, stopped = ids_of(reply), reply["choices"][0]["finish_reason"] == "stop"
        assert (ids[-1] in loaded.stops) == stopped
        assert not set(ids[:-1]) & loaded.stops
        assert reply["usage"]["completion_tokens"] == len(ids) == (len(ids) if stopped else 60)
        assert "<|im_end|>" not in text_of(reply)


def test_a_stop_text_is_cut_even_where_it_spans_tokens(loaded: Loaded) -> None:
    body = say("How many?", seed=1, max_tokens=40)
    whole = text_of(ask(loaded, body)[0])
    stop = whole[9:13]
    cut = ask(loaded, {**body, "stop": ["never said", stop]})[0]
    assert text_of(cut) == whole[: whole.index(stop)]
    assert cut["choices"][0]["finish_reason"] == "stop"
    assert cut["usage"]["completion_tokens"] < 40
    assert text_of(ask(loaded, {**body, "stop": "never said"})[0]) == whole


@pytest.mark.parametrize("stop", ["é", "東", "🦊 done"])
def test_a_stop_text_of_many_bytes_is_found(loaded: Loaded, stop: str) -> None:
    """The model is made to say single bytes: every character of the stop text takes several tokens."""
    said = f"a{stop}b"
    wanted = loaded.tokenizer(said)["input_ids"]
    reply = ask(dictated(loaded, wanted), say("Hi", temperature=0, max_tokens=len(wanted), stop=stop))[0]
    assert text_of(reply) == "a"
    assert reply["usage"]["completion_tokens"] == len(wanted) - 1


def test_of_two_stop_texts_the_first_one_cuts(loaded: Loaded) -> None:
    wanted = loaded.tokenizer("one two three")["input_ids"]
    both = say("Hi", temperature=0, max_tokens=len(wanted), stop=[" two", "ne two", "wo"])
    assert text_of(ask(dictated(loaded, wanted), both)[0]) == "o"


def dictated(loaded: Loaded, wanted: list[int]) -> Loaded:
    """A model that says these ids whatever it is asked."""

    def generate(input_ids: Any, logits_processor: Any, stopping_criteria: Any, **rest: Any) -> None:
        for number in wanted:
            scores = torch.full((1, loaded.vocab_size), -30.0)
            scores[0, number] = 0.0
            said = logits_processor(input_ids, scores).argmax(-1, keepdim=True)
            input_ids = torch.cat([input_ids, said], -1)
            if bool(stopping_criteria(input_ids, None).all()):
                return

    model = copy.copy(loaded.model)
    model.generate = generate
    return dataclasses.replace(loaded, model=model)


def test_logprobs_are_the_models_own_whatever_is_filtered(loaded: Loaded) -> None:
    sampling = {"temperature": 2.0, "top_k": 3, "presence_penalty": 2.0, "max_tokens": 8, "seed": 3, "top_logprobs": 4}
    bodies = [say(QUESTIONS[1], **sampling), {"prompt": "1 + 1 =", **sampling, "logprobs": 4}, say("Hi", max_tokens=3)]
    chat, raw, none = ask(loaded, *bodies)
    assert "logprobs" not in none["choices"][0]
    prompts = (encode_prompt(loaded.tokenizer, bodies[0]["messages"]), encode_text(loaded.tokenizer, "1 + 1 ="))
    for reply, prompt in zip((chat, raw), prompts, strict=True):
        entries = reply["choices"][0]["logprobs"]["content"]
        expected = plain_logprobs(loaded, prompt, ids_of(reply))
        for entry, row in zip(entries, expected, strict=True):
            values, ids = row.topk(4)
            assert entry["logprob"] == pytest.approx(float(row[entry["id"]]), abs=1e-4)
            assert [each["id"] for each in entry["top_logprobs"]] == ids.tolist()
            assert [each["logprob"] for each in entry["top_logprobs"]] == pytest.approx(values.tolist(), abs=1e-4)
        total = math.fsum(entry["logprob"] for entry in entries)
        assert total == pytest.approx(
            float(sum(row[n] for row, n in zip(expected, ids_of(reply), strict=True))), abs=1e-3
        )
        assert bytes(byte for entry in entries for byte in entry["bytes"]).decode("utf-8", "replace") == text_of(reply)


def test_all_alternatives_have_all_the_mass(loaded: Loaded) -> None:
    reply = ask(loaded, say("Hi", max_tokens=1, logprobs=True, top_logprobs=10_000))[0]
    top = reply["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
    assert len(top) == loaded.vocab_size
    assert math.fsum(math.exp(each["logprob"]) for each in top) == pytest.approx(1, abs=1e-5)


def test_bytes_of_characters_that_span_tokens(loaded: Loaded) -> None:
    text = "née 東京 🦊\n"
    ids = loaded.tokenizer(text)["input_ids"]
    spell = make_spell(loaded.tokenizer)
    assert len(ids) > len(text)  # some characters take several tokens
    assert b"".join(map(spell, ids)) == text.encode()
    assert [spell(number) for number in (0, 2)] == [b"<|endoftext|>", b"<|im_end|>"]
    assert spell(loaded.vocab_size - 1) == b""  # padding of the vocabulary has no token
    entries = ask(dictated(loaded, ids), say("Hi", max_tokens=len(ids), logprobs=True))[0]["choices"][0]["logprobs"]
    assert any("\ufffd" in entry["token"] for entry in entries["content"])
    assert b"".join(bytes(entry["bytes"]) for entry in entries["content"]).decode() == text


def test_bytes_of_pieces_with_byte_fallback() -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {"<unk>": 0, "▁née": 1, **{f"<0x{byte:02X}>": 2 + byte for byte in range(256)}}
    core = Tokenizer(models.BPE(vocabulary, [], unk_token="<unk>", byte_fallback=True))
    core.pre_tokenizer = pre_tokenizers.Metaspace()
    core.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    spell = make_spell(PreTrainedTokenizerFast(tokenizer_object=core, unk_token="<unk>"))
    fox = [2 + byte for byte in "🦊".encode()]
    assert b"".join(map(spell, [1, *fox])) == " née🦊".encode()


def test_a_raw_text_goes_on_with_its_space(loaded: Loaded) -> None:
    """As SentencePiece has it: words begin with their space, and a text with none."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = ["<unk>", "</s>", "▁The", "▁capital", "▁is", "▁Paris", "s"]
    core = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Metaspace()
    core.decoder = decoders.Metaspace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, unk_token="<unk>", eos_token="</s>")
    tokenizer.chat_template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    metaspace = dataclasses.replace(dictated(loaded, [4, 5]), tokenizer=tokenizer)
    raw = {"prompt": "The capital", "max_tokens": 2, "temperature": 0}
    assert text_of(ask(metaspace, raw)[0]) == " is Paris"
    assert text_of(ask(metaspace, {**raw, "stop": " Pa"})[0]) == " is"
    assert text_of(ask(metaspace, say("The capital", max_tokens=2, temperature=0))[0]) == "is Paris"
    inside = dataclasses.replace(dictated(loaded, [6, 4]), tokenizer=tokenizer)
    assert text_of(ask(inside, raw)[0]) == "s is"


def test_a_prompt_beyond_the_context_is_a_row_that_cannot_be_answered(loaded: Loaded) -> None:
    long = say("spider " * 200, max_tokens=POSITIONS)
    reply = prepare(loaded, long)
    assert isinstance(reply, Reply)
    assert (judge(reply).action, judge(reply).reason) == ("fail", "context-length")
    assert str(POSITIONS) in read(reply)["error"]["message"]
    prompt = len(encode_prompt(loaded.tokenizer, long["messages"]))
    fits = prepare(loaded, {**long, "max_tokens": POSITIONS - prompt})
    assert isinstance(fits, Prepared) and fits.length == POSITIONS
    assert isinstance(prepare(loaded, {**long, "max_tokens": POSITIONS - prompt + 1}), Reply)
    unlimited = prepare(loaded, {"messages": long["messages"]})
    assert isinstance(unlimited, Prepared) and unlimited.limit == POSITIONS - prompt


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"messages": []},
        {"messages": "Hi"},
        {"messages": [{"content": "Hi"}]},
        {"messages": [{"role": "user", "content": 5}]},
        {"prompt": ""},
        {"prompt": 7},
        {"prompt": "a", "messages": [{"role": "user", "content": "a"}]},
        {"prompt": "a", "choices": ["b"]},
        {"prompt": "a", "logit_bias": {"5": 1}},
        say("Hi", temperature="hot"),
        say("Hi", choices="yes"),
        say("Hi", choices=[1]),
    ],
)
def test_a_body_that_cannot_be_answered_is_refused_and_never_raises(loaded: Loaded, body: dict[str, Any]) -> None:
    reply = prepare(loaded, body)
    assert isinstance(reply, Reply)
    assert judge(reply).action == "fail" and read(reply)["error"]["message"]


def test_a_token_that_the_model_has_not_is_refused_by_name(loaded: Loaded) -> None:
    tokenizer = make_tokenizer()
    tokenizer.add_tokens(["<image>"], special_tokens=True)
    small = dataclasses.replace(loaded, tokenizer=tokenizer, vocab_size=len(tokenizer) - 1)
    for body in (say("an <image>"), {"prompt": "an <image>"}, say("Hi", choices=["yes", "an <image>"])):
        assert "no token '<image>'" in read(prepare(small, body))["error"]["message"]
    assert isinstance(prepare(small, say("Hi", choices=["yes", "no"])), Prepared)


def test_a_model_without_a_chat_template_completes_raw_text_only(loaded: Loaded) -> None:
    base = dataclasses.replace(loaded, tokenizer=make_tokenizer(template=None))
    assert "chat template" in read(prepare(base, say("Hi")))["error"]["message"]
    assert ask(base, {"prompt": "The quick", "max_tokens": 4, "temperature": 0})[0]["object"] == "text_completion"


def test_replies_are_read_as_every_other_teachers_are(loaded: Loaded) -> None:
    bodies = [say("Hi", max_tokens=6, seed=1), {"prompt": "one two", "max_tokens": 6, "seed": 1}]
    rows = [prepare(loaded, body) for body in bodies]
    replies = run(loaded, [row for row in rows if isinstance(row, Prepared)])
    for reply, row in zip(replies, rows, strict=True):
        answer = read_answer(reply.body)
        assert isinstance(row, Prepared) and reply.status == 200
        assert answer.model == "tiny" and answer.text == text_of(orjson.loads(reply.body))
        assert (answer.prompt_tokens, answer.completion_tokens) == (len(row.prompt), 6)
    assert [read(reply)["object"] for reply in replies] == ["chat.completion", "text_completion"]


def test_a_broken_model_is_data_too(tmp_path: Path) -> None:
    """Weights that are no numbers: replies come all the same, and their log-probabilities are null."""
    broken = open_tiny(tmp_path)
    with torch.inference_mode():
        broken.model.get_input_embeddings().weight.fill_(torch.nan)
    sampling = {"max_tokens": 3, "top_k": 5, "top_p": 0.9, "min_p": 0.1, "top_logprobs": 2}
    replies = ask(broken, say("Hi", **sampling), {"prompt": "Hi", **sampling, "temperature": 0})
    assert replies[0]["choices"][0]["logprobs"]["content"][0]["logprob"] is None
    assert text_of(ask(broken, say("Hi", choices=["yes", "no"], logprobs=True))[0]) in ("yes", "no")

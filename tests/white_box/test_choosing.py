"""Closed choices: scores against brute force, what is drawn, what the reply says."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from typing import Any

import pytest

from distill_data.data.exchange import Reply
from distill_data.engine.retry import judge
from distill_data.teachers import choosing, spans
from distill_data.teachers.choosing import Option, choose, score_options
from distill_data.teachers.generating import Prepared, prepare
from distill_data.teachers.loading import Loaded
from distill_data.teachers.sampling import Settings
from distill_data.teachers.spans import encode_pair, encode_prompt
from tests.white_box.answers import ask, ids_of, open_tiny, say, text_of
from tests.white_box.tiny import POSITIONS, make_model, make_tokenizer

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.white_box

CHOICES = ["yes", "no", "maybe so, maybe not", "", "東京", "no idea"]
RECURRENT = ["lfm2", "falcon_h1", "mamba", "rwkv", "minimax"]
TEXTS = ("Hi", "How many legs has a spider?", "Is it? " * 20, "x")


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    return open_tiny(tmp_path_factory.mktemp("tiny"))


def brute_force(loaded: Loaded, text: str, choice: str) -> float:
    """The log-probability of the answer and its end, from one forward pass over nothing else."""
    pair = encode_pair(loaded.tokenizer, say(text)["messages"], [{"role": "assistant", "content": choice}])
    assert pair is not None and pair.ids[pair.end - 1] in loaded.stops
    with torch.inference_mode():
        logprobs = torch.log_softmax(loaded.model(torch.tensor([pair.ids]), use_cache=False).logits[0], -1)
    return math.fsum(float(logprobs[at - 1, pair.ids[at]]) for at in range(pair.start, pair.end))


@pytest.mark.parametrize("tokens", [choosing.TOKENS, 60, 1])
def test_scores_are_those_of_brute_force_in_parts_of_any_size(
    loaded: Loaded, monkeypatch: pytest.MonkeyPatch, tokens: int
) -> None:
    monkeypatch.setattr(choosing, "TOKENS", tokens)
    rows = [prepare(loaded, say(text, choices=CHOICES)) for text in TEXTS]
    prepared = [row for row in rows if isinstance(row, Prepared)]
    options = [Option(place, ids) for place, row in enumerate(prepared) for _, ids in row.options]
    scores = score_options(loaded.model, [row.prompt for row in prepared], options)
    assert scores == pytest.approx([brute_force(loaded, text, each) for text in TEXTS for each in CHOICES], abs=1e-3)


@pytest.mark.parametrize("family", RECURRENT)
def test_options_of_recurrent_models_are_scored_too(loaded: Loaded, family: str) -> None:
    odd = dataclasses.replace(loaded, model=make_model(family, loaded.vocab_size))
    rows = [prepare(odd, say(text, choices=CHOICES)) for text in TEXTS]
    prepared = [row for row in rows if isinstance(row, Prepared)]
    options = [Option(place, ids) for place, row in enumerate(prepared) for _, ids in row.options]
    scores = score_options(odd.model, [row.prompt for row in prepared], options)
    assert scores == pytest.approx([brute_force(odd, text, each) for text in TEXTS for each in CHOICES], abs=1e-3)


def test_prompts_are_read_once_and_no_more_at_a_time_than_memory_has_room_for(
    loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choosing, "TOKENS", 64)
    read: list[tuple[int, ...]] = []
    hook = loaded.model.base_model.register_forward_pre_hook(
        lambda module, given, named: read.append(tuple(named["input_ids"].shape)), with_kwargs=True
    )
    prompts = [[5] * 16] * 8
    try:
        score_options(loaded.model, prompts, [Option(row, [7, 2]) for row in range(8) for _ in range(4)])
    finally:
        hook.remove()
    assert [shape for shape in read if shape[1] == 15] == [(4, 15), (4, 15)]
    assert sum(rows for rows, width in read if width == 2) == 32


def test_without_a_temperature_the_best_is_said(loaded: Loaded) -> None:
    replies = ask(loaded, *(say(text, choices=CHOICES, max_tokens=1) for text in TEXTS))
    for text, reply in zip(TEXTS, replies, strict=True):
        assert text_of(reply) == max(CHOICES, key=lambda choice: brute_force(loaded, text, choice))
        assert reply["choices"][0]["finish_reason"] == "stop"
        assert reply["usage"]["prompt_tokens"] == len(encode_prompt(loaded.tokenizer, say(text)["messages"]))
    assert replies == [ask(loaded, say(text, choices=CHOICES, temperature=0))[0] for text in TEXTS]
    row = prepare(loaded, say("Hi", choices=CHOICES))
    assert isinstance(row, Prepared) and row.settings.greedy


def test_with_a_temperature_options_are_drawn_from_their_softmax() -> None:
    scores, draws = [-1.0, -2.0, -4.0], 4000
    for temperature in (1.0, 2.0):
        said = Counter(
            choose(scores, (7, 8), Settings(temperature=temperature, seed=seed, max_tokens=1)) for seed in range(draws)
        )
        weights = [math.exp(score / temperature) for score in scores]
        expected = [draws * weight / sum(weights) for weight in weights]
        # chi-square with 2 degrees of freedom exceeds 13.8 once in a thousand
        assert sum((said[place] - each) ** 2 / each for place, each in enumerate(expected)) < 13.8
        flat = [draws / 3] * 3
        assert sum((said[place] - each) ** 2 / each for place, each in enumerate(flat)) > 13.8


def test_drawn_options_depend_on_the_seed_alone(loaded: Loaded) -> None:
    bodies = [say("Hi", choices=CHOICES, temperature=30, seed=seed) for seed in range(24)]
    said = [text_of(reply) for reply in ask(loaded, *bodies)]
    assert said == [text_of(ask(loaded, body)[0]) for body in bodies]
    assert set(said) <= set(CHOICES) and len(set(said)) > 3


def test_logprobs_of_a_choice_cover_the_whole_vocabulary(loaded: Loaded) -> None:
    bodies: list[dict[str, Any]] = [
        say("Hi", choices=CHOICES),
        say(TEXTS[2], choices=CHOICES, logprobs=True, top_logprobs=5),
        say("x", choices=["no"], logprobs=True),
    ]
    silent, told, alone = ask(loaded, *bodies)
    assert "logprobs" not in silent["choices"][0]
    for text, reply, top in ((TEXTS[2], told, 5), ("x", alone, 0)):
        entries = reply["choices"][0]["logprobs"]["content"]
        assert math.fsum(entry["logprob"] for entry in entries) == pytest.approx(
            brute_force(loaded, text, text_of(reply)), abs=1e-3
        )
        assert {len(entry["top_logprobs"]) for entry in entries} == {top}
        assert ids_of(reply)[-1] in loaded.stops
        assert reply["usage"]["completion_tokens"] == len(entries)
        assert bytes(byte for entry in entries[:-1] for byte in entry["bytes"]).decode() == text_of(reply)


def test_a_choice_beyond_the_context_cannot_be_answered(loaded: Loaded) -> None:
    reply = prepare(loaded, say("Hi", choices=["no", "spider " * POSITIONS]))
    assert isinstance(reply, Reply)
    assert judge(reply).reason == "context-length"


def test_a_template_that_writes_answers_otherwise_gets_bare_options(loaded: Loaded) -> None:
    """Here an earlier answer is not what the model is made to begin with, so options follow the prompt as they are."""
    tokenizer = type(loaded.tokenizer)(
        tokenizer_object=loaded.tokenizer.backend_tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>"
    )
    tokenizer.chat_template = (
        "{% for message in messages %}{{ message['role'] + ': ' + message['content'] + '<|im_end|>' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'assistant: <think>' }}{% endif %}"
    )
    row = prepare(dataclasses.replace(loaded, tokenizer=tokenizer), say("Hi", choices=["yes", "no"]))
    assert isinstance(row, Prepared)
    ids = [tokenizer(choice)["input_ids"] for choice in ("yes", "no")]
    assert [list(option) for _, option in row.options] == [[*each, *loaded.stops] for each in ids]


def test_a_choice_that_another_one_begins_with_is_ended_too(loaded: Loaded) -> None:
    """The template writes no token that ends a turn, but white space behind each."""
    tokenizer = make_tokenizer(
        "{% for message in messages %}{{ message['role'] + ':\n' + message['content'] + '\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'assistant:\n' }}{% endif %}"
    )
    row = prepare(dataclasses.replace(loaded, tokenizer=tokenizer), say("Hi", choices=["no", "no idea"]))
    assert isinstance(row, Prepared)
    ids = [tokenizer(choice)["input_ids"] for choice in ("no", "no idea")]
    assert [list(option) for _, option in row.options] == [[*each, *loaded.stops] for each in ids]


def test_equal_choices_count_once(loaded: Loaded) -> None:
    row = prepare(loaded, say("Hi", choices=["no", "yes", "no"]))
    assert isinstance(row, Prepared) and [choice for choice, _ in row.options] == ["no", "yes"]


def test_the_prompt_is_not_encoded_again_for_each_option(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts: list[bool] = []
    render = spans.render

    def watch(tokenizer: Any, messages: Any, *, add_generation_prompt: bool) -> str:
        prompts.append(add_generation_prompt)
        return render(tokenizer, messages, add_generation_prompt=add_generation_prompt)

    monkeypatch.setattr(spans, "render", watch)
    counts = []
    for choices in (CHOICES[:2], CHOICES):
        prompts.clear()
        prepare(loaded, say("Hi", choices=choices))
        counts.append(sum(prompts))
    assert counts[0] == counts[1]

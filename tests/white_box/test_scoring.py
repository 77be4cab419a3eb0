"""What scoring gives, against a forward pass in float64 of each row alone; and rows that cannot be scored."""

from __future__ import annotations

import copy
import random
import re
from dataclasses import replace
from typing import Any

import orjson
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

import numpy as np  # noqa: E402

from distill_data.data.arrays import decode, logprobs_of  # noqa: E402
from distill_data.data.exchange import Reply  # noqa: E402
from distill_data.errors import UsageError  # noqa: E402
from distill_data.teachers import forward  # noqa: E402
from distill_data.teachers.batching import go_on  # noqa: E402
from distill_data.teachers.loading import Loaded, load  # noqa: E402
from distill_data.teachers.protocol import Profile  # noqa: E402
from distill_data.teachers.scoring import Prepared, prepare, run  # noqa: E402
from tests.white_box.tiny import POSITIONS, TEXTS, make_model, make_tiny, make_tokenizer  # noqa: E402

pytestmark = pytest.mark.white_box

TOPK = {"of": "topk", "k": 16, "temperature": 1.0, "truncate": False, "max_length": 0}
SAMPLED = {"of": "sampled", "draws": 50, "temperature": 1.0, "seed": 0, "truncate": False, "max_length": 0}
HIDDEN = {"of": "hidden", "layers": [-1], "pool": "none", "dtype": "float32", "truncate": False, "max_length": 0}
ATTENTION = {"of": "attention", "layers": [-1], "heads": "all", "dtype": "float32", "truncate": False, "max_length": 0}

PAIRS = [
    ("How many legs has a spider?", "A spider has eight legs."),
    ("Say yes.", "yes"),
    ("What is the capital of France?", "The capital of France is Paris. 巴黎 🗼"),
    ("Add two numbers.", TEXTS[2] * 2),
    (" ".join(TEXTS), "no"),
    ("12 * 12", "144"),
]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    torch.set_num_threads(1)
    path = make_tiny(tmp_path_factory.mktemp("tiny"), layers=3)
    return load(Profile(name="tiny", model=f"transformers/{path}"))


def chat(x: str, y: str, feature: dict[str, Any] = TOPK, **changed: Any) -> dict[str, Any]:
    return {
        "messages": [{"role": "user", "content": x}],
        "completion": [{"role": "assistant", "content": y}],
        "feature": {**feature, **changed},
    }


def text(y: str, **changed: Any) -> dict[str, Any]:
    return {"messages": [], "completion": [{"role": "assistant", "content": y}], "feature": {**TOPK, **changed}}


def prepared(loaded: Loaded, body: dict[str, Any]) -> Prepared:
    row = prepare(loaded, body)
    assert isinstance(row, Prepared), row
    return row


def score(loaded: Loaded, *bodies: dict[str, Any]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """What the reply says, and its arrays, of a batch of these rows."""
    return [read(reply) for reply in run(loaded, [prepared(loaded, body) for body in bodies])]


def read(reply: Reply) -> tuple[dict[str, Any], dict[str, Any]]:
    said = orjson.loads(reply.body)["feature"]
    return said, decode(said["arrays"], reply.blob)


def refusal(loaded: Loaded, body: dict[str, Any]) -> dict[str, Any]:
    reply = prepare(loaded, body)
    assert isinstance(reply, Reply)
    assert (reply.status, reply.blob) == (200, b"")
    said = orjson.loads(reply.body)["feature"]
    assert said["of"] == body["feature"]["of"] and said["tokens"] == 0
    return said


def tokens_of(loaded: Loaded, x: str, y: str) -> tuple[list[int], int]:
    """Ids of the conversation up to the end of the answer's turn, and where the answer begins; from the text alone."""
    before = f"<|im_start|>user\n{x}<|im_end|>\n<|im_start|>assistant\n"
    ids = loaded.tokenizer(before, add_special_tokens=False)["input_ids"]
    return ids + loaded.tokenizer(f"{y}<|im_end|>", add_special_tokens=False)["input_ids"], len(ids)


def exact(loaded: Loaded, ids: list[int], start: int, temperature: float = 1.0) -> Any:
    """Log-probabilities (T, V) of the row alone, in float64."""
    model = copy.deepcopy(loaded.model).double()
    with torch.inference_mode():
        logits = model(torch.tensor([ids])).logits[0, start - 1 : -1]
    return torch.log_softmax(logits / temperature, -1).numpy()


def test_rows_beyond_the_switch_of_longrope_are_in_other_batches(tiny: Loaded) -> None:
    factors = {"short_factor": [1.0] * 4, "long_factor": [4.0] * 4, "original_max_position_embeddings": 64}
    rope = {"rope_type": "longrope", "rope_theta": 10000.0, **factors}
    model = make_model("phi3", tiny.vocab_size, original_max_position_embeddings=64, rope_parameters=rope)
    rows = [prepared(replace(tiny, model=model), chat("Hi", "yes " * times)) for times in (1, 9, 70, 90)]
    assert [row.group == rows[0].group for row in rows] == [True, True, False, False]
    assert rows[2].group == rows[3].group
    assert len({prepared(tiny, chat("Hi", "yes " * times)).group for times in (1, 90)}) == 1


@pytest.mark.parametrize("family", ["mamba", "rwkv"])
def test_states_of_models_that_number_them_otherwise_are_refused_but_the_last(tiny: Loaded, family: str) -> None:
    odd = replace(tiny, model=make_model(family, tiny.vocab_size))
    for layer in (0, 1, 2):
        with pytest.raises(UsageError, match=f"hidden states of layer {layer};.*the last layer"):
            score(odd, chat(*PAIRS[0], HIDDEN, layers=[layer, 3]))
    (_, arrays), _ = score(odd, chat(*PAIRS[0], HIDDEN), chat(*PAIRS[4], HIDDEN))
    given: list[Any] = []
    hook = odd.model.get_output_embeddings().register_forward_pre_hook(lambda module, each: given.append(each[0]))
    ids, start = tokens_of(tiny, *PAIRS[0])
    with torch.inference_mode():
        odd.model(torch.tensor([ids]))
    hook.remove()
    assert np.abs(arrays["hidden"][0] - given[0][0, start:].numpy()).max() < 1e-4


def test_what_has_another_shape_than_states_and_attention_is_refused(tiny: Loaded) -> None:
    stacked = replace(tiny, model=make_model("gemma3n_text", tiny.vocab_size, vocab_size_per_layer_input=400))
    with pytest.raises(UsageError, match="hidden states of layer 1"):
        score(stacked, chat(*PAIRS[0], HIDDEN, layers=[1]))
    assert score(stacked, chat(*PAIRS[0], HIDDEN))[0][1]["hidden"].shape[0] == 1
    linear = replace(tiny, model=make_model("minimax", tiny.vocab_size))
    with pytest.raises(UsageError, match="attention weights of layer 1, 3"):
        score(linear, chat(*PAIRS[0], ATTENTION, layers=[1, 2, 3]))
    assert score(linear, chat(*PAIRS[0], ATTENTION, layers=[2]))[0][1]["attention"].shape[:2] == (1, 4)


# -- the k most likely -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [1.0, 0.5, 3.0])
def test_topk_is_what_a_forward_pass_of_each_row_alone_gives(tiny: Loaded, temperature: float) -> None:
    found = score(tiny, *(chat(x, y, temperature=temperature) for x, y in PAIRS))
    for (x, y), (said, arrays) in zip(PAIRS, found, strict=True):
        ids, start = tokens_of(tiny, x, y)
        truth = exact(tiny, ids, start, temperature)
        logprobs = logprobs_of(arrays["logprobs"])
        assert arrays["tokens"].tolist() == ids[start:]
        assert said["tokens"] == len(ids) - start and said["truncated"] is False
        every = np.arange(len(truth))
        assert np.abs(logprobs - truth[every[:, None], arrays["ids"]]).max() <= 1e-3
        assert np.abs(logprobs - -np.sort(-truth)[:, :16]).max() <= 1e-3
        chosen = np.maximum(truth[every, ids[start:]], -65535 / 2048)
        assert np.abs(logprobs_of(arrays["chosen"]) - chosen).max() <= 1e-3
        assert arrays["ids"][:, 0].tolist() == truth.argmax(1).tolist()
        assert (np.diff(logprobs) <= 0).all()
        assert np.exp(logprobs).sum(1) + arrays["tail"] == pytest.approx(np.ones(len(truth)), abs=1e-3)
        tail = 1 - np.exp(-np.sort(-truth)[:, :16]).sum(1)
        assert arrays["tail"] == pytest.approx(tail, abs=5e-4)
        assert said["tail"] == pytest.approx(tail.sum(), abs=1e-4)


def test_reply_and_arrays_have_the_agreed_shape(tiny: Loaded) -> None:
    row = prepared(tiny, chat(*PAIRS[0]))
    [reply] = run(tiny, [row])
    body = orjson.loads(reply.body)
    assert (body["object"], body["model"]) == ("feature", tiny.label)
    assert body["choices"] == [{"index": 0, "text": "", "finish_reason": "stop"}]
    assert body["usage"] == {"prompt_tokens": row.length, "completion_tokens": 0}
    tokens = row.length - row.start
    assert body["feature"]["arrays"] == {
        "tokens": ["int32", [tokens]],
        "chosen": ["uint16", [tokens]],
        "ids": ["uint16", [tokens, 16]],
        "logprobs": ["uint16", [tokens, 16]],
        "tail": ["float16", [tokens]],
    }


def test_ids_of_a_large_vocabulary_are_not_cut(tiny: Loaded) -> None:
    [reply] = run(replace(tiny, vocab_size=70_000), [prepared(tiny, chat(*PAIRS[0]))])
    assert orjson.loads(reply.body)["feature"]["arrays"]["ids"][0] == "int32"


def test_a_k_beyond_the_vocabulary_gives_all_of_it(tiny: Loaded) -> None:
    [(_, arrays)] = score(tiny, chat("Say yes.", "yes", k=100_000))
    assert arrays["ids"].shape[1] == tiny.vocab_size
    assert sorted(arrays["ids"][0].tolist()) == list(range(tiny.vocab_size))
    assert (arrays["tail"] == 0).all()


def test_a_small_tail_is_not_lost_in_rounding(tiny: Loaded) -> None:
    """At a low temperature nearly all mass is in the first; 1 - 0.9999999 in float32 would be 0 or noise."""
    (x, y), k = PAIRS[0], 4
    ids, start = tokens_of(tiny, x, y)
    truth = -np.sort(-np.exp(exact(tiny, ids, start, 0.25)))[:, k:].sum(1)
    assert truth.min() < 1e-4
    with torch.inference_mode():
        from distill_data.teachers import scoring

        row = prepared(tiny, chat(x, y, k=k, temperature=0.25))
        [(logits, targets, _)] = scoring._distributions(tiny, [row], go_on)
        *_, tail = scoring._most_likely(logits, targets, k)
    assert tail == pytest.approx(truth, rel=1e-3)


def test_equal_logits_are_ordered_by_id() -> None:
    from distill_data.teachers import scoring

    logits = torch.randint(0, 30, (20, 200), generator=torch.Generator().manual_seed(0)).float()
    _, ids, logprobs, _ = scoring._most_likely(logits.clone(), torch.zeros(20, dtype=torch.long), 16)
    for row, (these, nats) in enumerate(zip(ids, logprobs, strict=True)):
        assert these.tolist() == these[np.lexsort((these, -nats))].tolist()
        assert these[0] in np.flatnonzero(logits[row] == logits[row].max())


# -- batches -----------------------------------------------------------------------------------------------------------


def test_padding_changes_no_log_probability(tiny: Loaded) -> None:
    rows = [prepared(tiny, chat(x, y)) for x, y in PAIRS]
    assert len({row.length for row in rows}) > 3
    with torch.inference_mode():
        together = torch.cat(list(forward.predictions(tiny.model, rows))).log_softmax(-1)
        alone = torch.cat([each for row in rows for each in forward.predictions(tiny.model, [row])]).log_softmax(-1)
    assert torch.allclose(together, alone, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("feature", [TOPK, SAMPLED, HIDDEN, ATTENTION], ids=lambda feature: feature["of"])
def test_any_size_and_order_of_batches_gives_the_same(tiny: Loaded, feature: dict[str, Any]) -> None:
    bodies = [chat(x, y, feature) for x, y in PAIRS]
    alone = [score(tiny, body)[0] for body in bodies]
    order = random.Random(1).sample(range(len(bodies)), len(bodies))
    for size in (2, 3, len(bodies)):
        for first in range(0, len(bodies), size):
            batch = order[first : first + size]
            for at, (said, arrays) in zip(batch, score(tiny, *(bodies[each] for each in batch)), strict=True):
                assert said["arrays"] == alone[at][0]["arrays"]
                for name, array in alone[at][1].items():
                    steps = 1 if name in ("chosen", "logprobs") else 1e-3 if array.dtype.kind == "f" else 0
                    off = np.abs(arrays[name].astype(np.float64) - array.astype(np.float64))
                    assert off.max() <= steps, (name, size)


def test_slices_are_small_and_change_nothing(tiny: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    bodies = [chat(x, y) for x, y in PAIRS]
    whole = score(tiny, *bodies)
    monkeypatch.setattr(forward, "SLICE", 5 * tiny.vocab_size)
    with torch.inference_mode():
        sizes = [len(each) for each in forward.predictions(tiny.model, [prepared(tiny, body) for body in bodies])]
    assert max(sizes) == 5 and sum(sizes) == sum(said["tokens"] for said, _ in whole)
    for (_, before), (_, after) in zip(whole, score(tiny, *bodies), strict=True):
        assert np.abs(before["logprobs"].astype(int) - after["logprobs"].astype(int)).max() <= 1


def test_only_rows_that_ask_for_the_same_share_a_batch(tiny: Loaded) -> None:
    def group(feature: dict[str, Any], **changed: Any) -> str:
        return prepared(tiny, chat("Say yes.", "yes", feature, **changed)).group

    assert group(TOPK) == group(TOPK, truncate=True, max_length=400)
    assert group(HIDDEN) == group(HIDDEN, layers=[3])
    groups = {group(TOPK), group(TOPK, k=8), group(TOPK, temperature=2.0), group(SAMPLED), group(HIDDEN, layers=[1])}
    assert len(groups) == 5


def test_a_model_that_caps_its_logits_is_not_cut_short(tiny: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import Gemma2Config, Gemma2ForCausalLM

    torch.manual_seed(0)
    config = Gemma2Config(
        vocab_size=tiny.vocab_size, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, max_position_embeddings=512, final_logit_softcapping=3.0,
        initializer_range=0.6,
    )  # fmt: skip
    capped = replace(tiny, model=Gemma2ForCausalLM(config).eval())
    with torch.inference_mode():
        assert forward.has_plain_head(tiny.model) and not forward.has_plain_head(capped.model)
    for most in (forward.SLICE, 4 * tiny.vocab_size):
        monkeypatch.setattr(forward, "SLICE", most)
        for (x, y), (_, arrays) in zip(PAIRS, score(capped, *(chat(x, y) for x, y in PAIRS)), strict=True):
            truth = exact(capped, *tokens_of(capped, x, y))
            assert np.abs(logprobs_of(arrays["logprobs"]) - -np.sort(-truth)[:, :16]).max() <= 1e-3


# -- rows that do not fit, or are none ---------------------------------------------------------------------------------


def test_too_long_is_refused_with_both_numbers(tiny: Loaded) -> None:
    ids, start = tokens_of(tiny, *PAIRS[3])
    said = refusal(tiny, chat(*PAIRS[3], max_length=len(ids) - 1))
    assert said["rejected"] == "too-long"
    assert [int(each) for each in re.findall(r"\d+", said["detail"])] == [start, len(ids) - start, len(ids) - 1]
    assert prepared(tiny, chat(*PAIRS[3], max_length=len(ids))).truncated is False
    assert refusal(tiny, chat("Say yes.", "yes " * POSITIONS, max_length=100_000))["rejected"] == "too-long"


def test_truncation_cuts_the_end_of_the_completion(tiny: Loaded) -> None:
    ids, start = tokens_of(tiny, *PAIRS[3])
    [(said, arrays)] = score(tiny, chat(*PAIRS[3], truncate=True, max_length=start + 7))
    assert (said["tokens"], said["truncated"]) == (7, True)
    assert arrays["tokens"].tolist() == ids[start : start + 7]
    [(_, whole)] = score(tiny, chat(*PAIRS[3]))
    assert np.abs(whole["logprobs"][:7].astype(int) - arrays["logprobs"].astype(int)).max() <= 1
    by_context = prepared(tiny, chat("Say yes.", "yes " * POSITIONS, truncate=True))
    assert (by_context.length, by_context.truncated) == (POSITIONS, True)


def test_a_prompt_that_fills_the_context_is_refused_even_where_y_may_be_cut(tiny: Loaded) -> None:
    _, start = tokens_of(tiny, *PAIRS[4])
    assert refusal(tiny, chat(*PAIRS[4], truncate=True, max_length=start))["rejected"] == "too-long"
    assert prepared(tiny, chat(*PAIRS[4], truncate=True, max_length=start + 1)).tokens == 1


@pytest.mark.parametrize(
    "said",
    [
        {"content": "", "reasoning_content": "I think."},
        {"content": None, "tool_calls": [{"function": {"name": "add", "arguments": "{}"}}]},
        {"content": [{"type": "text", "text": ""}]},
        {"content": [{"type": "text", "text": None}]},
        {"content": []},
    ],
)
def test_an_answer_that_the_template_does_not_write_is_empty(tiny: Loaded, said: dict[str, Any]) -> None:
    body = {**chat("Hi", ""), "completion": [{"role": "assistant", **said}]}
    assert refusal(tiny, body)["rejected"] == "empty-completion"
    assert refusal(tiny, {**body, "messages": []})["rejected"] == "empty-completion"
    assert prepared(tiny, chat("Hi", " ")).tokens == 2  # white space is written here


def test_parts_of_a_raw_text_are_scored_as_one(tiny: Loaded) -> None:
    parts = [{"type": "text", "text": "How many "}, {"type": "text", "text": "legs"}]
    body = {**text(""), "completion": [{"role": "assistant", "content": parts}]}
    assert prepared(tiny, body).ids == prepared(tiny, text("How many legs")).ids


def test_a_token_that_the_model_has_not_is_a_row_of_its_own(tiny: Loaded) -> None:
    tokenizer = make_tokenizer()
    tokenizer.add_tokens(["<image>"], special_tokens=True)
    said = refusal(replace(tiny, tokenizer=tokenizer), chat("Hi", "an <image>"))
    assert said["rejected"] == "unaligned" and "no token '<image>'" in said["detail"]


def test_nothing_to_score_is_refused(tiny: Loaded) -> None:
    one = tiny.tokenizer.decode([tiny.tokenizer("yes", add_special_tokens=False)["input_ids"][0]])
    for body in (chat("Say nothing.", ""), text(""), text(one)):
        assert refusal(tiny, body)["rejected"] == "empty-completion"


def test_a_template_that_rewrites_the_prompt_is_refused(tiny: Loaded) -> None:
    rewriting = make_tokenizer("{{ messages | length }}{% for message in messages %}{{ message.content }}{% endfor %}")
    said = refusal(replace(tiny, tokenizer=rewriting), chat("Say yes.", "yes"))
    assert said["rejected"] == "unaligned"


def test_raw_text_is_scored_from_its_second_token(tiny: Loaded) -> None:
    ids = tiny.tokenizer(TEXTS[0], add_special_tokens=False)["input_ids"]
    [(said, arrays)] = score(tiny, text(TEXTS[0]))
    assert said["tokens"] == len(ids) - 1
    assert arrays["tokens"].tolist() == ids[1:]
    truth = exact(tiny, ids, 1)
    assert np.abs(logprobs_of(arrays["chosen"]) - truth[np.arange(len(truth)), ids[1:]]).max() <= 1e-3


@pytest.mark.parametrize(
    ("feature", "changed", "words"),
    [
        (HIDDEN, {"layers": [4]}, "no layer 4; tiny has the layers 0 to 3, or from the end -1 to -4"),
        (HIDDEN, {"layers": [-5]}, "no layer -5"),
        (ATTENTION, {"layers": [0]}, "no layer 0; tiny has the layers 1 to 3, or from the end -1 to -3"),
        (ATTENTION, {"layers": [1, -4]}, "no layer -4"),
        (TOPK, {"temperature": 0.0}, "temperature is 0.0"),
        (TOPK, {"k": 0}, "k is 0"),
        (SAMPLED, {"draws": 65536}, "draws is 65536"),
        (TOPK, {"of": "gradients"}, "gradients"),
    ],
)
def test_what_the_model_does_not_have_is_the_users_mistake(
    tiny: Loaded, feature: dict[str, Any], changed: dict[str, Any], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        prepare(replace(tiny, label="tiny"), chat("Say yes.", "yes", feature, **changed))


# -- draws -------------------------------------------------------------------------------------------------------------


def frequencies(loaded: Loaded, seeds: range, **changed: Any) -> Any:
    """How often each id was drawn (T, V), over all seeds."""
    drawn: Any = 0
    for seed in seeds:
        [(_, arrays)] = score(loaded, chat(*PAIRS[0], SAMPLED, seed=seed, **changed))
        places = np.repeat(np.arange(len(arrays["tokens"])), arrays["counts_per_token"])
        each = np.zeros((len(arrays["tokens"]), loaded.vocab_size))
        np.add.at(each, (places, arrays["ids"].astype(int)), arrays["counts"])
        drawn = drawn + each
    return drawn


def test_counts_add_up_and_stand_in_order(tiny: Loaded) -> None:
    for (x, y), (said, arrays) in zip(PAIRS, score(tiny, *(chat(x, y, SAMPLED) for x, y in PAIRS)), strict=True):
        ids, start = tokens_of(tiny, x, y)
        assert arrays["tokens"].tolist() == ids[start:]
        assert said["tokens"] == len(arrays["counts_per_token"])
        at = 0
        for different in arrays["counts_per_token"].tolist():
            here = list(zip(arrays["counts"][at : at + different], arrays["ids"][at : at + different], strict=True))
            assert sum(count for count, _ in here) == 50
            assert here == sorted(here, key=lambda each: (-int(each[0]), int(each[1])))
            assert len({each for _, each in here}) == different
            at += different
        assert at == len(arrays["ids"])


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_draws_are_unbiased(tiny: Loaded, temperature: float) -> None:
    """10,000 draws at each token against the distribution: Pearson's statistic, which a shifted one would multiply."""
    truth = np.exp(exact(tiny, *tokens_of(tiny, *PAIRS[0]), temperature))
    drawn = frequencies(tiny, range(200), temperature=temperature)
    assert (drawn.sum(1) == 10_000).all()
    assert pearson(drawn, truth) < 1.15
    assert pearson(drawn, np.exp(exact(tiny, *tokens_of(tiny, *PAIRS[0]), temperature * 1.1))) > 1.5


def pearson(drawn: Any, truth: Any) -> float:
    """Chi-squared per degree of freedom over all cells that expect 5 draws or more: near 1 where both agree."""
    expected = truth * drawn.sum(1, keepdims=True)
    cells = expected >= 5
    return float(((drawn - expected) ** 2 / expected)[cells].sum() / cells.sum())


def test_the_seed_and_the_row_decide_the_draws(tiny: Loaded) -> None:
    same, again, other = (frequencies(tiny, seeds) for seeds in (range(1), range(1), range(1, 2)))
    assert (same == again).all() and (same != other).any()


# -- states and maps ---------------------------------------------------------------------------------------------------


def test_hidden_states_are_those_of_each_layer(tiny: Loaded) -> None:
    layers = [0, 2, -1, 1, -3]
    for (x, y), (said, arrays) in zip(
        PAIRS, score(tiny, *(chat(x, y, HIDDEN, layers=layers) for x, y in PAIRS)), strict=True
    ):
        ids, start = tokens_of(tiny, x, y)
        with torch.inference_mode():
            states = tiny.model(torch.tensor([ids]), output_hidden_states=True).hidden_states
        truth = torch.stack([states[layer][0, start:] for layer in layers]).numpy()
        assert arrays["hidden"].shape == (5, len(ids) - start, 32)
        assert np.abs(arrays["hidden"] - truth).max() <= 1e-4
        assert said["clipped"] == 0


def test_states_of_other_layers_are_not_kept(tiny: Loaded) -> None:
    seen: list[Any] = []
    hook = tiny.model.base_model.register_forward_hook(lambda module, given, made: seen.append(made.hidden_states))
    try:
        score(tiny, chat(*PAIRS[0], HIDDEN, layers=[1, -1]))
    finally:
        hook.remove()
    assert [layer for layer, states in enumerate(seen[0]) if states is not None] == [1, 3]


def test_pools_are_over_the_tokens_of_the_completion(tiny: Loaded) -> None:
    [(_, each)], [(_, mean)], [(_, last)] = (
        score(tiny, chat(*PAIRS[3], HIDDEN, layers=[1, 3], pool=pool)) for pool in ("none", "mean", "last")
    )
    assert mean["hidden"].shape == (2, 32)
    assert mean["hidden"] == pytest.approx(each["hidden"].mean(1), abs=1e-5)
    assert last["hidden"] == pytest.approx(each["hidden"][:, -1], abs=1e-5)


def test_states_beyond_float16_are_clipped_and_counted(tiny: Loaded) -> None:
    large = replace(tiny, model=copy.deepcopy(tiny.model))
    large.model.get_input_embeddings().weight.data *= 1e5
    [(_, wide)] = score(large, chat(*PAIRS[0], HIDDEN, layers=[0]))
    [(said, narrow)] = score(large, chat(*PAIRS[0], HIDDEN, layers=[0], dtype="float16"))
    beyond = np.abs(wide["hidden"]) > 65504
    assert said["clipped"] == beyond.sum() > 0
    assert narrow["hidden"].dtype == np.float16 and np.isfinite(narrow["hidden"]).all()
    assert (np.abs(narrow["hidden"][beyond]) == 65504).all()
    assert narrow["hidden"][~beyond] == pytest.approx(wide["hidden"][~beyond], rel=1e-3)


def test_attention_is_that_of_each_layer_and_adds_up_to_one(tiny: Loaded) -> None:
    before = tiny.model.config._attn_implementation
    found = score(tiny, *(chat(x, y, ATTENTION, layers=[1, -1]) for x, y in PAIRS))
    averaged = score(tiny, *(chat(x, y, ATTENTION, layers=[1, -1], heads="mean", dtype="float16") for x, y in PAIRS))
    assert tiny.model.config._attn_implementation == before == "sdpa"
    plain = copy.deepcopy(tiny.model)
    plain.set_attn_implementation("eager")
    for (x, y), (_, arrays), (_, mean) in zip(PAIRS, found, averaged, strict=True):
        ids, start = tokens_of(tiny, x, y)
        with torch.inference_mode():
            maps = plain(torch.tensor([ids]), output_attentions=True).attentions
        truth = torch.stack([maps[layer][0, :, start:] for layer in (0, 2)]).numpy()
        assert arrays["attention"].shape == (2, 4, len(ids) - start, len(ids))
        assert np.abs(arrays["attention"] - truth).max() <= 1e-5
        assert arrays["attention"].sum(-1) == pytest.approx(np.ones(truth.shape[:3]), abs=1e-5)
        assert mean["attention"].dtype == np.float16
        assert mean["attention"][:, 0] == pytest.approx(truth.mean(1), abs=1e-3)


def test_a_model_that_hides_its_attention_is_the_users_mistake(tiny: Loaded) -> None:
    blind = replace(tiny, model=copy.deepcopy(tiny.model))
    for module in blind.model.modules():
        if hasattr(module, "layer_idx"):
            del module.layer_idx
    row = prepared(blind, chat("Say yes.", "yes", ATTENTION))
    with pytest.raises(UsageError, match="does not give attention weights of layer 3"):
        run(blind, [row])

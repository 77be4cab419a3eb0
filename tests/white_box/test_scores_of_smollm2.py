"""Scores of a real model, the embedded SmolLM2, against transformers reading its GGUF file by itself."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

import numpy as np  # noqa: E402

from distill_data.data.arrays import decode, logprobs_of  # noqa: E402
from distill_data.teachers.loading import Loaded, load  # noqa: E402
from distill_data.teachers.protocol import Profile  # noqa: E402
from distill_data.teachers.scoring import Prepared, prepare, run  # noqa: E402
from distill_data.teachers.weights import locate  # noqa: E402

pytestmark = [pytest.mark.white_box, pytest.mark.local]

TOPK = {"of": "topk", "k": 64, "temperature": 1.0, "truncate": False, "max_length": 0}
PAIRS = [
    ("What is the capital of France?", "The capital of France is Paris."),
    ("How many legs has a spider?", "Eight."),
    ("Say hello in Chinese.", "你好！ 😊"),
    ("Add 17 and 25.", "17 + 25 = 42"),
    ("Write a function that doubles a number.", "def double(x):\n    return 2 * x"),
    ("Which day follows Monday?", "Tuesday"),
    ("Name three colours.", "Red, green and blue are three colours; there are many more between them."),
    ("Give me JSON with a yes.", '{"answer": "yes"}'),
    ("Is water wet?", " Yes\n\nand no. "),
    ("Repeat: la la la", "la la la"),
    ("What is 2 ** 10?", "1024"),
    ("Answer with one letter.", "B"),
]


@pytest.fixture(scope="module")
def smollm2() -> Loaded:
    torch.set_num_threads(1)
    return load(Profile(name="smollm2", model="transformers/smollm2"))


@pytest.fixture(scope="module")
def plain() -> tuple[Any, Any]:
    """Model and tokenizer as transformers makes them of the GGUF file, in float32."""
    path = locate("smollm2")
    tokenizer = transformers.AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    model = transformers.AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
    return model.eval(), tokenizer


def score(loaded: Loaded, **changed: Any) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    rows = [
        prepare(
            loaded,
            {
                "messages": [{"role": "user", "content": x}],
                "completion": [{"role": "assistant", "content": y}],
                "feature": {**TOPK, **changed},
            },
        )
        for x, y in PAIRS
    ]
    replies = run(loaded, [row for row in rows if isinstance(row, Prepared)])
    assert len(replies) == len(PAIRS)
    said = [orjson.loads(reply.body)["feature"] for reply in replies]
    return [(each, decode(each["arrays"], reply.blob)) for each, reply in zip(said, replies, strict=True)]


def tokens_of(tokenizer: Any, x: str, y: str) -> tuple[list[int], int]:
    """Ids up to the end of the answer's turn, and where the answer begins."""
    asked = [{"role": "user", "content": x}]
    before = tokenizer.apply_chat_template(asked, add_generation_prompt=True, tokenize=False)
    start = len(tokenizer(before, add_special_tokens=False)["input_ids"])
    return tokenizer(f"{before}{y}<|im_end|>", add_special_tokens=False)["input_ids"], start


def test_topk_equals_a_direct_forward_pass_in_float32(smollm2: Loaded, plain: tuple[Any, Any]) -> None:
    model, tokenizer = plain
    worst = 0.0
    for (x, y), (said, arrays) in zip(PAIRS, score(smollm2), strict=True):
        ids, start = tokens_of(tokenizer, x, y)
        with torch.inference_mode():
            truth = model(torch.tensor([ids])).logits[0, start - 1 : -1].double().log_softmax(-1).numpy()
        assert arrays["tokens"].tolist() == ids[start:]
        every, logprobs = np.arange(len(truth)), logprobs_of(arrays["logprobs"])
        chosen = np.maximum(truth[every, ids[start:]], -65535 / 2048)
        worst = max(worst, np.abs(logprobs - truth[every[:, None], arrays["ids"]]).max())
        worst = max(worst, np.abs(logprobs_of(arrays["chosen"]) - chosen).max())
        assert arrays["ids"][:, 0].tolist() == truth.argmax(1).tolist()
        assert np.abs(np.exp(logprobs).sum(1) + arrays["tail"] - 1).max() <= 1e-3
        tail = 1 - np.exp(-np.sort(-truth)[:, :64]).sum(1)
        assert said["tail"] == pytest.approx(tail.sum(), abs=1e-3)
    assert worst <= 1e-3


def test_its_hidden_states_survive_float16(smollm2: Loaded, plain: tuple[Any, Any]) -> None:
    model, tokenizer = plain
    ids, start = tokens_of(tokenizer, *PAIRS[0])
    with torch.inference_mode():
        states = model(torch.tensor([ids]), output_hidden_states=True).hidden_states
    truth = torch.stack([states[layer][0, start:] for layer in (0, 15, 30)]).numpy()
    feature = {"of": "hidden", "layers": [0, 15, -1], "pool": "none", "dtype": "float16"}
    said, arrays = score(smollm2, **feature)[0]
    assert said["clipped"] == 0
    assert arrays["hidden"].shape == truth.shape
    assert arrays["hidden"].astype(np.float32) == pytest.approx(truth, rel=2e-3, abs=2e-2)

"""`score` with models that run here: every number is what transformers gives by hand, one row at a time."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from distill_data.cli import main
from tests.white_box.tiny import POSITIONS, TEMPLATE, make_tiny, make_tokenizer

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytestmark = [pytest.mark.white_box, pytest.mark.usefixtures("one_thread")]

ROWS: list[dict[str, Any]] = [
    {"prompt": "How many legs has a spider?", "completion": "A spider has eight legs."},
    {"instruction": "What is the capital of France?", "input": "", "output": "Paris."},
    {"messages": [{"role": "user", "content": "12 * 12 = ?"}, {"role": "assistant", "content": "144"}]},
    {"prompt": "Say it in Chinese.", "chosen": "你好！ 😊", "rejected": "no"},
    {"question": "The quick brown fox?", "answer": "jumps over the lazy dog. " * 4},
]
PAIRS = [
    ("How many legs has a spider?", "A spider has eight legs."),
    ("What is the capital of France?", "Paris."),
    ("12 * 12 = ?", "144"),
    ("Say it in Chinese.", "你好！ 😊"),
    ("The quick brown fox?", "jumps over the lazy dog. " * 4),
]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("tiny") / "teacher")


def make_classifier(folder: Path, outputs: int, pad: bool) -> Path:
    """A reward model, or with several outputs something else."""
    tokenizer = make_tokenizer()
    torch.manual_seed(3)
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=POSITIONS, initializer_range=0.6, num_labels=outputs,
        pad_token_id=tokenizer.pad_token_id if pad else None,
    )  # fmt: skip
    model = transformers.LlamaForSequenceClassification(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def score(tmp_path: Path, rows: list[dict[str, Any]], recipe: str, model: Path, *options: str) -> Path:
    """The output of a run that ended well."""
    data, out = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(["score", str(data), "-r", recipe, "-t", f"transformers/{model}", "-o", str(out), *options]) == 0
    return out


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().split(b"\n") if line]


def chat(tokenizer: Any, x: str, y: str) -> tuple[str, str]:
    """The tiny template by hand: the prompt, and y with the token that ends its turn."""
    return f"<|im_start|>user\n{x}<|im_end|>\n<|im_start|>assistant\n", f"{y}<|im_end|>"


def mean_nats(model: Any, tokenizer: Any, x: str, y: str) -> float:
    """The loss of transformers itself over y's tokens."""
    prompt, answer = chat(tokenizer, x, y)
    head = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    ids = tokenizer(prompt + answer, add_special_tokens=False)["input_ids"]
    assert ids[: len(head)] == head
    labels = [-100] * len(head) + ids[len(head) :]
    with torch.inference_mode():
        return float(model(input_ids=torch.tensor([ids]), labels=torch.tensor([labels])).loss)


def test_perplexity_and_ifd_are_those_of_transformers(tiny: Path, tmp_path: Path) -> None:
    model = transformers.AutoModelForCausalLM.from_pretrained(tiny).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny)
    found = read(score(tmp_path, ROWS, "perplexity", tiny))
    shares = read(score(tmp_path, ROWS, "ifd", tiny, "--accept-drift"))
    for (x, y), perplexity, ifd in zip(PAIRS, found, shares, strict=True):
        with_x, alone = (mean_nats(model, tokenizer, each, y) for each in (x, ""))
        assert perplexity["perplexity"] == pytest.approx(math.exp(with_x), rel=1e-4)
        assert ifd["ifd"] == pytest.approx(with_x / alone, rel=1e-4)
    assert [[*record][:-1] for record in found] == [[*row] for row in ROWS]


def test_raw_text_is_scored_from_its_second_token_on(tiny: Path, tmp_path: Path) -> None:
    model = transformers.AutoModelForCausalLM.from_pretrained(tiny).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny)
    text = "A spider has eight legs. 你好"
    (record,) = read(score(tmp_path, [{"text": text}], "perplexity", tiny))
    ids = torch.tensor([tokenizer(text, add_special_tokens=False)["input_ids"]])
    with torch.inference_mode():
        assert record["perplexity"] == pytest.approx(math.exp(model(input_ids=ids, labels=ids).loss), rel=1e-4)


def test_an_embedding_is_the_mean_of_the_last_states(tiny: Path, tmp_path: Path) -> None:
    model = transformers.AutoModel.from_pretrained(tiny).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny)
    for record, (x, _) in zip(read(score(tmp_path, ROWS, "embedding", tiny)), PAIRS, strict=True):
        with torch.inference_mode():
            states = model(**tokenizer(x, return_tensors="pt")).last_hidden_state[0]
        vector = torch.nn.functional.normalize(states.mean(0), dim=0)
        assert record["embedding"] == pytest.approx(vector.tolist(), abs=2e-6)


def test_an_encoder_embeds_too(tmp_path: Path) -> None:
    """With positions of its own and without a language model's head, as small embedding models are."""
    tokenizer = make_tokenizer(None)
    torch.manual_seed(1)
    model = transformers.BertModel(
        transformers.BertConfig(
            vocab_size=len(tokenizer), hidden_size=24, num_hidden_layers=2, num_attention_heads=2,
            intermediate_size=32, max_position_embeddings=64,
        ),
        add_pooling_layer=False,
    ).eval()  # fmt: skip
    model.save_pretrained(tmp_path / "bert")
    tokenizer.save_pretrained(tmp_path / "bert")
    out = score(tmp_path, ROWS, "embedding", tmp_path / "bert", "--set", "on=x")
    for record, (x, _) in zip(read(out), PAIRS, strict=True):
        with torch.inference_mode():
            states = model(input_ids=torch.tensor([tokenizer(x)["input_ids"]])).last_hidden_state[0]
        assert record["embedding"] == pytest.approx(
            torch.nn.functional.normalize(states.mean(0), dim=0).tolist(), abs=2e-6
        )


@pytest.mark.parametrize("pad", [True, False])
def test_a_reward_is_what_the_classifier_says_of_the_whole_conversation(pad: bool, tmp_path: Path) -> None:
    folder = make_classifier(tmp_path / "judge", 1, pad)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    rows = [*ROWS, {**ROWS[0], "n": 2}, {"prompt": PAIRS[0][0], "completion": "A spider has nine legs."}]
    found = [record["reward"] for record in read(score(tmp_path, rows, "reward", folder))]
    for reward, (x, y) in zip(found, [*PAIRS, PAIRS[0], (PAIRS[0][0], "A spider has nine legs.")], strict=True):
        said = [{"role": "user", "content": x}, {"role": "assistant", "content": y}]
        text = tokenizer.apply_chat_template(said, tokenize=False)
        ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
        with torch.inference_mode():
            assert reward == pytest.approx(float(model(input_ids=ids).logits[0, 0]), rel=1e-4, abs=1e-5)
    assert len(set(found)) == len(PAIRS) + 1, "one row stands there twice"


def test_what_is_no_reward_model_is_refused(tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "rows.jsonl"
    data.write_text(json.dumps(ROWS[0]) + "\n")
    classifier = make_classifier(tmp_path / "classes", 3, pad=True)
    for model, words in ((tiny, "is no reward model: its weights lack"), (classifier, "has one output")):
        job = ["score", str(data), "-r", "reward", "-t", f"transformers/{model}", "-o", str(tmp_path / "o.jsonl")]
        assert main(job) == 2
        assert words in capsys.readouterr().err


def test_a_model_that_gives_no_finite_number_gives_no_score(tmp_path: Path) -> None:
    """As weights do that were cut or overflow."""
    for recipe, folder, reason in (
        ("perplexity", make_tiny(tmp_path / "tiny"), "no-number"),
        ("embedding", tmp_path / "tiny", "bad-request"),
        ("reward", make_classifier(tmp_path / "judge", 1, pad=True), "no-number"),
    ):
        architecture = transformers.AutoConfig.from_pretrained(folder).architectures[0]
        model = getattr(transformers, architecture).from_pretrained(folder)
        model.model.norm.weight.data.fill_(math.nan)
        model.save_pretrained(folder)
        place = tmp_path / recipe
        place.mkdir()
        data, out = place / "rows.jsonl", place / "out.jsonl"
        data.write_text("".join(json.dumps(row) + "\n" for row in ROWS[:2]))
        assert main(["score", str(data), "-r", recipe, "-t", f"transformers/{folder}", "-o", str(out)]) == 3
        rejects = read(place / "out.partial.rejects.jsonl")
        assert [reject["reason"] for reject in rejects] == [reason] * 2
        assert all("finite" in reject["detail"] for reject in rejects)


def test_texts_that_are_too_long_or_empty_are_told_and_cost_no_other_row(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [ROWS[0], {"prompt": "x" * 2000, "completion": "legs " * 400}, {"prompt": "Hm?", "completion": ""}]
    for recipe, reasons in (
        ("perplexity", ["too-long", "empty-completion"]),
        ("ifd", ["too-long", "empty-completion"]),
        ("embedding", ["context-length"]),
    ):
        place = tmp_path / recipe
        place.mkdir()
        out = score(place, rows, recipe, tiny, "--max-failed", "100%")
        assert [reject["reason"] for reject in read(place / "out.rejects.jsonl")] == reasons
        assert len(read(out)) == len(rows) - len(reasons)
        capsys.readouterr()
    cut = tmp_path / "cut"
    cut.mkdir()
    assert len(read(score(cut, rows, "embedding", tiny, "--set", "characters=100"))) == len(rows)


def test_the_template_by_hand_is_the_tokenizer_s() -> None:
    said = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    tokenizer = make_tokenizer(TEMPLATE)
    assert "".join(chat(tokenizer, "a", "b")) + "\n" == tokenizer.apply_chat_template(said, tokenize=False)

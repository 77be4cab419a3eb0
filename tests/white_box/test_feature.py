"""`feature` with models that run here, from the command line to the reader: every kind, averages, mistakes, limits."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distill_data.cli import main
from distill_data.data.arrays import topk_of
from distill_data.data.features import open_features
from distill_data.teachers.loading import Loaded, load
from distill_data.teachers.profiles import find_profile
from distill_data.teachers.spans import encode_pair, encode_prompt
from tests.white_box.tiny import POSITIONS, make_tiny, make_tokenizer

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.white_box

ROWS = [
    {"prompt": "How many legs has a spider?", "completion": "A spider has eight legs."},
    {"prompt": "What is the capital of France?", "completion": "Paris."},
    {"prompt": "user assistant 12 * 12 = ?", "completion": "144, because 12 * 12 = 144"},
    {"prompt": "Say it in Chinese.", "completion": "你好！ 😊"},
    {"prompt": "The quick brown fox?", "completion": "jumps over the lazy dog. " * 4},
]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield make_tiny(tmp_path_factory.mktemp("tiny") / "teacher")
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Other weights under the same tokenizer, with more ids than the tokenizer has."""
    return make_tiny(tmp_path_factory.mktemp("other") / "second", seed=1, vocab_extra=7)


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_bytes(b"".join(json.dumps(row).encode() + b"\n" for row in rows))
    return path


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().split(b"\n") if line]


def run(data: Path, recipe: str, out: Path, *models: Path | str, **settings: Any) -> int:
    chosen = [part for model in models for part in ("-t", f"transformers/{model}")]
    changed = [part for key, value in settings.items() for part in ("--set", f"{key}={json.dumps(value)}")]
    return main(["feature", str(data), "-r", recipe, "-o", str(out), *chosen, *changed])


def distributions(loaded: Loaded, row: dict[str, Any]) -> tuple[np.ndarray[Any, Any], list[int]]:
    """Log-probabilities (T, V) in float32 of one row by itself, from nothing but the model; y's ids."""
    x, y = [{"role": "user", "content": row["prompt"]}], [{"role": "assistant", "content": row["completion"]}]
    pair = encode_pair(loaded.tokenizer, x, y)
    assert pair is not None
    with torch.inference_mode():
        logits = loaded.model(input_ids=torch.tensor([pair.ids[: pair.end]])).logits[0].float()
    found = torch.log_softmax(logits[pair.start - 1 : pair.end - 1], -1).numpy()
    return found, pair.ids[pair.start : pair.end]


def opened(model: Path | str) -> Loaded:
    return load(find_profile(f"transformers/{model}", {}))


def test_an_average_is_the_mean_of_the_two_distributions(tiny: Path, other: Path, tmp_path: Path) -> None:
    data, out = write(tmp_path / "rows.jsonl", ROWS), tmp_path / "out.jsonl"
    assert run(data, "topk", out, tiny, other, k=600, weights=[3, 1]) == 0
    one, two = opened(tiny), opened(other)
    features = open_features(out)
    for row, record in zip(ROWS, read(out), strict=True):
        (first, ids), (second, _) = distributions(one, row), distributions(two, row)
        first = np.pad(first, ((0, 0), (0, second.shape[1] - first.shape[1])), constant_values=-np.inf)
        expected = 0.75 * np.exp(first) + 0.25 * np.exp(second)
        found = topk_of(features.of(record))
        assert found.tokens.tolist() == ids
        dense = np.zeros_like(expected)
        np.put_along_axis(dense, np.maximum(found.ids, 0), np.where(found.ids >= 0, np.exp(found.logprobs), 0), axis=1)
        assert np.abs(dense - expected).max() < 1e-3
        assert record["meta"]["teacher"] == f"transformers/{tiny} + transformers/{other}"
    assert main(["verify", str(out)]) == 0


def test_draws_of_two_teachers_are_shared_out(tiny: Path, other: Path, tmp_path: Path) -> None:
    data, out = write(tmp_path / "rows.jsonl", ROWS), tmp_path / "out.jsonl"
    assert run(data, "sampled", out, tiny, other, draws=9) == 0
    for record in read(out):
        arrays = open_features(out).of(record)
        assert arrays["counts"].sum() == 9 * len(arrays["tokens"])
    assert main(["verify", str(out)]) == 0


def test_teachers_with_other_tokenizers_are_refused_before_anything_is_asked(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stranger = make_tiny(tmp_path / "stranger", seed=2)
    tokenizer = make_tokenizer()
    tokenizer.add_tokens(["spider", "kettle"])  # both stand in the text that fingerprints are made of, or in rows
    tokenizer.save_pretrained(stranger)
    data, out = write(tmp_path / "rows.jsonl", ROWS), tmp_path / "out.jsonl"
    assert run(data, "topk", out, tiny, stranger) == 2
    said = capsys.readouterr().err
    assert "different tokenizers" in said
    assert "cannot be averaged" in said
    assert not out.exists()
    assert not out.with_suffix(".run").exists()


@pytest.mark.parametrize("recipe", ["hidden", "attention"])
def test_states_of_two_teachers_are_refused(
    recipe: str, tiny: Path, other: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(write(tmp_path / "rows.jsonl", ROWS), recipe, tmp_path / "out.jsonl", tiny, other) == 2
    assert "cannot be averaged" in capsys.readouterr().err


def test_states_and_maps_are_those_of_the_layers(tiny: Path, tmp_path: Path) -> None:
    data, states, maps = write(tmp_path / "rows.jsonl", ROWS), tmp_path / "states.jsonl", tmp_path / "maps.jsonl"
    assert run(data, "hidden", states, tiny, layers=[0, 1, -1], dtype="float32") == 0
    assert run(data, "attention", maps, tiny, layers=[2], heads="all", dtype="float32") == 0
    loaded = opened(tiny)
    loaded.model.set_attn_implementation("eager")
    for row, one, two in zip(ROWS, read(states), read(maps), strict=True):
        x, y = [{"role": "user", "content": row["prompt"]}], [{"role": "assistant", "content": row["completion"]}]
        pair = encode_pair(loaded.tokenizer, x, y)
        assert pair is not None
        with torch.inference_mode():
            given = torch.tensor([pair.ids[: pair.end]])
            plain = loaded.model(input_ids=given, output_hidden_states=True, output_attentions=True)
        found = open_features(states).of(one)["hidden"]
        for at, layer in enumerate((0, 1, 2)):
            expected = plain.hidden_states[layer][0, pair.start : pair.end].numpy()
            assert np.abs(found[at] - expected).max() < 1e-4
        attention = open_features(maps).of(two)["attention"]
        assert np.abs(attention[0] - plain.attentions[1][0, :, pair.start : pair.end].numpy()).max() < 1e-4
        assert one["kind"], two["kind"] == ("hidden", "attention")


def test_relations_are_cosines_of_mean_states(tiny: Path, tmp_path: Path) -> None:
    data, out, states = (tmp_path / name for name in ("rows.jsonl", "out.jsonl", "states.jsonl"))
    write(data, ROWS)
    assert run(data, "relations", out, tiny, batch=3) == 0
    assert run(data, "hidden", states, tiny, pool="mean", dtype="float32") == 0
    pooled = np.stack([open_features(states).of(each)["hidden"][0] for each in read(states)]).astype(np.float64)
    pooled /= np.linalg.norm(pooled, axis=1, keepdims=True)
    records = read(out)
    for at, record in enumerate(records):
        batch = range(3) if at < 3 else range(3, 5)
        assert record["batch"] == [records[each]["id"] for each in batch]
        found = open_features(out).of(record)["similarity"]
        assert np.abs(found - [pooled[at] @ pooled[each] for each in batch]).max() < 1e-5
    assert main(["verify", str(out)]) == 0


def test_a_text_that_is_too_long_is_rejected_or_truncated_where_that_is_asked_for(tiny: Path, tmp_path: Path) -> None:
    rows = [{"prompt": "Go on.", "completion": "word " * 2000}, ROWS[0]]
    data, out, cut = write(tmp_path / "rows.jsonl", rows), tmp_path / "out.jsonl", tmp_path / "cut.jsonl"
    assert run(data, "topk", out, tiny, k=4) == 0
    (reject,) = read(tmp_path / "out.rejects.jsonl")
    assert reject["reason"] == "too-long"
    assert str(POSITIONS) in reject["detail"]
    assert run(data, "topk", cut, tiny, k=4, truncate=True) == 0
    first, second = read(cut)
    assert json.loads(first["meta"]["details"])["truncated"] is True
    assert json.loads(second["meta"]["details"])["truncated"] is False
    assert first["features"]["tokens"] < POSITIONS
    assert main(["verify", str(cut)]) == 0


def test_an_unknown_layer_names_those_there_are_and_costs_nothing(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write(tmp_path / "rows.jsonl", ROWS)
    for recipe, settings in (("hidden", {"layers": [3]}), ("attention", {"layers": [0]}), ("relations", {"layer": -4})):
        assert run(data, recipe, tmp_path / "out.jsonl", tiny, **settings) == 2
        assert "there is no layer" in capsys.readouterr().err
        assert not (tmp_path / "out.run").exists()


def test_a_dataset_of_another_command_goes_in_as_it_is(tiny: Path, tmp_path: Path) -> None:
    written, out = tmp_path / "written.jsonl", tmp_path / "out.jsonl"
    assert main(["label", "@instructions", "-r", "answer", "-t", "echo", "--limit", "3", "-o", str(written)]) == 0
    assert run(written, "topk", out, tiny, k=4) == 0
    for seed, record in zip(read(written), read(out), strict=True):
        assert (record["prompt"], record["completion"]) == (seed["prompt"], seed["completion"])
        assert json.loads(record["meta"]["details"])["parent"] == seed["id"]


def test_what_a_teacher_says_comes_with_its_distribution(tiny: Path, tmp_path: Path) -> None:
    data, out = write(tmp_path / "rows.jsonl", ROWS), tmp_path / "out.jsonl"
    loaded = opened(tiny)
    assert run(data, "generated", out, tiny, k=5, max_tokens=400, temperature=0.9) in (0, 3)
    kept = read(out if out.exists() else tmp_path / "out.partial.jsonl")
    features = open_features(out if out.exists() else tmp_path / "out.partial.jsonl")
    assert kept, "a tiny model ends at least one of its turns"
    for record in kept:
        found, prompt = topk_of(features.of(record)), encode_prompt(loaded.tokenizer, record["prompt"])
        tokens = found.tokens.tolist()
        with torch.inference_mode():
            logits = loaded.model(input_ids=torch.tensor([[*prompt, *tokens]])).logits[0].float()
        expected = torch.log_softmax(logits[len(prompt) - 1 : -1], -1).numpy()
        assert np.abs(found.logprobs - -np.sort(-expected, axis=1)[:, :5]).max() < 2e-3
        assert np.abs(found.chosen - expected[np.arange(len(tokens)), tokens]).max() < 2e-3


@pytest.mark.local
@pytest.mark.timeout(400)
def test_two_hundred_rows_of_smollm2_equal_a_direct_forward_pass(tmp_path: Path) -> None:
    """The arrays found by id in a shuffled file, against the model by itself, row by row in float32.

    The questions are y here, as they are longer than the answers.
    """
    torch.set_num_threads(1)  # two, on cores that others use too, wait for each other: five times the work
    out, shuffled = tmp_path / "out.jsonl", tmp_path / "shuffled.jsonl"
    mapped = ["--map", "prompt=answer", "--map", "completion=question", "--limit", "200"]
    job = ["feature", "@arithmetic", "-r", "topk", "-t", "transformers/smollm2", "-o", str(out), *mapped]
    assert main(job) == 0
    records = read(out)
    assert len(records) == 200
    random.Random(5).shuffle(records)
    write(shuffled, records)
    loaded, features = opened("smollm2"), open_features(shuffled)
    worst, greedy = 0.0, 0
    for record in records:
        row = {"prompt": record["prompt"][0]["content"], "completion": record["completion"][0]["content"]}
        expected, ids = distributions(loaded, row)
        found = topk_of(features.find(record["id"]))
        assert found.tokens.tolist() == ids
        there = np.take_along_axis(expected, found.ids.astype(np.int64), axis=1)
        within = np.maximum(there, -31.9)
        worst = max(worst, float(np.abs(found.logprobs - within).max()))
        worst = max(worst, float(np.abs(found.chosen - expected[np.arange(len(ids)), ids]).max()))
        greedy += int((found.ids[:, 0] == expected.argmax(axis=1)).all())
    assert worst <= 1e-3
    assert greedy == 200
    manifest = json.loads((tmp_path / "out.manifest.json").read_bytes())["result"]["features"]
    assert manifest["bytes_per_token"] <= 300
    assert main(["verify", str(out), "--rescore", "10", "-t", "transformers/smollm2"]) == 0
    print(f"worst difference {worst:.2e} nat; {manifest['bytes_per_token']} bytes a token")


@pytest.mark.local
def test_smollm2_labels_and_extracts_through_the_command_line(tmp_path: Path) -> None:
    """Closed choices by scoring, JSON by constrained decoding, several samples of a prompt."""
    labels, facts, several = (tmp_path / name for name in ("labels.jsonl", "facts.jsonl", "several.jsonl"))
    smollm2 = ["-t", "transformers/smollm2"]
    assert main(["label", "@sentiment", "-r", "annotate", "--limit", "8", *smollm2, "-o", str(labels)]) == 0
    assert {record["answer"] for record in read(labels)} == {"positive", "negative"}
    assert main(["label", "@extraction", "-r", "extract", "--limit", "2", *smollm2, "-o", str(facts)]) in (0, 3)
    found = facts if facts.exists() else tmp_path / "facts.partial.jsonl"
    for record in read(found) if found.exists() else []:
        json.loads(record["completion"][0]["content"])
    sampled = ["-n", "3", "--limit", "1", "--set", "max_tokens=24", "--set", "temperature=1.3"]
    code = main(["label", "@instructions", "-r", "answer", *sampled, *smollm2, "-o", str(several)])
    assert code in (0, 3), "three samples that the token limit may cut"

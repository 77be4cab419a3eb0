"""Answers of a real model, the embedded SmolLM2: text, labels, JSON."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from distill_data.recipes import load_recipe
from distill_data.teachers.loading import Loaded, load
from distill_data.teachers.protocol import Profile
from distill_data.teachers.spans import encode_prompt
from tests.white_box.answers import ask, ids_of, say, text_of

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.white_box, pytest.mark.local]

SEEDS = Path(__file__).parents[2] / "seeds" / "sentiment.jsonl"


@pytest.fixture(scope="module")
def smollm2() -> Loaded:
    torch.set_num_threads(1)
    return load(Profile(name="smollm2", model="transformers/smollm2"))


def test_a_batch_says_what_transformers_says_row_by_row(smollm2: Loaded) -> None:
    questions = ("What is the capital of France?", "Count from one to five.", "Say hello in Chinese: 你好", "Hi")
    bodies = [say(question, temperature=0, max_tokens=16, logprobs=True) for question in questions]
    for body, reply in zip(bodies, ask(smollm2, *bodies), strict=True):
        prompt = torch.tensor([encode_prompt(smollm2.tokenizer, body["messages"])])
        plain = smollm2.model.generate(
            input_ids=prompt,
            attention_mask=torch.ones_like(prompt),
            do_sample=False,
            max_new_tokens=16,
            eos_token_id=sorted(smollm2.stops),
            pad_token_id=0,
        )
        assert ids_of(reply) == plain[0, prompt.shape[1] :].tolist()
    assert "Paris" in text_of(ask(smollm2, bodies[0])[0])


def test_labels_by_closed_choices_are_mostly_right(smollm2: Loaded) -> None:
    recipe = load_recipe("annotate", "label")
    rows = [json.loads(line) for line in SEEDS.read_bytes().split(b"\n") if line]
    rows = [row for row in rows if row["language"] == "en"][:24]
    names = ["positive", "negative"]
    bodies = [
        {"messages": recipe.render("main", recipe.fill(row), demonstrations=[]), "choices": names, "temperature": 0}
        for row in rows
    ]
    said = [text_of(reply) for reply in ask(smollm2, *bodies)]
    right = sum(label == row["label"] for label, row in zip(said, rows, strict=True))
    assert set(said) == set(names)
    assert right >= 20


def test_json_that_follows_its_schema(smollm2: Loaded) -> None:
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 30}, "people": {"type": "integer", "minimum": 1000}},
        "required": ["city", "people"],
        "additionalProperties": False,
    }
    question = "Name a large city and how many people live there, as JSON."
    replies = ask(smollm2, *(say(question, schema=schema, seed=seed, max_tokens=60) for seed in range(4)))
    values = [json.loads(text_of(reply)) for reply in replies]
    for value in values:
        jsonschema.validate(value, schema)
    assert len({value["city"] for value in values}) > 1

"""JSON by constrained decoding: what a random model says at temperature 1 follows the schema all the same."""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import Any

import jsonschema
import pytest

from distill_data.errors import UsageError
from distill_data.teachers.generating import prepare
from distill_data.teachers.loading import Loaded
from tests.white_box.answers import ask, ids_of, open_tiny, read, say, text_of

pytest.importorskip("llguidance")
pytestmark = pytest.mark.white_box

SCHEMA = {
    "type": "object",
    "properties": {
        "answer": {"enum": ["yes", "no"]},
        "score": {"type": "integer", "minimum": 1, "maximum": 5},
        "tags": {"type": "array", "items": {"type": "string", "maxLength": 6}, "maxItems": 3},
    },
    "required": ["answer", "score", "tags"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    return open_tiny(tmp_path_factory.mktemp("tiny"), vocab_extra=13)


def test_twenty_samples_follow_the_schema(loaded: Loaded) -> None:
    bodies = [say("Is it?", schema=SCHEMA, seed=seed, max_tokens=200) for seed in range(20)]
    replies = ask(loaded, *bodies)
    for reply in replies:
        jsonschema.validate(json.loads(text_of(reply)), SCHEMA)
        assert reply["choices"][0]["finish_reason"] == "stop"
    assert len({text_of(reply) for reply in replies}) > 15  # it is the model that speaks, not the grammar alone


def test_rows_with_and_without_a_schema_share_a_batch(loaded: Loaded) -> None:
    number = {"type": "integer", "minimum": 100, "maximum": 999}
    guided = say("How many?", schema=number, seed=3, max_tokens=20)
    free = say("How many?", seed=3, max_tokens=20)
    together = ask(loaded, guided, free, {**guided, "temperature": 0, "top_k": 1})
    assert [text_of(reply) for reply in together[:2]] == [text_of(ask(loaded, body)[0]) for body in (guided, free)]
    assert all(100 <= int(text_of(together[place])) <= 999 for place in (0, 2))
    assert not text_of(together[1]).isdigit()


def test_filters_never_take_away_all_that_the_schema_allows(loaded: Loaded) -> None:
    reply = ask(loaded, say("Go", schema={"const": "yes"}, seed=1, max_tokens=20, top_k=1, top_p=0.01, min_p=1.0))[0]
    assert text_of(reply) == '"yes"'


def test_a_limit_cuts_the_value(loaded: Loaded) -> None:
    reply = ask(loaded, say("Go", schema=SCHEMA, seed=1, max_tokens=3))[0]
    assert reply["choices"][0]["finish_reason"] == "length"
    assert reply["usage"]["completion_tokens"] == 3
    with pytest.raises(json.JSONDecodeError):
        json.loads(text_of(reply))


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "banana"}, "banana"),
        ({"$ref": "#/nowhere"}, "nowhere"),
        ({"type": "string", "pattern": "(?=x)y"}, "look-ahead"),
        ({"type": "object", "properties": {"a": 5}}, "schema"),
        (["not", "a", "schema"], "schema"),
        ({"const": {1, 2}}, "schema"),
        (0, "schema"),
    ],
)
def test_a_schema_that_cannot_be_followed_is_refused_in_words(loaded: Loaded, schema: Any, words: str) -> None:
    reply = prepare(loaded, say("Go", schema=schema))
    error = read(reply)["error"]
    assert words in error["message"] and "refused" in error["message"]


def test_keywords_that_cannot_be_enforced_are_left_to_the_parser(loaded: Loaded) -> None:
    schema = {"type": "array", "items": {"enum": [1, 2]}, "uniqueItems": True, "minItems": 2, "maxItems": 2}
    value = json.loads(text_of(ask(loaded, say("Go", schema=schema, seed=1, max_tokens=20))[0]))
    assert len(value) == 2 and set(value) <= {1, 2}


def test_an_end_that_the_grammar_only_allows_is_the_models_to_take(loaded: Loaded) -> None:
    """After 12 a number may go on; the row ends with the token that ends a turn."""
    bodies = [say("Go", schema={"type": "integer"}, seed=seed, max_tokens=30, logprobs=True) for seed in range(5)]
    replies = ask(loaded, *bodies)
    assert all(text_of(reply).lstrip("-").isdigit() for reply in replies)
    assert any(len(text_of(reply)) > 3 for reply in replies)
    for reply in replies:
        assert (ids_of(reply)[-1] in loaded.stops) == (reply["choices"][0]["finish_reason"] == "stop")


def test_a_missing_library_names_the_extra(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llguidance", None)
    with pytest.raises(UsageError, match="white-box"):
        prepare(loaded, say("Go", schema=SCHEMA))


def test_a_slow_tokenizer_is_refused(loaded: Loaded) -> None:
    slow = dataclasses.replace(loaded, tokenizer=Slow(loaded.tokenizer))
    error = read(prepare(slow, say("Go", schema=SCHEMA)))["error"]
    assert "tokenizer" in error["message"]


class Slow:
    """A tokenizer that is not one of the fast ones."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def __call__(self, *given: Any, **named: Any) -> Any:
        return self._tokenizer(*given, **named)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)

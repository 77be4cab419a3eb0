"""Soft verdicts: only a reply that is a name, and all the tokens that are this name."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_data.data.exchange import Answer
from distill_data.methods.likelihood import Likelihood, compare_names

NAMES = ("K", "F")


def place(token: str, *top: tuple[str, float]) -> dict[str, Any]:
    """One place of a reply, with the probabilities of its likeliest tokens."""
    listed = [{"token": name, "logprob": math.log(chance)} for name, chance in top]
    said = next((entry["logprob"] for entry in listed if entry["token"] == token), 0.0)
    return {"token": token, "logprob": said, "top_logprobs": listed}


def heard(text: str, content: Sequence[Any]) -> Likelihood:
    return compare_names(Answer(text, "", "stop", "judge", 1, 1, logprobs={"content": [*content]}), NAMES)


@pytest.mark.parametrize("around", ["{}", " {}", "{}\n", "'{}'", '"{}"', " \t{} "])
def test_space_and_quotes_are_no_part_of_a_name(around: str) -> None:
    found = heard(around.format("K"), [place("K", ("K", 0.6), ("F", 0.2))])
    assert found.first == pytest.approx(0.75)


@pytest.mark.parametrize(
    "text", ["K is better", "Answer K", "Not F but K", "K.", "KF", "K F", "k", "", "<think>K</think>"]
)
def test_a_reply_that_says_more_than_a_name_is_no_verdict(text: str) -> None:
    """The K of "K is worse" would otherwise be a verdict for K."""
    said = [place(token, (token, 0.6), ("F", 0.2)) for token in ("Answer", " K", " better")]
    assert heard(text, said) == Likelihood(None, "not-a-verdict")


def test_the_variants_of_a_name_are_added_up() -> None:
    found = heard("F", [place("F", ("F", 0.2), (" F", 0.2), ("K", 0.3), ("The", 0.1))])
    assert found.first == pytest.approx(0.3 / 0.7)


def test_the_token_that_was_said_is_counted_once_though_it_is_listed_too() -> None:
    assert heard("K", [place("K", ("K", 0.5), ("F", 0.5))]).first == pytest.approx(0.5)


def test_variants_of_one_name_alone_say_nothing_of_the_other() -> None:
    assert heard("K", [place("K", ("K", 0.5), (" K", 0.4))]) == Likelihood(None, "no-logprobs")


@given(st.lists(st.tuples(st.sampled_from(["K", " K", "F", '"F', "x", ""]), st.floats(1e-300, 1)), max_size=8))
def test_a_likelihood_is_a_probability(top: list[tuple[str, float]]) -> None:
    found = heard("K", [place("K", *top)])
    assert bool(found.reason) == (found.first is None)
    assert found.first is None or 0 <= found.first <= 1

"""Rows of one shape: what a reader that infers types would stumble over."""

from __future__ import annotations

from typing import Any

import pytest

from distill_data.formats.uniform import Shape

FIRST = {"prompt": [{"role": "user", "content": "a"}], "score": 1.0, "tools": [{"name": "f", "parameters": {"a": 1}}]}


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({}, ("", "")),
        ({"score": None}, ("", "")),
        ({"prompt": []}, ("", "")),
        ({"prompt": [{"role": "user", "content": "a", "name": "b"}]}, ("", "")),
        ({"prompt": [{"role": "user", "content": None}]}, ("", "")),
        ({"tools": [{"name": 1, "parameters": {"a": "b"}}]}, ("", "")),
        ({"tools": "[]"}, ("tools", "is a text, where a row before has a list")),
        ({"score": 1}, ("score", "is a whole number, where a row before has a float")),
        ({"score": True}, ("score", "is true or false, where a row before has a float")),
        ({"prompt": "a"}, ("prompt", "is a text, where a row before has a list")),
        ({"prompt": ["a"]}, ("prompt", "is a text, where a row before has an object")),
        ({"prompt": [{"content": ["a"]}]}, ("prompt.content", "is a list, where a row before has a text")),
        ({"more": 1}, ("more", "is not a column of the first row")),
    ],
)
def test_a_second_row(change: dict[str, Any], found: tuple[str, str]) -> None:
    shape = Shape()
    assert shape.differs(FIRST) == ("", "")
    place, reason = shape.differs({**FIRST, **change})
    expected, says = found
    assert place == expected
    assert reason.startswith(says) and bool(reason) is bool(says)


def test_a_column_that_is_missing() -> None:
    shape = Shape()
    shape.differs(FIRST)
    assert shape.differs({"prompt": FIRST["prompt"], "tools": []}) == ("score", "is missing, and the first row has it")


def test_within_the_first_row() -> None:
    assert Shape().differs({"scores": [1.0, 2]}) == ("scores", "is a whole number, where a row before has a float")
    assert Shape().differs({"call": {"arguments": {"a": 1}}, "calls": [{"arguments": {"a": "b"}}]}) == ("", "")

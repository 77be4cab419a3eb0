"""What is asked and answered, in every shape that rows have."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_data.data.columns import make_text, number_at, text_of, value_at, x_of, y_of
from distill_data.errors import SeedError

USER, ASSISTANT = {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}
SHAPES: list[tuple[dict[str, Any], str, str]] = [
    ({"prompt": "q", "completion": "a"}, "q", "a"),
    ({"prompt": [USER], "completion": [ASSISTANT]}, "q", "a"),
    ({"prompt": [USER], "chosen": [ASSISTANT], "rejected": [USER]}, "q", "a"),
    ({"prompt": "q", "responses": ["a", "b"], "scores": [1, 0]}, "q", "a"),
    ({"prompt": "q", "completions": ["step 1", "step 2"]}, "q", "step 1\nstep 2"),
    ({"messages": [{"role": "system", "content": "s"}, USER, ASSISTANT]}, "s\nq", "a"),
    ({"messages": [USER, ASSISTANT, {"role": "user", "content": "thanks"}]}, "q", "a"),
    ({"messages": [USER]}, "q", ""),
    ({"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}, "q", "a"),
    ({"instruction": "q", "input": "with", "output": "a"}, "q\nwith", "a"),
    ({"instruction": "q", "input": "", "output": "a"}, "q", "a"),
    ({"question": "q", "answer": 7}, "q", "7"),
    ({"anchor": "q", "positive": "a", "negative": "n"}, "q", "a"),
    ({"text": "t"}, "t", "t"),
    ({"messages": []}, "", ""),
    ({"messages": "no list"}, "", ""),
    ({"messages": [None, 1, {"role": ["assistant"]}]}, '1\n{"role":["assistant"]}', ""),
    ({"messages": [USER, {"role": "assistant", "content": None, "tool_calls": "[]"}]}, "q", ""),
    ({"prompt": None, "completion": None}, "", ""),
    ({"messages": None}, "", ""),
    ({"text": None}, "", ""),
]


@pytest.mark.parametrize(("row", "x", "y"), SHAPES)
def test_every_shape(row: dict[str, Any], x: str, y: str) -> None:
    assert (x_of(row), y_of(row)) == (x, y)


@pytest.mark.parametrize(("row", "x", "y"), SHAPES)
def test_columns_of_other_shapes_that_are_null_change_nothing(row: dict[str, Any], x: str, y: str) -> None:
    everything = dict.fromkeys(name for other, _, _ in SHAPES for name in other)
    assert (x_of({**everything, **row}), y_of({**everything, **row})) == (x, y)


def test_a_row_of_no_known_column_says_what_is_wanted() -> None:
    for read, name in ((x_of, "prompt"), (y_of, "completion")):
        with pytest.raises(SeedError, match=rf"one of {name}, .*; there are: zzz"):
            read({"zzz": 1})


def test_text_of_values() -> None:
    parts = [{"type": "text", "text": "see"}, {"type": "image_url", "image_url": {"url": "data:"}}]
    assert text_of([{"role": "user", "content": parts}, None, "", ["b", [1, True]]]) == "see\nb\n1\ntrue"
    assert text_of({"a": None}) == '{"a":null}'


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text("aé中", max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["role", "content", "from", "x"]), inner)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([name for row, _, _ in SHAPES for name in row]), JSON, min_size=1))
def test_whatever_stands_in_a_row_is_text_or_told(row: dict[str, Any]) -> None:
    for read in (x_of, y_of, make_text("x+y")):
        try:
            assert isinstance(read(row), str)
        except SeedError as error:
            assert "no column is known" in str(error)


def test_columns_inside_of_columns() -> None:
    row = {"meta": {"seed_id": "s", "n": True}, "a.b": 1, "x": "mine"}
    assert (value_at(row, "meta.seed_id"), value_at(row, "a.b"), number_at(row, "a.b")) == ("s", 1, 1.0)
    assert make_text("x+meta.seed_id")(row) == "mine\ns"
    for name in ("meta.none", "meta.seed_id.deeper", "none"):
        with pytest.raises(SeedError, match=f"no column '{name}'; there are: meta, a.b, x"):
            value_at(row, name)
    with pytest.raises(SeedError, match="holds no number, but 'True'"):
        number_at(row, "meta.n")
    for name in ("", "+", "x+"):
        with pytest.raises(SeedError, match="names no column"):
            make_text(name)

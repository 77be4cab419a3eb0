"""Held-out rows of every shape: what is asked, and what counts as right."""

from __future__ import annotations

from typing import Any

import pytest

from distill_data.errors import SeedError
from distill_data.methods.evaluating import check_held_out, usual_metric
from distill_data.methods.held_out import read_held_out

ASK = [{"role": "user", "content": "q"}]
SAY = [{"role": "assistant", "content": "a"}]
CALLED = [
    *ASK,
    {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": "{}"}}],
    },
    {"role": "tool", "content": "7"},
]


@pytest.mark.parametrize(
    ("row", "prompt", "answer", "text"),
    [
        ({"prompt": "q", "completion": "a"}, ASK, "a", "a"),
        ({"prompt": ASK, "completion": SAY, "answer": "short"}, ASK, "short", "a"),
        ({"messages": [*ASK, *SAY]}, ASK, "a", "a"),
        ({"messages": ASK, "answer": "a"}, ASK, "a", "a"),
        ({"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}, ASK, "a", "a"),
        ({"question": "q", "answer": "a"}, ASK, "a", "a"),
        ({"question": "q", "answer": 7}, ASK, "7", "7"),
        ({"question": "q", "answer": 0}, ASK, "0", "0"),
        ({"prompt": "q", "answer": 1234567.25}, ASK, "1234567.25", "1234567.25"),
        ({"prompt": "q", "answer": 4.0}, ASK, "4", "4"),
        ({"instruction": "q", "input": "", "output": "a"}, ASK, "a", "a"),
        ({"prompt": "q", "label": "yes", "completion": None}, ASK, "yes", "yes"),
        ({"prompt": "q", "completion": "a", "label": True}, ASK, "a", "a"),
        ({"prompt": "q"}, ASK, "", ""),
        ({"messages": CALLED, "answer": "a"}, CALLED, "a", "a"),
        ({"problem": "q", "solution": "so a", "answer": "a"}, ASK, "a", "so a"),
        ({"prompt": "q", "messages": [*ASK, *SAY], "answer": 7}, ASK, "7", "a"),
        ({"messages": [*ASK, *SAY], "answer": "short"}, ASK, "short", "a"),
        ({"system": "s", "prompt": "q", "answer": "a"}, [{"role": "system", "content": "s"}, *ASK], "a", "a"),
    ],
)
def test_rows_of_every_shape_are_read_alike(row: dict[str, Any], prompt: list[Any], answer: str, text: str) -> None:
    found = read_held_out(row)
    assert ([*found.prompt], found.answer, found.text) == (prompt, answer, text)
    assert found.choices == () and found.right == -1


@pytest.mark.parametrize(
    ("row", "right"),
    [
        ({"choices": ["x", "y"], "answer": "y"}, 1),
        ({"choices": ["x", "y"], "answer": " Y. "}, 1),
        ({"choices": ["x", "z"], "answer": 1}, 1),
        ({"choices": ["x", "z"], "label": "B"}, 1),
        ({"choices": '["x", "z"]', "answer": "0"}, 0),
        ({"choices": {"text": ["x", "z"], "label": ["1", "2"]}, "answerKey": "1"}, 0),
        ({"choices": ["1", "0"], "answer": "0"}, 1),
        ({"choices": ["x", "z"], "completion": "z"}, 1),
        ({"choices": [3, 4.5], "answer": 4.5}, 1),
        ({"choices": [1, 0], "answer": 0}, 1),
        ({"choices": ["8", "24", "2"], "answer": 2}, 2),
        ({"choices": ["8", "24", "2"], "answer": 1}, 1),
        ({"choices": ["24", "8", "2"], "answer": 24}, 0),
        ({"choices": ["8", "2", "24"], "answer": "2"}, 1),
        ({"choices": {"text": ["4", "3", "2", "1"], "label": ["1", "2", "3", "4"]}, "answerKey": "2"}, 1),
    ],
)
def test_the_right_choice_is_told_by_text_name_or_place(row: dict[str, Any], right: int) -> None:
    found = read_held_out({"prompt": "q", **row})
    assert found.right == right and found.answer == found.text == found.choices[right]
    assert [*found.prompt] == ASK


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"answer": "a"}, "no prompt in this row; there are: answer"),
        ({"prompt": "q", "choices": ["a"], "answer": "a"}, "at least two texts"),
        ({"prompt": "q", "choices": "a, b", "answer": "a"}, "at least two texts"),
        ({"prompt": "q", "choices": ["a", " "], "answer": "a"}, "none of them blank"),
        ({"prompt": "q", "choices": ["a", "A."], "answer": "a"}, "a text twice"),
        ({"prompt": "q", "choices": ["a", "b"]}, "nothing says which is right"),
        ({"prompt": "q", "choices": ["a", "b"], "answer": "c d"}, "'c d' is none of the choices"),
        ({"prompt": "q", "choices": ["a", "b"], "answer": 2}, "'2' is none of the choices"),
        ({"prompt": "q", "choices": ["a", None], "answer": "a"}, "at least two texts"),
        ({"prompt": "q", "choices": ["8", "2", "24"], "answer": 2}, "text of one choice and the place of another"),
        ({"prompt": "q", "completion": "a", "label": False}, "it is a bad answer"),
    ],
)
def test_what_a_row_lacks_is_said(row: dict[str, Any], said: str) -> None:
    with pytest.raises(SeedError, match=said):
        read_held_out(row)


@pytest.mark.parametrize(
    ("row", "metric", "said"),
    [
        ({"prompt": "q"}, "exact", "a right answer is wanted"),
        ({"prompt": "q"}, "perplexity", "a right answer is wanted"),
        ({"prompt": "q"}, "judge", "a right answer is wanted"),
        ({"prompt": "q", "answer": "a"}, "numeric", "'a' holds no number"),
        ({"prompt": "q", "answer": "a"}, "choice", "needs the column choices"),
    ],
)
def test_what_a_metric_needs_of_a_row_is_said(row: dict[str, Any], metric: str, said: str) -> None:
    with pytest.raises(SeedError, match=said):
        check_held_out(read_held_out(row), [metric], baseline=False)


def test_the_bytes_of_an_answer_are_those_of_its_reasoning_too() -> None:
    said = [{"role": "assistant", "reasoning_content": "茶 is tea", "content": "tea"}]
    assert read_held_out({"prompt": "q", "completion": said}).size() == 3 + 7 + 3


def test_a_judge_needs_no_right_answer_beside_a_baseline() -> None:
    check_held_out(read_held_out({"prompt": "q"}), ["judge"], baseline=True)


@pytest.mark.parametrize(
    ("rows", "metric"),
    [
        ([{"choices": ["a", "b"], "answer": 0}], "choice"),
        ([{"choices": ["a", "b"], "answer": 0}, {"answer": "yes"}], "exact"),
        ([{"answer": 7}, {"answer": "so\n#### 8"}], "numeric"),
        ([{"answer": 7}, {"answer": "eight"}], "exact"),
        ([{"completion": "positive"}], "exact"),
        ([{"completion": "A sentence of more than five words."}], "rouge-l"),
        ([{"completion": "A sentence of more than five words.", "answer": "yes"}], "exact"),
    ],
)
def test_the_usual_metric_follows_the_rows(rows: list[dict[str, Any]], metric: str) -> None:
    assert usual_metric([read_held_out({"prompt": "q", **row}) for row in rows]) == metric

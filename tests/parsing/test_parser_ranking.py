"""`ranking`: every number once, and nothing that merely looks like an order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_data.errors import ParseError
from distill_data.parsing import make_parser

PARSE = make_parser("ranking", 3)


@pytest.mark.parametrize(
    "reply",
    [
        "[3] > [1] > [2]",
        "3 > 1 > 2",
        "3>1>2",
        "3, 1, 2",
        "[3, 1, 2]",
        "[3], [1], [2]",
        "**[3] > [1] > [2].**",
        "[3] >\n[1] >\n[2]\n",
        "［３］＞［１］＞［２］",
        "3，1，2。",
        "Document 3 has it all.\nRanking: [3] > [1] > [2]",
        "排序：3 > 1 > 2",
    ],
)
def test_orders(reply: str) -> None:
    assert PARSE(reply) == {"ranking": [3, 1, 2], "text": "[3] > [1] > [2]", "best": "3"}


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("", "not-a-ranking"),
        ("3", "not-a-ranking"),
        ("3 1 2", "not-a-ranking"),
        ("3\n1\n2", "not-a-ranking"),
        ("3 > 1, 2", "not-a-ranking"),
        ("3 = 1 > 2", "not-a-ranking"),
        ("3 > 1 > 2 is my order", "not-a-ranking"),
        ("1. [3]\n2. [1]\n3. [2]", "not-a-ranking"),
        ("-1 > 2 > 3", "not-a-ranking"),
        ("3.0 > 1 > 2", "not-a-ranking"),
        ("3 > 1 > 2?", "not-a-ranking"),
        ("Ranking: 3 > 1 > 2\nI hope this helps!", "not-a-ranking"),
        ("[3] > [1] > [4]", "out-of-range"),
        ("0, 1, 2", "out-of-range"),
        ("1 > 1 > 2", "repeated"),
        ("[3] > [1] > [2] > [3]", "repeated"),
        ("[3] > [1]", "incomplete"),
        ("1, 2", "incomplete"),
    ],
)
def test_what_is_no_order(reply: str, reason: str) -> None:
    with pytest.raises(ParseError) as caught:
        PARSE(reply)
    assert caught.value.reason == reason


@given(st.integers(2, 40).flatmap(lambda count: st.permutations(range(1, count + 1))), st.sampled_from([" > ", ", "]))
def test_every_permutation_is_read_and_written_again(order: list[int], between: str) -> None:
    parse = make_parser("ranking", len(order))
    fields = parse(between.join(map(str, order)))
    assert fields["ranking"] == order and fields["best"] == str(order[0])
    assert parse(fields["text"]) == fields

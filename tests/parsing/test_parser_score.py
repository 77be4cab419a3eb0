"""`score` reads the whole number or none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_data.errors import ParseError
from distill_data.parsing import make_parser

PARSE = make_parser("score", [1, 10])


@pytest.mark.parametrize(
    ("reply", "score"),
    [
        ("10", 10.0),
        (" 8.\n", 8.0),
        ("**7.5**", 7.5),
        ("９", 9.0),
        ("8/10", 8.0),
        ("8 / 10", 8.0),
        ("It has 3 faults out of 5.\nScore: 7", 7.0),
        ("Well argued.\n\n**Score:** 8/10", 8.0),
        ("**SCORE： 6**", 6.0),
        ("评分：９", 9.0),
        ('{"score": 10}', 10.0),
        ('{"why": "has 3 faults", "Score": 4.5}', 4.5),
        ('Here:\n```json\n{"score": 2}\n```', 2.0),
    ],
)
def test_reads(reply: str, score: float) -> None:
    fields = PARSE(reply)
    assert fields == {"score": score}
    assert isinstance(fields["score"], float)


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "I give it 8",
        "8 because it is good",
        "8 9",
        "8-9",
        "8/5",
        "1,0",
        "1 0",
        "Score: 8 out of 10",
        "Score: 8\nThank you",
        "Score: high",
        "Score:",
        "8²",
        "0x8",
        "8e0",
        '{"score": "8"}',
        '{"score": true}',
        '{"score": null}',
        '{"score": 8, "Score": 9}',
        '{"rating": 8}',
        "[8]",
        "9" * 50,
    ],
)
def test_refuses(reply: str) -> None:
    with pytest.raises(ParseError) as refused:
        PARSE(reply)
    assert refused.value.reason == "not-a-score"


@pytest.mark.parametrize("reply", ["0", "11", "-1", "10.1", "Score: 0", '{"score": 1e300}', "100"])
def test_out_of_range(reply: str) -> None:
    with pytest.raises(ParseError) as refused:
        PARSE(reply)
    assert refused.value.reason == "out-of-range"


@given(st.integers(-50, 50))
def test_every_whole_number_is_itself(number: int) -> None:
    parse = make_parser("score", [-50, 50])
    for reply in (f"{number}", f"Score: {number}", f'{{"score": {number}}}', f"because of 7 things\nscore: {number}."):
        assert parse(reply) == {"score": float(number)}

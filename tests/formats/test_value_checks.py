"""JSON text inside rows: what would change on the way is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_data.errors import SeedError
from distill_data.formats.checks import read_json


@pytest.mark.parametrize(
    "text", ['{"a": 18446744073709551616}', "[-100000000000000000000]", '{"a\\"1": [1, 10000000000000000000000]}']
)
def test_an_integer_that_would_become_a_float_is_refused(text: str) -> None:
    with pytest.raises(SeedError, match="more than 64 bits; write it as a string"):
        read_json(text)


@pytest.mark.parametrize(
    "value", [18446744073709551615, "123456789012345678901234567890", 'say "100000000000000000000000', 1e300, 0.1]
)
def test_long_digits_that_are_kept_are_no_fault(value: object) -> None:
    assert read_json(json.dumps({"a": value})) == {"a": value}


def test_digits_behind_a_point_make_a_float() -> None:
    assert read_json("[0.12345678901234567890123, 1234567890123456789012.5, 1234567890123456789012e2]")


@given(st.recursive(st.integers(-(1 << 63), (1 << 64) - 1) | st.text(), st.lists))
def test_what_is_read_is_what_was_written(value: object) -> None:
    assert read_json(json.dumps(value)) == value

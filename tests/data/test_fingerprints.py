"""Fingerprints of tokenizers: what tells two of them apart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_data.data.fingerprints import PROBE, Match, matches, probe_digest

IDS = st.lists(st.integers(0, 2**31 - 1), max_size=50)


def test_the_probe_covers_what_tokenizers_differ_in() -> None:
    assert any("\u4e00" <= char <= "\u9fff" for char in PROBE)
    assert any(ord(char) > 0xFFFF for char in PROBE)
    assert "\u200d" in PROBE, "emoji that are joined from several"
    assert all(mark in PROBE for mark in ("\n    ", "\t", "99999", "**", "kettle"))


def test_the_digest_is_stable() -> None:
    assert probe_digest([1, 2, 3]) == "8a6ae15122001229", "a change of this orphans every fingerprint that is stored"


@given(IDS, IDS)
def test_equal_digests_are_equal_ids(one: list[int], other: list[int]) -> None:
    assert (probe_digest(one) == probe_digest(other)) == (one == other)
    assert len(probe_digest(one)) == 16


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (("a", 10), ("a", 10), "same"),
        (("a", 0), ("a", 10), "same"),
        (("a", 0), ("a", 0), "same"),
        (("a", 10), ("a", 16), "padded"),
        (("a", 10), ("b", 10), "mismatch"),
        (("a", 0), ("b", 0), "mismatch"),
        (("", 10), ("", 10), "mismatch"),
    ],
)
def test_what_fits(one: tuple[str, int], other: tuple[str, int], expected: Match) -> None:
    left, right = ({"name": "any", "vocab_size": size, "template": "", "probe": probe} for probe, size in (one, other))
    assert matches(left, right) == matches(right, left) == expected

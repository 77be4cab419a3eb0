"""Verifiers: right answers in any dress are right, wrong ones are not, and no text breaks them."""

from __future__ import annotations

import json
import time
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_data.errors import UsageError, VerifierFailed
from distill_data.parsing import patterns
from distill_data.quality import VERIFIERS, make_verifier
from distill_data.quality.numbers import last_number


@pytest.mark.parametrize(
    ("name", "args", "answer", "gold", "right"),
    [
        ("exact", None, " Paris\n", "Paris", True),
        ("exact", None, "paris", "Paris", False),
        ("normalised", None, "PARIS.", "Paris", True),
        ("normalised", None, "Ｎｅｗ   York！", "new york", True),
        ("normalised", None, "the Paris", "Paris", False),
        ("normalised", None, "...", "!", False),
        ("normalised", None, "", "", True),
        ("regex", "[0-9]+ (cats|dogs)", " 3 cats\n", "", True),
        ("regex", "[0-9]+ cats", "3 cats and more", "", False),
        ("regex", None, "colour", "colou?r", True),
        ("regex", None, "colors", "colou?r", False),
        ("regex", "a*", "a" * 10_000, "", True),
        ("regex", "a*", "a" * 10_001, "", False),
        ("schema", {"type": "array", "maxItems": 2}, "[1, 2]", "", True),
        ("schema", {"type": "array", "maxItems": 2}, "```json\n[1, 2, 3]\n```", "", False),
        ("schema", {"type": "array"}, "not JSON", "", False),
        ("set", None, "red, Green;blue.", "BLUE\nred\ngreen", True),
        ("set", None, '["red", "green"]', "green, red", True),
        ("set", None, "- red\n- green\n", '["green", "red", "red"]', True),
        ("set", None, "红，绿、蓝", "蓝;绿;红", True),
        ("set", None, "[1, 2.0, true]", "true, 2, 1", True),
        ("set", None, "red", "red, green", False),
        ("set", None, "red, green, blue", "red, green", False),
        ("set", None, "", "[]", True),
        ("set", None, '[{"a": 1, "b": 2}]', '[{"b": 2, "a": 1}]', True),
        ("set", None, "-5, 3", "3, -5", True),
        ("set", None, "-5, 3", "3, 5", False),
        ("json", None, '{"a": 1, "b": [true]}', '{"b": [true], "a": 1.0}', True),
        ("json", None, '```json\n{"a": 1}\n```', '{"a": 1}', True),
        ("json", None, "[1, 2]", "[2, 1]", False),
        ("json", None, "[1]", "[true]", False),
        ("json", None, "1", '"1"', False),
        ("json", None, "nonsense", "nonsense", False),
    ],
)
def test_verifies(name: str, args: Any, answer: str, gold: str, right: bool) -> None:
    assert make_verifier(name, args)(answer, gold) is right


@pytest.mark.parametrize(
    ("answer", "gold", "right"),
    [
        ("The answer is 42.", "42", True),
        ("First 41, no: 42", "42", True),
        ("42 apples, then 3", "42", False),
        ("1,234,567", "1234567", True),
        ("He pays $1,234.50.", "1234.5", True),
        ("1,2", "2", True),
        ("12,34", "1234", False),
        ("-5", "5", False),
        ("−5", "-5", True),
        ("答案是-5", "-5", True),
        ("x=-$5", "-5", True),
        ("10-5", "5", True),
        ("from 3–5", "5", True),
        ("3/4", "0.75", True),
        ("\\boxed{\\frac{3}{4}}", "3/4", True),
        ("-\\dfrac{1}{2}", "-0.5", True),
        ("2 1/2 cups", "2.5", True),
        ("2½", "5/2", True),
        ("step 2 8/4", "2", True),
        ("1/3", "0.3333333", True),
        ("1/3", "0.333", False),
        ("1/0", "1", False),
        ("born 3/4/2024", "2024", True),
        ("50%", "0.5", True),
        ("50%", "50", True),
        ("0.5", "50 %", True),
        ("50%", "50 percent", True),
        ("50%", "0.5%", False),
        ("１，２３４", "1234", True),
        ("6.02 × 10^23", "6.02e23", True),
        ("6.02 \\times 10^{23}", "602000000000000000000000", True),
        ("10^6", "1,000,000", True),
        ("2^10", "10", False),
        ("10²", "2", False),
        ("20 m²", "20", True),
        ("20 cm^2", "20", True),
        ("x^-5", "5", False),
        ("x^{5}", "5", False),
        ("x^{-5}", "5", False),
        ("H2O", "2", False),
        ("version 1.2.3", "3", False),
        ("a hundred", "100", False),
        ("5", "five", False),
        ("", "", False),
        ("1000001", "1000000", False),
        ("1000000.1", "1000000", True),
        ("9" * 5000, "9" * 5000, False),
        ("0.1 + 0.2 = 0.3", ".3", True),
        ("1e-400", "0", True),
        ("$1{,}234$", "1234", True),
        ("2 " + "so " * 5000 + "it is 1,234 in all" + ", of course" * 5000, "1234", True),
    ],
)
def test_numeric(answer: str, gold: str, right: bool) -> None:
    assert make_verifier("numeric", None)(answer, gold) is right


def test_numeric_tolerance_is_a_share_of_gold_or_absolute_below_one() -> None:
    verify = make_verifier("numeric", {"tolerance": 0.01})
    assert verify("101", "100")
    assert not verify("102", "100")
    assert verify("0.009", "0")
    assert not verify("0.02", "0")
    assert not make_verifier("numeric", {"tolerance": 0})("0.30000001", "0.3")
    assert make_verifier("numeric", {"tolerance": 0})("3/10", "0.3")


@given(
    st.integers(-(10**12), 10**12),
    st.sampled_from(["{:d}", "{:,d}", "= {:d}.", "**{:,d}**", "So it is {:d}", "({:,d})"]),
)
def test_every_whole_number_is_read(number: int, dress: str) -> None:
    found = last_number(dress.format(number))
    assert found is not None
    assert found.value == number


@given(st.decimals(-10_000, 10_000, places=4, allow_nan=False))
def test_every_decimal_is_read(number: Any) -> None:
    found = last_number(f"It weighs {number:,f} kg.")
    assert found is not None
    assert found.value == Fraction(number)


@given(st.integers(-99, 99), st.integers(1, 99))
def test_every_fraction_is_read(over: int, under: int) -> None:
    for written in (f"{over}/{under}", f"x = {over} / {under}."):
        found = last_number(written)
        assert found is not None
        assert found.value == Fraction(over, under)


PIECES = st.sampled_from(
    [*list("0123456789.,/-−^%${}()\n eExX×½²"), "\\frac{", "10^", "percent", "１", ", ", "1,000", "[", "]", '"']
)
ANY_TEXT = st.text() | st.lists(PIECES, max_size=25).map("".join)


@settings(max_examples=300, deadline=None)
@given(ANY_TEXT, ANY_TEXT)
def test_any_text_is_verified(answer: str, gold: str) -> None:
    for name, args in (
        ("exact", None),
        ("normalised", None),
        ("numeric", None),
        ("regex", "(a|b)*"),
        ("set", None),
        ("json", None),
    ):
        verify = make_verifier(name, args)
        assert verify(answer, gold) in (True, False)
        if name in ("exact", "normalised", "set"):
            assert verify(answer, answer)
            assert verify(answer, gold) == verify(gold, answer)
    found = last_number(answer)
    assert make_verifier("numeric", None)(answer, answer) is (found is not None)


@given(st.lists(st.integers(-(2**63), 2**64 - 1) | st.text("abc xyz", min_size=1)))
def test_a_set_has_no_order(entries: list[Any]) -> None:
    verify = make_verifier("set", None)
    assert verify(json.dumps(entries), json.dumps(entries[::-1] + entries))


@pytest.mark.parametrize(
    "piece",
    ["1", "1,", "1,111", "1.", "1/", "-", "$", " ", "1 ", "10^", "\\frac{", "\\frac{1}{", "½", "x10^", "[", "{,}", "%"],
)
def test_no_repeated_piece_keeps_a_verifier_busy(piece: str) -> None:
    text = (piece * 100_000)[:100_000]
    for name in ("exact", "normalised", "numeric", "set", "json"):
        began = time.process_time()
        make_verifier(name, None)(text, text)
        assert time.process_time() - began < 0.5, name


@pytest.mark.parametrize(
    ("name", "args", "says"),
    [
        ("number", None, "no verifier 'number'. Did you mean 'numeric'"),
        ("exact", 1, "verifier 'exact' takes no arguments"),
        ("numeric", {"tolerance": "1"}, "'tolerance' to be a number from 0 up"),
        ("numeric", {"tolerance": float("nan")}, "'tolerance' to be a number from 0 up"),
        ("numeric", {"tolerance": float("inf")}, "'tolerance' to be a number from 0 up"),
        ("numeric", {"tol": 1}, "Did you mean 'tolerance'"),
        ("regex", "(", r"verifier 'regex': '\(' is no pattern"),
        ("regex", 3, "needs a pattern or nothing"),
        ("schema", None, "verifier 'schema' needs a JSON schema"),
        ("schema", {"type": 3}, "the schema is broken"),
    ],
)
def test_a_wrong_argument_is_named(name: str, args: Any, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        make_verifier(name, args)


@pytest.mark.parametrize(
    ("gold", "answer", "says"),
    [
        ("[", "a", "is no pattern"),
        ("a" * 10_001, "a", "is longer than"),
        ("(a|a)*$", "a" * 50 + "b", "took longer than 0.1 s"),
    ],
)
def test_a_bad_gold_pattern_is_a_fault_of_its_own_row(
    gold: str, answer: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patterns, "SECONDS", 0.1)
    with pytest.raises(VerifierFailed, match=says):
        make_verifier("regex", None)(answer, gold)


def test_every_verifier_is_tried_here() -> None:
    """The others have a file each: test_mathematics, test_sandbox, test_imported."""
    here = {"exact", "normalised", "numeric", "regex", "schema", "set", "json"}
    assert set(VERIFIERS) == here | {"math", "tests", "function"}

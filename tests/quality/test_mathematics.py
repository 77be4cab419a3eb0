"""`math`: the same mathematics in any dress is right, other mathematics is not, and no text breaks or holds it."""

from __future__ import annotations

import asyncio
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_data.errors import UsageError, VerifierFailed
from distill_data.quality import make_verifier, mathematics
from distill_data.quality.equate import SECONDS, read_atom
from distill_data.quality.mathematics import compare_texts, final_answer
from distill_data.quality.protocol import Verify

BOMBS = ["9^{9^{9^{9^{9}}}}", r"\sum_{n=1}^{99999999999} \frac{1}{n^{n}!}!", "{" * 900, r"\sqrt" * 150 + "{2}"]
TOKENS = [*r"()[]{}^_+-*/=<>,!|&%xyzei0129", "12", "0.5", r"\frac{1}{2}", r"\sqrt", r"\le", r"\in", r"\cup", r"\pi",
          r"\infty", r"\left(", r"\right]", r"\text{a}", r"\sum_{i=1}^{9}", r"\int", r"\sin", r"\{", r"\}"]  # fmt: skip


@pytest.fixture(scope="module")
def verify() -> Verify:
    return make_verifier("math", None)


@pytest.mark.parametrize(
    ("answer", "gold", "right"),
    [
        (r"So it is \boxed{\frac{1}{2}}.", "0.5", True),
        (r"\boxed{1} at first, but then \boxed{2}", "2", True),
        (r"\boxed{1} at first, but then \boxed{2}", "1", False),
        (r"\boxed{\{1, 2\}}", "2, 1", True),
        (r"It is $x^2 - 1$.", "(x-1)(x+1)", True),
        ("x^2 + 1", "(x-1)(x+1)", False),
        (r"\frac12", "1/2", True),
        (r"2\sqrt{2}", r"\sqrt{8}", True),
        ("2√2", r"\sqrt{8}", True),
        ("2π", r"2\pi", True),
        ("x²", "x^{2}", True),
        ("∞", r"\infty", True),
        ("x = 3", "3", True),
        ("3", "x = 3", True),
        ("x = 4", "3", False),
        (r"3 \ge a", r"a \le 3", True),
        ("(1, 2]", "(1, 2)", False),
        ("(2, 1)", "(1, 2)", False),
        (r"\begin{pmatrix}1&2\end{pmatrix}", r"\begin{pmatrix}1& 2\end{pmatrix}", True),
        (r"\begin{pmatrix}2&1\end{pmatrix}", r"\begin{pmatrix}1&2\end{pmatrix}", False),
        (r"\sin^2 x + \cos^2 x", "1", True),
        (r"5\text{ cm}", "5", True),
        (r"\$5", "5", True),
        ("3!", "6", True),
        ("50\\%", "0.5", True),
        ("0.333333", "1/3", True),
        ("0.333", "1/3", False),
    ],
)
def test_equivalence(verify: Verify, answer: str, gold: str, right: bool) -> None:
    assert verify(answer, gold) is right


@pytest.mark.parametrize(
    ("answer", "gold", "verdict"),
    [
        ("1,000", "1000", True),
        ("2 1/2", "2.5", True),
        ("6.6e-34", "1.6e-19", False),
        ("10^{-20}", r"2 \cdot 10^{-20}", False),
        ("0.0000001", "0.0000002", False),
        ("12345678901234567890", "12345678901234567891", False),
        ("１２", "12", True),
        ("1/0", "2/0", False),
        ("The answer is 42.", "42", True),
        ("42 apples, and 7 pears", "42", False),
        ("no apples", "0", False),
        ("act", "cat", False),
        ("solution no", "no solution", False),
        ("No  Solution", "no solution", True),
        (r"\text{no solution}", "no solution", True),
        ("", "", False),
        ("", "1", False),
        ("x" * 2000, "x", False),
        ("x" * 2000, "x" * 2000, True),
        ("x + 1", "1 + x", None),
    ],
)
def test_what_needs_no_algebra(answer: str, gold: str, verdict: bool | None) -> None:
    assert compare_texts(final_answer(answer), final_answer(gold)) is verdict


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"\boxed{\frac{1}{2}} and more", r"\frac{1}{2}"),
        (r"\boxed{\{1\}}", r"\{1\}"),
        (r"\boxed{$5$}", "5"),
        (r"\boxed{1", "1"),
        (r"first $1$ then \(2\)", "2"),
        ("$$x$$", "x"),
        (r"\[y\]", "y"),
        (r"costs \$3 or \$4", r"costs \$3 or \$4"),
        ("$", "$"),
        (" 7. ", "7"),
    ],
)
def test_the_final_answer_of_a_text(text: str, answer: str) -> None:
    assert final_answer(text) == answer


@pytest.mark.parametrize("bomb", [BOMBS[0], *(pytest.param(bomb, marks=pytest.mark.slow) for bomb in BOMBS[1:])])
def test_a_bomb_is_wrong_in_bounded_time_and_the_next_answer_is_right(verify: Verify, bomb: str) -> None:
    started = time.monotonic()
    assert verify(bomb, "x + 2") is False
    assert time.monotonic() - started < 15 * SECONDS
    assert verify("2 + x", "x + 2") is True


def test_verdicts_come_to_many_threads_at_once(verify: Verify) -> None:
    async def ask() -> list[bool]:
        return await asyncio.gather(*(asyncio.to_thread(verify, f"x+{n}", f"{n % 2}+x") for n in range(12)))

    assert asyncio.run(ask()) == [True, True] + [False] * 10


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=40), st.lists(st.sampled_from(TOKENS), min_size=1, max_size=10).map("".join))
def test_any_text_gives_a_verdict(verify: Verify, text: str, latex: str) -> None:
    started = time.monotonic()
    assert type(verify(latex, "x+1")) is type(verify(text, latex)) is type(verify("x+1", latex)) is bool
    assert time.monotonic() - started < 15 * SECONDS


@settings(max_examples=200)
@given(st.text(max_size=200), st.text(max_size=200))
def test_texts_are_compared_without_an_error(answer: str, gold: str) -> None:
    verdict = compare_texts(final_answer(answer), final_answer(gold))
    assert verdict in (True, False, None)
    assert compare_texts(final_answer(gold), final_answer(gold)) is bool(final_answer(gold))


@given(st.fractions(max_denominator=99_999).filter(lambda size: abs(size.numerator) < 10**9), st.integers(1, 9))
def test_a_number_is_itself_and_no_other(size: object, other: int) -> None:
    assert compare_texts(f"{size}", f"{size}") is True
    assert compare_texts(f"{size}", f"{size + other}") is False  # type: ignore[operator]


def test_strings_are_never_evaluated() -> None:
    known = {"Integer": int, "Float": float, "Symbol": str, "E": 2.7}
    assert [read_atom(code, {}, known) for code in ("Integer (3 )", "Float ('0.5' )", "Symbol ('x' )", "E ")] == [
        3,
        0.5,
        "x",
        2.7,
    ]
    for code in ("__import__('os').getpid()", "Integer (3 )+Integer (4 )", "Symbol ('x' ).name", "Integer (9 )**9"):
        with pytest.raises(ValueError, match="only numbers"):
            read_atom(code, {}, known)


def test_the_library_is_asked_for_when_the_verifier_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mathematics, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'distill-data\[math\]'"):
        make_verifier("math", None)
    with pytest.raises(UsageError, match="takes no arguments"):
        make_verifier("math", {"seconds": 3})


def test_a_library_that_cannot_be_loaded_fails_the_item_and_not_the_answer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    (tmp_path / "math_verify.py").write_text("raise ImportError('half installed')")  # type: ignore[operator]
    monkeypatch.syspath_prepend(str(tmp_path))
    verify = make_verifier("math", None)
    with pytest.raises(VerifierFailed, match="could not be started"):
        verify("x + 1", "1 + x")
    assert verify("1", "1") is True

"""Mathematical equivalence: 1/2 is 0.5, and (x+1)^2 is x^2+2x+1. Knows neither who answered nor what was asked.

Plain numbers are compared here, exactly. All else goes to math-verify, which reads LaTeX into SymPy. SymPy can take for
ever and all memory for a short text, and math-verify's own time limits are signals, which work in the main thread only.
So it lives in child processes (`equate.py`) that are limited in time and memory, and started again after one ends.
"""

from __future__ import annotations

import json
import os
import queue
import re
import select
import subprocess
import sys
import weakref
from contextlib import suppress
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from distill_data.errors import UsageError, VerifierFailed
from distill_data.parsing.arguments import no_args
from distill_data.parsing.folding import narrow
from distill_data.quality.numbers import last_number
from distill_data.quality.protocol import Verify
from distill_data.quality.verifiers import normal_form

LONGEST = 1000
"""Characters of a final answer that is still compared; one that is longer is wrong unless it is the same text."""

SEARCHED = 100_000
"""Characters at the end of a text in which the final answer is looked for."""

PATIENCE = 30
"""Seconds by the clock for a verdict. The child's own limit is in processor time, so a busy machine does no harm."""

_TOLERANCE = Fraction(1, 1_000_000)
_SIGNS = {
    "√": r"\sqrt ", "∞": r"\infty ", "π": r"\pi ", "×": r"\times ", "÷": r"\div ", "·": r"\cdot ", "⋅": r"\cdot ",
    "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ", "±": r"\pm ", "∪": r"\cup ", "∩": r"\cap ", "°": r"^\circ ",
    "²": "^{2}", "³": "^{3}",
}  # fmt: skip
_WRAPPED = re.compile(r"\\\[(.+?)\\\]|\\\((.+?)\\\)|\$\$(.+?)\$\$|(?<!\\)\$([^$]+)(?<!\\)\$", re.DOTALL)
_WHOLLY_TEXT = re.compile(r"\\(?:text|mathrm|textbf|mathbf)\{([^{}\\]*)\}")
_POWER_OF_TEN = r"10\^(?:\{-?[0-9]{1,3}\}|[0-9]{1,3})"
_PLAIN = re.compile(
    rf"""
    [-+]?(?:
        (?: (?:[0-9]{{1,3}}(?:,[0-9]{{3}})+|[0-9]+)(?:\.[0-9]+)? | \.[0-9]+ )              # 1,234.5
        (?: [eE][-+]?[0-9]{{1,3}} | [ ]?(?:[×*·]|\\times|\\cdot)[ ]?{_POWER_OF_TEN} )?  # 6e23, 6 × 10^23
      | {_POWER_OF_TEN}
      | (?:[0-9]{{1,3}}[ ])?[0-9]{{1,9}}/[0-9]{{1,9}}                                    # 3/4, 2 1/2
      | \\[dt]?frac\{{[0-9]{{1,50}}\}}\{{[0-9]{{1,50}}\}}
    )
    """,
    re.VERBOSE,
)
_COMMAND = re.compile(r"\\(?:text|mathrm|textbf|mathbf|mbox|operatorname)\{[^{}]*\}|\\[A-Za-z]+(?:\{[a-z]*matrix\})?")
_FUNCTION = re.compile(r"(?:arc)?(?:sin|cos|tan|cot|sec|csc)h?|log|exp|sqrt|gcd|lcm|max|min|mod|det|frac")
_WORD = re.compile(r"[^\W\d_]{3,}")


def math(args: Any) -> Verify:
    r"""The final answers are the same mathematics: numbers, expressions, equations, sets, intervals, matrices.

    A text's final answer is in its last \boxed{}; without one in its last formula between dollar signs, \(\) or \[\];
    without one it is the whole text. Plain numbers are equal when they are the same, and within a millionth where
    either has decimals. Where gold is a plain number and the answer is words, the last number of these counts. Other
    words must be the same words. What takes more than 2 seconds or 1 GiB to compare is wrong.
    Raises UsageError where math-verify is not installed. The verifier raises VerifierFailed where it cannot be started.
    """
    no_args("verifier 'math'", args)
    if find_spec("math_verify") is None:
        raise UsageError("verifier 'math' needs math-verify. Install it with: pip install 'distill-data[math]'")
    # A place holds a child that waits for work, or None where the next one is still to be started.
    places: queue.LifoQueue[_Child | None] = queue.LifoQueue()
    for _ in range(min(4, os.cpu_count() or 1)):
        places.put(None)

    def verify(answer: str, gold: str) -> bool:
        mine, right = final_answer(answer), final_answer(gold)
        verdict = compare_texts(mine, right)
        if verdict is not None:
            return verdict
        child = places.get()
        try:
            child = child or _Child()
            equal = child.equal(_latex(mine), _latex(right))
            if equal is None:
                child = None
            return bool(equal)
        finally:
            places.put(child)

    return verify


def final_answer(text: str) -> str:
    r"""What stands in the last \boxed{}, else in the last formula, else the whole text; full-width signs narrowed."""
    text = narrow(text[-SEARCHED:]).strip()
    for command in (r"\boxed{", r"\fbox{"):
        start = text.rfind(command)
        if start >= 0:
            start += len(command)
            text = text[start : _closing(text, start)]
            break
    formulas = _WRAPPED.findall(text)
    if formulas:
        text = next(filter(None, formulas[-1]))
    whole = _WHOLLY_TEXT.fullmatch(text.strip())
    return (whole[1] if whole else text).strip().rstrip(".").strip()


def _closing(text: str, start: int) -> int:
    """Where the brace opened before `start` closes, or the text's end."""
    depth = 1
    for place in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[place], 0) if text[place - 1] != "\\" else 0
        if depth == 0:
            return place
    return len(text)


def compare_texts(mine: str, right: str) -> bool | None:
    """A verdict on two final answers that needs no algebra, or None."""
    if not mine or not right:
        return False
    if mine == right:
        return True
    if max(len(mine), len(right)) > LONGEST:
        return False
    wordy = _is_words(mine)
    if _PLAIN.fullmatch(right) and (wordy or _PLAIN.fullmatch(mine)):
        return _same_number(mine, right)
    if wordy or _is_words(right):
        return normal_form(mine) == normal_form(right)
    return None


def _is_words(text: str) -> bool:
    """Whether letters spell words and not variables, which multiply: "cat" would be "act"."""
    return any(not _FUNCTION.fullmatch(word) for word in _WORD.findall(_COMMAND.sub(" ", text)))


def _same_number(mine: str, right: str) -> bool:
    number, gold = last_number(mine), last_number(right)
    if number is None or gold is None:
        return False
    tolerance = _TOLERANCE if "." in mine + right else 0
    readings = (number.value, number.value / 100) if number.percent else (number.value,)
    return any(abs(one - gold.value) <= tolerance * max(abs(one), abs(gold.value)) for one in readings)


def _latex(text: str) -> str:
    """Signs as LaTeX, and nothing that would end the formula it is put into."""
    return "".join(_SIGNS.get(sign, sign) for sign in text).replace("\\$", "").replace("$", "")


class _Child:
    """A process that compares pairs."""

    def __init__(self) -> None:
        # The order of sets must not differ between runs. Python finds the library where this process did.
        environment = {"PYTHONHASHSEED": "0", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-P", "-X", "utf8", str(Path(__file__).with_name("equate.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env=environment,
            start_new_session=True,
        )
        self._end = weakref.finalize(self, _end, self._process)
        if self._read() != b"ready\n":
            self._end()
            raise VerifierFailed("math-verify could not be started: run `python -c 'import math_verify'` to see why")

    def equal(self, mine: str, right: str) -> bool | None:
        """The verdict, or None where the process ended over it."""
        assert self._process.stdin
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps([right, mine]).encode() + b"\n")
            reply = self._read()
            if reply:
                return reply == b"1\n"
        self._end()
        return None

    def _read(self) -> bytes:
        assert self._process.stdout
        waiting = select.poll()
        waiting.register(self._process.stdout, select.POLLIN)
        return self._process.stdout.readline() if waiting.poll(PATIENCE * 1000) else b""


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        assert pipe
        pipe.close()

"""The child process behind `math`: pairs of expressions in, verdicts out. Run by its path; knows not this package.

Reads one JSON list [gold, answer] a line and writes `1` or `0` for each, after a first line `ready`. A pair that takes
too much processor time or memory ends the process, which is how the parent learns that there is no verdict.
"""

from __future__ import annotations

import json
import logging
import re
import resource
import signal
import sys
from collections.abc import Mapping
from typing import Any

SECONDS = 2.0
"""Processor time for one pair."""

MEMORY = 1 << 30
"""Bytes of address space for the process."""

_ATOM = re.compile(
    r"(?P<kind>Integer|Float|Symbol) ?\(['\"]?(?P<text>(?<=\()[0-9]+|(?<=['\"])[\w.+-]+)['\"]? ?\) ?"
    r"|(?P<constant>E|I|pi|oo|zoo|nan) ?"
)


def main() -> None:
    """Answer until the input ends."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    logging.disable()
    from math_verify import parse, verify
    from math_verify.parser import LatexExtractionConfig
    from sympy.parsing import sympy_parser

    sympy_parser.eval_expr = read_atom
    form = [LatexExtractionConfig()]
    print_line("ready")
    for line in sys.stdin:
        # Not caught: its default is to end the process, which also stops work that never returns to Python.
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        gold, answer = (parse(f"${text}$", form, parsing_timeout=None) for text in json.loads(line))
        equal = bool(gold and answer) and verify(gold, answer, timeout_seconds=None)
        signal.setitimer(signal.ITIMER_PROF, 0)
        print_line("1" if equal else "0")


def read_atom(code: str, local: Mapping[str, Any], known: Mapping[str, Any]) -> Any:
    """In place of SymPy's `eval`, which makes an expression of a string: a number, a symbol or a constant, and no more.

    LaTeX is read by a grammar; strings are left for the atoms in it. Raises ValueError for all other code.
    """
    atom = _ATOM.fullmatch(code)
    if atom is None:
        raise ValueError("only numbers, symbols and constants are read from strings")
    if atom["constant"]:
        return known[atom["constant"]]
    text = atom["text"]
    return known[atom["kind"]](int(text) if atom["kind"] == "Integer" else text)


def print_line(text: str) -> None:
    """One line to the parent, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()

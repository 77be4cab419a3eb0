"""`ranking`: an order of numbered things, each once. Never a guess: a tie or a list within a sentence is no ranking.

Knows nothing about what is ranked.
"""

from __future__ import annotations

import re
from typing import Any

from distill_data.errors import ParseError, UsageError
from distill_data.parsing.arguments import shown
from distill_data.parsing.folding import labelled, last_line, narrow, trim
from distill_data.parsing.protocol import Fields, Parser

_LABELS = frozenset({"ranking", "order", "answer", "排序", "排名", "答案"})
_NUMBER = r"\[?([0-9]{1,6})\]?"
_ORDER = re.compile(rf"\[?{_NUMBER}(?:(?: ?> ?{_NUMBER})+|(?: ?, ?{_NUMBER})+)\]?")
_DIGITS = re.compile("[0-9]+")


def ranking(args: Any) -> Parser:
    """`{"ranking": [3, 1, 2], "text": "[3] > [1] > [2]", "best": "3"}`, best first.

    `args`: how many there are, at least 2. The reply, or what stands in its last line after `Ranking:`, is the numbers
    with `>` or with commas between them, each in brackets or not. ParseErrors: `not-a-ranking`, `out-of-range`,
    `repeated` (a number), `incomplete`.
    """
    if type(args) is not int or args < 2:
        raise UsageError(f"parser 'ranking' needs a whole number from 2 up, but the recipe gives {shown(args)}.")
    count = args

    def parse(text: str) -> Fields:
        plain = narrow(text)
        found = _ORDER.fullmatch(trim(plain)) or _ORDER.fullmatch(_after_label(plain))
        if found is None:
            raise ParseError("not-a-ranking", f"{shown(text)} is no order of the numbers 1 to {count}")
        order = [int(number) for number in _DIGITS.findall(found[0])]
        for number in order:
            if not 1 <= number <= count:
                raise ParseError("out-of-range", f"{number} is not from 1 to {count}")
        if len(set(order)) < len(order):
            raise ParseError("repeated", "a number stands twice")
        if len(order) < count:
            raise ParseError("incomplete", f"{count - len(order)} of {count} numbers are missing")
        return {"ranking": order, "text": " > ".join(f"[{number}]" for number in order), "best": str(order[0])}

    return parse


def _after_label(text: str) -> str:
    return labelled(last_line(text).casefold(), _LABELS) or ""

"""`score`: a number between two bounds, from a judge. Never the first number in a sentence, never the 1 of 10.

Knows nothing about what is scored.
"""

from __future__ import annotations

import re
from typing import Any

from distill_data.errors import ParseError, UsageError
from distill_data.parsing.arguments import shown
from distill_data.parsing.folding import labelled, last_line, narrow, trim
from distill_data.parsing.protocol import Fields, Parser
from distill_data.parsing.strict_json import read_document

_LABELS = frozenset({"score", "分数", "评分", "得分"})
_NUMBER = re.compile(r"([+-]?[0-9]{1,12}(?:\.[0-9]{1,12})?)(?: ?/ ?([0-9]{1,12}))?")


def score(args: Any) -> Parser:
    """`{"score": float}`. `args`: [low, high], two whole numbers, both allowed as scores.

    The reply is the number; or its last line is `Score: N`; or it is a JSON object with a number under `score`.
    `N/high` is N. All else is ParseError("not-a-score"), a number beyond the bounds ParseError("out-of-range").
    """
    if not isinstance(args, (list, tuple)) or len(args) != 2 or any(type(bound) is not int for bound in args):
        raise UsageError(f"parser 'score' needs [low, high], two whole numbers, but the recipe gives {shown(args)}.")
    low, high = args
    if low >= high:
        raise UsageError(f"parser 'score': the bounds [{low}, {high}] leave no room; the lower one comes first.")

    def parse(text: str) -> Fields:
        found = _number(trim(narrow(text)), high)
        if found is None:
            found = _number(labelled(narrow(last_line(text)).casefold(), _LABELS) or "", high)
        if found is None:
            found = _json_number(text)
        if found is None:
            raise ParseError("not-a-score", f"{shown(text)} is no score from {low} to {high}")
        if not low <= found <= high:
            raise ParseError("out-of-range", f"{found:g} is not from {low} to {high}")
        return {"score": found}

    return parse


def _number(text: str, high: int) -> float | None:
    match = _NUMBER.fullmatch(text)
    if match is None or (match[2] is not None and int(match[2]) != high):
        return None
    return float(match[1])


def _json_number(text: str) -> float | None:
    try:
        value = read_document(text)
    except ParseError:
        return None
    scores = [entry for key, entry in value.items() if key.casefold() == "score"] if isinstance(value, dict) else []
    if len(scores) != 1 or isinstance(scores[0], bool) or not isinstance(scores[0], (int, float)):
        return None
    return float(scores[0])

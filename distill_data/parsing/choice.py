"""`choice`: one of a closed set. Never a guess from a part of the reply: "not positive" holds "positive".

Knows nothing about what the options mean.
"""

from __future__ import annotations

from typing import Any

from distill_data.errors import ParseError, UsageError
from distill_data.parsing.arguments import shown, texts
from distill_data.parsing.folding import fold, labelled, last_line, trim
from distill_data.parsing.protocol import Fields, Parser
from distill_data.parsing.strict_json import read_document

_LABELS = frozenset({"answer", "label", "答案", "标签"})


def choice(args: Any) -> Parser:
    """`{"answer": option}`, as the recipe declares it. `args`: a list of options, or a mapping whose keys they are.

    The reply, trimmed and folded, is an option; or its last line is `Answer: X` or `Label: X`; or it is a JSON string,
    or a JSON object with exactly one text in it, that is one. All else is ParseError("not-a-choice").
    """
    options: dict[str, str] = {}
    for option in texts("parser 'choice'", args, "options"):
        key = trim(fold(option))
        if not key:
            raise UsageError(
                f"parser 'choice': the option {option!r} is nothing but punctuation and would never match."
            )
        if key in options:
            raise UsageError(f"parser 'choice': the options {options[key]!r} and {option!r} cannot be told apart.")
        options[key] = option

    def parse(text: str) -> Fields:
        key = trim(fold(text))
        if key not in options:
            key = labelled(fold(last_line(text)), _LABELS) or ""
        if key not in options:
            key = _json_text(text)
        if key not in options:
            raise ParseError("not-a-choice", f"{shown(text)} is none of {', '.join(options.values())}")
        return {"answer": options[key]}

    return parse


def _json_text(text: str) -> str:
    try:
        value = read_document(text)
    except ParseError:
        return ""
    inner = [entry for entry in value.values() if isinstance(entry, str)] if isinstance(value, dict) else [value]
    return trim(fold(inner[0])) if len(inner) == 1 and isinstance(inner[0], str) else ""

"""Foreign text inside Markdown and YAML, where nothing that it holds may be markup. Knows no card."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from distill_data.reporting.plain import plain

MARKUP = re.compile(r"([\\`*_{}\[\]<>#!|~&$@^=])")
_ITEM = re.compile(r"\A(\d*)([-+.)])")
"""What begins an item of a list."""
_TICKS = re.compile(r"`+")
_REFUSED_BY_YAML = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
"""What YAML takes for a line's end, or for no character of a text, and JSON leaves as it is."""


def one_line(text: str, most: int = 200) -> str:
    """The text on one line, white space run together, no control characters, and cut to `most` characters."""
    shown = " ".join(plain(" ".join(text.split()), one_line=True).split())
    return shown if len(shown) <= most else f"{shown[:most]}…"


def escaped(text: str) -> str:
    """As running text of a line, in which no character means anything."""
    return _ITEM.sub(r"\1\\\2", MARKUP.sub(r"\\\1", one_line(text)))


def code(text: str) -> str:
    """As a span of code on a line. Not for tables: their bars count in code too."""
    shown = one_line(text)
    ticks = "`" * (1 + _longest(shown))
    room = " " if len(ticks) > 1 else ""
    return f"{ticks}{room}{shown}{room}{ticks}" if shown else "(empty)"


def fenced(text: str, language: str = "") -> str:
    """As a block of code, between fences that are longer than any run of backticks in it."""
    shown = plain(text)
    fence = "`" * max(3, 1 + _longest(shown))
    return f"{fence}{language}\n{shown}\n{fence}"


def quoted(text: str) -> str:
    """As a double-quoted scalar of YAML, on one line, in which no character means anything."""
    whole = text.encode("utf-8", "replace").decode()
    return _REFUSED_BY_YAML.sub(_escape, json.dumps(whole, ensure_ascii=False))


_escape: Callable[[re.Match[str]], str] = lambda found: f"\\u{ord(found.group()):04x}"  # noqa: E731 - a replacement


def _longest(text: str) -> int:
    return max(map(len, _TICKS.findall(text)), default=0)

"""`list`: a numbered list to its items. Knows nothing about what they say."""

from __future__ import annotations

import re
from typing import Any

from distill_data.errors import ParseError
from distill_data.parsing.arguments import no_args, shown
from distill_data.parsing.fences import fence_of_each, split_lines
from distill_data.parsing.protocol import Fields, Parser

_MARKER = re.compile(r"(?P<indent> *)(?P<number>[0-9０-９]{1,6})(?:[.)](?=\s|$)|[．）、])\s*")


def numbered(args: Any) -> Parser:
    """`{"items": [text, …]}` from lines `1.`, `1)` or `1、`, counting up by one from any number.

    An item goes on over the lines below it up to the next number that is not indented deeper; over a blank line only
    where the text after it is indented or fenced. What stands before the list is left alone. ParseErrors: `no-list`,
    `misnumbered`, `empty` (an item), `unclosed-fence`, and `text-after-item`, where a text that is not indented follows
    a blank line, so that nobody knows whether it belongs to the item.
    """
    no_args("parser 'list'", args)
    return _parse


def _parse(text: str) -> Fields:
    lines = split_lines(text)
    fences = fence_of_each(lines)
    if fences[-1] is not None and not fences[-1].closed:
        raise ParseError("unclosed-fence", "the last fenced block is not closed")
    items: list[list[str]] = []
    indent, number, after_blank = 0, 0, False
    for line, fence in zip(lines, fences, strict=True):
        marker = None if fence else _MARKER.match(line)
        if marker and (not items or len(marker["indent"]) <= indent):
            if items and int(marker["number"]) != number + 1:
                raise ParseError("misnumbered", f"{number} is followed by {marker['number']}")
            indent, number = len(marker["indent"]), int(marker["number"])
            items.append([line[marker.end() :]])
        elif items:
            if after_blank and not fence and line.strip() and not line[0].isspace():
                raise ParseError("text-after-item", shown(line))
            items[-1].append(line)
        after_blank = not fence and not line.strip()
    if not items:
        raise ParseError("no-list", f"{shown(text)} has no numbered line")
    stripped = ["\n".join(item).strip() for item in items]
    if not all(stripped):
        raise ParseError("empty", "an item of the list is empty")
    return {"items": stripped}

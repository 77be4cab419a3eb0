"""`tags`: `<reasoning>…</reasoning><answer>…</answer>` to one field per tag. Knows no XML beyond the tags given."""

from __future__ import annotations

import re
from typing import Any

from distill_data.errors import ParseError, UsageError
from distill_data.parsing.arguments import texts
from distill_data.parsing.protocol import Fields, Parser


def tags(args: Any) -> Parser:
    """One field for each tag. `args`: the tags' names, in the order in which they come.

    Each stands exactly once, outside of the others; what stands around them, and other tags inside, is left alone.
    ParseErrors: `no-tag`, `unclosed-tag`, `repeated-tag` (also for one that closes twice), `tag-order`, `empty`.
    """
    names = tag_names(args)
    marker = re.compile(f"<(/?)({'|'.join(re.escape(name) for name in names)})>")

    def parse(text: str) -> Fields:
        found: Fields = {}
        inside, start = "", 0
        for match in marker.finditer(text):
            closing, name = bool(match[1]), match[2]
            if inside and name != inside:
                continue
            if closing is not bool(inside) or name in found:
                raise ParseError("repeated-tag", f"<{match[1]}{name}> stands twice or without its partner")
            if inside:
                found[name] = text[start : match.start()].strip()
            inside, start = ("" if inside else name), match.end()
        if inside:
            raise ParseError("unclosed-tag", f"<{inside}> has no </{inside}>")
        for name in names:
            if name not in found:
                raise ParseError("no-tag", f"there is no <{name}>")
            if not found[name]:
                raise ParseError("empty", f"<{name}> is empty")
        if tuple(found) != names:
            raise ParseError("tag-order", f"the tags come as {', '.join(found)}, not as {', '.join(names)}")
        return found

    return parse


def tag_names(args: Any) -> tuple[str, ...]:
    """The names, checked. Raises UsageError."""
    names = texts("parser 'tags'", args, "tags")
    for name in names:
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", name):
            raise UsageError(f"parser 'tags': {name!r} is no tag name; letters, digits, '_' and '-' are allowed.")
    return tuple(names)

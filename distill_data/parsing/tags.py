"""`tags`: `<reasoning>…</reasoning><answer>…</answer>` to one field per tag. Knows no XML beyond the tags given."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from distill_data.errors import ParseError, UsageError
from distill_data.parsing.arguments import look_up, shown, texts
from distill_data.parsing.choice import choice
from distill_data.parsing.plain import text as plain_text
from distill_data.parsing.protocol import Fields, Parser
from distill_data.parsing.score import score

INSIDE: dict[str, tuple[Callable[[Any], Parser], str]] = {
    "text": (plain_text, "text"),
    "choice": (choice, "answer"),
    "score": (score, "score"),
}
"""Parsers for what stands inside of a tag, with the field of theirs that becomes the tag's."""


def tags(args: Any) -> Parser:
    """One field for each tag. `args`: the tags' names, in the order in which they come; or a mapping from each to how
    its inside is read, `text`, `{choice: options}` or `{score: [low, high]}`, whose ParseErrors are then this one's.

    Each stands exactly once, outside of the others; what stands around them, and other tags inside, is left alone.
    ParseErrors: `no-tag`, `unclosed-tag`, `repeated-tag` (also for one that closes twice), `tag-order`, `empty`.
    """
    names = tag_names(args)
    insides = _insides(args) if isinstance(args, Mapping) else {}
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
        return found | {name: read(found[name]) for name, read in insides.items()}

    return parse


def _insides(args: Mapping[str, Any]) -> dict[str, Callable[[str], Any]]:
    """Tag to how its inside becomes its field's value. Raises UsageError."""
    readers: dict[str, Callable[[str], Any]] = {}
    for name, spec in args.items():
        inner, inner_args = next(iter(spec.items())) if isinstance(spec, Mapping) and len(spec) == 1 else (spec, None)
        if not isinstance(inner, str):
            raise UsageError(f"parser 'tags': <{name}> is read by one of {', '.join(INSIDE)}, not by {shown(spec)}.")
        try:
            make, field = look_up(INSIDE, inner, "way to read a tag called")
            parse = make(inner_args)
        except UsageError as error:
            raise UsageError(f"parser 'tags': <{name}>: {error}") from None
        readers[name] = _reader(name, parse, field)
    return readers


def _reader(name: str, parse: Parser, field: str) -> Callable[[str], Any]:
    def read(inside: str) -> Any:
        try:
            return parse(inside)[field]
        except ParseError as error:
            raise ParseError(error.reason, f"<{name}>: {error.detail}") from None

    return read


def tag_names(args: Any) -> tuple[str, ...]:
    """The names, checked. Raises UsageError."""
    names = texts("parser 'tags'", args, "tags")
    for name in names:
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", name):
            raise UsageError(f"parser 'tags': {name!r} is no tag name; letters, digits, '_' and '-' are allowed.")
    return tuple(names)

"""Model text to named values. Knows nothing about recipes, models and runs.

To add a parser: write a maker `name(args) -> Parser` in a file here, and add it to the two tables below.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from distill_data.errors import ParseError
from distill_data.parsing.arguments import look_up
from distill_data.parsing.choice import choice
from distill_data.parsing.numbered import numbered
from distill_data.parsing.plain import code, json_document, text
from distill_data.parsing.protocol import Fields, Parser
from distill_data.parsing.ranking import ranking
from distill_data.parsing.score import score
from distill_data.parsing.tags import tag_names, tags

__all__ = ["FIELDS", "PARSERS", "Fields", "Parser", "fields_of", "make_parser"]

PARSERS: dict[str, Callable[[Any], Parser]] = {
    "text": text,
    "choice": choice,
    "tags": tags,
    "json": json_document,
    "score": score,
    "ranking": ranking,
    "list": numbered,
    "code": code,
}
"""What a recipe's `parser:` may name, to the maker that takes its arguments."""

FIELDS: dict[str, Callable[[Any], tuple[str, ...]]] = {
    "text": lambda _: ("text",),
    "choice": lambda _: ("answer",),
    "tags": tag_names,
    "json": lambda _: ("value", "text"),
    "score": lambda _: ("score",),
    "ranking": lambda _: ("ranking", "text", "best"),
    "list": lambda _: ("items",),
    "code": lambda _: ("code", "language"),
}
"""The fields that each parser gives, in order, from its arguments."""


def make_parser(name: str, args: Any) -> Parser:
    """The parser for a recipe. Raises UsageError for an unknown name, with the nearest, and for wrong arguments.

    Whatever the parser, a text that cannot be written as UTF-8 is ParseError("not-unicode").
    """
    parse = look_up(PARSERS, name, "parser")(args)

    def parser(reply: str) -> Fields:
        try:
            reply.encode()
        except UnicodeEncodeError as error:
            raise ParseError("not-unicode", f"a lone surrogate at character {error.start}") from None
        return parse(reply)

    return parser


def fields_of(name: str, args: Any) -> tuple[str, ...]:
    """The fields that `make_parser(name, args)` gives. Raises UsageError for an unknown name or wrong tags."""
    return look_up(FIELDS, name, "parser")(args)

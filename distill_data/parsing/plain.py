"""`text`, `json` and `code`: a whole reply, a JSON document, a fenced block. Knows nothing about what they mean."""

from __future__ import annotations

from typing import Any

from distill_data.data.items import canonical
from distill_data.errors import ParseError
from distill_data.parsing.arguments import no_args, shown
from distill_data.parsing.fences import fenced_blocks
from distill_data.parsing.protocol import Fields, Parser
from distill_data.parsing.schemas import make_schema_check
from distill_data.parsing.strict_json import read_document


def text(args: Any) -> Parser:
    """`{"text": the reply without outer space}`. ParseError("empty") where nothing is left."""
    no_args("parser 'text'", args)

    def parse(reply: str) -> Fields:
        stripped = reply.strip()
        if not stripped:
            raise ParseError("empty", "the reply is empty")
        return {"text": stripped}

    return parse


def json_document(args: Any) -> Parser:
    """`{"value": parsed, "text": canonical JSON}`. `args`: a JSON schema, or nothing.

    The reply is one JSON document, or its only fenced block is. ParseErrors: `not-json`, `schema` (path and fault).
    """
    fault_in = make_schema_check("parser 'json'", args) if args is not None else None

    def parse(reply: str) -> Fields:
        value = read_document(reply)
        fault = fault_in(value) if fault_in else None
        if fault is not None:
            raise ParseError("schema", fault)
        return {"value": value, "text": canonical(value).decode()}

    return parse


def code(args: Any) -> Parser:
    """`{"code": text, "language": word or ""}` of the only fenced block; what stands around it is left alone.

    ParseErrors: `no-code`, `several-blocks`, `unclosed-fence`, `empty`.
    """
    no_args("parser 'code'", args)

    def parse(reply: str) -> Fields:
        blocks = fenced_blocks(reply)
        if not blocks:
            raise ParseError("no-code", f"{shown(reply)} has no fenced block")
        if not blocks[-1].closed:
            raise ParseError("unclosed-fence", "the last fenced block is not closed")
        if len(blocks) > 1:
            raise ParseError("several-blocks", f"{len(blocks)} fenced blocks; which one is meant is unknown")
        if not blocks[0].code.strip():
            raise ParseError("empty", "the fenced block is empty")
        return {"code": blocks[0].code, "language": blocks[0].language}

    return parse

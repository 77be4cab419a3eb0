"""What we add to Jinja's syntax: the tag `message`, and lines of tags that leave nothing behind. Knows no values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.lexer import Token, TokenStream
from jinja2.nativetypes import NativeCodeGenerator
from jinja2.parser import Parser
from jinja2.visitor import NodeTransformer

from distill_data.recipes.nearest import hint

ROLES = ("system", "user", "assistant")


class Boundary(str):
    """Where a message begins, with its role, or ends. Only a template's own tag can write one."""

    __slots__ = ("role",)
    role: str

    def __new__(cls, role: str) -> Boundary:
        made = super().__new__(cls, "")
        made.role = role
        return made


SYSTEM, USER, ASSISTANT, END = map(Boundary, (*ROLES, ""))


class MessageTag(Extension):
    """`{% message "user" %}…{% endmessage %}`: one chat message, and the only way to make one."""

    tags = {"message"}  # noqa: RUF012 - Jinja declares it as a plain set

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        if parser.stream.current.type != "string":
            parser.fail('message takes a role in quotes, as in {% message "user" %}', line)
        role = parser.stream.expect("string").value
        if role not in ROLES:
            parser.fail(f"unknown role {role}{hint(role, ROLES)}", line)
        body = parser.parse_statements(("name:endmessage",), drop_needle=True)
        call = self.call_method("message", [nodes.Const(role)])
        return nodes.CallBlock(call, [], [], body).set_lineno(line)


class FlatMessages(NodeTransformer):
    """Puts a `Boundary` before and after each message's body, once the tree is checked: a call a message costs more
    than all the rest of a render. In the blocks that have messages, what stands around these is white space, and goes.
    """

    def __init__(self, blocks: Mapping[str, bool], *, around: bool) -> None:
        """`blocks` to whether they have messages; `around`: whether the body without blocks has."""
        self.blocks, self.around = blocks, around

    def visit_Block(self, node: nodes.Block) -> nodes.Node:  # noqa: N802 - the visitor calls it so
        self.around = self.blocks[node.name]
        return self.generic_visit(node)

    def visit_Output(self, node: nodes.Output) -> nodes.Node | None:  # noqa: N802
        return None if self.around else node

    def visit_CallBlock(self, node: nodes.CallBlock) -> list[nodes.Node]:  # noqa: N802
        (role,) = node.call.args
        assert isinstance(role, nodes.Const)
        return [_boundary(role.value.upper(), node), nodes.Scope(node.body, lineno=node.lineno), _boundary("END", node)]


def _boundary(name: str, node: nodes.Node) -> nodes.Node:
    return nodes.Output([nodes.ImportedName(f"{__name__}.{name}", lineno=node.lineno)], lineno=node.lineno)


class Writer(NativeCodeGenerator):
    """Puts no call around a boundary, and no `str()` around what `finalize` gives: both are text."""

    def _output_child_pre(self, node: nodes.Expr, frame: Any, finalize: Any) -> None:
        if not isinstance(node, nodes.ImportedName):
            super()._output_child_pre(node, frame, finalize)

    def _output_child_post(self, node: nodes.Expr, frame: Any, finalize: Any) -> None:
        if not isinstance(node, nodes.ImportedName):
            super()._output_child_post(node, frame, finalize)


class TagLines(Extension):
    """A line that holds tags and comments only, with spaces around them, leaves nothing in the prompt.

    Jinja's own `trim_blocks` also joins a line that merely ends in a tag with the next one.
    """

    def filter_stream(self, stream: TokenStream) -> Iterable[Token]:
        tokens = list(stream)
        line = _Line()
        for index, token in enumerate(tokens):
            if token.type == "variable_begin":
                line.blank = False
            elif token.type == "block_begin":
                line.tagged = True
            elif token.type == "data":
                # Jinja drops comments, so two pieces of text in a row had one between them.
                line.tagged |= index > 0 and tokens[index - 1].type == "data"
                line = _text(tokens, index, line)
        _end(tokens, line)
        return (token for token in tokens if token.type != "data" or token.value)


@dataclass(slots=True)
class _Line:
    """The line that is being read: its pieces of text, whether they are white space, whether there is a tag."""

    pieces: list[int] = field(default_factory=list)
    blank: bool = True
    tagged: bool = False


def _text(tokens: list[Token], index: int, line: _Line) -> _Line:
    """Goes on over one piece of text, and returns the line that is open at its end."""
    before, feed, after = tokens[index].value.partition("\n")
    line.blank = line.blank and not before.strip(" \t")
    if not feed:
        line.pieces.append(index)
        return line
    if _end(tokens, line):
        tokens[index] = Token(tokens[index].lineno + 1, "data", after)
    tail = tokens[index].value.rpartition("\n")[2]
    return _Line([index], not tail.strip(" \t"))


def _end(tokens: list[Token], line: _Line) -> bool:
    """Takes the white space out of a line of tags; False for any other line."""
    if not (line.blank and line.tagged):
        return False
    for index in line.pieces:
        token = tokens[index]
        head, feed, _ = token.value.rpartition("\n")
        tokens[index] = Token(token.lineno, "data", head + feed)
    return True

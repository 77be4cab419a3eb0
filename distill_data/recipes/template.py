"""The body of a recipe: which syntax it may use, and how one of its blocks becomes chat messages.

Knows nothing about front matter, columns or models. Every rule is checked once, when the recipe is loaded; what can
only be seen at run time (missing values, sizes) is `sandbox`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from math import isfinite
from pathlib import Path
from typing import Any

from jinja2 import Template, TemplateError, TemplateSyntaxError, nodes
from jinja2.meta import find_undeclared_variables

from distill_data.data.exchange import Message
from distill_data.errors import RecipeError
from distill_data.recipes.nearest import hint
from distill_data.recipes.sandbox import COMPARE, FILTERS, TESTS, TURNS, WALK, Rendering, Value, assembled, sandbox
from distill_data.recipes.tags import END, USER, Boundary, FlatMessages

MAIN = "main"
"""The block that a body without blocks is."""
ENVIRONMENT = sandbox()

CONTAINERS = (nodes.List, nodes.Tuple, nodes.Dict)
SYNTAX: frozenset[type[nodes.Node]] = frozenset(
    (
        *(nodes.Template, nodes.Block, nodes.Output, nodes.TemplateData, nodes.If, nodes.For, nodes.Assign),
        *(nodes.CallBlock, nodes.ExtensionAttribute, nodes.ContextReference, nodes.Call, nodes.Keyword),
        *(nodes.Name, nodes.Const, *CONTAINERS, nodes.Pair, nodes.Getattr, nodes.Getitem, nodes.Slice),
        *(nodes.Filter, nodes.Test, nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not, nodes.CondExpr),
        *(nodes.Add, nodes.Sub, nodes.Neg, nodes.Pos),
    )
)
SIGNS: dict[type[nodes.Node], str] = {
    nodes.Mul: "operator *",
    nodes.Pow: "operator **",
    nodes.Mod: "operator %",
    nodes.Div: "operator /",
    nodes.FloorDiv: "operator //",
    nodes.Concat: "operator ~ (write {{ a }}{{ b }})",
    nodes.AssignBlock: "set … endset",
    nodes.FilterBlock: "filter … endfilter",
    nodes.FromImport: "import",
}
"""How the author wrote what `SYNTAX` lacks, where Jinja's name for it doesn't tell."""
UNNAMED = frozenset({"self", "super", "caller", "varargs", "kwargs"})

PROBLEM = 2000
"""Characters of a message about a render: keys and columns that it names may be of any length and number."""
COMPILING = (TemplateError, SyntaxError, ValueError, RecursionError, MemoryError)
RENDERING = (TemplateError, TypeError, ValueError, LookupError, ArithmeticError, RecursionError)


class Refused(Exception):
    """A rule that the template breaks, and the line where."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(problem)
        self.line = line


@dataclass(frozen=True, slots=True)
class Body:
    """A compiled template."""

    path: Path
    template: Template
    blocks: Mapping[str, bool]
    """Block name to whether it has messages of its own; a block without any is one user message."""
    names: Mapping[str, int]
    """Variables that the template reads and does not set itself, with the line of the first use."""
    keys: frozenset[str]
    """Keys that it looks up in something: `language` of `row.language`."""
    whole: frozenset[str]
    """Variables that it uses as a whole: `row` of `row|tojson`, not of `row.language`."""

    def render(self, block: str, variables: dict[str, Any]) -> list[Message]:
        """The chat messages of one block. Raises RecipeError with the line that failed."""
        if block not in self.blocks:
            raise RecipeError(f"{self.path}: there is no block {block}{hint(block, self.blocks)}")
        context = Rendering(ENVIRONMENT, {**ENVIRONMENT.globals, **variables}, self.template.name)
        root = self.template.blocks.get(block, self.template.root_render_func)
        try:
            pieces = root(context) if self.blocks[block] else chain((USER,), root(context), (END,))
            messages = split(pieces, context)
        except RENDERING as error:
            line, problem = line_of(error), str(error)
            problem = problem if len(problem) <= PROBLEM else f"{problem[:PROBLEM]}…"
            raise RecipeError(f"{self.path}:{line}: {problem}" if line else f"{self.path}: {problem}") from None
        if not messages:
            raise RecipeError(f"{self.path}: block {block} made no message for this row")
        return messages


def split(pieces: Iterable[str], context: Rendering) -> list[Message]:
    """Messages from what a render writes; around them is only white space. What came from values is paid already, the
    template's own text is paid here, before there are copies of it."""
    messages: list[Message] = []
    parts: list[str] = []
    role, unpaid = "", 0
    for piece in pieces:
        if type(piece) is Boundary:
            if unpaid:
                context.pay_for(unpaid)
            if role:
                messages.append({"role": role, "content": assembled(parts)})
            role, parts, unpaid = piece.role, [], 0
        else:
            parts.append(piece)
            if type(piece) is not Value:
                unpaid += len(piece)
    return messages


def compile_body(source: str, path: Path, line: int) -> Body:
    """Checks and compiles a body whose first line is line `line` of the file. Raises RecipeError."""
    try:
        tree = ENVIRONMENT.parse("\n" * (line - 1) + source)
        blocks = blocks_of(tree)
        check(tree, messages=blocks.get(MAIN, False), inside="")
        names = first_uses(tree)
        keys, whole = lookups(tree)
        meter(tree)
        tree = FlatMessages(blocks, around=blocks.get(MAIN, False)).visit(tree)
        tree.set_environment(ENVIRONMENT)
        code = ENVIRONMENT.compile(tree, filename=str(path))
        template = Template.from_code(ENVIRONMENT, code, ENVIRONMENT.globals)
    except Refused as error:
        raise RecipeError(f"{path}:{error.line}: {error}") from None
    except TemplateSyntaxError as error:
        raise RecipeError(f"{path}:{error.lineno}: {error.message}") from None
    except COMPILING as error:
        raise RecipeError(f"{path}: the template is nested too deeply or is not valid: {error}") from None
    return Body(path, template, blocks, names, keys, whole)


# -- rules -------------------------------------------------------------------------------------------------------------


def blocks_of(tree: nodes.Template) -> dict[str, bool]:
    """Block names, each with whether it has messages. Raises Refused for anything beside the blocks.

    A block is rendered alone, so it would not see a `set` that stands beside it, and text there would not be sent.
    """
    blocks = {node.name: has_messages(node) for node in tree.find_all(nodes.Block)}
    if not blocks:
        return {MAIN: has_messages(tree)}
    for node in tree.body:
        if isinstance(node, nodes.Assign):
            raise Refused(node.lineno, "set stands outside of the blocks, which are rendered alone and don't see it")
        if isinstance(node, nodes.Output):
            for line in stray(node):
                raise Refused(line, "this stands outside of every block, so it would not be sent")
        elif not isinstance(node, nodes.Block):
            raise Refused(node.lineno, "only blocks stand at the top of a recipe that has blocks")
    return blocks


def check(node: nodes.Node, *, messages: bool, inside: str) -> None:
    """Walks the tree. `messages`: the block around this node has any; `inside`: "", "block" or "message"."""
    check_syntax(node)
    if isinstance(node, nodes.Block):
        if inside:
            raise Refused(node.lineno, f"block {node.name} stands inside of another one")
        messages, inside = has_messages(node), "block"
    elif isinstance(node, nodes.CallBlock):
        if inside == "message":
            raise Refused(node.lineno, "a message stands inside of another one")
        inside = "message"
    elif isinstance(node, nodes.Output) and messages and inside != "message":
        for line in stray(node):
            raise Refused(line, "this stands outside of every message, so it would not be sent")
    for child in node.iter_child_nodes():
        check(child, messages=messages, inside=inside)


def check_syntax(node: nodes.Node) -> None:
    """Raises Refused unless the template language has this node."""
    if problem := refusal(node):
        raise Refused(node.lineno, problem)


def refusal(node: nodes.Node) -> str:
    """Why the template language doesn't have this node, or nothing."""
    match node:
        case _ if type(node) not in SYNTAX:
            return f"templates have no {SIGNS.get(type(node), type(node).__name__.lower())}"
        case nodes.Filter(name=name) if name not in FILTERS:
            return f"unknown filter {name}{hint(name, FILTERS)}"
        case nodes.Test(name=name) if name not in TESTS:
            return f"unknown test {name}{hint(name, TESTS)}"
        case nodes.Call(node=nodes.ExtensionAttribute() | nodes.Name(name="range")):
            return ""
        case nodes.Call():
            return "templates call nothing but range(…)"
        case nodes.CallBlock(call=nodes.Call(node=target)) if not isinstance(target, nodes.ExtensionAttribute):
            return "templates have no call … endcall"
        case nodes.Const(value=float(value)) if not isfinite(value):
            return f"a number is too large: {value}"
        case nodes.For(recursive=True):
            return "templates have no recursive loops"
        case nodes.Name(name=name) if name in UNNAMED:
            return f"templates have no {name}"
        case nodes.Tuple(ctx="store"):
            return ""
        case nodes.List() | nodes.Tuple() | nodes.Dict() if not is_constant(node):
            return "a list or mapping that is written out in a template holds constants only"
    return ""


def is_constant(node: nodes.Node) -> bool:
    inner = isinstance(node, (nodes.Const, nodes.Neg, nodes.Pair, *CONTAINERS))
    return inner and all(map(is_constant, node.iter_child_nodes()))


def has_messages(node: nodes.Node) -> bool:
    return next(node.find_all(nodes.CallBlock), None) is not None


def stray(node: nodes.Output) -> Iterator[int]:
    """The lines on which this output writes something, white space aside."""
    for part in node.nodes:
        if not isinstance(part, nodes.TemplateData):
            yield part.lineno
        elif text := part.data.lstrip():
            yield part.lineno + part.data.count("\n", 0, len(part.data) - len(text))


# -- reading the tree --------------------------------------------------------------------------------------------------


def first_uses(tree: nodes.Template) -> dict[str, int]:
    free = find_undeclared_variables(tree) - set(ENVIRONMENT.globals)
    lines: dict[str, int] = {}
    for node in tree.find_all(nodes.Name):
        if node.name in free:
            lines.setdefault(node.name, node.lineno)
    return lines


def lookups(tree: nodes.Template) -> tuple[frozenset[str], frozenset[str]]:
    """The keys that are looked up in something, and the variables that nothing is looked up in."""
    by_name: list[nodes.Getattr] = list(tree.find_all(nodes.Getattr))
    by_key: list[nodes.Getitem] = list(tree.find_all(nodes.Getitem))
    keys = {node.attr for node in by_name}
    keys |= {node.arg.value for node in by_key if isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str)}
    owners = {id(node.node) for node in by_name} | {id(node.node) for node in by_key}
    return frozenset(keys), frozenset(node.name for node in tree.find_all(nodes.Name) if id(node) not in owners)


def meter(tree: nodes.Template) -> None:
    """Makes all that takes long pay before it starts: every loop for its turns, times the size of its body and its
    condition; slices and `in` for what they look through. What is compared has no elements."""
    for loop in list(tree.find_all(nodes.For)):
        inside = [*loop.body, *([loop.test] if loop.test else [])]
        parts = sum(1 + sum(1 for _ in node.find_all(nodes.Node)) for node in inside)
        loop.iter = through(TURNS, loop.iter, nodes.Const(1 + parts))
    for item in list(tree.find_all(nodes.Getitem)):
        if isinstance(item.arg, nodes.Slice):
            item.node = through(WALK, item.node)
    for comparison in list(tree.find_all(nodes.Compare)):
        if is_cheap(comparison):
            continue
        comparison.expr = through(COMPARE, comparison.expr)
        for operand in comparison.ops:
            operand.expr = through(WALK if operand.op in ("in", "notin") else COMPARE, operand.expr)
    tree.set_environment(ENVIRONMENT)


def is_cheap(comparison: nodes.Compare) -> bool:
    """Whether it asks if something equals null, a number, true, false or the empty text, whatever that something is."""
    sides = (comparison.expr, comparison.ops[0].expr)
    small = any(isinstance(side, nodes.Const) and (side.value == "" or type(side.value) is not str) for side in sides)
    return small and len(comparison.ops) == 1 and comparison.ops[0].op in ("eq", "ne")


def through(name: str, value: nodes.Node, *arguments: nodes.Expr) -> nodes.Filter:
    assert isinstance(value, nodes.Expr)
    return nodes.Filter(value, name, list(arguments), [], None, None, lineno=value.lineno)


def line_of(error: BaseException) -> int:
    """The line of the recipe file that was running when this was raised; 0 if none was."""
    line, trace = 0, error.__traceback__
    while trace is not None:
        template = trace.tb_frame.f_globals.get("__jinja_template__")
        if template is not None:
            line = template.get_corresponding_lineno(trace.tb_lineno)
        trace = trace.tb_next
    return line

"""The rules of the house over the syntax tree of every module: a table of rules, and proof that each can fail."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LINES = 350

BELOW_METHODS = {"recipes", "parsing", "quality", "tools", "data", "errors"}
MAY_IMPORT = {
    "": set(),
    "errors": set(),
    "data": {"errors"},
    "formats": {"data", "errors"},
    "reporting": {"data", "errors"},
    "training": {"teachers", "formats", "data", "errors"},
    "recipes": {"data", "errors"},
    "parsing": {"data", "errors"},
    "quality": {"parsing", "data", "errors"},
    "tools": {"parsing", "data", "errors"},
    "methods": {"formats"} | BELOW_METHODS,
    "teachers": {"data", "errors"},
    "engine": {"teachers", "data", "errors"},
    "commands": {"methods", "engine", "formats", "reporting", "training", "teachers"} | BELOW_METHODS,
    "cli": {"commands", "reporting", "data", "errors"},
    "__main__": {"cli"},
}
"""Part of the package to the parts that it may import. Itself is always allowed, and so is the version in ""."""

HOME = {"typer": "cli", "jinja2": "recipes", "yaml": "recipes", "httptools": "teachers", "xllamacpp": "teachers"}
"""Library to the one part that may import it."""

LATE = {
    "openai",
    "pydantic",
    "jsonschema",
    "math_verify",
    "sympy",
    "rapidfuzz",
    "regex",
    "rensa",
    "pyarrow",
    "datasets",
    "huggingface_hub",
    "backports",
    "xllamacpp",
    "torch",
    "transformers",
    "trl",
    "peft",
    "ray",
    "genai_prices",
}
"""Libraries that are imported inside the function that needs them, because they take long to load."""

MAY_PRINT = {"cli", "reporting"}
CHANCE = {"time", "datetime", "secrets", "uuid"}
"""Modules that methods may not import: an answer on disk must be asked for again with the same words."""

ARRIVAL = {"as_completed", "FIRST_COMPLETED"}


@dataclass(frozen=True)
class Module:
    name: str
    path: str
    source: str

    @property
    def part(self) -> str:
        return self.name.removeprefix("distill_data").lstrip(".").partition(".")[0]

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.source)

    @property
    def package(self) -> str:
        return self.name if self.path.endswith("__init__.py") else self.name.rpartition(".")[0]


def read_modules() -> list[Module]:
    found = []
    for path in sorted((ROOT / "distill_data").rglob("*.py")):
        relative = path.relative_to(ROOT)
        parts = relative.with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found.append(Module(name, str(relative), path.read_text(encoding="utf-8")))
    return found


MODULES = read_modules()
NAMES = {module.name for module in MODULES}


def walk(node: ast.AST, at_import: bool) -> Iterator[ast.AST]:
    """Every node below; with `at_import` only those that run when the module is imported."""
    for child in ast.iter_child_nodes(node):
        late = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        typing = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
        if not (at_import and (late or typing)):
            yield child
            yield from walk(child, at_import)


def imports(module: Module, at_import: bool = False) -> Iterator[tuple[int, str]]:
    """Line and full name of everything imported; of `from a import b` it is `a.b` where that is a module, else `a`."""
    for node in walk(module.tree, at_import):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = module.package.split(".")
            prefix = above[: len(above) - node.level + 1] if node.level else []
            base = ".".join([*prefix, *([node.module] if node.module else [])])
            for alias in node.names:
                yield node.lineno, f"{base}.{alias.name}" if f"{base}.{alias.name}" in NAMES else base


def top(name: str) -> str:
    return name.partition(".")[0]


def imports_point_one_way(module: Module) -> Iterator[tuple[int, str]]:
    if module.part not in MAY_IMPORT:
        yield 1, f"the part '{module.part}' is not in the table of this test"
    for line, name in imports(module):
        part = name.removeprefix("distill_data").lstrip(".").partition(".")[0]
        if top(name) == "distill_data" and part not in {"", module.part} | MAY_IMPORT.get(module.part, set()):
            yield line, f"{module.part} imports {name}"


def libraries_have_one_home(module: Module) -> Iterator[tuple[int, str]]:
    for line, name in imports(module):
        if HOME.get(top(name), module.part) != module.part:
            yield line, f"{top(name)} belongs to {HOME[top(name)]}/"


def slow_libraries_are_imported_late(module: Module) -> Iterator[tuple[int, str]]:
    for line, name in imports(module, at_import=True):
        if top(name) in LATE:
            yield line, f"{top(name)} is imported with the module"


def only_some_print(module: Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Name) and node.id == "print" and module.part not in MAY_PRINT:
            yield node.lineno, "print"


def methods_are_deterministic(module: Module) -> Iterator[tuple[int, str]]:
    if module.part != "methods":
        return
    for line, name in imports(module):
        if top(name) in CHANCE:
            yield line, f"import of {name}"
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ImportFrom) and node.module == "random":
            yield from ((node.lineno, f"random.{alias.name}") for alias in node.names if alias.name != "Random")
        if isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, alias.name) for alias in node.names if alias.name in ARRIVAL)
        if isinstance(node, ast.Attribute):
            if isinstance(node.value, ast.Name) and node.value.id == "random" and node.attr != "Random":
                yield node.lineno, f"random.{node.attr}"
            if node.attr in ARRIVAL:
                yield node.lineno, node.attr


def files_stay_short(module: Module) -> Iterator[tuple[int, str]]:
    lines = module.source.count("\n")
    if lines > LINES:
        yield lines, f"{lines} lines, and {LINES} is the most"


def modules_have_a_docstring(module: Module) -> Iterator[tuple[int, str]]:
    if not ast.get_docstring(module.tree):
        yield 1, "no docstring"


def public_functions_are_annotated(module: Module) -> Iterator[tuple[int, str]]:
    def check(body: Iterable[ast.stmt], inside: str) -> Iterator[tuple[int, str]]:
        for node in body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                yield from check(node.body, f"{inside}{node.name}.")
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if node.name.startswith("_") and not node.name.startswith("__"):
                continue
            spec = node.args
            each = [*spec.posonlyargs, *spec.args, *spec.kwonlyargs, spec.vararg, spec.kwarg]
            bare = [arg.arg for arg in each if arg and arg.annotation is None and arg.arg not in {"self", "cls"}]
            bare += ["return"] if node.returns is None else []
            if bare:
                yield node.lineno, f"{inside}{node.name} lacks the type of {', '.join(bare)}"

    yield from check(module.tree.body, "")


def broad_handlers_raise_again(module: Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ExceptHandler):
            caught = (
                {"Exception"} if node.type is None else {n.id for n in ast.walk(node.type) if isinstance(n, ast.Name)}
            )
            raises = any(isinstance(inner, ast.Raise) for inner in ast.walk(node))
            if caught & {"Exception", "BaseException"} and not raises:
                yield node.lineno, "swallows every exception"


RUN_CODE = {"quality.harness", "quality.sandbox"}
"""Where code that a model wrote is compiled and run, shut in, after the user allowed it."""


def text_is_never_rendered(module: Module) -> Iterator[tuple[int, str]]:
    """A row's text must become no template, no format and no code, so nothing but a literal is formatted."""
    for node in ast.walk(module.tree) if module.name.removeprefix("distill_data.") not in RUN_CODE else ():
        match node:
            case ast.Call(func=ast.Name(id="eval" | "exec" | "compile" as name)):
                yield node.lineno, name
            case ast.Call(func=ast.Attribute(attr="from_string" | "format_map" as name)):
                yield node.lineno, name
            case ast.Call(func=ast.Attribute(attr="format", value=value)) if not isinstance(value, ast.Constant):
                yield node.lineno, "format of what is no literal"


Rule = Callable[[Module], Iterator[tuple[int, str]]]
RULES: dict[Rule, list[tuple[str, str]]] = {
    imports_point_one_way: [
        ("methods.x", "from distill_data.engine import journal"),
        ("methods.x", "def f():\n    import distill_data.teachers.openai"),
        ("data.x", "from ..recipes import load"),
        ("teachers.x", "from distill_data import engine"),
        ("helpers.x", ""),
    ],
    libraries_have_one_home: [
        ("commands.x", "import typer"),
        ("methods.x", "from jinja2.sandbox import ImmutableSandboxedEnvironment"),
        ("cli.x", "import yaml as y"),
        ("engine.x", "def f():\n    import httptools"),
    ],
    slow_libraries_are_imported_late: [
        ("teachers.x", "import openai"),
        ("teachers.x", "try:\n    from xllamacpp import Server\nexcept ImportError:\n    pass"),
    ],
    only_some_print: [("engine.x", "print(1)"), ("methods.x", "list(map(print, [1]))")],
    methods_are_deterministic: [
        ("methods.x", "import asyncio\nasyncio.as_completed([])"),
        ("methods.x", "from asyncio import FIRST_COMPLETED"),
        ("methods.x", "import time"),
        ("methods.x", "from datetime import datetime"),
        ("methods.x", "import random\nrandom.shuffle([])"),
        ("methods.x", "from random import choice"),
    ],
    files_stay_short: [("data.x", "x = 1\n" * (LINES + 1))],
    modules_have_a_docstring: [("data.x", "x = 1")],
    public_functions_are_annotated: [
        ("data.x", "def f(a): ..."),
        ("data.x", "async def f(a: int, *, b=1) -> None: ..."),
        ("data.x", "class C:\n    def __init__(self, *rest) -> None: ..."),
    ],
    text_is_never_rendered: [
        ("methods.x", "environment.from_string(row['x'])"),
        ("methods.x", "row['x'].format(1)"),
        ("methods.x", "x.format_map(row)"),
        ("methods.x", "eval(x)"),
    ],
    broad_handlers_raise_again: [
        ("data.x", "try:\n    pass\nexcept:\n    pass"),
        ("data.x", "try:\n    pass\nexcept (OSError, Exception) as error:\n    x = error"),
    ],
}
"""Each rule, with examples of what it must find: a module's name below the package and its text."""


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_package_keeps_the_rule(rule: Rule) -> None:
    offences = [f"{module.path}:{line}: {what}" for module in MODULES for line, what in rule(module)]
    assert not offences, "\n".join(["", *offences])


@pytest.mark.parametrize(
    ("rule", "name", "source"),
    [(rule, name, source) for rule, examples in RULES.items() for name, source in examples],
)
def test_the_rule_finds_what_breaks_it(rule: Rule, name: str, source: str) -> None:
    assert list(rule(Module(f"distill_data.{name}", f"distill_data/{name}.py", source)))


def test_modules_import_each_other_without_cycles() -> None:
    graph = {module.name: {name for _, name in imports(module, at_import=True) if name in NAMES} for module in MODULES}
    try:
        TopologicalSorter({name: targets - {name} for name, targets in graph.items()}).prepare()
    except CycleError as error:
        pytest.fail(f"modules that import each other: {' <- '.join(error.args[1])}")


def test_the_document_lists_every_module() -> None:
    document = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").partition("## Every module")[2]
    listed, folder = [], ""
    for line in document.split("\n"):
        if line.startswith("### "):
            folder = line.removeprefix("### ").strip("/")
        elif line.startswith("| `"):
            name = line.split("`")[1]
            listed.append(f"distill_data/{name}" if folder == "distill_data" else f"distill_data/{folder}/{name}")
    assert sorted(listed) == sorted(module.path for module in MODULES)


def test_the_table_itself_has_no_cycle() -> None:
    TopologicalSorter(MAY_IMPORT).prepare()
    assert "distill_data.data.seeds" in NAMES

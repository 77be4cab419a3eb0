"""The template language at run time: what a value may be, what a filter may do, and what a render may spend.

Knows nothing about recipes, nor which syntax is allowed (`template` checks that before anything runs). Together the two
keep a render bounded by construction:

- a lookup finds a key of a mapping or an element of a list, never an attribute or a method;
- no filter or operator makes text or data grow: `+` and `-` take numbers only;
- one render writes at most `CHARACTERS` and takes at most `STEPS`: what goes through a list or a text pays first;
- a value is written as it is and never rendered again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from jinja2 import Environment, StrictUndefined, Undefined, pass_context
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment

from distill_data.recipes.nearest import hint
from distill_data.recipes.tags import MessageTag, TagLines, Writer

CHARACTERS = 1 << 20
"""What one render may write, values included."""
STEPS = 1_000_000
"""Loop turns times the parts of the loop's body, and elements that are looked through, summed over one render."""
LOOP = frozenset({"index", "index0", "revindex", "revindex0", "first", "last", "length", "previtem", "nextitem"})


class Value(str):
    """Text that came from a value and not from the template: only the template's own blank lines are trimmed."""

    __slots__ = ()


class Rendering(Context):
    """One render, and what is left to spend."""

    characters = CHARACTERS
    steps = STEPS

    def __init__(self, environment: Environment, parent: dict[str, Any], name: str | None) -> None:
        """What of Jinja's own this language has a use for: that one costs as much as the rest of a short render."""
        self.environment, self.parent, self.name = environment, parent, name
        self.vars, self.exported_vars, self.blocks = {}, set(), {}

    def spend(self, text: str) -> str:
        self.pay_for(len(text))
        return text

    def pay_for(self, characters: int) -> None:
        self.characters -= characters
        if self.characters < 0:
            raise too_long()

    def pay(self, steps: int) -> None:
        self.steps -= steps
        if self.steps < 0:
            raise SecurityError(f"the loops of this prompt take more than {STEPS} steps")


def too_long() -> SecurityError:
    return SecurityError(f"the prompt is longer than {CHARACTERS} characters")


# -- values ------------------------------------------------------------------------------------------------------------


def scalar(value: Any) -> str:
    """Text as it is, numbers as Python writes them, true and false as JSON does; anything else is refused."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    if value is None:
        raise SecurityError('this value is null; write |default("…") where it may be')
    refuse_missing(value)
    raise SecurityError(f"a {type(value).__name__} is not text; write |tojson, |join or a loop")


def refuse_missing(value: Any) -> None:
    if isinstance(value, Undefined):
        str(value)  # a StrictUndefined raises here and names what is missing


def sized(value: Any) -> Any:
    """The value, if it has elements to visit."""
    refuse_missing(value)
    if isinstance(value, (Mapping, list, tuple, range, str)):
        return value
    raise SecurityError(f"a {type(value).__name__} has no elements")


@pass_context
def written(context: Rendering, value: Any) -> Value:
    """What `{{ value }}` writes."""
    text = value if type(value) is str else scalar(value)
    context.pay_for(len(text))
    return Value(text)


def assembled(parts: list[str]) -> str:
    """A message from its parts, which lose the blank lines that the template has at both ends."""
    for index, part in enumerate(parts):
        if type(part) is not Value:
            part = parts[index] = after_blank_lines(part)
        if part:
            break
    for index in range(len(parts) - 1, -1, -1):
        part = parts[index]
        if type(part) is not Value:
            part = parts[index] = before_blank_lines(part)
        if part:
            break
    return "".join(parts)


@lru_cache
def after_blank_lines(text: str) -> str:
    blank = len(text) - len(text.lstrip(" \t\n"))
    return text[text.rfind("\n", 0, blank) + 1 :]


@lru_cache
def before_blank_lines(text: str) -> str:
    end = text.find("\n", len(text.rstrip(" \t\n")))
    return text if end < 0 else text[:end]


# -- filters -----------------------------------------------------------------------------------------------------------


def of_text(change: Callable[[str], str]) -> Callable[[Rendering, Any], str]:
    @pass_context
    def changed(context: Rendering, value: Any) -> str:
        return change(context.spend(scalar(value)))  # paid first: of many spaces `trim` leaves none

    return changed


@pass_context
def join(context: Rendering, value: Any, separator: str = "") -> str:
    context.pay(len(sized(value)))
    parts, between = [scalar(part) for part in value], scalar(separator)
    if sum(map(len, parts)) + len(between) * len(parts) > CHARACTERS:
        raise too_long()
    return context.spend(between.join(parts))


@pass_context
def tojson(context: Rendering, value: Any) -> str:
    refuse_missing(value)
    return context.spend(json.dumps(value, ensure_ascii=False, allow_nan=False))


def default(value: Any, fallback: Any = "", empty: bool = False) -> Any:
    """`fallback` where the value is missing or null; with `empty`, also where it is empty, zero or false."""
    missing = isinstance(value, Undefined) or value is None
    return fallback if missing or (empty and not value) else value


def first(value: Any) -> Any:
    return next(iter(sized(value)), StrictUndefined("there is no first element"))


def last(value: Any) -> Any:
    return next(reversed(sized(value)), StrictUndefined("there is no last element"))


@pass_context
def items(context: Rendering, value: Any) -> list[tuple[Any, Any]]:
    if not isinstance(sized(value), Mapping):
        raise SecurityError(f"items takes a mapping, not a {type(value).__name__}")
    context.pay(len(value))
    return list(value.items())


def length(value: Any) -> int:
    return len(sized(value))


@pass_context
def turns(context: Rendering, value: Any, parts: int) -> Any:
    """Pays for a whole loop before it starts. `template` puts it around what every loop runs over."""
    context.pay(len(sized(value)) * parts)
    return value


@pass_context
def walk(context: Rendering, value: Any) -> Any:
    """Pays for what looks through all of a value: `template` puts it around what is sliced, and behind `in`."""
    context.pay(_long(value) if isinstance(value, str) else len(sized(value)))
    return value


def _long(text: str) -> int:
    """Steps that a copy of a text, or a look through it, counts for."""
    return len(text) >> 8


@pass_context
def compare(context: Rendering, value: Any) -> Any:
    """What may be compared: nothing with elements, which would be compared too. `template` puts it around both."""
    if isinstance(value, str):
        context.pay(_long(value))
    if isinstance(value, (Mapping, list, tuple, range)):
        raise SecurityError(f"a {type(value).__name__} is compared with nothing; look at its |length or its elements")
    return value


def even(value: Any) -> bool:
    """Of a number only: Jinja's own says `value % 2`, which for text is a format with a width of any size."""
    refuse_missing(value)
    if not isinstance(value, int):
        raise SecurityError(f"even and odd are of whole numbers, not of a {type(value).__name__}")
    return value % 2 == 0


def limited_range(*bounds: int) -> range:
    numbers = range(*bounds)
    if len(numbers) > STEPS:
        raise SecurityError(f"range gives more than {STEPS} numbers")
    return numbers


TURNS, WALK, COMPARE = "turns of a loop", "walk through", "compare with"  # names that no template can write
FILTERS: dict[str, Callable[..., Any]] = {
    "default": default,
    "first": first,
    "items": items,
    "join": join,
    "last": last,
    "length": length,
    "lower": of_text(str.lower),
    "tojson": tojson,
    "trim": of_text(str.strip),
    "upper": of_text(str.upper),
}
TESTS = ("boolean", "defined", "even", "mapping", "none", "number", "odd", "sequence", "string", "undefined")


# -- the environment ---------------------------------------------------------------------------------------------------


class Missing(StrictUndefined):
    """A key that is not there. What was meant is looked for only where somebody reads it: `default` does not."""

    __slots__ = ()

    @property
    def _undefined_message(self) -> str:
        if isinstance(self._undefined_obj, Mapping):
            where = hint(str(self._undefined_name), map(str, self._undefined_obj))
        else:
            where = f" in a {type(self._undefined_obj).__name__}"
        return f"there is no {self._undefined_name!r}{where}"


class Sandbox(ImmutableSandboxedEnvironment):
    """Jinja with everything taken away that a prompt does not need."""

    code_generator_class = Writer
    intercepted_binops = frozenset({"+", "-"})

    def getattr(self, obj: Any, attribute: str) -> Any:
        if isinstance(obj, LoopContext) and attribute in LOOP:
            return getattr(obj, attribute)
        return self.getitem(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        refuse_missing(obj)
        elements = isinstance(argument, int) and isinstance(obj, (str, list, tuple, range))
        try:
            if elements or isinstance(obj, Mapping):
                return obj[argument]
        except LookupError:
            pass
        return Missing(obj=obj, name=argument)

    def is_safe_callable(self, obj: Any) -> bool:
        return obj is limited_range

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if not (isinstance(left, (int, float)) and isinstance(right, (int, float))):
            raise SecurityError(f"{operator} takes numbers; to join texts, write {{{{ a }}}}{{{{ b }}}}")
        return super().call_binop(context, operator, left, right)


def sandbox() -> Sandbox:
    environment = Sandbox(
        undefined=StrictUndefined,
        autoescape=False,  # a prompt is text for a model, not HTML
        keep_trailing_newline=True,
        finalize=written,
        extensions=[MessageTag, TagLines],
    )
    environment.globals = {"range": limited_range}
    environment.filters = {**FILTERS, TURNS: turns, WALK: walk, COMPARE: compare}
    tests = {**environment.tests, "even": even, "odd": lambda value: not even(value)}
    environment.tests = {name: tests[name] for name in TESTS}
    return environment

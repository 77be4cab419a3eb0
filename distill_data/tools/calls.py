"""Calls: read from what a model wrote, checked against specifications, and run where the function is one of ours.

A model's text never becomes code: there is no eval, no import by name, no file and no network. A call names a key of
`TOOLS`, its arguments are JSON, and the function checks each of them again before it works.

How time and memory are capped: by construction. Every argument has a largest size (an expression 200 characters, a text
2,000, a list 100 numbers, a number 10^15, an exponent 16, a result 8,192), and every function is at most n log n in
those. So no deadline, thread or child process is needed around a call, and the same call always ends in the same way,
which a clock could not promise. A test runs the largest arguments under a hard limit of processor time.

Knows no model and no chat.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from distill_data.data.items import canonical
from distill_data.errors import ParseError
from distill_data.parsing.arguments import shown
from distill_data.tools import dates, numbers, words
from distill_data.tools.bounds import refuse
from distill_data.tools.specs import Spec

TOOLS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "calculate": numbers.calculate,
        "convert_units": numbers.convert_units,
        "currency_convert": numbers.currency_convert,
        "compound_interest": numbers.compound_interest,
        "summarize_numbers": numbers.summarize_numbers,
        "sort_numbers": numbers.sort_numbers,
        "add_days": dates.add_days,
        "days_between": dates.days_between,
        "is_leap_year": dates.is_leap_year,
        "word_count": words.word_count,
        "text_replace": words.text_replace,
        "lookup_country_capital": words.lookup_country_capital,
    }
)
"""The functions that may be run, by the name that a call gives. Pure, total and bounded; nothing else is ever run."""

CALLS_LIMIT = 16
"""Calls in one reply."""
RESULT_LIMIT = 8_192
"""Characters of a result's JSON text."""


class Call(NamedTuple):
    """A function's name and its arguments, which are JSON values."""

    name: str
    arguments: dict[str, Any]


def read_calls(value: Any, specs: Sequence[Spec]) -> list[Call]:
    """The calls of a parsed reply, `[{"name": text, "arguments": object}, …]`, in order, each fitting its spec.

    ParseErrors: `no-calls` (an empty list), `bad-calls` (another shape, or more than 16), `unknown-function`, and
    `wrong-arguments` with the path of the fault.
    """
    if not isinstance(value, list):
        raise ParseError("bad-calls", "the calls are no list")
    if not value:
        raise ParseError("no-calls", "the list of calls is empty")
    if len(value) > CALLS_LIMIT:
        raise ParseError("bad-calls", f"{len(value)} calls, and {CALLS_LIMIT} are the most")
    by_name = {spec.name: spec for spec in specs}
    return [_read_call(entry, f"call {number}", by_name) for number, entry in enumerate(value, start=1)]


def _read_call(entry: Any, which: str, specs: Mapping[str, Spec]) -> Call:
    if not isinstance(entry, dict) or set(entry) != {"name", "arguments"}:
        raise ParseError("bad-calls", f"{which} is no object with exactly 'name' and 'arguments'")
    name, arguments = entry["name"], entry["arguments"]
    if not isinstance(name, str) or not isinstance(arguments, dict):
        raise ParseError("bad-calls", f"{which}: 'name' is no text, or 'arguments' no object")
    if name not in specs:
        raise ParseError("unknown-function", f"{which}: {shown(name)} is none of {', '.join(specs)}")
    fault = specs[name].fault_in(arguments)
    if fault is not None:
        raise ParseError("wrong-arguments", f"{which}, {name}: {fault}")
    return Call(name, arguments)


def execute(call: Call) -> str:
    """The result as canonical JSON text, at most 8,192 characters. Runs nothing but the functions of `TOOLS`.

    Raises ParseError("execution-failed") where there is no result: another function, arguments that it does not take,
    a value that it refuses, a result that is too long.
    """
    function = TOOLS.get(call.name)
    if function is None:
        raise refuse(f"{shown(call.name)} is not one of the functions that can be run: {', '.join(TOOLS)}")
    try:
        bound = inspect.signature(function).bind(**call.arguments)
    except TypeError as error:
        raise refuse(f"{call.name}: {error}") from None
    try:
        result = canonical(function(*bound.args, **bound.kwargs)).decode()
    except ParseError as error:
        raise refuse(f"{call.name}: {error.detail}") from None
    if len(result) > RESULT_LIMIT:
        raise refuse(f"{call.name}: the result has {len(result)} characters, and {RESULT_LIMIT} are the most")
    return result

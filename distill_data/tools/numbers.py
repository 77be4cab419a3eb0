"""Functions over numbers: arithmetic, units, currencies, interest, statistics, sorting.

Pure and bounded: the same arguments give the same result, and no argument that is let in takes long. Each raises
ParseError("execution-failed") where it has no result. Knows nothing about calls, specifications and chats.
"""

from __future__ import annotations

import ast
import math
import operator
import re
import statistics
from collections.abc import Callable

from distill_data.tools.bounds import LARGEST, neat, number, numbers, one_of, refuse, text, whole

EXPRESSION_LIMIT = 200
"""Characters of an expression. It bounds the depth of its tree as well."""
EXPONENT_LIMIT = 16
NUMBERS_LIMIT = 100

_OPERATORS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: lambda base, exponent: base ** whole("an exponent", exponent, 0, EXPONENT_LIMIT),
}

_UNITS: dict[str, dict[str, float]] = {
    "length": {
        "millimetre": 0.001,
        "centimetre": 0.01,
        "metre": 1,
        "kilometre": 1000,
        "inch": 0.0254,
        "foot": 0.3048,
        "yard": 0.9144,
        "mile": 1609.344,
    },
    "mass": {"gram": 0.001, "kilogram": 1, "tonne": 1000, "ounce": 0.028349523125, "pound": 0.45359237},
    "volume": {"millilitre": 0.001, "litre": 1, "cubic_metre": 1000},
    "time": {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 604800},
}
"""Dimension to its units, each with how many of the unit that has 1 it is."""

_KELVIN: dict[str, tuple[float, float]] = {"kelvin": (1, 0), "celsius": (1, 273.15), "fahrenheit": (5 / 9, 459.67)}
"""Scale to (factor, offset): kelvin = (degrees + offset) * factor; for celsius the factor is 1."""

UNITS = [*(unit for units in _UNITS.values() for unit in units), *_KELVIN]

PER_EURO = {"EUR": 1, "USD": 1.1, "GBP": 0.85, "JPY": 160, "CHF": 0.95, "CNY": 7.8, "INR": 92, "BRL": 6}


def calculate(expression: str) -> float:
    """The value of an expression of numbers, + - * / // % ** and parentheses.

    At most 200 characters; an exponent is a whole number from 0 to 16; no intermediate result is beyond 10^15.
    """
    source = text("expression", expression, 1, EXPRESSION_LIMIT).strip(" ")
    if not re.fullmatch(r"[0-9.+\-*/%() ]+", source):
        raise refuse("the expression may hold digits, a point, + - * / % ( ) and spaces, and nothing else")
    try:
        tree = ast.parse(source, mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise refuse("the expression cannot be read") from None
    return neat(_value(tree.body))


def _value(node: ast.expr) -> float:
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        return _bounded(node.value)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.UAdd, ast.USub)):
        inner = _value(node.operand)
        return -inner if isinstance(node.op, ast.USub) else inner
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        left, right = _value(node.left), _value(node.right)
        try:
            return _bounded(_OPERATORS[type(node.op)](left, right))
        except ZeroDivisionError:
            raise refuse("a division by zero") from None
    raise refuse("the expression holds something else than arithmetic")


def _bounded(value: float) -> float:
    if not abs(value) <= LARGEST:
        raise refuse(f"a number in the expression is larger than {LARGEST:g}")
    return value


def convert_units(value: float, from_unit: str, to_unit: str) -> float:
    """A measure in another unit of the same dimension: length, mass, volume, time or temperature."""
    amount = number("value", value)
    source, target = one_of("from_unit", from_unit, UNITS), one_of("to_unit", to_unit, UNITS)
    if source in _KELVIN and target in _KELVIN:
        factor, offset = _KELVIN[source]
        kelvin = (amount + offset) * factor
        if kelvin < 0:
            raise refuse(f"{amount:g} {source} is below absolute zero")
        factor, offset = _KELVIN[target]
        return neat(round(kelvin / factor - offset, 9))
    for units in _UNITS.values():
        if source in units and target in units:
            return neat(amount * units[source] / units[target])
    raise refuse(f"{source} and {target} do not measure the same thing")


def currency_convert(amount: float, from_currency: str, to_currency: str) -> float:
    """An amount in another currency, rounded to two decimals, at fixed rates.

    One EUR is 1.1 USD, 0.85 GBP, 160 JPY, 0.95 CHF, 7.8 CNY, 92 INR and 6 BRL: made for exercises, no market's rates.
    """
    euros = number("amount", amount, 0) / PER_EURO[one_of("from_currency", from_currency, PER_EURO)]
    return neat(round(euros * PER_EURO[one_of("to_currency", to_currency, PER_EURO)], 2))


def compound_interest(principal: float, annual_percent: float, years: int, times_per_year: int = 1) -> float:
    """What a deposit has grown to, rounded to two decimals: principal * (1 + rate / n) ** (n * years)."""
    start = number("principal", principal, 0, 1e9)
    rate = number("annual_percent", annual_percent, 0, 100) / 100
    times = whole("times_per_year", times_per_year, 1, 365)
    return neat(round(start * (1 + rate / times) ** (times * whole("years", years, 0, 100)), 2))


def summarize_numbers(values: list[float]) -> dict[str, float]:
    """Count, sum, minimum, maximum, mean and median of 1 to 100 numbers."""
    found = numbers("values", values, NUMBERS_LIMIT)
    total = math.fsum(found)
    summary = {
        "count": len(found),
        "sum": total,
        "minimum": min(found),
        "maximum": max(found),
        "mean": total / len(found),
        "median": statistics.median(found),
    }
    return {name: neat(value) for name, value in summary.items()}


def sort_numbers(values: list[float], descending: bool = False) -> list[float]:
    """1 to 100 numbers in ascending order, or descending."""
    if not isinstance(descending, bool):
        raise refuse("descending is neither true nor false")
    return [neat(value) for value in sorted(numbers("values", values, NUMBERS_LIMIT), reverse=descending)]

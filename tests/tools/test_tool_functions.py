"""The shipped functions: right where they have a result, a typed failure where they have none, always soon."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from distill_data.errors import ParseError
from distill_data.tools import TOOLS, Call, execute
from distill_data.tools.calls import RESULT_LIMIT
from distill_data.tools.numbers import UNITS
from tests.tools import BY_NAME, SPEC_ROWS, SPECS

RESULTS: list[tuple[str, dict[str, Any], Any]] = [
    ("calculate", {"expression": "(3 + 4) * 2.5"}, 17.5),
    ("calculate", {"expression": "0.1 + 0.2"}, 0.3),
    ("calculate", {"expression": " 6 / 2 "}, 3),
    ("calculate", {"expression": "-7 // 2 + 7 % 4"}, -1),
    ("calculate", {"expression": "2 ** 3 ** 2 - -1"}, 513),
    ("calculate", {"expression": "10 ** 15"}, 10**15),
    ("convert_units", {"value": 10, "from_unit": "mile", "to_unit": "kilometre"}, 16.09344),
    ("convert_units", {"value": 98.6, "from_unit": "fahrenheit", "to_unit": "celsius"}, 37),
    ("convert_units", {"value": 0, "from_unit": "celsius", "to_unit": "kelvin"}, 273.15),
    ("convert_units", {"value": -40, "from_unit": "celsius", "to_unit": "fahrenheit"}, -40),
    ("convert_units", {"value": 1, "from_unit": "pound", "to_unit": "ounce"}, 16),
    ("currency_convert", {"amount": 100, "from_currency": "EUR", "to_currency": "JPY"}, 16000),
    ("currency_convert", {"amount": 11, "from_currency": "USD", "to_currency": "GBP"}, 8.5),
    ("compound_interest", {"principal": 1000, "annual_percent": 10, "years": 2}, 1210),
    ("compound_interest", {"principal": 1000, "annual_percent": 12, "years": 1, "times_per_year": 12}, 1126.83),
    ("compound_interest", {"principal": 5, "annual_percent": 0, "years": 100.0}, 5),
    ("sort_numbers", {"values": [3, -1.5, 2.0]}, [-1.5, 2, 3]),
    ("sort_numbers", {"values": [3, -1.5, 2], "descending": True}, [3, 2, -1.5]),
    ("add_days", {"date": "2024-02-28", "days": 2}, "2024-03-01"),
    ("add_days", {"date": "0001-01-02", "days": -1}, "0001-01-01"),
    ("days_between", {"start": "2023-01-01", "end": "2024-01-01"}, 365),
    ("days_between", {"start": "2024-03-01", "end": "2024-02-28"}, -2),
    ("is_leap_year", {"year": 1900}, False),
    ("is_leap_year", {"year": 2000}, True),
    ("is_leap_year", {"year": 2024}, True),
    ("word_count", {"text": " one  two\nthree "}, 3),
    ("word_count", {"text": ""}, 0),
    ("text_replace", {"text": "a+a", "old": "a", "new": "\u2028b"}, "\u2028b+\u2028b"),
    ("lookup_country_capital", {"country": " new zealand."}, "Wellington"),
]

REFUSALS: list[tuple[str, dict[str, Any], str]] = [
    ("calculate", {"expression": "1 / (2 - 2)"}, "division by zero"),
    ("calculate", {"expression": "1.5 % 0"}, "division by zero"),
    ("calculate", {"expression": "__import__('os')"}, "nothing else"),
    ("calculate", {"expression": "1e9"}, "nothing else"),
    ("calculate", {"expression": "9 ** 9 ** 9"}, "between 0 and 16"),
    ("calculate", {"expression": "2 ** 0.5"}, "no whole number"),
    ("calculate", {"expression": "9" * 30}, "larger than"),
    ("calculate", {"expression": "999999999999 * 999999999999"}, "larger than"),
    ("calculate", {"expression": "2 (3)"}, "something else"),
    ("calculate", {"expression": "..."}, "something else"),
    ("calculate", {"expression": "()"}, "something else"),
    ("calculate", {"expression": "1 +"}, "cannot be read"),
    ("calculate", {"expression": "(" * 200}, "cannot be read"),
    ("calculate", {"expression": "   "}, "nothing else"),
    ("calculate", {"expression": "1" * 201}, "201 characters"),
    ("calculate", {"expression": 7}, "no text"),
    ("convert_units", {"value": 1, "from_unit": "metre", "to_unit": "gram"}, "same thing"),
    ("convert_units", {"value": 1, "from_unit": "kelvin", "to_unit": "day"}, "same thing"),
    ("convert_units", {"value": -300, "from_unit": "celsius", "to_unit": "kelvin"}, "absolute zero"),
    ("convert_units", {"value": 1e12, "from_unit": "week", "to_unit": "second"}, "larger than"),
    ("convert_units", {"value": 1, "from_unit": "parsec", "to_unit": "metre"}, "may be millimetre"),
    ("convert_units", {"value": True, "from_unit": "foot", "to_unit": "metre"}, "no number"),
    ("convert_units", {"value": float("nan"), "from_unit": "foot", "to_unit": "metre"}, "not between"),
    ("currency_convert", {"amount": -1, "from_currency": "EUR", "to_currency": "USD"}, "not between"),
    ("currency_convert", {"amount": 1, "from_currency": ["EUR"], "to_currency": "USD"}, "may be EUR"),
    ("compound_interest", {"principal": 1e9, "annual_percent": 100, "years": 100}, "larger than"),
    ("compound_interest", {"principal": 1, "annual_percent": 1, "years": 1.5}, "no whole number"),
    ("summarize_numbers", {"values": []}, "no list of 1 to 100"),
    ("summarize_numbers", {"values": [1, "2"]}, "values[1]"),
    ("sort_numbers", {"values": [1] * 101}, "no list of 1 to 100"),
    ("sort_numbers", {"values": [1], "descending": 1}, "true nor false"),
    ("add_days", {"date": "9999-12-31", "days": 1}, "years 1 and 9999"),
    ("add_days", {"date": "2023-02-29", "days": 1}, "no such day"),
    ("add_days", {"date": "2024-W01-1", "days": 1}, "not written"),
    ("add_days", {"date": "２０２４-01-01", "days": 1}, "not written"),
    ("days_between", {"start": "20240101", "end": "2024-01-01"}, "start has 8 characters"),
    ("is_leap_year", {"year": 0}, "not between"),
    ("word_count", {"text": "a" * 2001}, "2001 characters"),
    ("word_count", {"text": "\ud800"}, "surrogate"),
    ("text_replace", {"text": "a" * 2000, "old": "a", "new": "b" * 100}, "200002 characters"),
    ("text_replace", {"text": "a", "old": "", "new": "b"}, "old has 0 characters"),
    ("lookup_country_capital", {"country": "Atlantis"}, "not among"),
]

LARGEST: list[tuple[str, dict[str, Any]]] = [
    ("calculate", {"expression": "-" * 199 + "1"}),
    ("calculate", {"expression": "(" * 99 + "1" + ")" * 99}),
    ("calculate", {"expression": "9" * 15 + "** 16" * 37}),
    ("calculate", {"expression": "1+" * 99 + "1"}),
    ("summarize_numbers", {"values": [-1e12 / 3] * 100}),
    ("sort_numbers", {"values": [n / 7 for n in range(100, 0, -1)]}),
    ("compound_interest", {"principal": 1e9, "annual_percent": 100, "years": 100, "times_per_year": 365}),
    ("add_days", {"date": "9999-12-31", "days": -1_000_000}),
    ("word_count", {"text": "a " * 1000}),
    ("text_replace", {"text": "a" * 2000, "old": "a", "new": "\u2028" * 100}),
    ("lookup_country_capital", {"country": "\u0301" * 100}),
]


@pytest.mark.parametrize(("name", "arguments", "expected"), RESULTS)
def test_the_result_is_right(name: str, arguments: dict[str, Any], expected: Any) -> None:
    assert json.loads(execute(Call(name, arguments))) == expected
    assert BY_NAME[name].fault_in(arguments) is None


def test_whole_results_are_written_without_a_point() -> None:
    assert execute(Call("calculate", {"expression": "5 / 2 * 2"})) == "5"
    assert execute(Call("calculate", {"expression": "-0.0 * 1"})) == "0"


def test_a_summary_has_all_six_numbers() -> None:
    result = execute(Call("summarize_numbers", {"values": [4, 1, 2.5, 0.1]}))
    assert result == '{"count":4,"maximum":4,"mean":1.9,"median":1.75,"minimum":0.1,"sum":7.6}'


@pytest.mark.parametrize(("name", "arguments", "why"), REFUSALS)
def test_what_has_no_result_fails_and_says_why(name: str, arguments: dict[str, Any], why: str) -> None:
    with pytest.raises(ParseError) as caught:
        execute(Call(name, arguments))
    assert caught.value.reason == "execution-failed"
    assert caught.value.detail.startswith(f"{name}: ")
    assert why in caught.value.detail


@pytest.mark.parametrize("call", [Call("os.system", {}), Call("execute", {}), Call("", {}), Call("__class__", {})])
def test_only_the_functions_of_the_table_run(call: Call) -> None:
    with pytest.raises(ParseError, match=r"^execution-failed: .* is not one of the functions"):
        execute(call)


@pytest.mark.parametrize("arguments", [{}, {"year": 4, "more": 1}, {"Year": 4}, {"": 1}, {"self": 1}])
def test_arguments_with_other_names_fail(arguments: dict[str, Any]) -> None:
    with pytest.raises(ParseError, match=r"^execution-failed: is_leap_year: "):
        execute(Call("is_leap_year", arguments))


def test_every_function_has_a_specification_that_fits_its_signature() -> None:
    assert [spec.name for spec in SPECS] == list(TOOLS)
    kinds = {"str": "string", "float": "number", "int": "integer", "bool": "boolean", "list[float]": "array"} | {
        "dict[str, float]": "object"
    }
    for spec, row in zip(SPECS, SPEC_ROWS, strict=True):
        signature = inspect.signature(TOOLS[spec.name])
        properties = spec.parameters["properties"]
        assert list(properties) == list(signature.parameters)
        required = [name for name, value in signature.parameters.items() if value.default is value.empty]
        assert spec.parameters["required"] == required
        assert spec.parameters["additionalProperties"] is False
        for name, parameter in signature.parameters.items():
            assert properties[name]["type"] == kinds[parameter.annotation]
            assert properties[name]["description"]
            if parameter.default is not parameter.empty:
                assert properties[name]["default"] == parameter.default
        returned = json.loads(row["returns"])
        Draft202012Validator.check_schema(returned)
        assert returned["type"] == kinds[signature.return_annotation]


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=300)
    | st.sampled_from([*UNITS, "EUR", "JPY", "2024-02-29", "France", "1/0", "2**16", "-(3.5)", "\ud800"]),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
EXPRESSIONS = st.text(st.sampled_from("0123456789.+-*/%() "), max_size=220)


def outcome(call: Call) -> str:
    started = time.process_time()
    try:
        result = execute(call)
    except ParseError as error:
        assert error.reason == "execution-failed"
        assert len(error.detail) <= 600
        result = ""
    else:
        assert len(result) <= RESULT_LIMIT
        json.loads(result)
    assert time.process_time() - started < 0.5
    return result


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_arguments_give_a_result_or_a_typed_failure(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(list(TOOLS)))
    arguments = {key: data.draw(JSON_VALUES) for key in BY_NAME[name].parameters["properties"]}
    call = Call(name, arguments)
    assert outcome(call) == outcome(call)


@settings(max_examples=400, deadline=None)
@given(EXPRESSIONS)
def test_any_expression_gives_a_number_or_a_typed_failure(expression: str) -> None:
    result = outcome(Call("calculate", {"expression": expression}))
    assert not result or abs(json.loads(result)) <= 10**15


FITTING: dict[str, Callable[[dict[str, Any]], st.SearchStrategy[Any]]] = {
    "number": lambda schema: (
        st.floats(schema["minimum"], schema["maximum"]) | st.integers(schema["minimum"], schema["maximum"])
    ),
    "integer": lambda schema: st.integers(schema["minimum"], schema["maximum"]),
    "boolean": lambda _: st.booleans(),
    "array": lambda schema: st.lists(
        fitting(schema["items"]), min_size=schema["minItems"], max_size=schema["maxItems"]
    ),
    "string": lambda schema: (
        st.sampled_from(schema["enum"])
        if "enum" in schema
        else st.dates().map(str)
        if "pattern" in schema
        else st.text(min_size=schema["minLength"], max_size=schema["maxLength"])
    ),
}
MAY_FAIL = {"calculate", "convert_units", "compound_interest", "summarize_numbers", "add_days", "text_replace"} | {
    "lookup_country_capital",
    "currency_convert",
}
"""Functions that have no result for some arguments that their schema allows: a sum too large, an unknown country."""


def fitting(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    return FITTING[schema["type"]](schema)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_arguments_that_fit_the_schema_give_a_result_that_fits_too(data: st.DataObject) -> None:
    position = data.draw(st.integers(0, len(SPECS) - 1))
    spec = SPECS[position]
    arguments = {name: data.draw(fitting(schema)) for name, schema in spec.parameters["properties"].items()}
    assert spec.fault_in(arguments) is None
    result = outcome(Call(spec.name, arguments))
    assert result or spec.name in MAY_FAIL
    if result:
        Draft202012Validator(json.loads(SPEC_ROWS[position]["returns"])).validate(json.loads(result))


def test_the_largest_arguments_stay_within_a_hard_limit_of_time_and_memory() -> None:
    program = """
import json, resource, sys
from distill_data.errors import ParseError
from distill_data.tools import Call, execute
calls = json.load(sys.stdin)
resource.setrlimit(resource.RLIMIT_CPU, (3, 3))
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
for _ in range(20):
    for name, arguments in calls:
        try:
            execute(Call(name, arguments))
        except ParseError:
            pass
print(20 * len(calls))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], input=json.dumps(LARGEST), capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{20 * len(LARGEST)}\n", "")

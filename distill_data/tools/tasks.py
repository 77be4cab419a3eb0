"""Tasks that need several calls, each with a plan that solves it: what the recipe `agent` acts on and is checked by.

A plan is a list of calls. A text in its arguments may speak of an earlier result: `#1` is the result of the first call,
`#2.mean` a field of the second's. Alone it stands for the value, within a longer text for its words. So the gold answer
is not only claimed: following the plan gives it. Knows no model and no chat.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from distill_data.data.items import canonical
from distill_data.errors import ParseError, SeedError
from distill_data.parsing.folding import fold, narrow, trim
from distill_data.parsing.strict_json import read_json
from distill_data.tools.calls import Call, execute
from distill_data.tools.specs import Spec

_EARLIER = re.compile(r"#([1-9])(?:\.([a-z_]+))?")
_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")


class Task(NamedTuple):
    """Something to find out with the functions at hand."""

    task: str
    specs: tuple[Spec, ...]
    """The functions that may be called: those of the plan and some that do not help."""
    answer: str
    """Gold: a number, a date, a word, `true` or `false`, or a list in JSON."""
    plan: tuple[Call, ...]
    """One way to the answer; others are as good."""


def read_task(row: Mapping[str, Any], specs: Sequence[Spec], where: str) -> Task:
    """A row with `task`, `tools` (JSON text of a list of names), `answer` and `plan` (JSON text of a list of calls).

    `where` is the row's place, for messages. Raises SeedError for a row that is no task, or that names a function that
    is not among `specs`.
    """
    for column in ("task", "tools", "answer", "plan"):
        if not isinstance(row.get(column), str) or not row[column].strip():
            raise SeedError(f"{where}: a task needs the text {column!r}.")
    try:
        names, plan = read_json(row["tools"]), read_json(row["plan"])
    except ParseError as error:
        raise SeedError(f"{where}: 'tools' or 'plan' is {error}.") from None
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise SeedError(f"{where}: 'tools' is no JSON list of names.")
    if not isinstance(plan, list) or not plan or not all(_is_call(call) for call in plan):
        raise SeedError(f"{where}: 'plan' is no JSON list of objects with 'name' and 'arguments'.")
    by_name = {spec.name: spec for spec in specs}
    for name in [*names, *(call["name"] for call in plan)]:
        if name not in by_name or name not in names:
            raise SeedError(f"{where}: the function {name!r} is not specified, or not among the task's tools.")
    calls = tuple(Call(call["name"], call["arguments"]) for call in plan)
    return Task(row["task"], tuple(by_name[name] for name in names), row["answer"], calls)


def _is_call(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and set(value) == {"name", "arguments"}
        and isinstance(value["name"], str)
        and isinstance(value["arguments"], dict)
    )


def follow(plan: Sequence[Call]) -> tuple[list[Call], list[str]]:
    """The plan's calls with earlier results filled in, and the result of each as JSON text.

    Raises ParseError("execution-failed") where a call fails or speaks of a result that is not there.
    """
    calls: list[Call] = []
    results: list[str] = []
    for call in plan:
        values = [json.loads(result) for result in results]
        calls.append(Call(call.name, {name: _fill(value, values) for name, value in call.arguments.items()}))
        results.append(execute(calls[-1]))
    return calls, results


def answer_of(result: str) -> str:
    """A result's JSON text as a final answer: a text without its quotes, all else as it is."""
    value = json.loads(result)
    return value if isinstance(value, str) else result


def solved(answer: str, gold: str) -> bool:
    """Whether an answer is the gold one: the same number, the same JSON list, or the same words after folding.

    Thousands separators and space around are no difference. Nothing is searched for inside a longer text.
    """
    given, wanted = trim(fold(narrow(answer))), trim(fold(narrow(gold)))
    plain = re.sub(r"(?<=[0-9]),(?=[0-9]{3}(?:[^0-9]|$))", "", given)
    if _NUMBER.fullmatch(wanted):
        return bool(_NUMBER.fullmatch(plain)) and math.isclose(float(plain), float(wanted), rel_tol=1e-9)
    return "".join(given.split()) == "".join(wanted.split()) if wanted.startswith("[") else given == wanted


def _fill(value: Any, results: Sequence[Any]) -> Any:
    if isinstance(value, list):
        return [_fill(entry, results) for entry in value]
    if not isinstance(value, str):
        return value
    whole = _EARLIER.fullmatch(value)
    if whole:
        return _earlier(whole, results)
    return _EARLIER.sub(lambda match: answer_of(canonical(_earlier(match, results)).decode()), value)


def _earlier(match: re.Match[str], results: Sequence[Any]) -> Any:
    position, field = int(match[1]), match[2]
    found = results[position - 1] if position <= len(results) else None
    if field is not None:
        found = found.get(field) if isinstance(found, dict) else None
    if found is None:
        raise ParseError("execution-failed", f"the plan speaks of {match[0]}, and there is no such result")
    return found

"""A function's specification: name, description, and its parameters as a JSON schema.

Knows no function: a specification may be anybody's. Its schema is trusted as `parsing/schemas.py` says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from distill_data.errors import ParseError, SeedError, UsageError
from distill_data.parsing.schemas import SchemaCheck, make_schema_check
from distill_data.parsing.strict_json import read_json


class Spec(NamedTuple):
    """A function that a model may call."""

    name: str
    description: str
    parameters: dict[str, Any]
    """A JSON schema of type object."""
    fault_in: SchemaCheck
    """Arguments to None, or to the path of the first fault and what it is."""


def read_spec(row: Mapping[str, Any], where: str) -> Spec:
    """A row with `name`, `description` and `parameters` (JSON text of a schema), such as one of seeds/tools.jsonl.

    `where` is the row's place, for messages. Raises SeedError for a row that is no specification.
    """
    for column in ("name", "description", "parameters"):
        if not isinstance(row.get(column), str) or not row[column].strip():
            raise SeedError(f"{where}: a tool specification needs the text {column!r}.")
    name = row["name"]
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]{0,63}", name):
        raise SeedError(
            f"{where}: {name!r} is no function name; letters, digits, '_' and '-', 64 at most, are allowed."
        )
    try:
        parameters = read_json(row["parameters"])
        if not isinstance(parameters, dict) or parameters.get("type") != "object":
            raise SeedError(f"{where}: the parameters of {name} are no JSON schema with the type 'object'.")
        check = make_schema_check(f"the function {name}", parameters)
    except (ParseError, UsageError) as error:
        reason = error if isinstance(error, UsageError) else f"the parameters of {name} are {error}"
        raise SeedError(f"{where}: {str(reason).removeprefix(f'{where}: ')}") from None
    return Spec(name, row["description"], parameters, check)

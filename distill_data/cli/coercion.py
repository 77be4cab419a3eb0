"""Texts of the command line as numbers, paths and lists. Knows no option.

Typer would build a pydantic validator for each, and importing pydantic costs more than all other work before a run.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar, get_args

import typer

KINDS: Mapping[Any, tuple[Callable[[Any], Any], str]] = {
    bool: (bool, "true or false"),
    str: (str, "text"),
    int: (int, "a whole number"),
    float: (float, "a number"),
    Path: (Path, "a path"),
}
"""Every type that an option here may have: how to make one, and its name."""

Parameters = TypeVar("Parameters", bound=Sequence[Any])


def coerce_plainly(parameters: Parameters) -> Parameters:
    """The same parameters of Typer, whose values are made by `coerce`."""
    for parameter in parameters:
        parameter._runtime_param = SimpleNamespace(coerce=coerce)
    return parameters


def coerce(value: Any, param: Any, ctx: Any) -> Any:
    """The value in the parameter's type, or a list of such. Raises BadParameter."""
    annotation = param.type_descriptor.annotation
    several = param.multiple or param.nargs == -1
    if value is None:
        return () if several else None
    make, name = KINDS[get_args(annotation)[0] if several else annotation]
    try:
        return [make(each) for each in value] if several else make(value)
    except ValueError:
        raise typer.BadParameter(f"{value!r} is not {name}", ctx=ctx, param=param) from None

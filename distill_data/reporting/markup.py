"""HTML that cannot be written without escaping: text is text until `tag` makes an element of it. Knows no page.

`Html` is not a string: it cannot be joined or formatted into one by accident, and a string that reaches `tag` is
escaped. Attributes are escaped too. Names of elements and attributes are written here, never taken from data.
"""

from __future__ import annotations

import html
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from distill_data.reporting.plain import plain

VOID = frozenset({"meta", "br", "hr"})


@dataclass(frozen=True, slots=True)
class Html:
    """Markup that was made by `tag`."""

    markup: str


Child: TypeAlias = "Html | str | Iterable[Html | str]"


def tag(name: str, /, *children: Child, **attributes: str | float | bool) -> Html:
    """An element. `class_` is the attribute class, `aria_label` is aria-label; True is an attribute without a value,
    and False is none.
    """
    head = name + "".join(_attribute(key, value) for key, value in attributes.items() if value is not False)
    if name in VOID:
        return Html(f"<{head}>")
    return Html(f"<{head}>{''.join(map(_inside, children))}</{name}>")


def together(*children: Child) -> Html:
    """Several pieces as one."""
    return Html("".join(map(_inside, children)))


def escaped(text: str) -> str:
    """Text for an element or a quoted attribute. What would be invisible, or turn the direction, is shown as \\x1b."""
    return html.escape(plain(text), quote=True)


def _inside(child: Child) -> str:
    if isinstance(child, Html):
        return child.markup
    if isinstance(child, str):
        return escaped(child)
    return "".join(map(_inside, child))


def _attribute(key: str, value: str | float | bool) -> str:
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{escaped(str(value))}"'

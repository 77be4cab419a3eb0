"""What a parser is. Knows no parser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Fields = dict[str, Any]
"""What a reply says, by name. Every value can be written as JSON."""

Parser = Callable[[str], Fields]
"""A reply's text to its fields, in time linear in it. Raises ParseError(reason, detail) and nothing else, ever."""

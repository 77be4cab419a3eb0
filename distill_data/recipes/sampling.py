"""The key `sampling` of the front matter: which parameters there are, and what each may be. Knows no model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from distill_data.recipes.frontmatter import Field


def _stop(entry: Field) -> str | list[str]:
    return entry.text() if isinstance(entry.value, str) else [text.text() for text in entry.elements()]


SAMPLING: dict[str, Callable[[Field], Any]] = {
    "temperature": lambda entry: entry.number(0),
    "top_p": lambda entry: entry.number(0, 1),
    "top_k": lambda entry: entry.integer(-1),
    "min_p": lambda entry: entry.number(0, 1),
    "max_tokens": lambda entry: entry.integer(1),
    "stop": _stop,
    "seed": Field.integer,
    "frequency_penalty": lambda entry: entry.number(-2, 2),
    "presence_penalty": lambda entry: entry.number(-2, 2),
    "logprobs": Field.flag,
    "top_logprobs": lambda entry: entry.integer(0),
    "extra_body": lambda entry: dict(entry.entries() and entry.value),
}


def read_sampling(entry: Field) -> dict[str, Any]:
    return {key: SAMPLING[key](value) for key, value in entry.entries(SAMPLING).items()}

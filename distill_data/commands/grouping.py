"""The order in which seeds are worked on, so that a provider's prompt cache hits. Knows no provider.

Prompts that begin with the same long text, such as several questions about one document, follow each other. Only the
work is reordered, within a window of rows; the dataset is written in the order of the seeds all the same.
"""

from __future__ import annotations

from collections.abc import Iterator

from distill_data.data.items import Item, canonical
from distill_data.errors import RecipeError, SeedError
from distill_data.recipes import Recipe

WINDOW = 4096
"""Rows that are looked at together."""
WINDOW_BYTES = 1 << 23
"""Of these rows as JSON."""
LEAST_CHARACTERS = 256
"""A shorter text is not worth a change of order."""


def leading_column(recipe: Recipe) -> str:
    """The column that the prompt holds first; empty where it holds no other, so that equal values are equal prompts,
    and where it cannot be told."""
    marks = {column: f"\ue000{number}\ue001" for number, column in enumerate(recipe.columns)}
    row = {column: [mark] if column in recipe.lists else mark for column, mark in marks.items()}
    try:
        messages = recipe.render("main", row) if "main" in recipe.blocks else []
    except (RecipeError, SeedError):
        return ""
    text = "\n".join(str(message["content"]) for message in messages)
    found = sorted((text.index(mark), column) for column, mark in marks.items() if mark in text)
    return found[0][1] if len(found) > 1 else ""


def group(items: Iterator[Item], column: str) -> Iterator[Item]:
    """The items, window by window: those whose value in the column is short at once, then, by their value, the rest."""
    groups: dict[str, list[Item]] = {}
    rows = size = 0
    for item in items:
        value = item.row.get(column)
        if not isinstance(value, str) or len(value) < LEAST_CHARACTERS:
            yield item
            continue
        size += len(canonical(item.row))
        groups.setdefault(value, []).append(item)
        rows += 1
        if rows == WINDOW or size > WINDOW_BYTES:
            for members in groups.values():
                yield from members
            groups, rows, size = {}, 0, 0
    for members in groups.values():
        yield from members

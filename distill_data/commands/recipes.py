"""The catalogue of shipped recipes. Knows nothing of what they do."""

from __future__ import annotations

from distill_data.recipes import Recipe, list_recipes


def recipes(command: str | None = None) -> list[Recipe]:
    """The shipped recipes of one command, or of all."""
    return list_recipes(command)

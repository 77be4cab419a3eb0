"""`stats`: what is in a dataset, in numbers. Writes nothing and asks no model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from distill_data.commands.rows import opened
from distill_data.errors import SeedError
from distill_data.quality.profile import profile


def stats(source: str, *, on: Sequence[str] = ()) -> dict[str, Any]:
    """`quality.profile.profile` of a dataset, with its name and SHA-256 in front.

    `on` names the texts to look at, x and y by default. Raises SeedError for a dataset without rows, and where no row
    has a text that was asked for.
    """
    with opened(source) as (rows,):
        found = profile((line.row for line in rows.file.read()), tuple(dict.fromkeys(on)) or ("x", "y"))
    if not found["rows"]:
        raise SeedError(f"{rows.file.name}: no rows in this file")
    for name in on:
        if name not in found["texts"]:
            raise SeedError(
                f"{rows.file.name}: no row has the column {name!r}; there are: {', '.join(found['columns'])}"
            )
    return {"name": rows.file.name, "sha256": rows.sha256, **found}

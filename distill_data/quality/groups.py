"""Which rows belong together: those of one seed. Knows no files and no draw.

A row's group is the first of these that there is:

1. the root seed, where the record's `meta` names it: one seed alone was shown (`curate`, `expand` of each seed,
   adversarial), or a line of evolution goes back to it;
2. `meta.seed_id`, the item that the row was made for. A row of Self-Instruct, of a pair of seeds, or of several tools
   has several parents, so it is a group of its own;
3. in rows from elsewhere, what is asked (x), with case, width and spaces made one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from distill_data.data.columns import TextOf, make_text, x_of
from distill_data.data.items import Row
from distill_data.errors import SeedError
from distill_data.parsing.folding import fold


def make_group(by: str = "") -> TextOf:
    """A row's group: by the rule above, or the text in the column `by`; by `x`, folded.

    What it gives raises SeedError, without the place, where a row has no such column. Raises SeedError for no name.
    """
    if not by:
        return group_of
    text = make_text(by)
    return (lambda row: folded(text(row))) if by == "x" else text


def group_of(row: Row) -> str:
    """The row's group by the rule above. Raises SeedError, without the place, where nothing tells."""
    meta = row.get("meta")
    seed = meta.get("seed_id") if isinstance(meta, Mapping) else None
    if isinstance(seed, str) and seed:
        return root_of(meta) or seed
    try:
        return folded(x_of(row))
    except SeedError as error:
        raise SeedError(f"{error}. Name the column that tells groups apart with --by") from None


def root_of(meta: Any) -> str:
    """The seed that a record goes back to; empty where it has no or several parents, or says nothing of them."""
    details = meta.get("details") if isinstance(meta, Mapping) else None
    if not isinstance(details, str) or '"parents"' not in details:
        return ""
    try:
        said = orjson.loads(details)
    except orjson.JSONDecodeError:
        return ""
    if not isinstance(said, dict):
        return ""
    parents, source = said.get("parents"), said.get("source")
    alone = isinstance(parents, list) and (len(parents) == 1 or "depth" in said)
    return source if alone and isinstance(source, str) else ""


def folded(text: str) -> str:
    """Text by which rows are the same: case, width and spaces made one."""
    return " ".join(fold(text).split())

"""What a report says by a dataset's manifest: the steps, counts, reasons, judgements and costs. Knows no rows.

Manifests may be of another version, or of another program: what is not as it should be counts as not there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from distill_data.commands.manifests import described_in

LISTED, NAME = 25, 160
"""Entries of any list, characters of a name."""


def read_facts(manifest: Mapping[str, Any] | None, lineage: Sequence[Mapping[str, Any]], sha256: str) -> dict[str, Any]:
    """Facts for `reporting.page`. `lineage` and `sha256` are those of the dataset's `Source`."""
    result = _mapping(manifest or {}, "result")
    sums = [described.get("sha256") for described in described_in(result).values()]
    return {
        "matches": sha256 in sums if manifest else None,
        "history": _history(_mapping(manifest or {}, "history")),
        "steps": [_step(each) for each in (lineage or ([result] if result else []))[-LISTED:]],
        "counts": {name: result[name] for name in ("kept", "rejected", "failed", "pending") if _whole(result, name)},
        "reasons": top_of(_numbers(result, "reasons")),
        "dropped": top_of(_numbers(result, "dropped")),
        "measures": _tallies(_mapping(result, "measures"), "count", "of"),
        "judge": result.get("judge"),
        "gold": _gold(_mapping(result, "gold")),
    }


def top_of(counts: Mapping[str, float]) -> dict[str, float]:
    """The most frequent, equal ones by name."""
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return {name[:NAME]: count for name, count in ordered[:LISTED]}


def _step(result: Mapping[str, Any]) -> dict[str, Any]:
    """One command of those that made the dataset."""
    recipe = _mapping(result, "recipe")
    models = {**_mapping(result, "teachers"), **_mapping(result, "students")}
    settings = _mapping(result, "settings")
    return {
        "command": str(result.get("command", ""))[:NAME],
        "recipe": str(recipe.get("name", ""))[:NAME],
        "paper": str(recipe.get("paper", ""))[:NAME],
        "models": [(str(role)[:NAME], str(model)[:NAME]) for role, model in list(models.items())[:LISTED]],
        "settings": [(str(key)[:NAME], _short(value)) for key, value in list(settings.items())[:LISTED]],
        "rows": _first_whole((result, "items"), (result, "rows"), (_mapping(result, "seeds"), "rows")),
        "kept": _first_whole((result, "records"), (result, "kept")),
    }


def _mapping(facts: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = facts.get(name)
    return value if isinstance(value, dict) else {}


def _numbers(facts: Mapping[str, Any], name: str) -> dict[str, float]:
    return {key: value for key, value in _mapping(facts, name).items() if type(value) in (int, float)}


def _tallies(found: Mapping[str, Any], *counts: str) -> dict[str, dict[str, int]]:
    """Name to the counts of it; what lacks one is passed over."""
    whole = [(name, _mapping(found, name)) for name in list(found)[:LISTED]]
    return {
        name[:NAME]: {count: each[count] for count in counts}
        for name, each in whole
        if all(_whole(each, count) for count in counts)
    }


def _history(found: Mapping[str, Any]) -> dict[str, Any]:
    """Texts and numbers; a cost that nobody knows is null."""
    short = {name: value[:NAME] if isinstance(value, str) else value for name, value in found.items()}
    return {name: value for name, value in short.items() if value is None or isinstance(value, str | int | float)}


def _gold(found: Mapping[str, Any]) -> dict[str, Any]:
    own = _tallies({"": found}, "compared", "equal").get("", {})
    return {**own, "by": _tallies(_mapping(found, "by"), "compared", "equal")} if own else {}


def _whole(facts: Mapping[str, Any], name: str) -> bool:
    return type(facts.get(name)) is int


def _first_whole(*places: tuple[Mapping[str, Any], str]) -> int | None:
    return next((facts[name] for facts, name in places if _whole(facts, name)), None)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else orjson.dumps(value, default=str).decode()
    return text if len(text) <= 2 * NAME else f"{text[: 2 * NAME]}…"

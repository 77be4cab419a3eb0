"""Every recipe asks and keeps exactly what its golden folder says."""

from __future__ import annotations

import json

import pytest

from distill_data.recipes import list_recipes
from tests.golden import GOLDEN, folders, play


@pytest.mark.parametrize("folder", folders())
def test_golden(folder: str) -> None:
    """`python -m tests.golden` writes the files again, where the change is meant."""
    for name, content in play(folder).items():
        assert content.decode() == (GOLDEN / folder / name).read_bytes().decode(), f"{folder}/{name}"


def test_every_recipe_has_a_golden_folder() -> None:
    assert folders() == sorted(f"{recipe.command}/{recipe.name}" for recipe in list_recipes())


@pytest.mark.parametrize("folder", [folder for folder in folders() if folder.startswith("label/")])
def test_golden_folders_show_both_ends(folder: str) -> None:
    """A prompt and an outcome for each of the three rows, something kept, something rejected."""
    read = {name: (GOLDEN / folder / name).read_bytes() for name in ("seeds.jsonl", "records.jsonl", "rejects.jsonl")}
    seeds, records, rejects = ([json.loads(line) for line in text.split(b"\n") if line] for text in read.values())
    assert len(seeds) == len(json.loads((GOLDEN / folder / "prompts.json").read_bytes())) == 3
    assert records and rejects
    assert len({record["meta"]["seed_id"] for record in records}) + len(rejects) == 3


@pytest.mark.parametrize("folder", [folder for folder in folders() if not folder.startswith("label/")])
def test_golden_folders_of_growths_show_both_ends(folder: str) -> None:
    records, rejects = ((GOLDEN / folder / name).read_bytes() for name in ("records.jsonl", "rejects.jsonl"))
    assert records.count(b"\n") == json.loads((GOLDEN / folder / "growth.json").read_bytes())["rows"]
    assert rejects

"""Every recipe asks and keeps exactly what its golden folder says."""

from __future__ import annotations

import json

import pytest

from distill_data.recipes import list_recipes, load_recipe
from tests.golden import GOLDEN, folders, play
from tests.golden.judged import STRATEGIES


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


@pytest.mark.parametrize("folder", [folder for folder in folders() if (GOLDEN / folder / "growth.json").is_file()])
def test_golden_folders_of_growths_show_both_ends(folder: str) -> None:
    records, rejects = ((GOLDEN / folder / name).read_bytes() for name in ("records.jsonl", "rejects.jsonl"))
    assert records.count(b"\n") == json.loads((GOLDEN / folder / "growth.json").read_bytes())["rows"]
    assert rejects


@pytest.mark.parametrize("folder", [folder for folder in folders() if folder.startswith("feature/")])
def test_golden_folders_of_knowledge_show_both_ends(folder: str) -> None:
    """Something kept, something rejected, and arrays for every record of a kind that has a side file."""
    read = {name: (GOLDEN / folder / name).read_bytes() for name in ("records.jsonl", "rejects.jsonl")}
    records, rejects = ([json.loads(line) for line in text.split(b"\n") if line] for text in read.values())
    assert records and rejects
    described = GOLDEN / folder / "arrays.json"
    arrays = json.loads(described.read_bytes()) if described.is_file() else []
    assert [each["id"] for each in arrays] == [record["id"] for record in records if "features" in record]


@pytest.mark.parametrize("folder", [folder for folder in folders() if folder.startswith("score/")])
def test_golden_folders_of_scores_lose_no_row(folder: str) -> None:
    """Every row comes out as it was with one column more, in its order, or is told in the rejects as failed."""
    read = {name: (GOLDEN / folder / name).read_bytes() for name in ("seeds.jsonl", "records.jsonl", "rejects.jsonl")}
    seeds, records, rejects = ([json.loads(line) for line in text.split(b"\n") if line] for text in read.values())
    column = load_recipe(folder.partition("/")[2], "score").settings["column"]
    bare = [{name: value for name, value in record.items() if name != column} for record in records]
    lost = [json.loads(reject["seed"]) for reject in rejects]
    assert records and [row for row in seeds if row not in lost] == bare
    assert len(seeds) == len(records) + len(rejects)
    assert all([*record][-1] == column for record in records)
    assert all(reject["outcome"] == "failed" and reject["reason"] for reject in rejects)
    assert rejects or folder == "score/length", "what nobody is asked about cannot fail"


@pytest.mark.parametrize("folder", [folder for folder in folders() if (GOLDEN / folder / "plan.json").is_file()])
def test_golden_folders_of_students_show_every_kind(folder: str) -> None:
    """A file of records for every kind that the strategy offers, and something rejected."""
    command, name = folder.split("/")
    recipe = load_recipe(name, command)
    offered = set(STRATEGIES[command][recipe.strategy].kinds)
    if "threshold" not in recipe.settings:
        offered.discard("unpaired")
    found = {path.name.split(".")[1] for path in (GOLDEN / folder).glob("records.*.jsonl")}
    assert found == offered
    assert (GOLDEN / folder / "rejects.jsonl").read_bytes()

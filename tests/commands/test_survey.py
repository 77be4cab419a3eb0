"""Seeds that were surveyed are not surveyed again, and no change to them goes unseen, whatever the file's time says."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from distill_data.commands import Options, Summary, label, plan
from distill_data.commands.plan import Seeds
from distill_data.data.items import canonical
from distill_data.data.seeds import mark_of, open_seeds
from distill_data.data.shard import Shard
from distill_data.errors import SeedError, UsageError
from distill_data.recipes import Recipe, load_recipe

ECHO = Options(teachers=("echo",))
ROWS = 5


def write(path: Path, *texts: str) -> None:
    path.write_text("".join(f'{{"instruction": "say {text}"}}\n' for text in texts))


@pytest.fixture
def seeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write(Path("s.jsonl"), "one", "two", "six", "ten", "ton")
    return Path("s.jsonl")


@pytest.fixture
def filled(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """The rows that a survey held against the recipe."""
    rows: list[Any] = []
    read_rows = plan.read_rows

    def reading(*args: Any) -> Iterator[Any]:
        for each in read_rows(*args):
            rows.append(each)
            yield each

    monkeypatch.setattr(plan, "read_rows", reading)
    yield rows


def again(seeds: Path, options: Options = ECHO) -> Summary:
    """The job, published anew."""
    for path in Path().glob("o*.json*"):
        path.unlink()
    return label(str(seeds), recipe="answer", output="o.jsonl", options=options)


def stored() -> Any:
    return json.loads(Path("o.run/run.json").read_bytes())["surveyed"]


def test_unchanged_seeds_are_read_once_less(seeds: Path, filled: list[Any]) -> None:
    again(seeds)
    first, dataset, survey = len(filled), Path("o.jsonl").read_bytes(), stored()
    assert survey["rows"] == ROWS
    filled.clear()
    done = again(seeds)
    assert (done.status, done.history["bought"]) == ("published", 0)
    assert len(filled) == first - ROWS - 1, "a new run also rehearses its first row"
    assert (Path("o.jsonl").read_bytes(), stored()) == (dataset, survey)


def test_a_change_of_the_same_length_at_the_same_time_is_seen(seeds: Path) -> None:
    again(seeds)
    before = seeds.stat()
    write(seeds, "one", "two", "six", "ten", "own")
    os.utime(seeds, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert seeds.stat().st_size == before.st_size
    done = again(seeds)
    assert (done.status, done.history["bought"], done.history["reused"]) == ("published", 1, ROWS - 1)
    assert "own" in Path("o.jsonl").read_text()


@pytest.mark.parametrize("options", [replace(ECHO, limit=2), replace(ECHO, rename={"input": "instruction"})])
def test_what_is_read_in_another_way_is_surveyed_anew(seeds: Path, options: Options) -> None:
    again(seeds)
    before = stored()
    if options.limit:
        assert again(seeds, options).result["items"] == 2
    else:
        with pytest.raises(SeedError, match=r"s.jsonl:1: the recipe answer needs the column instruction"):
            again(seeds, options)
    assert (stored() == before) is (options.limit is None)


def test_seeds_that_change_under_a_survey_leave_no_mark(seeds: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, fill = load_recipe("answer", "label"), Recipe.fill
    surveyed = Seeds(open_seeds(seeds), ECHO)
    surveyed.survey(recipe)
    assert surveyed.surveyed

    def fill_and_change(self: Recipe, row: Any) -> dict[str, Any]:
        write(seeds, "one", "two", "six", "ten", "own")
        return fill(self, row)

    monkeypatch.setattr(Recipe, "fill", fill_and_change)
    other = Seeds(open_seeds(seeds), ECHO)
    other.survey(recipe)
    assert not other.surveyed


@pytest.mark.parametrize("limit", [2**63, 2**64 - 1])
def test_a_limit_that_no_file_has_is_refused(seeds: Path, limit: int) -> None:
    with pytest.raises(UsageError, match=r"--limit [0-9]+: must be at most [0-9]+\."):
        again(seeds, replace(ECHO, limit=limit))
    assert [path.name for path in Path().iterdir()] == ["s.jsonl"]


def shard_again(seeds: Path) -> tuple[bytes, bytes]:
    """Both files of the first of two shards, published anew."""
    for path in Path("o.shards").glob("1-of-2.*"):
        if path.is_file():
            path.unlink()
    done = label(str(seeds), recipe="answer", output="o.jsonl", options=replace(ECHO, shard=Shard(1, 2)))
    assert done.status == "published"
    return Path("o.shards/1-of-2.jsonl").read_bytes(), Path("o.shards/1-of-2.order.txt").read_bytes()


def test_a_shard_knows_its_places_again(seeds: Path, filled: list[Any]) -> None:
    written = shard_again(seeds)
    first = len(filled)
    own = written[0].count(b"\n")
    assert 0 < own < ROWS
    places = Path("o.shards/1-of-2.run/places")
    kept = places.read_bytes()
    assert len(kept) == 8 * own
    filled.clear()
    assert shard_again(seeds) == written
    once = len(filled)
    assert once <= first - ROWS
    for harm in (lambda: places.write_bytes(kept[:-1] + b"\1"), lambda: places.write_bytes(kept[:8]), places.unlink):
        harm()
        filled.clear()
        assert shard_again(seeds) == written
        assert len(filled) == once + ROWS, "surveyed anew"
        assert places.read_bytes() == kept


def test_a_shard_of_changed_seeds_has_other_places(seeds: Path) -> None:
    dataset, _ = shard_again(seeds)
    before = Path("o.shards/1-of-2.run/places").read_bytes()
    write(seeds, "new", "one", "two", "six", "ten", "ton")
    again, order = shard_again(seeds)
    assert set(dataset.splitlines()) <= set(again.splitlines())
    assert Path("o.shards/1-of-2.run/places").read_bytes() != before
    listed = [int(line.split()[0]) for line in order.splitlines()]
    assert shard_again(seeds) == (again, order)
    assert [int(line.split()[0]) for line in order.splitlines()] == listed


@pytest.mark.parametrize("texts", [("new", "one", "two", "six", "ten", "ton"), ("one",)])
def test_a_shard_never_asks_for_a_row_of_another(seeds: Path, texts: tuple[str, ...]) -> None:
    """Seeds that change after the survey move all places."""
    for number in (1, 2):
        shard = Shard(number, 2)
        write(seeds, "one", "two", "six", "ten", "ton")
        surveyed = Seeds(open_seeds(seeds), replace(ECHO, shard=shard))
        surveyed.survey(load_recipe("answer", "label"))
        write(seeds, *texts)
        with pytest.raises(SeedError, match=r"s\.jsonl.*while they were being worked on"):
            for item in surveyed.own_items():
                assert shard.holds(mark_of(hashlib.sha256(canonical(item.row)).digest()))


def test_documents_of_other_names_are_other_seeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    marks = set()
    for name in ("a.md", "b.md"):
        Path(name).write_text("# Tea\n\nTea is a drink.\n")
        marks.add(Seeds(open_seeds(Path(name)), ECHO)._mark(load_recipe("answer", "label")))
    assert len(marks) == 2

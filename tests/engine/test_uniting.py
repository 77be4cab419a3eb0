"""Outcomes back from what shards published: any cut, any length of line, and every way in which files may not fit."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from distill_data.engine import uniting
from distill_data.engine.publish import Count, files_of, publish
from distill_data.engine.uniting import Part, order_line, unite
from distill_data.errors import DamageError

KINDS = ("dataset", "sft")


def blob_of(place: int) -> bytes:
    """Kept with records of two kinds, of no kind, or among the rejects; lines of any length."""
    draw = random.Random(place)
    line = b'{"at": %d, "text": "%s"}\n' % (place, b"x" * draw.choice((0, 10, 300)))
    if place % 5 == 4:
        return b"failed\n" + line
    counts = [draw.randrange(3), draw.randrange(2)]
    return b"kept %d %d\n" % tuple(counts) + line * sum(counts)


def part_of(folder: Path, number: int, places: Sequence[int]) -> Part:
    files = files_of(folder / f"{number}.jsonl", others={"sft": folder / f"{number}.sft.jsonl"}, order=True)
    count = Count(len(places))
    count.statuses["kept"] = len(places)
    result = publish(iter([blob_of(place) for place in places]), files, count, {}, {}, places)
    return Part(files.paths(), KINDS, result, {})


def parts_of(folder: Path, items: int, of: int) -> list[Part]:
    dealt: list[list[int]] = [[] for _ in range(of)]
    draw = random.Random(of)
    for place in range(items):
        dealt[draw.randrange(of)].append(place)
    return [part_of(folder, number, places) for number, places in enumerate(dealt)]


@pytest.mark.parametrize(("of", "block"), [(1, 1), (3, 1), (3, 64), (3, 1 << 16), (20, 64)])
def test_outcomes_come_back_in_the_order_of_the_plan(
    tmp_path: Path, of: int, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uniting, "BLOCK_BYTES", block)
    monkeypatch.setattr(uniting, "ORDER_BYTES", block)
    parts = parts_of(tmp_path, 30, of)
    got = [blob.replace(b"failed", b"rejected") for blob in unite(parts, 30, whole=True)]
    assert got == [blob_of(place).replace(b"failed", b"rejected") for place in range(30)]


@pytest.mark.parametrize(
    ("dealt", "says"),
    [
        ([[0, 1], [3]], "item 2 .* in no shard"),
        ([[0, 1], [1, 2, 3]], "item 1 .* in two"),
        ([[0], [1, 2]], "item 3 .* no"),
    ],
)
def test_an_item_that_is_missing_or_there_twice_is_damage(tmp_path: Path, dealt: list[list[int]], says: str) -> None:
    parts = [part_of(tmp_path, number, places) for number, places in enumerate(dealt)]
    with pytest.raises(DamageError, match=says):
        list(unite(parts, 4, whole=True))


def test_in_part_what_is_missing_is_no_damage(tmp_path: Path) -> None:
    parts = [part_of(tmp_path, 0, [0, 5]), part_of(tmp_path, 1, [2])]
    assert len(list(unite(parts, 9, whole=False))) == 3


def test_lines_that_no_order_names_are_damage(tmp_path: Path) -> None:
    part = part_of(tmp_path, 0, [0, 4])
    more = part_of(tmp_path, 1, [0, 4, 9])
    mixed = part._replace(
        paths={**more.paths, "order": part.paths["order"]},
        result={**more.result, "files": {**more.result["files"], "order": part.result["files"]["order"]}},
    )
    with pytest.raises(DamageError, match="fewer rows"):
        list(unite([mixed], 5, whole=False))


def test_a_file_that_is_gone_is_damage(tmp_path: Path) -> None:
    part = part_of(tmp_path, 0, [0, 4])
    part.paths["rejects"].unlink()
    with pytest.raises(DamageError, match=r"0\.rejects\.jsonl: cannot be read"):
        list(unite([part], 5, whole=False))


@pytest.mark.parametrize(
    ("blob", "line"),
    [
        (b"kept\n{}\n{}\n", b"3 2\n"),
        (b"kept\n", b"3 0\n"),
        (b"kept 2 1\n{}\n{}\n{}\n", b"3 2 1\n"),
        (b"rejected\n{}\n", b"3 -\n"),
        (b"failed\n{}\n", b"3 -\n"),
        (b"arrays [[{},1],[{},2]]\n{}\n{}\nabc", b"3 2\n"),
    ],
)
def test_what_the_order_says(blob: bytes, line: bytes) -> None:
    assert order_line(3, blob) == line


def test_sums_of_shards_are_those_of_one_count() -> None:
    told: dict[str, Any] = {
        "kept": 2, "rejected": 1, "failed": 0, "reasons": {"no-tag": 1}, "dropped": {"same": 2}, "records": 3,
        "gold": {"compared": 3, "equal": 1, "by": {"en": {"compared": 3, "equal": 1}}},
        "measures": {"ties": {"count": 1, "of": 4}},
    }  # fmt: skip
    count = Count(6)
    for result in (told, {**told, "gold": {}, "measures": {}}):
        count.absorb(result)
    assert count.records == 6
    assert count.to_json() == {
        "items": 6, "kept": 4, "rejected": 2, "failed": 0, "pending": 0,
        "reasons": {"no-tag": 2}, "dropped": {"same": 4}, "gold": told["gold"], "measures": told["measures"],
    }  # fmt: skip

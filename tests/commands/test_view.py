"""`view` where nobody browses, and the book behind it: rows, rejects and raw answers by number."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from distill_data.commands import Options, label
from distill_data.commands.view import open_book
from distill_data.errors import SeedError, UsageError
from tests.commands.test_report import ELSEWHERE, write
from tests.poison import payloads, write_poisoned
from tests.system.command import run


def test_a_row_leads_to_its_raw_answers(tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    label("@sentiment", recipe="annotate", output=str(output), options=Options(teachers=("echo",)))
    book = open_book(str(output))
    assert book.rows.count == 84 and book.rejects.count == 0
    assert book.answers(book.rows.row(84)) == ["positive"]
    assert book.answers({"text": "x"}) == []
    assert book.answers({"answers": ["a", {"b": 1}]}) == ["a", '{"b":1}']


def test_rows_are_found_by_what_is_in_them(tmp_path: Path) -> None:
    rows = [{"text": text} for text in ('say "Hi"', "GRÜSSE", "数据", "say it", "back\\slash\nline")]
    shelf = open_book(str(write(tmp_path / "d.jsonl", rows))).rows
    assert list(shelf.search("SAY")) == [1, 4] and list(shelf.search("say", 1)) == [4, 1]
    assert list(shelf.search('"hi"')) == [1] and list(shelf.search("grüße".replace("ß", "ss"))) == [2]
    assert list(shelf.search("\udcff")) == []
    assert list(shelf.search("数据")) == [3] and list(shelf.search("k\\s")) == [5] and list(shelf.search("none")) == []


def test_a_damaged_row_is_told_when_somebody_comes_to_it(tmp_path: Path) -> None:
    dataset = tmp_path / "d.jsonl"
    dataset.write_bytes(b'\xef\xbb\xbf{"text": "a"}\n\n   \n{"text": "caf\xe9"}\n[1]\n{"text": "b"}')
    shelf = open_book(str(dataset)).rows
    assert shelf.count == 4 and shelf.row(1) == {"text": "a"} and shelf.row(4) == {"text": "b"}
    assert list(shelf.search("b")) == [4]
    for number, said in ((2, "cannot be read"), (3, "no JSON object"), (0, "rows 1 to 4"), (5, "rows 1 to 4")):
        with pytest.raises(UsageError, match=said):
            shelf.row(number)


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(SeedError, match="gone"):
        open_book(str(tmp_path / "gone.jsonl")).rows.row(1)
    with pytest.raises(UsageError, match="again and again"):
        open_book("-")


@pytest.mark.parametrize("shape", ["alpaca", "odd"])
def test_rows_from_elsewhere_are_written(shape: str, tmp_path: Path) -> None:
    dataset = write(tmp_path / "d.jsonl", ELSEWHERE[shape])
    done = run("view", dataset).ended(0)
    assert f"row {len(ELSEWHERE[shape])} of {len(ELSEWHERE[shape])}" in done.out
    assert done.err == f"{len(ELSEWHERE[shape])} of {len(ELSEWHERE[shape])} rows; --row N writes one\n"


def test_the_first_rows_are_written_where_nobody_browses(tmp_path: Path) -> None:
    dataset = write(tmp_path / "d.jsonl", ({"text": f"number {n} \x1b[2J\u202e"} for n in range(50)))
    write(
        tmp_path / "d.rejects.jsonl",
        [{"line": 9, "outcome": "rejected", "reason": "words", "detail": "d", "row": {"text": "gone"}}],
    )
    done = run("view", dataset).ended(0)
    assert done.out.count("d.jsonl, row ") == 20 and "\x1b" not in done.out and "\u202e" not in done.out
    assert "number 0 \\x1b[2J\\u202e" in done.out
    assert "number 42 " in run("view", dataset, "--row", "43").ended(0).out
    found = run("view", dataset, "--search", "NUMBER 4")
    assert found.ended(0).out.count("d.jsonl, row ") == 11
    assert run("view", dataset, "--rejects").ended(0).out.startswith("rejected · words · d.rejects.jsonl, row 1 of 1\n")
    run("view", dataset, "--row", "51").complained(2, "1 to 50")
    run("view", dataset, "--row", "1", "--search", "x").complained(2, "--search")
    run("view", tmp_path / "d.rejects.jsonl", "--rejects").complained(2, "nothing in it")


@pytest.mark.slow
def test_every_payload_and_twenty_megabytes_are_only_text(tmp_path: Path) -> None:
    rows = [json.loads(line) for text in payloads()[-8:] for line in _rows_of(tmp_path, text)]
    dataset = write(tmp_path / "all.jsonl", [*rows, {"text": "wide " * 4_000_000}])
    done = run("view", dataset, "--row", str(len(rows) + 1)).ended(0)
    assert len(done.out) > 20_000_000
    done = run("view", dataset).ended(0)
    assert not set(done.out) & {"\x1b", "\x9b", "\x07", "\x00", "\r", "\u202e", "\u2067"}


def _rows_of(folder: Path, text: str) -> list[str]:
    place = folder / str(abs(hash(text)))
    place.mkdir()
    return write_poisoned(place, text).read_text(encoding="utf-8").splitlines()[:1]

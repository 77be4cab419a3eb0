"""Rows of a dataset: the bytes of every line, the place of every fault, and single rows read again."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_data.data.rows import make_jump, open_rows
from distill_data.errors import SeedError

BOM = b"\xef\xbb\xbf"
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc中\x00", max_size=3), inner, max_size=3),
    max_leaves=6,
)
ROWS = st.dictionaries(st.text("abc\u2028", max_size=4), VALUES, max_size=4)


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def nested(levels: int) -> bytes:
    return b'{"x":' + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"


def test_a_line_is_the_bytes_of_the_file(tmp_path: Path) -> None:
    lines = [
        b' { "b" : 1.0,"a":"\\u4e2d" }  \r\n',
        b"\n",
        b" \t\r\n",
        '{"a":"中\u2028"}\n'.encode(),
        b'{"a":18446744073709551616}',
    ]
    found = list(open_rows(written(tmp_path / "a.jsonl", b"".join(lines))).read())
    assert [line.number for line in found] == [1, 4, 5]
    assert [line.raw for line in found] == [lines[0], lines[3], lines[4] + b"\n"]
    assert [line.row["a"] for line in found[:2]] == ["中", "中\u2028"]


def test_the_byte_order_mark_is_no_part_of_a_row(tmp_path: Path) -> None:
    (line,) = open_rows(written(tmp_path / "a.jsonl", BOM + b'{"a":1}\n')).read()
    assert line.raw == b'{"a":1}\n'


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "a.jsonl: no rows in this file"),
        (b"\n \r\n\n", "a.jsonl: no rows in this file"),
        (BOM, "a.jsonl: no rows in this file"),
        (b'{"a":1}\n[1]\n', "a.jsonl:2: a row is one JSON object on one line, not a list"),
        (b'{"a":1}\nnull\n', "a.jsonl:2: a row is one JSON object on one line, not a NoneType"),
        (b'{"a":1}\n\n{"a":\n1}\n', "a.jsonl:3: a row is one JSON object on one line, and this is none"),
        (b'{"a":1}{"a":2}\n', "a.jsonl:1: .* this is none"),
        (b'{"a":NaN}\n', "a.jsonl:1: .* this is none"),
        (b'{"a":"\\ud800"}\n', "a.jsonl:1: .* this is none"),
        (b'{"a":1}\n{"a":"\xe9"}\n', "a.jsonl:2: byte 7 of this line .0xE9. is not UTF-8"),
        (b'{"a":"x\x00"}\n', "a.jsonl:1: byte 8 is NUL"),
        ('{"a":1}\n'.encode("utf-16"), "a.jsonl:1: this file is UTF-16"),
        (gzip.compress(b'{"a":1}\n', mtime=0), "a.jsonl:1: this file is gzip"),
        (b'{"a":1}\n' + nested(255) + b"\n", "a.jsonl:2: this row cannot be encoded"),
        (b'{"a":1}\n' + nested(100_000) + b"\n", "a.jsonl:2: .* this is none"),
    ],
)
def test_what_is_no_row_is_told_with_its_place(tmp_path: Path, content: bytes, said: str) -> None:
    file = open_rows(written(tmp_path / "a.jsonl", content), "a.jsonl")
    with pytest.raises(SeedError, match=said):
        list(file.read())


def test_a_row_as_deep_as_can_be_written_again_is_read(tmp_path: Path) -> None:
    (line,) = open_rows(written(tmp_path / "a.jsonl", nested(254) + b"\n")).read()
    assert orjson.dumps(line.row) + b"\n" == line.raw


def test_a_packed_row_that_is_too_deep_is_told_with_its_place(tmp_path: Path) -> None:
    file = open_rows(written(tmp_path / "a.jsonl.gz", gzip.compress(b'{"a":1}\n' + nested(300) + b"\n", mtime=0)))
    with pytest.raises(SeedError, match=r"a\.jsonl\.gz:2: this row cannot be encoded"):
        list(file.read())


def test_a_large_row_is_read(tmp_path: Path) -> None:
    large = b'{"a":"' + b"x" * (20 << 20) + b'"}\n'
    found = list(open_rows(written(tmp_path / "a.jsonl", large + b'{"a":"y"}\n')).read())
    assert [len(line.raw) for line in found] == [len(large), 10]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", b'x,y\n1,"two\nlines"\n3,4\n'),
        ("a.csv.gz", gzip.compress(b'x,y\n1,"two\nlines"\n3,4\n', mtime=0)),
        ("a.jsonl.gz", gzip.compress(b'{"x":"1","y":"two\\nlines"}\r\n{"x":"3","y":"4"}', mtime=0)),
    ],
)
def test_other_formats_give_lines_too(tmp_path: Path, name: str, content: bytes) -> None:
    file = open_rows(written(tmp_path / name, content))
    assert [line.raw for line in file.read()] == [b'{"x":"1","y":"two\\nlines"}\n', b'{"x":"3","y":"4"}\n']
    assert make_jump(file)(1) == {"x": "3", "y": "4"}


def test_a_folder_has_a_digest_of_what_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one")
    before = open_rows(tmp_path).digest()
    assert open_rows(tmp_path).digest() == before
    (tmp_path / "a.txt").write_text("two")
    assert open_rows(tmp_path).digest() != before


def test_a_file_that_is_not_there_is_a_seed_error(tmp_path: Path) -> None:
    with pytest.raises(SeedError, match="No such file"):
        open_rows(tmp_path / "a.jsonl")
    with pytest.raises(SeedError, match="File name too long"):
        open_rows(tmp_path / f"{'a' * 300}.jsonl")
    file = open_rows(written(tmp_path / "a.jsonl", b"{}\n"))
    file.path.unlink()
    for read in (file.digest, lambda: list(file.read()), lambda: make_jump(file)):
        with pytest.raises(SeedError, match=r"a\.jsonl: cannot be read: No such file"):
            read()


@given(st.lists(st.tuples(ROWS, st.sampled_from([b"\n", b"\r\n", b"\n\n", b"\n \t\r\n"])), min_size=1), st.booleans())
def test_rows_are_those_of_json_and_every_one_is_found_again(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[dict[str, Any], bytes]], marked: bool
) -> None:
    content = b"".join(json.dumps(row, ensure_ascii=False).encode() + end for row, end in rows)
    file = open_rows(written(tmp_path_factory.mktemp("rows") / "a.jsonl", BOM * marked + content))
    found = list(file.read())
    assert [line.row for line in found] == [orjson.loads(json.dumps(row)) for row, _ in rows]
    jump = make_jump(file)
    assert [jump(ordinal) for ordinal in reversed(range(len(found)))] == [line.row for line in reversed(found)]
    assert b"".join(line.raw.strip() for line in found) == b"".join(line.strip() for line in content.split(b"\n"))


def test_a_mark_on_an_empty_first_line_moves_no_row(tmp_path: Path) -> None:
    file = open_rows(written(tmp_path / "a.jsonl", BOM + b'\n{"a":1}\n{"a":2}\n'))
    assert [make_jump(file)(ordinal) for ordinal in (1, 0)] == [{"a": 2}, {"a": 1}]

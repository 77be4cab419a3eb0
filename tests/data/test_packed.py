"""Files packed with zstd: read as they were, whole or refused, and never without end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from distill_data.data import packed
from distill_data.data.rows import open_rows
from distill_data.data.seeds import make_items, open_seeds, read_rows
from distill_data.errors import SeedError

ROWS = b'{"text":"one"}\n{"text":"\xe4\xba\x8c"}\n\n{"text":"three"}\n'


def zstd() -> Any:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd


def pack(path: Path, *parts: bytes) -> Path:
    path.write_bytes(b"".join(zstd().compress(part) for part in parts))
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("s.jsonl", ROWS),
        ("s.csv", b'a,b\n1,"x\ny"\n2,z\n'),
        ("s.txt", "one\n二\n".encode()),
        ("S.NDJSON", b"\xef\xbb\xbf" + ROWS),
    ],
)
def test_a_packed_file_has_the_rows_and_ids_of_the_plain_one(tmp_path: Path, name: str, content: bytes) -> None:
    plain = tmp_path / name
    plain.write_bytes(content)
    wrapped = pack(tmp_path / f"{name}.zst", content)
    items, same = (list(make_items(read_rows(open_seeds(path)), 0)) for path in (plain, wrapped))
    assert [(item.id, item.row) for item in items] == [(item.id, item.row) for item in same]
    assert [item.where.rpartition(":")[2] for item in items] == [item.where.rpartition(":")[2] for item in same]


def test_a_dataset_is_read_from_it_too(tmp_path: Path) -> None:
    file = open_rows(pack(tmp_path / "s.jsonl.zst", ROWS))
    assert [(line.number, line.row["text"]) for line in file.read()] == [(1, "one"), (2, "二"), (4, "three")]
    assert len(file.digest()) == 64


def test_frames_follow_each_other_and_any_cut_is_noticed(tmp_path: Path) -> None:
    path = pack(tmp_path / "s.jsonl.zst", ROWS[:15], ROWS[15:])
    assert [row["text"] for _, row in read_rows(open_seeds(path))] == ["one", "二", "three"]
    whole = pack(path, ROWS).read_bytes()
    for size in range(1, len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(SeedError, match=r"s\.jsonl\.zst: the \.zst data is cut off or damaged after line \d"):
            list(read_rows(open_seeds(path)))


@given(st.binary(min_size=1, max_size=200))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_no_zstd_is_refused_with_its_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "s.jsonl.zst"
    path.write_bytes(content)
    with pytest.raises(SeedError, match=r"s\.jsonl\.zst"):
        list(read_rows(open_seeds(path)))


def test_what_unpacks_without_end_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "UNPACKED_FREE", 1 << 20)
    bomb = b'{"a":"' + b"x" * 1000 + b'"}\n'
    path = pack(tmp_path / "s.jsonl.zst", bomb * 900)
    assert len(list(read_rows(open_seeds(path)))) == 900
    pack(path, bomb * 20_000)
    assert path.stat().st_size < 10_000
    with pytest.raises(SeedError, match="unpacks to over 1 MiB; unpack it yourself"):
        list(read_rows(open_seeds(path)))
    pack(path, b"x" * (40 << 20))
    with pytest.raises(SeedError, match="this line is longer than 16 MiB"):
        list(read_rows(open_seeds(path)))


def test_other_formats_are_not_read_from_it(tmp_path: Path) -> None:
    for name in ("s.parquet.zst", "s.md.zst", "s.zst"):
        with pytest.raises(SeedError, match=r"unknown kind of seed file '\.(parquet|md)\.zst'|unknown kind .*'\.zst'"):
            open_seeds(pack(tmp_path / name, ROWS))


def test_without_the_package_the_extra_is_named(tmp_path: Path) -> None:
    path = pack(tmp_path / "s.jsonl.zst", ROWS)
    script = (
        "import sys\nsys.modules['backports'] = sys.modules['compression'] = None\n"
        "from distill_data.cli import main\nsys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "filter", str(path), "-c", "refusal@text", "-o", "-"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "pip install 'distill-data[zstd]'" in done.stderr
    assert "Traceback" not in done.stderr

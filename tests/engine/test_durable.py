"""Replacing a file as a whole, and what an error of the disk says."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from distill_data.engine import durable
from distill_data.engine.durable import disk_error, make_directory, sync_data, sync_directory, write_atomically
from distill_data.errors import DiskError


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_the_new_bytes_take_the_place_of_the_old(tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    for data in (b"old and long", b"new", b""):
        write_atomically(file, data, mode=0o640)
        assert file.read_bytes() == data
    assert file.stat().st_mode & 0o777 == 0o640
    assert names(tmp_path) == ["run.json"]


@pytest.mark.parametrize("step", ["open", "write", "fsync", "replace"])
def test_an_error_at_any_step_leaves_the_old_bytes_and_no_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    file = tmp_path / "run.json"
    write_atomically(file, b"old")

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    class Full:
        def __init__(self, fd: int, mode: str) -> None:
            self.fd = fd

        def __enter__(self) -> Full:
            return self

        def __exit__(self, *_: object) -> None:
            os.close(self.fd)

        write = fail

    with monkeypatch.context() as patch:
        if step == "replace":
            patch.setattr(Path, "replace", fail)
        elif step == "write":
            patch.setattr(durable.os, "fdopen", Full)
        else:
            patch.setattr(durable.os, step, fail)
        with pytest.raises(DiskError, match=r"run\.json: No space left on device"):
            write_atomically(file, b"new")
    assert file.read_bytes() == b"old"
    assert names(tmp_path) == ["run.json"]


def test_what_a_killed_process_of_the_same_number_left_is_no_hindrance(tmp_path: Path) -> None:
    """In a container every run may have the number 1."""
    (tmp_path / f".run.json.{os.getpid()}.tmp").write_bytes(b"half")
    write_atomically(tmp_path / "run.json", b"whole")
    assert (tmp_path / "run.json").read_bytes() == b"whole"
    assert names(tmp_path) == ["run.json"]


def test_a_place_that_is_none_is_an_error_of_the_disk(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "absent" / "run.json", tmp_path / "file" / "run.json"):
        with pytest.raises(DiskError, match=r"run\.json"):
            write_atomically(path, b"")


def test_the_error_says_what_and_where() -> None:
    assert str(disk_error(OSError(errno.EROFS, "x"), Path("a/b"))).startswith("a/b: Read-only file system. ")
    assert str(disk_error(OSError("no number"), Path("a"))).startswith("a: no number. ")
    assert str(disk_error(OSError(errno.ENOMEM, "x"), Path("a"))).startswith("a: memory ran out. ")


def test_directories_that_cannot_be_synced_are_let_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sync_directory(tmp_path)
    codes = [errno.EINVAL, errno.EIO]

    def fail(_: int) -> None:
        raise OSError(codes.pop(0), "fsync")

    monkeypatch.setattr(durable.os, "fsync", fail)
    before = len(os.listdir("/dev/fd"))
    sync_directory(tmp_path)
    with pytest.raises(OSError, match="fsync"):
        sync_directory(tmp_path)
    assert len(os.listdir("/dev/fd")) == before


def test_syncing_what_is_no_file_fails_loudly() -> None:
    reading, writing = os.pipe()
    try:
        with pytest.raises(OSError):
            sync_data(writing)
    finally:
        os.close(reading)
        os.close(writing)


def test_what_dead_processes_left_is_removed_and_what_living_ones_write_is_not(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    dead = [f".run.json.{ended.pid}.tmp", f".run.json.{os.getpid()}.tmp"]
    others = [
        f".run.json.{os.getppid()}.tmp",
        f".run.json.x.{ended.pid}.tmp",
        f".other.{ended.pid}.tmp",
        ".run.json.tmp",
    ]
    for name in dead + others:
        (tmp_path / name).write_bytes(b"half")
    (tmp_path / f".run.json.{1 << 29}.tmp").mkdir()
    (tmp_path / f".run.json.{1 << 29}.tmp" / "file").write_bytes(b"a folder that is exported")
    write_atomically(tmp_path / "run.json", b"whole")
    assert names(tmp_path) == sorted([*others, "run.json"])


def test_a_process_that_has_the_number_of_a_dead_one_does_not_keep_what_that_left(tmp_path: Path) -> None:
    """In containers all have the same few numbers; what tells them apart is when they began."""
    neighbour = os.getppid()
    stat = Path(f"/proc/{neighbour}/stat").read_text()
    birth = int(stat[stat.rindex(")") :].split()[20])
    for began in (birth, birth + 1, 0):
        (tmp_path / f".run.json.{neighbour}-{began}.tmp").write_bytes(b"half")
    mine = durable.temporary_of(tmp_path / "run.json")
    assert names(tmp_path) == sorted(f".run.json.{neighbour}-{began}.tmp" for began in (birth, 0))
    mine.write_bytes(b"half")
    code = "import sys; from pathlib import Path; from distill_data.engine.durable import remove_leftovers as remove\n"
    code += "remove(Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "run.json")], check=True)
    assert mine.exists(), "whoever lives still writes it"


def test_a_directory_that_was_there_may_lie_in_one_that_cannot_be_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = tmp_path / "there"
    there.mkdir()
    real = os.open

    def shut(path: Path, flags: int, *more: int) -> int:
        if path == tmp_path:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return real(path, flags, *more)

    monkeypatch.setattr(os, "open", shut)
    make_directory(there)
    with pytest.raises(PermissionError):
        make_directory(tmp_path / "new")

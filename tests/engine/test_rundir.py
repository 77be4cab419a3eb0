"""The run directory: one process at a time, and a run.json that is whole or refused."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from distill_data.engine import rundir
from distill_data.engine.rundir import FORMAT, SCRATCH, RunDirectory
from distill_data.errors import DamageError, DiskError, DistillError, LockedError, UsageError

ROOT = Path(__file__).parents[2]
CLAIM = """
import sys
from pathlib import Path
from distill_data.engine.rundir import RunDirectory
from distill_data.errors import LockedError
run = RunDirectory(Path(sys.argv[1]))
try:
    run.claim()
except LockedError as error:
    print(error, flush=True)
else:
    print("claimed", flush=True)
    sys.stdin.readline()
"""


def claim_elsewhere(path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CLAIM, str(path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_second_process_is_told_who_works_here_until_the_first_lets_go(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "out.run")
    run.claim()
    with claim_elsewhere(run.path) as child:
        said, _ = child.communicate()
    assert f"another process ({os.getpid()}) works on this run" in said
    run.release()
    run.release()
    with claim_elsewhere(run.path) as child:
        said, _ = child.communicate("\n")
    assert said == "claimed\n"


@pytest.mark.parametrize("name", [".run.json.123.tmp", ".run.json.123-45.tmp", "stdin.tmp", "stdin.jsonl", "lock"])
def test_what_a_process_leaves_that_dies_before_run_json_is_there_is_no_obstacle(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    run = RunDirectory(tmp_path)
    run.claim()
    run.save({"plan": "x"})
    run.release()
    assert run.load()["plan"] == "x"


def test_the_lock_dies_with_its_holder(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "out.run")
    before = len(os.listdir("/dev/fd"))
    with claim_elsewhere(run.path) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "claimed\n"
        with pytest.raises(LockedError, match=f"\\({child.pid}\\)"):
            run.claim()
        child.kill()
    (run.path / "lock").write_text("a longer number than ours")
    run.claim()
    assert (run.path / "lock").read_text() == f"{os.getpid()}\n"
    run.release()
    assert len(os.listdir("/dev/fd")) == before


def test_whoever_looks_who_works_there_is_in_nobodys_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunDirectory(tmp_path)
    run.claim()
    run.release()
    look = os.open(tmp_path / "lock", os.O_RDONLY)
    fcntl.flock(look, fcntl.LOCK_SH)  # as `holder` does, for a moment
    monkeypatch.setattr(rundir.time, "sleep", lambda _: os.close(look))
    run.claim()
    run.release()


def claimed(run: RunDirectory) -> bool:
    try:
        run.claim()
    except LockedError:
        return False
    return True


def test_a_run_is_abandoned_before_another_process_can_take_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, other, unlink = RunDirectory(tmp_path / "out.run"), RunDirectory(tmp_path / "out.run"), Path.unlink
    run.claim()
    came_between: list[bool] = []

    def late(path: Path, missing_ok: bool = False) -> None:
        came_between.append(claimed(other))
        unlink(path, missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", late)
        run.abandon()
    assert came_between == [False] and not run.path.exists()
    run.abandon()
    assert claimed(other)
    run.abandon()
    assert other.holder() == str(os.getpid()), "who does not hold it removes nothing"
    other.release()


def test_the_lock_of_an_abandoned_run_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second process opened the file, and then the first one removed it."""
    runs = [RunDirectory(tmp_path / "out.run") for _ in range(3)]
    runs[0].claim()
    flock = fcntl.flock

    def late(fd: int, how: int) -> None:
        runs[0].abandon()
        flock(fd, how)

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", late)
        runs[1].claim()
    assert runs[1].path.is_dir()
    assert not claimed(runs[2]), "there is one lock"
    runs[1].release()


def test_a_directory_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "deep" / "out.run")
    run.claim()
    assert run.path.stat().st_mode & 0o777 == 0o700
    assert (run.path / "lock").stat().st_mode & 0o777 == 0o600
    assert run.journal.parent == run.spill.parent == run.path
    run.release()


def test_symbolic_links_are_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link.run").symlink_to(tmp_path / "real")
    with pytest.raises(UsageError, match="symbolic link"):
        RunDirectory(tmp_path / "link.run").claim()
    assert list((tmp_path / "real").iterdir()) == []

    (tmp_path / "victim").write_text("precious")
    (tmp_path / "real" / "lock").symlink_to(tmp_path / "victim")
    with pytest.raises(DiskError):
        RunDirectory(tmp_path / "real").claim()
    assert (tmp_path / "victim").read_text() == "precious"


def test_a_place_that_cannot_be_written_is_an_error_of_the_disk(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DiskError, match="Not a directory"):
        RunDirectory(tmp_path / "file" / "out.run").claim()
    with pytest.raises(UsageError, match="not a run's directory"):
        RunDirectory(tmp_path / "file").claim()
    if os.geteuid() != 0:
        (tmp_path / "closed").mkdir(mode=0o500)
        with pytest.raises(DiskError, match="Permission denied"):
            RunDirectory(tmp_path / "closed" / "out.run").claim()


def test_a_disk_too_full_for_the_lock_is_an_error_of_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "full")

    monkeypatch.setattr(rundir.os, "pwrite", fail)
    before = len(os.listdir("/dev/fd"))
    with pytest.raises(DiskError, match="No space left"):
        RunDirectory(tmp_path / "out.run").claim()
    assert len(os.listdir("/dev/fd")) == before


def test_facts_come_back_and_are_written_only_when_they_say_something_new(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    assert run.load() == {}
    run.save({"plan": "a", "é": [1, {"b": None}]})
    assert run.load() == {"format": FORMAT, "plan": "a", "é": [1, {"b": None}]}
    first = (tmp_path / "run.json").stat()
    run.save({"é": [1, {"b": None}], "plan": "a"})
    assert (tmp_path / "run.json").stat().st_ino == first.st_ino
    run.save({"plan": "b"})
    assert run.load() == {"format": FORMAT, "plan": "b"}


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b'{"format":1', b"\xff", b"[]", b"null", b"{}", b'{"format":2}', b'{"format":"1"}', b'{"format":null}'],
)
def test_facts_that_are_damaged_or_newer_are_refused_and_left_as_they_are(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "run.json").write_bytes(data)
    run = RunDirectory(tmp_path)
    with pytest.raises(DamageError, match=r"run\.json"):
        run.load()
    with pytest.raises(DistillError):
        run.save({"plan": "a"})
    assert (tmp_path / "run.json").read_bytes() == data


def test_any_cut_of_the_facts_is_refused(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    run.save({"plan": "a"})
    data = (tmp_path / "run.json").read_bytes()
    for length in range(len(data) - 1):  # the last byte is a newline, which says nothing
        (tmp_path / "run.json").write_bytes(data[:length])
        with pytest.raises(DamageError):
            run.load()
    assert orjson.loads(data)["plan"] == "a"


def test_facts_that_were_edited_are_refused_and_those_of_an_old_run_are_not(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    run.save({"plan": "a", "items": 3})
    stored = orjson.loads((tmp_path / "run.json").read_bytes())
    (tmp_path / "run.json").write_bytes(orjson.dumps({**stored, "items": 4}))
    with pytest.raises(DamageError, match="was changed since it was written"):
        run.load()
    del stored["digest"]
    (tmp_path / "run.json").write_bytes(orjson.dumps(stored))
    assert run.load() == {"format": FORMAT, "plan": "a", "items": 3}


def test_facts_that_are_no_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "run.json").mkdir()
    with pytest.raises(DiskError, match=r"run\.json"):
        RunDirectory(tmp_path).load()


def test_what_a_dead_process_set_aside_is_removed(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "out.run")
    run.claim()
    run.save({})
    run.release()
    for name in SCRATCH:
        (run.path / name).parent.mkdir(exist_ok=True)
        (run.path / name).write_bytes(b"large")
    run.claim()
    run.release()
    assert not [name for name in SCRATCH if (run.path / name).exists()]

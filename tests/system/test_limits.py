"""Real limits of the system: a full and a read-only disk, few open files, small files, little memory.

Whatever gives out, nothing that was acknowledged is lost, what is in flight lands where that is possible, and with more
room the same command ends in the same bytes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.crash import Ending, Fork
from tests.faultserver import Server, serve
from tests.system.command import Output, environment, label, marked, write_seeds

pytestmark = pytest.mark.slow
ROWS, CONCURRENCY = 12, 4
NAMESPACE = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]
"""Mounts made below it are seen by nobody else and end with it."""


def paid(server: Server, since: int = 0) -> Counter[str]:
    return Counter(line["row"] for line in server.ledger()[since:] if line["paid"])


def limited(fork: Fork, server: Server, directory: Path, **limits: int) -> tuple[Ending, Output]:
    """Label a few rows under limits, and check that nothing acknowledged is lost and that the rest is bought later."""
    directory.mkdir()
    write_seeds(directory / "seeds.jsonl", marked(ROWS))
    out, asked = Output(directory / "out.jsonl"), server.asked()
    args = label(Path("seeds.jsonl"), server.url, Output(Path("out.jsonl")), "--concurrency", str(CONCURRENCY))
    ending = fork(directory, *args, **limits)
    on_disk, bought = out.on_disk(), paid(server, asked)
    assert ending.calls.count("count") <= len(on_disk)
    assert bought.total() - len(on_disk) <= CONCURRENCY * 5 // 4
    asked = server.asked()
    fork(directory, *args).ended(0)
    assert not on_disk & set(paid(server, asked))
    assert out.rows() == [text[:9] for text in marked(ROWS)]
    return ending, out


def test_files_that_may_not_grow(fork: Fork, tmp_path: Path) -> None:
    with serve() as server:
        for size in (0, 300, 1_000, 2_000, 3_000, 4_000, 5_000):
            limited(fork, server, tmp_path / str(size), FSIZE=size)[0].ended(7)


def test_few_open_files(fork: Fork, tmp_path: Path) -> None:
    codes = []
    with serve() as server:
        for number in range(13, 29, 3):
            ending, _ = limited(fork, server, tmp_path / str(number), NOFILE=number)
            codes.append(ending.code)
            assert "Traceback" not in ending.said
            if ending.code == 2:  # without descriptors there is no event loop, and nothing begins
                assert "Too many open files" in ending.said and "open out.run/journal/000001.jsonl" not in ending.calls
    assert codes[0] == 2 and codes[-1] == 0 and 7 in codes, codes


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the address space has no limit")
def test_little_memory(fork: Fork, tmp_path: Path) -> None:
    """One answer is large, and the libraries under us may die of it: then what a killed process leaves is left."""
    codes = []
    with serve(plan={"markers": {"row-00005": "large"}}) as server:
        for size in (40, 90, 150):
            ending, _ = limited(fork, server, tmp_path / str(size), AS=size << 20)
            assert "Traceback" not in ending.said, ending.said
            codes.append(ending.code)
            if ending.code == 7:
                assert "memory ran out" in ending.said
    assert 7 in codes and 3 not in codes, "no row is to blame for it"


FULL = """
mount -t tmpfs -o size=4500k small "$1"
cd "$1"
cp ../seeds.jsonl .
head -c 300000 /dev/zero > filler
shift
"$@" || echo $? > ../code
cp -r . ../full
rm filler
"$@"
cp -r . ../whole
"""
READ_ONLY = """
mount --bind "$1" "$1"
mount -o remount,bind,ro "$1"
cd "$1"
shift
"$@" || echo $? > ../code
"""


def mounted(script: str, directory: Path, *args: str | Path) -> str:
    """Run a script that mounts something at a directory and runs the command there; what was said on stderr."""
    if shutil.which("unshare") is None or subprocess.run([*NAMESPACE, "mount", "-t", "tmpfs", "x", "/mnt"]).returncode:
        pytest.skip("this process may not mount anything")
    command = [*NAMESPACE, "sh", "-euc", script, "sh", directory, sys.executable, "-m", "distill_data", *args]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=60)
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_a_full_disk_loses_no_answer(tmp_path: Path) -> None:
    seeds, small = write_seeds(tmp_path / "seeds.jsonl", marked(300)), tmp_path / "small"
    small.mkdir()
    with serve(latency=0.005) as server:
        job = label(Path(seeds.name), server.url, Output(Path("out.jsonl")), "--concurrency", "16")
        said = mounted(FULL, small, *job)
        assert set(paid(server).values()) == {1}, "what was in flight landed in the reserve"
    assert (tmp_path / "code").read_text() == "7\n"
    assert "No space left on device" in said and "make room" in said
    full, whole = Output(tmp_path / "full" / "out.jsonl"), Output(tmp_path / "whole" / "out.jsonl")
    assert not full.path.exists() and 0 < len(full.on_disk()) < 300
    assert whole.rows() == [text[:9] for text in marked(300)]
    assert not list(whole.path.parent.rglob("*.tmp"))


def test_a_read_only_disk_is_told_before_anything_is_asked(tmp_path: Path) -> None:
    fixed = tmp_path / "fixed"
    fixed.mkdir()
    seeds = write_seeds(fixed / "seeds.jsonl", marked(5))
    with serve() as server:
        said = mounted(READ_ONLY, fixed, *label(Path(seeds.name), server.url, Output(Path("out.jsonl"))))
        assert server.asked() == 0
    assert (tmp_path / "code").read_text() == "7\n"
    assert "Read-only file system" in said
    assert [path.name for path in fixed.iterdir()] == ["seeds.jsonl"]

"""Arrays beside the journal: there before anybody is told, a full disk survived once, places that are none refused."""

from __future__ import annotations

import asyncio
import errno
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_data.data.exchange import Blob
from distill_data.engine.blobs import RESERVE, Blobs, blob_at, place_of
from distill_data.errors import DamageError, DiskError


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """No file of this process may grow past `size` bytes, which a writer sees as a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def put_all(directory: Path, *data: bytes) -> list[Blob]:
    """Where all of them are, put at once."""

    async def main() -> list[Blob]:
        blobs = Blobs(directory)
        try:
            return await asyncio.gather(*map(blobs.put, data))
        finally:
            await blobs.aclose()

    return asyncio.run(main())


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=8))
def test_what_is_put_is_read_again(tmp_path_factory: pytest.TempPathFactory, data: list[bytes]) -> None:
    directory = tmp_path_factory.mktemp("run") / "blobs"
    for one, blob in zip(data, put_all(directory, *data), strict=True):
        blob.check()
        assert blob_at(directory, place_of(blob)).read() == one
    assert [path.name for path in directory.iterdir()] == ["000001.bin"], "the space set aside is given back"


def test_each_process_writes_a_file_of_its_own(tmp_path: Path) -> None:
    for number in range(3):
        put_all(tmp_path / "blobs", b"x%d" % number)
    assert sorted(path.name for path in (tmp_path / "blobs").iterdir()) == ["000001.bin", "000002.bin", "000003.bin"]


def test_a_full_disk_is_survived_once_and_then_told(tmp_path: Path) -> None:
    async def main() -> None:
        blobs = Blobs(tmp_path / "blobs")
        kept = [await blobs.put(bytes([number]) * 4000) for number in range(4)]
        assert (tmp_path / "blobs" / RESERVE).exists()
        with files_of_at_most(16_000):
            assert blobs.broken is None
            kept.append(await blobs.put(b"e" * 4000))  # in flight when the disk is full
            assert blobs.broken is not None, "nothing more should be sent"
            assert not (tmp_path / "blobs" / RESERVE).exists()
            kept += [await blobs.put(bytes([number]) * 4000) for number in range(5, 8)]
            with pytest.raises(DiskError, match="File too large"):
                await blobs.put(b"z" * 4000)
        await blobs.aclose()
        assert [blob.read()[:1] for blob in kept] == [b"\0", b"\1", b"\2", b"\3", b"e", b"\5", b"\6", b"\7"]

    asyncio.run(main())
    sizes = {path.name: path.stat().st_size for path in (tmp_path / "blobs").iterdir()}
    assert sizes == {"000001.bin": 16_000, "000002.bin": 16_000}, "no part of a batch that failed, and no empty file"


@pytest.mark.parametrize("failure", [errno.EIO, errno.EROFS])
def test_a_disk_that_keeps_failing_is_told_and_left_clean(
    tmp_path: Path, failure: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(fd: int) -> None:
        raise OSError(failure, "no")

    monkeypatch.setattr("distill_data.engine.blobs.sync_data", fail)
    with pytest.raises(DiskError):
        put_all(tmp_path / "blobs", b"x")
    assert list((tmp_path / "blobs").iterdir()) == []


def test_a_file_that_somebody_deletes_ends_the_sending_and_what_is_in_flight_lands_beside_it(tmp_path: Path) -> None:
    async def main() -> None:
        blobs = Blobs(tmp_path / "blobs")
        lost = await blobs.put(b"bought before")
        lost.path.unlink()
        kept = await blobs.put(b"in flight")
        assert "No such file" in str(blobs.broken), "nothing more should be sent"
        await blobs.aclose()
        assert (kept.read(), kept.path.name) == (b"in flight", "000002.bin"), "the first one may be restored"

    asyncio.run(main())


PLACE = {"file": "000001.bin", "offset": 0, "length": 3, "sha256": "ab"}


@pytest.mark.parametrize(
    "changed",
    [
        {"file": "/etc/passwd"},
        {"file": "../000001.bin"},
        {"file": "1.bin"},
        {"file": 7},
        {"offset": -1},
        {"offset": 1.0},
        {"length": 1 << 70},
        {"length": None},
        {"sha256": None},
    ],
)
def test_a_place_that_is_none_is_damage(changed: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(DamageError):
        blob_at(tmp_path, {**PLACE, **changed})


def test_a_file_that_is_gone_or_cut_is_damage_before_it_is_read(tmp_path: Path) -> None:
    [blob] = put_all(tmp_path / "blobs", b"abcdef")
    blob.path.write_bytes(b"abcde")
    with pytest.raises(DamageError, match="--reuse"):
        blob.check()
    blob.path.unlink()
    with pytest.raises(DamageError, match="not there"):
        blob.check()


def test_short_memory_is_told_and_shifts_no_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes when bytes are written already: they are taken back, and nobody waits for ever."""

    async def main() -> None:
        blobs = Blobs(tmp_path)
        await blobs.put(b"abc")

        def run_out(fd: int) -> None:
            raise MemoryError

        with monkeypatch.context() as patch:
            patch.setattr("distill_data.engine.blobs.sync_data", run_out)
            with pytest.raises(MemoryError):
                await blobs.put(b"1234")
        blob = await blobs.put(b"xyz")
        await blobs.aclose()
        assert blob.read() == b"xyz"

    asyncio.run(asyncio.wait_for(main(), 20))

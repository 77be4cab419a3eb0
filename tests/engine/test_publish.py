"""Outcomes to files that are whole or absent: crashes between any two steps, and bytes that do not depend on order."""

from __future__ import annotations

import dataclasses
import errno
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_data.data.items import Arrays, Item, Outcome, failed, kept, rejected
from distill_data.engine import publish as module
from distill_data.engine.outcomes import encode_outcome
from distill_data.engine.publish import (
    Count,
    Files,
    file_digest,
    files_of,
    is_published,
    publish,
    read_manifest,
    withdraw,
)
from distill_data.engine.shards import Shards, discard_shards
from distill_data.engine.spill import Spill
from distill_data.errors import DamageError, DiskError, DistillError, UsageError

FACTS = {"plan": "p1"}


def item(ordinal: int) -> Item:
    return Item(ordinal, f"{ordinal:016x}", {"x": f"row {ordinal}"}, f"seeds.jsonl:{ordinal + 1}")


def outcome_of(ordinal: int, version: str = "") -> Outcome:
    """Of four items two are kept, one of them with two records, one is rejected and one failed."""
    record = {"id": f"{ordinal}{version}", "text": "x\u2028y"}
    if ordinal % 4 == 2:
        return rejected("no-tag", "a \ud800 half", "raw \ud800", agrees=False)
    if ordinal % 4 == 3:
        return failed("bad-request", "")
    return kept(record, dropped={"same": 1}, agrees=True) if ordinal % 4 else kept(record, record)


def blobs(ordinals: Iterable[int], version: str = "") -> list[bytes]:
    return [encode_outcome(item(n), outcome_of(n, version)) for n in ordinals]


def count_of(ordinals: Iterable[int], items: int) -> Count:
    count = Count(items)
    for n in ordinals:
        count.add(outcome_of(n), f"g{n % 2}")
    return count


def publish_all(files: Files, ordinals: Sequence[int], *, items: int, version: str = "") -> dict[str, Any]:
    count = count_of(ordinals, items)
    return publish(iter(blobs(ordinals, version)), files, count, {"plan": "p1" + version}, {"t": version})


def snapshot(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def assert_true(files: Files) -> None:
    """What a manifest describes is there, as described."""
    manifest = read_manifest(files.manifest)
    assert manifest is not None
    for described in manifest["result"]["files"].values():
        if described is not None:
            assert (files.dataset.parent / described["name"]).is_file()


def test_files_are_named_after_the_output() -> None:
    whole = files_of(Path("data/a.b.jsonl"))
    assert [path.as_posix() for path in (whole.dataset, whole.rejects, whole.manifest)] == [
        "data/a.b.jsonl",
        "data/a.b.rejects.jsonl",
        "data/a.b.manifest.json",
    ]
    partial = files_of(Path("data/a.b.jsonl"), partial=True)
    assert [path.as_posix() for path in (partial.dataset, partial.rejects, partial.manifest)] == [
        "data/a.b.partial.jsonl",
        "data/a.b.partial.rejects.jsonl",
        "data/a.b.partial.manifest.json",
    ]


@pytest.mark.parametrize("name", ["out", "out.json", "out.jsonl.gz", ".jsonl", "out.JSONL", "dir/"])
def test_another_ending_is_a_mistake_of_the_user(name: str) -> None:
    with pytest.raises(UsageError, match=r"must end in \.jsonl"):
        files_of(Path(name))


def test_what_is_published_adds_up(tmp_path: Path) -> None:
    files = files_of(tmp_path / "sub" / "out.jsonl")
    result = publish_all(files, range(8), items=10)
    assert {name: result[name] for name in ("items", "kept", "rejected", "failed", "pending", "records")} == {
        "items": 10,
        "kept": 4,
        "rejected": 2,
        "failed": 2,
        "pending": 2,
        "records": 6,
    }
    assert result["reasons"] == {"bad-request": 2, "no-tag": 2}
    assert result["dropped"] == {"same": 2}
    assert result["gold"] == {
        "compared": 4,
        "equal": 2,
        "by": {"g0": {"compared": 2, "equal": 0}, "g1": {"compared": 2, "equal": 2}},
    }
    dataset = files.dataset.read_bytes()
    assert [orjson.loads(line)["id"] for line in dataset.split(b"\n")[:-1]] == ["0", "0", "1", "4", "4", "5"]
    rejects = [orjson.loads(line) for line in files.rejects.read_bytes().split(b"\n")[:-1]]
    assert [(row["item"], row["outcome"], row["reason"]) for row in rejects] == [
        (item(2).id, "rejected", "no-tag"),
        (item(3).id, "failed", "bad-request"),
        (item(6).id, "rejected", "no-tag"),
        (item(7).id, "failed", "bad-request"),
    ]
    assert rejects[0]["answers"] == ["raw \\ud800"]
    assert orjson.loads(rejects[0]["seed"]) == item(2).row
    described = result["files"]["dataset"]
    assert described == {"name": "out.jsonl", "rows": 6, "bytes": len(dataset), "sha256": file_digest(files.dataset)}
    manifest = read_manifest(files.manifest)
    assert manifest == {"result": result, "history": {"t": ""}}
    assert names(files.dataset.parent) == {"out.jsonl", "out.rejects.jsonl", "out.manifest.json"}


def test_more_ends_than_items_is_a_bug_and_nothing_is_published(tmp_path: Path) -> None:
    with pytest.raises(DistillError, match="do not add up"):
        publish_all(files_of(tmp_path / "out.jsonl"), range(8), items=7)
    assert names(tmp_path) == set()


def test_an_outcome_that_was_counted_and_not_set_aside_is_a_bug_and_nothing_is_published(tmp_path: Path) -> None:
    with pytest.raises(DistillError, match="3 items ended and 4 were counted"):
        publish(iter(blobs(range(3))), files_of(tmp_path / "out.jsonl"), count_of(range(4), 4), {}, {})
    assert names(tmp_path) == set()


@settings(deadline=None, max_examples=25)
@given(order=st.permutations(range(9)), again=st.integers(0, 8))
def test_bytes_do_not_depend_on_the_order_in_which_items_end(
    tmp_path_factory: pytest.TempPathFactory, order: list[int], again: int
) -> None:
    made = []
    for ordinals in (range(9), [*order, again]):
        directory = tmp_path_factory.mktemp("any")
        spill = Spill(directory / "spill")
        for ordinal in ordinals:
            if ordinal != 4:  # this one never ends
                spill.put(ordinal, blobs([ordinal])[0])
        count = count_of((n for n in range(9) if n != 4), 9)
        publish(spill.read(), files_of(directory / "out.jsonl"), count, dict(FACTS), {})
        spill.close()
        made.append(snapshot(directory))
    assert made[0] == made[1]
    assert orjson.loads(made[0]["out.manifest.json"])["result"]["pending"] == 1
    assert set(made[0]) == {"out.jsonl", "out.rejects.jsonl", "out.manifest.json"}


def test_large_blobs_come_back_from_the_spill_while_more_are_put(tmp_path: Path) -> None:
    spill = Spill(tmp_path / "spill")
    spill.put(2, b"a" * 300_000)
    spill.put(0, b"b")
    assert list(spill.read()) == [b"b", b"a" * 300_000]
    spill.put(1, b"")
    spill.put(5, b"c" * 10)
    assert list(spill.read()) == [b"b", b"", b"a" * 300_000, b"c" * 10]
    assert (tmp_path / "spill").stat().st_mode & 0o777 == 0o600
    spill.close()
    assert names(tmp_path) == set()


def test_without_a_row_no_dataset_is_written(tmp_path: Path) -> None:
    files = files_of(tmp_path / "out.jsonl")
    result = publish_all(files, [2, 3], items=2)
    assert result["files"]["dataset"] is None
    assert (result["records"], result["files"]["rejects"]["rows"]) == (0, 2)
    assert names(tmp_path) == {"out.rejects.jsonl", "out.manifest.json"}
    assert is_published(files, "p1") is None


def test_without_a_reject_there_is_an_empty_file_of_them(tmp_path: Path) -> None:
    files = files_of(tmp_path / "out.jsonl")
    publish_all(files, [0, 1], items=2)
    assert files.rejects.read_bytes() == b""
    assert is_published(files, "p1") is not None


class Crash(BaseException):
    """The process ends here."""


def patch_step(monkeypatch: pytest.MonkeyPatch, nth: int, error: BaseException) -> Callable[[], int]:
    """Let the nth durable step fail: a sync, a rename, a sync of the directory. Returns the counter of steps."""
    steps = 0

    def guard(real: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any, **options: Any) -> Any:
            nonlocal steps
            steps += 1
            if steps == nth:
                raise error
            return real(*arguments, **options)

        return step

    monkeypatch.setattr(module.os, "fsync", guard(os.fsync))
    monkeypatch.setattr(module.os, "replace", guard(os.replace))
    monkeypatch.setattr(Path, "replace", guard(Path.replace))
    monkeypatch.setattr(module, "file_digest", guard(file_digest))
    return lambda: steps


@pytest.mark.parametrize("kind", ["full", "killed"])
def test_wherever_it_ends_the_dataset_is_the_old_or_the_new_and_a_second_try_succeeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    files = files_of(tmp_path / "out.jsonl")
    publish_all(files, range(8), items=8, version="old")
    old = snapshot(tmp_path)
    publish_all(files, range(8), items=8, version="new")
    new = snapshot(tmp_path)
    error = OSError(errno.ENOSPC, "full") if kind == "full" else Crash()
    seen = set()
    for nth in range(1, 100):
        for name, data in old.items():
            (tmp_path / name).write_bytes(data)
        with monkeypatch.context() as patch:
            steps = patch_step(patch, nth, error)
            try:
                publish_all(files, range(8), items=8, version="new")
            except (DiskError, Crash) as raised:
                assert isinstance(raised, DiskError if kind == "full" else Crash)
            if steps() < nth:
                break
        now = snapshot(tmp_path)
        rest = set(now) - set(old)
        if kind == "full":
            assert rest == set(), nth
        for name in old:
            assert now[name] in (old[name], new[name]), (nth, name)
        assert_true(files)
        as_new = [now[name] == new[name] for name in ("out.rejects.jsonl", "out.jsonl", "out.manifest.json")]
        seen.add(now["out.jsonl"] == new["out.jsonl"])
        if now["out.manifest.json"] == new["out.manifest.json"]:
            assert now["out.jsonl"] == new["out.jsonl"], as_new
        assert (is_published(files, "p1new") is not None) == all(as_new)
        publish_all(files, range(8), items=8, version="new")
        assert snapshot(tmp_path) == new
    assert nth > 6
    assert seen == {False, True}


def test_what_the_disk_gives_back_wrongly_is_not_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "file_digest", lambda _: "0" * 64)
    with pytest.raises(DamageError, match="nothing was published"):
        publish_all(files_of(tmp_path / "out.jsonl"), range(4), items=4)
    assert names(tmp_path) == set()


def test_where_the_second_file_cannot_be_made_the_first_leaves_no_rest(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    files = dataclasses.replace(files_of(tmp_path / "out.jsonl"), rejects=tmp_path / "file" / "out.rejects.jsonl")
    with pytest.raises(DiskError):
        publish_all(files, range(4), items=4)
    assert names(tmp_path) == {"file"}


def test_what_a_killed_process_of_the_same_number_left_is_no_hindrance(tmp_path: Path) -> None:
    for name in ("out.jsonl", "out.rejects.jsonl", "out.manifest.json"):
        (tmp_path / f".{name}.{os.getpid()}.tmp").write_bytes(b"half")
    files = files_of(tmp_path / "out.jsonl")
    publish_all(files, range(4), items=4)
    assert names(tmp_path) == {"out.jsonl", "out.rejects.jsonl", "out.manifest.json"}
    assert is_published(files, "p1") is not None


def test_a_place_that_cannot_be_written_is_an_error_of_the_disk(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DiskError):
        publish_all(files_of(tmp_path / "file" / "out.jsonl"), range(4), items=4)


def edit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    "change",
    [
        lambda files: edit(files.dataset),
        lambda files: edit(files.rejects),
        lambda files: files.dataset.unlink(),
        lambda files: files.rejects.unlink(),
        lambda files: files.manifest.unlink(),
        lambda files: files.manifest.write_bytes(b"{"),
        lambda files: files.manifest.write_bytes(b"[]"),
        lambda files: files.manifest.write_bytes(b"{}"),
    ],
)
def test_files_that_somebody_changed_count_as_unpublished(tmp_path: Path, change: Callable[[Files], object]) -> None:
    files = files_of(tmp_path / "out.jsonl")
    publish_all(files, range(4), items=4)
    assert is_published(files, "another plan") is None
    published: Mapping[str, Any] | None = is_published(files, "p1")
    assert published is not None and published["result"]["kept"] == 2
    change(files)
    assert is_published(files, "p1") is None


def test_what_an_earlier_ending_left_is_withdrawn(tmp_path: Path) -> None:
    partial = files_of(tmp_path / "out.jsonl", partial=True)
    publish_all(partial, range(4), items=4)
    (tmp_path / "out.jsonl").write_bytes(b"{}\n")
    withdraw(partial)
    withdraw(partial)
    assert names(tmp_path) == {"out.jsonl"}


def test_a_blob_that_does_not_fit_is_not_there_and_no_other_follows(tmp_path: Path) -> None:
    """The journal may make room afterwards, and what was counted is then published."""
    spill = Spill(tmp_path / "spill")
    stream = spill._stream
    spill.put(0, blobs([0])[0])

    class Full:
        def write(self, data: bytes) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        def __getattr__(self, name: str) -> Any:
            return getattr(stream, name)

    spill._stream = Full()  # type: ignore[assignment]
    with pytest.raises(DiskError):
        spill.put(1, blobs([1])[0])
    spill._stream = stream
    with pytest.raises(DiskError):
        spill.put(2, blobs([2])[0])
    publish(spill.read(), files_of(tmp_path / "out.jsonl"), count_of([0], 3), dict(FACTS), {})
    spill.close()
    assert (tmp_path / "out.jsonl").read_bytes().count(b"\n") == 2


def test_a_side_file_that_a_dead_process_began_is_cleared_before_another_is_written(tmp_path: Path) -> None:
    """So it is gone before the manifest is there, behind which whoever dies clears nothing any more."""
    folder = tmp_path / "out.features"
    folder.mkdir()
    dead, living = folder / ".shard.999999999.tmp", folder / f".shard.{os.getppid()}.tmp"
    for path in (dead, living):
        path.write_bytes(b"half")
    shards = Shards(folder)
    lines = [*shards.add({"id": "0", "features": {}}, Arrays({"x": ["int32", [1]]}, bytes(4))), *shards.flush()]
    assert len(lines) == len(shards.described) == 1
    assert not dead.exists()
    assert living.exists()
    dead.write_bytes(b"half")
    discard_shards(folder)
    assert names(folder) == {living.name}

"""The journal where disk, loop or reply behave as they seldom do."""

from __future__ import annotations

import asyncio
import errno
import gc
import json
import os
import threading
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_data.engine import appender, segments
from distill_data.engine import journal as module
from distill_data.engine.journal import Doubt, Journal
from distill_data.errors import DamageError, DiskError
from tests.engine.test_journal import OWNER, USAGE, body_of, found, key_of, read, write

# Bodies

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=[])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"]


@given(JSON, st.sampled_from(ENCODINGS), st.booleans(), st.sampled_from([None, 0, 2]))
def test_whatever_json_takes_is_framed(value: object, encoding: str, escape: bool, indent: int | None) -> None:
    text = json.dumps(value, ensure_ascii=escape, indent=indent)
    body = "[{}]".replace("{}", text).encode(encoding, "surrogatepass")
    line = segments.frame(segments.OK, key_of(1), OWNER, USAGE, body)
    assert segments.intact(line) and line.isascii() and line.count(b"\n") == 1
    kept = segments.body_of(line, key_of(1))
    assert kept is not None
    assert json.dumps(json.loads(kept)) == json.dumps(json.loads(body))  # as text: NaN, and halves that make a pair


@pytest.mark.parametrize("text", ["[NaN,-Infinity]", "[" * 900 + "]" * 900, "9" * 4300, "1e999", '{"a":1,"a":2}'])
def test_what_json_takes_on_one_ascii_line_is_kept_byte_for_byte(text: str) -> None:
    line = segments.frame(segments.OK, key_of(1), OWNER, USAGE, text.encode())
    assert segments.body_of(line, key_of(1)) == text.encode()


def test_a_key_or_owner_of_another_width_is_refused() -> None:
    for key, owner in ((key_of(1)[1:], OWNER), (key_of(1), OWNER + "0")):
        with pytest.raises(ValueError, match="64 digits"):
            segments.frame(segments.OK, key, owner, USAGE, b"{}")


def test_an_answer_longer_than_one_read_comes_back(tmp_path: Path) -> None:
    long = b'"%s"' % (b"y" * 300_000)

    async def main() -> None:
        made = Journal(tmp_path)
        made.prepare()
        await made.commit(key_of(1), OWNER, USAGE, long)
        await made.commit(key_of(2), OWNER, USAGE, b"{}")
        assert found(made, key_of(1)) == (OWNER, long)
        assert found(made, key_of(2)) == (OWNER, b"{}")
        made.close()

    asyncio.run(main())


# Scanning


def test_a_harmed_line_break_before_the_last_line_is_damage(tmp_path: Path) -> None:
    segment = write(tmp_path, [key_of(number) for number in range(3)])
    data = bytearray(segment.read_bytes())
    for mask in (1 << bit for bit in range(8)):
        data[data.rindex(b"\n", 0, -1)] ^= mask
        segment.write_bytes(data)
        with pytest.raises(DamageError):
            Journal(tmp_path)
        data = bytearray(segment.read_bytes().replace(bytes([0x0A ^ mask]) + b'{"k"', b'\n{"k"'))


def test_a_reply_that_looks_like_the_journal_may_be_torn(tmp_path: Path) -> None:
    fake = segments.frame(segments.OK, key_of(2), OWNER, USAGE, b"{}").rstrip(b"\n")
    segment = tmp_path / "000001.jsonl"
    whole = segments.frame(segments.OK, key_of(1), OWNER, USAGE, b"[%s,%s]" % (fake, fake))
    for length in range(1, len(whole)):
        segment.write_bytes(whole[:length])
        made = read(tmp_path)
        assert (len(made), made.totals.torn_tails) == (0, 1), length


def test_a_checksum_of_nothing_is_no_line(tmp_path: Path) -> None:
    segment = write(tmp_path, [key_of(1)])
    segment.write_bytes(segment.read_bytes() + b',"c":"00000000"}\n')
    made = read(tmp_path)
    assert (len(made), made.totals.torn_tails) == (1, 1)


def test_a_hole_of_whole_sectors_is_a_torn_write_and_other_zeros_are_damage(tmp_path: Path) -> None:
    for hole in ((0, 512), (512, 1024), (0, 1536)):
        segment = write(tmp_path / str(hole), [key_of(number) for number in range(12)])
        segment.with_suffix(".sent").unlink()  # else it says that all this was synced
        data = bytearray(segment.read_bytes())
        lost = data[slice(*hole)].count(b"\n")
        data[slice(*hole)] = bytes(hole[1] - hole[0])
        segment.write_bytes(data)
        made = read(tmp_path / str(hole))
        assert made.totals.torn_tails == 1
        assert 12 - lost - 1 <= len(made) < 12
        for start, end in (hole[0] + 1, hole[1]), (hole[0], hole[1] - 1):
            other = bytearray(data)
            other[start:end], other[hole[0] : start], other[end : hole[1]] = bytes(end - start), b"x", b"x"
            segment.write_bytes(other[:-1] + b"\n")
            with pytest.raises(DamageError):
                Journal(tmp_path / str(hole))


@pytest.mark.parametrize("lines", [0, 3, 6])
def test_a_hole_in_what_was_synced_is_damage(tmp_path: Path, lines: int) -> None:
    """The first `lines` syncs are noted; the sector that is lost has parts of the fourth to the seventh line."""
    segment = write(tmp_path, [key_of(number) for number in range(12)])
    data = bytearray(segment.read_bytes())
    begin = data.rindex(b"\n", 0, segments.SECTOR) + 1
    data[segments.SECTOR : 2 * segments.SECTOR] = bytes(segments.SECTOR)
    segment.write_bytes(data)
    notes = segment.with_suffix(".sent").read_bytes().splitlines(keepends=True)
    synced = [note for note in notes if note.startswith(b"D")]
    assert len(synced) == 12 and int(synced[-1][2:]) == len(data)
    segment.with_suffix(".sent").write_bytes(b"".join(note for note in notes if note not in synced[lines:]) + b"D 99")
    if lines > 3:
        with pytest.raises(DamageError, match=f"{segment}: the line at byte {begin} "):
            Journal(tmp_path)
    else:
        made = read(tmp_path)
        assert (made.totals.torn_tails, len(made)) == (1, 8)


def test_notes_that_lost_their_segment_do_not_stand_in_the_way_of_the_next(tmp_path: Path) -> None:
    (tmp_path / "000002.sent").write_bytes(segments.sent_line(key_of(1), 10, 20))
    assert write(tmp_path, [key_of(1)]).name == "000003.jsonl"
    assert len(read(tmp_path)) == 1


def test_segments_are_read_in_the_order_of_their_numbers_and_other_files_left_alone(tmp_path: Path) -> None:
    write(tmp_path, [key_of(1)]).rename(tmp_path / "1000000.jsonl")
    (tmp_path / "000001.sent").unlink()
    (tmp_path / "9old.jsonl").write_bytes(b"something else")
    write(tmp_path, [key_of(2)])
    assert (tmp_path / "1000001.jsonl").exists()
    assert len(read(tmp_path)) == 2


def test_a_segment_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "000001.jsonl").mkdir()
    with pytest.raises(DiskError, match=r"000001\.jsonl"):
        Journal(tmp_path)


def test_memory_for_an_answer_is_about_120_bytes(tmp_path: Path) -> None:
    count = 40_000
    lines = (segments.frame(segments.OK, key_of(number), OWNER, USAGE, b"{}") for number in range(count))
    (tmp_path / "000001.jsonl").write_bytes(b"".join(lines))
    (tmp_path / "000001.sent").write_bytes(
        b"".join(segments.sent_line(key_of(number), 1, 1) for number in range(count))
    )
    tracemalloc.start()
    try:
        made = Journal(tmp_path)
        gc.collect()
        kept, peak = (size / count for size in tracemalloc.get_traced_memory())
    finally:
        tracemalloc.stop()
    made.close()
    assert len(made) == count and made.totals.doubt == Doubt()
    assert kept < 150 and peak < 300


# Requests in doubt


def test_a_note_that_never_ended_stands_for_a_request_that_never_left(tmp_path: Path) -> None:
    (tmp_path / "000001.jsonl").touch()
    sent = tmp_path / "000001.sent"
    whole = segments.sent_line(key_of(1), 10, 200)
    for length in range(len(whole)):
        sent.write_bytes(whole[:length])
        assert read(tmp_path).totals.doubt == Doubt()
        sent.write_bytes(whole[:length] + whole)  # and the next note follows right after
        assert read(tmp_path).totals.doubt == Doubt(1, 10, 200)
    sent.write_bytes(b"S %s %s 1\n" % (key_of(1)[:16].encode(), b"1" * 5000) + b"\0" * 5000)
    assert read(tmp_path).totals.doubt == Doubt()


def test_a_disk_that_takes_notes_in_pieces_gets_all_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, whole_write = Journal(tmp_path), os.write
    made.prepare()
    monkeypatch.setattr(os, "write", lambda fd, data: whole_write(fd, bytes(data)[:7]))

    async def main() -> None:
        for number in range(3):
            await made.note_sent(key_of(number), 10, 20)

    asyncio.run(main())
    made.close()
    assert read(tmp_path).totals.doubt == Doubt(3, 30, 60)


# Committing


def test_each_batch_is_acknowledged_by_its_own_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    allowed, sync = threading.Semaphore(0), appender.sync_data

    def wait(fd: int) -> None:
        assert allowed.acquire(timeout=10)
        sync(fd)

    monkeypatch.setattr(appender, "sync_data", wait)
    made = Journal(tmp_path)

    async def main() -> None:
        made.prepare()
        tasks = [asyncio.ensure_future(made.commit(key_of(n), OWNER, USAGE, body_of(n))) for n in range(5)]
        await asyncio.sleep(0.05)
        assert not any(task.done() for task in tasks)
        allowed.release()
        await tasks[0]
        await asyncio.sleep(0.05)
        assert [task.done() for task in tasks] == [True, False, False, False, False]
        assert [made.find(key_of(n)) is not None for n in range(5)] == [True, False, False, False, False]
        allowed.release()
        await asyncio.gather(*tasks)

    asyncio.run(main())
    made.close()


def run_out(*_: Any) -> None:
    raise MemoryError


def test_short_memory_is_told_and_shifts_no_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes when the line is written already: it is taken back, and what follows is found, also by who read the
    line meanwhile.
    """

    def run_out(fd: int) -> None:
        assert made.find(key_of(1)) is not None
        raise MemoryError

    async def main(made: Journal) -> None:
        made.prepare()
        await made.commit(key_of(1), OWNER, USAGE, body_of(1))
        with monkeypatch.context() as patch, pytest.raises(MemoryError):
            patch.setattr("distill_data.engine.appender.sync_data", run_out)
            await made.commit(key_of(2), OWNER, USAGE, body_of(2))
        await made.commit(key_of(3), OWNER, USAGE, body_of(3))

    made = Journal(tmp_path)
    asyncio.run(main(made))
    again = read(tmp_path)
    for each in (made, again):
        assert [each.find(key_of(n)) is not None for n in (1, 2, 3)] == [True, False, True]
        each.close()


@pytest.mark.parametrize("end", ["unpaid", "given up", "under way", "failed"])
def test_a_crowd_waits_while_company_can_still_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    monkeypatch.setattr(module, "GATHER_SECONDS", 60.0)
    made = Journal(tmp_path)

    async def commit(numbers: range) -> None:
        await asyncio.gather(*(made.commit(key_of(n), OWNER, USAGE, body_of(n)) for n in numbers))

    async def main() -> None:
        made.prepare()
        await asyncio.gather(*(made.note_sent(key_of(n), 10, 20) for n in range(7)))
        await commit(range(3))  # one line, and then two: a crowd
        if end == "unpaid":
            made.note_unpaid(key_of(6))
        elif end == "given up":
            made.give_up(10, 20)
        elif end == "failed":  # one more that left, and that counts as come to its end only once
            await made.note_sent(key_of(7), 10, 20)
            with monkeypatch.context() as patch, pytest.raises(MemoryError):
                patch.setattr(segments, "frame", run_out)
                await made.commit(key_of(7), OWNER, USAGE, body_of(7))
            made.give_up(10, 20)
        waiting = asyncio.ensure_future(commit(range(3, 6)))
        if end in ("under way", "failed"):
            await asyncio.sleep(0.2)
            assert not waiting.done()
            made.note_unpaid(key_of(6))
            made.close()
        await asyncio.wait_for(waiting, 10)

    asyncio.run(main())
    made.close()
    assert len(read(tmp_path)) == 6


def test_an_answer_whose_asker_went_away_is_counted(tmp_path: Path) -> None:
    made = Journal(tmp_path)

    async def main() -> None:
        made.prepare()
        asking = asyncio.ensure_future(made.commit(key_of(1), OWNER, USAGE, b"{}"))
        await asyncio.sleep(0)
        asking.cancel()
        await made.commit(key_of(2), OWNER, USAGE, b"{}")

    asyncio.run(main())
    made.close()
    assert made.totals == read(tmp_path).totals
    assert made.totals.bought == 2


def test_the_last_failure_of_a_key_holds_at_once_and_later(tmp_path: Path) -> None:
    made = Journal(tmp_path)

    async def main() -> None:
        made.prepare()
        await made.commit_failure(key_of(1), OWNER, "first", "")
        await made.commit_failure(key_of(1), OWNER, "second", "")

    asyncio.run(main())
    for each in (made, Journal(tmp_path)):
        entry = each.find_failure(key_of(1))
        each.close()
        assert entry is not None and json.loads(entry.body)["reason"] == "second"


@pytest.mark.parametrize("again", [False, True])
def test_answers_that_a_loop_left_behind_still_land(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, again: bool
) -> None:
    sync = appender.sync_data

    def slow(fd: int) -> None:
        time.sleep(0.1)
        sync(fd)

    monkeypatch.setattr(appender, "sync_data", slow)
    made = Journal(tmp_path)
    made.prepare()

    async def leave() -> None:
        tasks = [asyncio.ensure_future(made.commit(key_of(n), OWNER, USAGE, b"{}")) for n in range(5)]
        await asyncio.sleep(0.02)
        assert not any(task.done() for task in tasks)

    async def commit() -> None:
        await asyncio.wait_for(made.commit(key_of(5), OWNER, USAGE, b"{}"), 5)

    asyncio.run(leave())
    if again:
        asyncio.run(commit())
    made.close()
    assert made.totals == read(tmp_path).totals
    assert made.totals.bought == 5 + again


def test_a_segment_that_was_deleted_takes_no_more_answers(tmp_path: Path) -> None:
    """What is in flight lands in another, and nothing more is sent."""
    made = Journal(tmp_path)

    async def main() -> None:
        made.prepare()
        await made.commit(key_of(1), OWNER, USAGE, b"{}")
        (tmp_path / "000001.jsonl").unlink()
        await made.commit(key_of(2), OWNER, USAGE, b"{}")

    asyncio.run(main())
    assert "No such file" in str(made.broken)
    made.close()
    again = Journal(tmp_path)
    assert again.find(key_of(2)) is not None
    again.close()


def test_a_segment_that_cannot_be_started_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, whole_open = Journal(tmp_path), os.open
    made.prepare()

    def refuse_notes(path: Path, flags: int, mode: int = 0o777) -> int:
        if path.name == "000001.sent":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return whole_open(path, flags, mode)

    monkeypatch.setattr(appender.os, "open", refuse_notes)
    before = len(os.listdir("/dev/fd"))
    with pytest.raises(DiskError):
        asyncio.run(made.note_sent(key_of(1), 1, 1))
    assert len(os.listdir("/dev/fd")) == before
    asyncio.run(made.commit(key_of(1), OWNER, USAGE, b"{}"))
    assert made.broken is not None
    made.close()
    assert [path.stat().st_size > 0 for path in sorted(tmp_path.glob("*.jsonl"))] == [False, True]


def test_notes_that_fit_in_part_are_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """None of their requests leaves, so none may count as in doubt."""
    made, whole_write = Journal(tmp_path), os.write
    made.prepare()
    left = [40]

    def write(fd: int, data: bytes) -> int:
        if not left[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = whole_write(fd, bytes(data)[: left[0]])
        left[0] -= written
        return written

    async def main() -> None:
        monkeypatch.setattr(os, "write", write)
        ends = await asyncio.gather(*(made.note_sent(key_of(n), 10, 20) for n in range(4)), return_exceptions=True)
        monkeypatch.setattr(os, "write", whole_write)
        assert [type(end) for end in ends] == [DiskError] * 4

    asyncio.run(main())
    made.close()
    assert read(tmp_path).totals.doubt == Doubt()


def test_notes_of_a_loop_that_closed_keep_nobody_waiting(tmp_path: Path) -> None:
    made = Journal(tmp_path)
    made.prepare()

    async def leave() -> asyncio.Future[None]:
        noting = asyncio.ensure_future(made.note_sent(key_of(1), 10, 20))
        await asyncio.sleep(0)
        return noting

    first = asyncio.new_event_loop()
    left = first.run_until_complete(leave())
    first.close()
    assert not left.done()
    asyncio.run(asyncio.wait_for(made.note_sent(key_of(2), 10, 20), 5))
    made.close()
    assert read(tmp_path).totals.doubt == Doubt(2, 20, 40)

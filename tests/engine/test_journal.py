"""The journal on a real disk: what was acknowledged is there, and nothing else ever passes for it."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_data.engine import appender, segments
from distill_data.engine import journal as module
from distill_data.engine.appender import RESERVE_BYTES
from distill_data.engine.journal import Doubt, Journal
from distill_data.errors import DamageError, DiskError

OWNER = "00000000000000aa"
USAGE = (10, 5, 2)


def key_of(number: int | str) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def body_of(number: int) -> bytes:
    return orjson.dumps({"n": number, "text": "x" * (number % 7)})


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[[], Journal]]:
    """A maker of journals over one directory, all closed at the end."""
    made: list[Journal] = []

    def make() -> Journal:
        made.append(Journal(tmp_path / "journal"))
        return made[-1]

    yield make
    for each in made:
        each.close()


def found(journal: Journal, key: str) -> tuple[str, bytes] | None:
    """Owner and body of the answer to a key."""
    entry = journal.find(key)
    return entry and (segments.owner_of(entry.line), entry.body)


def write(directory: Path, keys: list[str], *, sent: bool = True) -> Path:
    """One segment with an answer to each key, in order; the segment's path."""

    async def main() -> None:
        made = Journal(directory)
        made.prepare()
        for number, key in enumerate(keys):
            if sent:
                await made.note_sent(key, 10, 20)
            await made.commit(key, OWNER, USAGE, body_of(number))
        made.close()

    asyncio.run(main())
    return sorted(directory.glob("*.jsonl"))[-1]


def read(directory: Path) -> Journal:
    """The journal, closed again: only what its scan found is of interest."""
    made = Journal(directory)
    made.close()
    return made


# Round trip


def test_what_was_committed_is_found_at_once_and_by_the_next_process(opened: Callable[[], Journal]) -> None:
    writer = opened()

    async def main() -> None:
        writer.prepare()
        await writer.commit(key_of(1), OWNER, USAGE, b'{"a":1}')
        await writer.commit_failure(key_of(2), OWNER, "bad-request", "too é")

    asyncio.run(main())
    reader = opened()
    for each in (writer, reader):
        assert found(each, key_of(1)) == (OWNER, b'{"a":1}')
        assert each.find(key_of(2)) is None
        assert each.find_failure(key_of(1)) is None
        failure = each.find_failure(key_of(2))
        assert failure is not None
        assert json.loads(failure.body) == {"reason": "bad-request", "detail": "too é"}
        assert each.find(key_of(3)) is None
        assert len(each) == 1
        assert (each.totals.bought, each.totals.bought_twice, each.totals.torn_tails) == (1, 0, 0)
        assert (each.totals.prompt_tokens, each.totals.completion_tokens, each.totals.cached_tokens) == USAGE
    assert writer.owned == {}
    assert reader.owned == {0xAA: 1}


def test_each_writer_starts_a_segment_and_leaves_the_older_ones_alone(tmp_path: Path) -> None:
    first = write(tmp_path, [key_of(1)])
    before = first.read_bytes()
    second = write(tmp_path, [key_of(2)])
    assert (first.name, second.name) == ("000001.jsonl", "000002.jsonl")
    assert first.read_bytes() == before
    assert len(read(tmp_path)) == 2


def test_a_run_that_buys_nothing_leaves_no_segment(tmp_path: Path) -> None:
    made = Journal(tmp_path / "journal")
    made.prepare()
    assert (tmp_path / "journal" / "reserve").stat().st_blocks * 512 >= RESERVE_BYTES
    made.close()
    assert list((tmp_path / "journal").iterdir()) == []


def test_reading_a_run_that_is_not_there_makes_nothing(tmp_path: Path) -> None:
    assert len(read(tmp_path / "journal")) == 0
    assert list(tmp_path.iterdir()) == []


def test_files_are_private(tmp_path: Path) -> None:
    write(tmp_path / "journal", [key_of(1)])
    assert (tmp_path / "journal").stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "journal").iterdir()} == {0o600}


def test_a_place_that_cannot_be_written_is_known_before_anything_is_paid(tmp_path: Path) -> None:
    (tmp_path / "journal").write_bytes(b"a file")
    with pytest.raises(DiskError, match="journal"):
        Journal(tmp_path / "journal").prepare()


def test_many_segments_are_read_through_a_bounded_number_of_descriptors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "OPEN_SEGMENTS", 3)
    for number in range(8):
        write(tmp_path, [key_of(number)])
    made = Journal(tmp_path)
    before = len(os.listdir("/dev/fd"))
    for number in (*range(8), *range(8)):
        assert found(made, key_of(number)) == (OWNER, body_of(0))
    assert len(os.listdir("/dev/fd")) - before == 3
    made.close()
    assert len(os.listdir("/dev/fd")) == before


# Group commit


def test_answers_that_come_while_the_disk_is_busy_share_a_sync(
    opened: Callable[[], Journal], monkeypatch: pytest.MonkeyPatch
) -> None:
    syncs: list[int] = []
    sync = appender.sync_data

    def count(fd: int) -> None:
        syncs.append(os.fstat(fd).st_size)
        sync(fd)

    monkeypatch.setattr(appender, "sync_data", count)
    made = opened()

    async def main() -> None:
        made.prepare()
        async with asyncio.TaskGroup() as group:
            for number in range(100):
                group.create_task(made.commit(key_of(number), OWNER, USAGE, body_of(number)))

    asyncio.run(main())
    assert len(syncs) == 2  # the first to come, and all that came while it was written
    assert len(opened()) == 100
    for number in range(100):
        entry = made.find(key_of(number))
        assert entry is not None and entry.body == body_of(number)


def test_commit_returns_only_after_the_sync(opened: Callable[[], Journal], monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    sync = appender.sync_data

    def note(fd: int) -> None:
        sync(fd)
        events.append("synced")

    monkeypatch.setattr(appender, "sync_data", note)
    made = opened()

    async def main() -> None:
        made.prepare()
        await made.commit(key_of(1), OWNER, USAGE, b"{}")
        events.append("returned")

    asyncio.run(main())
    assert events == ["synced", "returned"]


def test_an_answer_whose_asker_went_away_is_kept(opened: Callable[[], Journal]) -> None:
    made = opened()

    async def main() -> None:
        made.prepare()
        asking = asyncio.ensure_future(made.commit(key_of(1), OWNER, USAGE, b"{}"))
        await asyncio.sleep(0)
        asking.cancel()
        await made.commit(key_of(2), OWNER, USAGE, b"{}")

    asyncio.run(main())
    assert found(opened(), key_of(1)) == found(made, key_of(1)) == (OWNER, b"{}")


# Damage


def test_cut_anywhere_exactly_the_whole_records_are_left(tmp_path: Path) -> None:
    keys = [key_of(number) for number in range(50)]
    data = write(tmp_path / "whole", keys).read_bytes()
    (tmp_path / "cut").mkdir()
    segment = tmp_path / "cut" / "000001.jsonl"
    segment.write_bytes(data)
    for length in range(len(data), -1, -1):
        os.truncate(segment, length)
        whole = data[:length].count(b"\n")
        torn = int(length > 0 and data[length - 1 : length] != b"\n")
        made = Journal(tmp_path / "cut")
        assert (len(made), made.totals.bought, made.totals.torn_tails) == (whole, whole, torn), length
        if whole:
            assert found(made, keys[whole - 1]) == (OWNER, body_of(whole - 1))
        if whole < 50:
            assert made.find(keys[whole]) is None
        made.close()


def flip_all(tmp_path: Path, records: int) -> None:
    """Flip every bit of a segment in turn, and say what must come of it.

    In a line that is not the last: DamageError. In the last line: it counts as torn, or, where the flip makes a
    newline inside it, the half before that is damage. The newline before the last line belongs to a line that is whole
    without it, so that losing it is damage too.
    """
    keys = [key_of(number) for number in range(records)]
    data = write(tmp_path / "whole", keys).read_bytes()
    last = data.rindex(b"\n", 0, -1) + 1
    (tmp_path / "bad").mkdir()
    segment = tmp_path / "bad" / "000001.jsonl"
    segment.write_bytes(data)
    ends = {"damage": 0, "torn": 0}
    with segment.open("r+b", buffering=0) as stream:
        for bit in range(8 * len(data)):
            at, flipped = bit // 8, data[bit // 8] ^ 1 << bit % 8
            os.pwrite(stream.fileno(), bytes([flipped]), at)  # in place: to write the file anew takes ten times as long
            damaged = at < last or (flipped == 0x0A and at < len(data) - 1)
            try:
                made = Journal(tmp_path / "bad")
            except DamageError as error:
                assert damaged and "000001.jsonl: the line at byte" in str(error), (at, flipped)
            else:
                assert not damaged, (at, flipped)
                left = records - 1
                assert (len(made), made.totals.torn_tails) == (left, 1), (at, flipped)
                assert [made.find(key) for key in keys[left:]] == [None] * (records - left)
                if at % 16 == 0:
                    assert [found(made, key) for key in keys[:left]] == [(OWNER, body_of(n)) for n in range(left)]
                made.close()
            ends["damage" if damaged else "torn"] += 1
            os.pwrite(stream.fileno(), data[at : at + 1], at)
    assert all(ends.values()) and sum(ends.values()) == 8 * len(data), ends


def test_no_flipped_bit_makes_a_record(tmp_path: Path) -> None:
    flip_all(tmp_path, 5)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_no_flipped_bit_makes_a_record_among_many(tmp_path: Path) -> None:
    flip_all(tmp_path, 50)


def test_a_damaged_line_is_named_by_file_and_byte(tmp_path: Path) -> None:
    segment = write(tmp_path, [key_of(number) for number in range(3)])
    data = bytearray(segment.read_bytes())
    second = data.index(b"\n") + 1
    data[second + 120] ^= 1
    segment.write_bytes(data)
    with pytest.raises(DamageError, match=f"{segment}: the line at byte {second} "):
        Journal(tmp_path)


def test_a_checksum_spelt_otherwise_is_no_checksum(tmp_path: Path) -> None:
    line = segments.frame(segments.OK, key_of(1), OWNER, USAGE, b"{}")
    checksum = line[-11:-3]
    assert segments.intact(line)
    for other in (checksum.upper(), b"0x" + checksum[2:], b" " + checksum[1:], checksum[:4] + b"_" + checksum[5:]):
        assert segments.intact(line[:-11] + other + line[-3:]) is (other == checksum)


def test_a_line_that_changes_while_the_run_is_open_is_not_believed(tmp_path: Path) -> None:
    segment = write(tmp_path, [key_of(1)])
    made = Journal(tmp_path)
    data = bytearray(segment.read_bytes())
    data[130] ^= 1
    segment.write_bytes(data)
    with pytest.raises(DamageError, match="changed while the run was open"):
        made.find(key_of(1))
    made.close()


def test_a_torn_tail_of_any_segment_is_skipped_and_counted(tmp_path: Path) -> None:
    for number in (1, 2):
        segment = write(tmp_path, [key_of(number), key_of(-number)])
        segment.write_bytes(segment.read_bytes()[:-1])
    made = read(tmp_path)
    assert (len(made), made.totals.torn_tails) == (2, 2)


# A disk that fails

CHILD = """
import asyncio, sys
from pathlib import Path
from distill_data.engine.journal import Journal
from distill_data.errors import DiskError
from tests.engine.test_journal import OWNER, USAGE, key_of

async def main():
    journal = Journal(Path(sys.argv[1]))
    journal.prepare()
    async def keep(number):
        key = key_of(f"{sys.argv[2]}:{number}")
        await journal.note_sent(key, 10, 20)
        await journal.commit(key, OWNER, USAGE, b'{"text":"%s"}' % (b"y" * 500))
        print(key, flush=True)
    {body}

asyncio.run(main())
"""
ROOT = Path(__file__).parents[2]


def start(body: str, directory: Path, name: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD.replace("{body}", body), str(directory), name],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_with_a_file_size_limit_all_that_was_acknowledged_is_there(tmp_path: Path) -> None:
    body = """
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    for number in range(100):
        batch = await asyncio.gather(*(keep(8 * number + n) for n in range(8)), return_exceptions=True)
        if any(isinstance(end, DiskError) for end in batch):
            break
        assert not any(batch), batch
    print("broken", journal.broken, flush=True)
    journal.close()
"""
    with start(body, tmp_path, "limit") as child:
        assert child.stdout is not None
        *keys, broken = child.stdout.read().splitlines()
    assert child.returncode == 0
    assert broken.startswith("broken ") and "File too large" in broken
    assert len(keys) > 30  # more than one segment may hold
    made = Journal(tmp_path)
    assert all(made.find(key) for key in keys)
    assert made.totals.bought_twice == 0
    made.close()


def test_killed_at_any_moment_all_that_was_acknowledged_is_there(tmp_path: Path) -> None:
    body = """
    for number in range(100_000):
        await asyncio.gather(*(keep(4 * number + n) for n in range(4)))
"""
    keys: list[str] = []
    for round_ in range(10):
        with start(body, tmp_path, str(round_)) as child:
            assert child.stdout is not None
            got = [child.stdout.readline() for _ in range(1 + 3 * round_)]
            child.kill()
            got += child.stdout.read().split("\n")
        keys += [key.strip() for key in got if len(key.strip()) == 64]
    assert len(keys) >= 145
    made = Journal(tmp_path)
    assert all(made.find(key) for key in keys)
    assert len(made) + made.totals.doubt.requests >= len(keys)
    assert made.totals.bought_twice == 0
    made.close()


class Disk:
    """Stands before os.write of the journal's answers and fails as told; the .sent files are left alone."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *errors: int, always: int = 0) -> None:
        self.errors, self.always = list(errors), always
        self.written: list[int] = []
        self.failed: list[int] = []
        self._write = os.write
        monkeypatch.setattr(appender.os, "write", self.write)

    def write(self, fd: int, data: bytes) -> int:
        if bytes(data[:5]) != b'{"k":':
            return self._write(fd, data)
        code = self.errors.pop(0) if self.errors else self.always
        if code:
            self.failed.append(fd)
            raise OSError(code, os.strerror(code))
        self.written.append(fd)
        return self._write(fd, data)


async def keep(made: Journal, number: int) -> None:
    await made.note_sent(key_of(number), 10, 20)
    await made.commit(key_of(number), OWNER, USAGE, body_of(number))


def test_a_disk_that_is_full_once_costs_no_answer_and_ends_the_sending(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Journal(tmp_path)

    async def main() -> None:
        made.prepare()
        await keep(made, 1)
        disk = Disk(monkeypatch, errno.ENOSPC)
        await keep(made, 2)
        await made.commit(key_of(3), OWNER, USAGE, body_of(3))
        assert disk.failed[0] not in disk.written

    asyncio.run(main())
    assert isinstance(made.broken, DiskError) and "No space left" in str(made.broken)
    assert not (tmp_path / "reserve").exists()
    for number in (1, 2, 3):
        assert found(made, key_of(number)) == (OWNER, body_of(number))
    made.close()
    after = read(tmp_path)
    assert (len(after), after.totals.bought, after.totals.doubt) == (3, 3, Doubt())


def test_a_batch_that_fits_in_part_is_written_anew_and_counted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Journal(tmp_path)
    sync, full = appender.sync_data, [OSError(errno.ENOSPC, "full")]

    def sync_once_full(fd: int) -> None:
        if full:
            raise full.pop()
        sync(fd)

    async def main() -> None:
        made.prepare()
        await keep(made, 0)
        monkeypatch.setattr(appender, "sync_data", sync_once_full)
        await asyncio.gather(*(keep(made, number) for number in range(1, 6)))

    asyncio.run(main())
    made.close()
    assert len(list(tmp_path.glob("*.jsonl"))) == 2
    after = read(tmp_path)
    assert (after.totals.bought, after.totals.bought_twice, after.totals.torn_tails) == (6, 0, 0)
    assert after.totals.doubt == Doubt()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS])
def test_a_disk_that_keeps_failing_is_not_written_to_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    made = Journal(tmp_path)

    async def main() -> None:
        made.prepare()
        await keep(made, 1)
        disk = Disk(monkeypatch, always=code)
        for number in (2, 3, 4):
            with pytest.raises(DiskError, match=os.strerror(code)):
                await keep(made, number)
        assert len(disk.failed) == len(set(disk.failed)) == 2
        disk.always = 0
        with pytest.raises(DiskError):
            await keep(made, 5)
        assert disk.written == []

    asyncio.run(main())
    made.close()
    after = read(tmp_path)
    assert (len(after), after.totals.bought, after.totals.torn_tails) == (1, 1, 0)
    assert after.totals.doubt == Doubt(4, 40, 80)


def test_where_no_second_segment_can_be_made_the_first_is_not_written_to_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line after a torn one would be damage to the next process."""
    made = Journal(tmp_path)

    async def main() -> None:
        made.prepare()
        await keep(made, 1)
        disk = Disk(monkeypatch, errno.ENOSPC)

        def refuse() -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(made._appender, "_start_segment", refuse)
        for number in (2, 3):
            with pytest.raises(DiskError):
                await keep(made, number)
        assert disk.written == []

    asyncio.run(main())
    made.close()
    assert len(read(tmp_path)) == 1


def test_an_error_in_the_sync_leaves_the_batch_unacknowledged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Journal(tmp_path)

    def fail(fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    async def main() -> None:
        made.prepare()
        monkeypatch.setattr(appender, "sync_data", fail)
        disk = Disk(monkeypatch)
        ends = await asyncio.gather(*(keep(made, number) for number in range(3)), return_exceptions=True)
        assert [type(end) for end in ends] == [DiskError] * 3
        assert len(disk.written) == 2, "once more, to a new segment"

    asyncio.run(main())
    assert all(made.find(key_of(number)) is None for number in range(3))
    assert made.totals.bought == 0
    made.close()


# Requests in doubt


def doubt_after(directory: Path, *rounds: Callable[[Journal], object]) -> Doubt:
    """What is in doubt after each round has written a segment of its own."""

    async def main(step: Callable[[Journal], object]) -> None:
        made = Journal(directory)
        made.prepare()
        result = step(made)
        if asyncio.iscoroutine(result):
            await result
        made.close()

    for step in rounds:
        asyncio.run(main(step))
    return read(directory).totals.doubt


def sends(number: int, times: int) -> Callable[[Journal], object]:
    async def step(made: Journal) -> None:
        for _ in range(times):
            await made.note_sent(key_of(number), 10, 20)

    return step


def test_what_was_sent_oftener_than_answered_is_in_doubt(tmp_path: Path) -> None:
    async def step(made: Journal) -> None:
        for _ in range(4):
            await made.note_sent(key_of(1), 10, 20)
        await keep(made, 2)
        await made.commit(key_of(1), OWNER, USAGE, b"{}")

    assert doubt_after(tmp_path, step) == Doubt(3, 30, 60)


def test_what_is_known_to_be_unpaid_is_not_in_doubt(tmp_path: Path) -> None:
    async def step(made: Journal) -> None:
        for _ in range(3):
            await made.note_sent(key_of(1), 10, 20)
        for _ in range(2):
            made.note_unpaid(key_of(1))
        await made.note_sent(key_of(2), 7, 7)
        made.note_unpaid(key_of(2))
        await made.commit_failure(key_of(2), OWNER, "bad-request", "")

    assert doubt_after(tmp_path, step) == Doubt(1, 10, 20)


def test_a_failure_is_no_answer_to_a_request_in_doubt(tmp_path: Path) -> None:
    async def step(made: Journal) -> None:
        await made.note_sent(key_of(1), 10, 20)
        await made.commit_failure(key_of(1), OWNER, "lost", "")

    assert doubt_after(tmp_path, step) == Doubt(1, 10, 20)


def test_doubt_adds_up_over_segments(tmp_path: Path) -> None:
    assert doubt_after(tmp_path, sends(1, 1), sends(2, 2), lambda made: keep(made, 1)) == Doubt(3, 30, 60)


def test_doubt_is_settled_by_a_later_segment_of_the_same_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk starts a new segment under requests in flight."""

    async def step(made: Journal) -> None:
        for number in range(4):
            await made.note_sent(key_of(number), 10, 20)
        Disk(monkeypatch, errno.ENOSPC)
        await made.commit(key_of(0), OWNER, USAGE, b"{}")
        await made.commit(key_of(1), OWNER, USAGE, b"{}")
        made.note_unpaid(key_of(2))

    assert doubt_after(tmp_path, step) == Doubt(1, 10, 20)


def test_an_answer_bought_twice_is_counted_and_leaves_no_doubt(tmp_path: Path) -> None:
    assert doubt_after(tmp_path, lambda made: keep(made, 1), lambda made: keep(made, 1)) == Doubt()
    made = read(tmp_path)
    assert (len(made), made.totals.bought, made.totals.bought_twice) == (1, 2, 1)
    assert made.totals.prompt_tokens == 2 * USAGE[0]
    assert made.owned == {0xAA: 1}


def test_a_torn_line_of_requests_sent_is_never_an_error(tmp_path: Path) -> None:
    doubt_after(tmp_path, sends(1, 2), sends(2, 1))
    sent = tmp_path / "000001.sent"
    data = sent.read_bytes()
    for length in range(len(data) + 1):
        sent.write_bytes(data[:length])
        doubt = read(tmp_path).totals.doubt
        whole = data[:length].count(b"\n")
        assert doubt.requests - 1 in (whole, whole + 1)
        assert doubt.prompt_tokens <= 30 and doubt.completion_tokens <= 60
    sent.write_bytes(b"\xff\x00junk\n" + data)
    assert read(tmp_path).totals.doubt == Doubt(3, 30, 60)
    sent.unlink()
    assert read(tmp_path).totals.doubt == Doubt(1, 10, 20)


# Keys and bodies


def test_two_keys_with_the_same_first_64_bits_are_not_confused(tmp_path: Path) -> None:
    one = key_of(1)
    other = one[:16] + key_of(2)[16:]
    write(tmp_path, [one])
    made = Journal(tmp_path)
    assert made.find(one) is not None
    assert made.find(other) is None
    made.close()


TEXT = st.text(
    st.characters(exclude_categories=["Cs"]) | st.sampled_from("\u2028\u2029\x85\x7f\U0001f600\U0010ffff\\\"'é\0")
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
WRITERS: list[Callable[[object], bytes]] = [
    orjson.dumps,
    lambda value: orjson.dumps(value, option=orjson.OPT_INDENT_2),
    lambda value: json.dumps(value).encode(),
    lambda value: json.dumps(value, indent="\t", ensure_ascii=False).replace("\n", "\r\n").encode(),
]


@settings(deadline=None, max_examples=200)
@given(value=VALUES, writer=st.sampled_from(WRITERS), escape=st.sampled_from(["", "\\ud800", "\\udfff x", "\\\\ud800"]))
def test_any_body_comes_back_as_equal_json(value: object, writer: Callable[[object], bytes], escape: str) -> None:
    body = b'{"v":%s,"s":"%s","c":"00000000"}' % (writer(value), escape.encode())
    with tempfile.TemporaryDirectory() as name:
        made = Journal(Path(name))

        async def main() -> None:
            made.prepare()
            await made.commit(key_of(1), OWNER, USAGE, body)

        asyncio.run(main())
        made.close()
        line = (Path(name) / "000001.jsonl").read_bytes()
        again = Journal(Path(name))
        entry = again.find(key_of(1))
        again.close()
    assert line.isascii() and line.count(b"\n") == 1 and b"\r" not in line
    assert entry is not None and json.loads(entry.body) == json.loads(body)
    whole = json.loads(line)
    assert (whole["k"], whole["i"], whole["u"], whole["a"]) == (key_of(1), OWNER, list(USAGE), json.loads(body))

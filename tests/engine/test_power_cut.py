"""Power cuts: whatever the disk may hold afterwards, what was acknowledged is there and is not bought again.

A small job is run once on an observed disk: stopped by its budget, published, and published again with more rows. Each
state that a cut may leave is made in turn and recovered: the journal is scanned, and the command that was running is
given again. The fault server's ledger tells what that bought. At last the model itself is put to the proof: without a
sync of the file or of its directory it must find a loss.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

import pytest

from distill_data.commands import Options, label
from distill_data.engine import appender, blobs, durable, publish
from distill_data.engine.blobs import Blobs, blob_at, place_of
from distill_data.engine.journal import Journal, Usage
from distill_data.engine.publish import files_of
from distill_data.engine.rundir import RunDirectory
from distill_data.errors import DamageError
from tests.engine.powercut import Disk, State, between, materialise
from tests.engine.test_publish import publish_all
from tests.faultserver import Server, serve
from tests.system.command import marked, write_seeds

pytestmark = pytest.mark.slow

TURNS = ("stopped", "published", "grown")
REFUSED = "row-00001"
"""The one row that the server refuses for good."""
TOKENS = 640
"""Enough for some of the answers: one in flight is counted with all that it may take."""
STATES = int(os.environ.get("DISTILL_STATES", "250"))
"""How many states are looked at where the slow tests run. There are some 6,000."""


@dataclass(frozen=True)
class Job:
    """Three commands on one run, one after the other."""

    seeds: Path
    server: Server

    def options(self, turn: int) -> Options:
        usual = Options(teachers=("openai/test-model",), base_url=self.server.url, concurrency=3, max_failed=1)
        turns = replace(usual, max_tokens_total=TOKENS, concurrency=1), replace(usual, limit=4), usual
        return turns[turn]

    def run(self, root: Path, turn: int) -> int:
        summary = label(str(self.seeds), recipe="answer", output=str(root / "out.jsonl"), options=self.options(turn))
        return summary.exit_code


@dataclass(frozen=True)
class Recorded:
    """The states after a run, what the uninterrupted one left after each of its commands, and the row of each key."""

    states: list[State]
    published: list[dict[str, bytes]]
    rows: dict[str, str]


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Job]:
    seeds = write_seeds(tmp_path_factory.mktemp("seeds") / "seeds.jsonl", marked(7))
    with serve(plan={"markers": {REFUSED: "400"}}) as server:
        yield Job(seeds, server)


def record(job: Job, root: Path, patch: pytest.MonkeyPatch, turns: int = 3) -> Recorded:
    """Run the job under observation. What is promised are the keys of acknowledged answers, and the commands begun."""
    root.mkdir()
    disk, rows, published = Disk(root), dict[str, str](), list[dict[str, bytes]]()
    commit = Journal.commit

    async def promising(self: Journal, key: str, owner: str, usage: Usage, body: bytes) -> None:
        await commit(self, key, owner, usage, body)
        rows[key] = re.findall(r"row-\d+", body.decode())[0]
        disk.promise(key)

    with patch.context() as context, disk.recording(patch):
        context.setattr(Journal, "commit", promising)
        context.setattr(appender, "RESERVE_BYTES", 64)
        for turn, code in list(enumerate((4, 0, 0)))[:turns]:
            disk.promise(TURNS[turn])
            assert job.run(root, turn) == code
            published.append(outputs(root))
    return Recorded(disk.states(), published, rows)


def key_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def outputs(root: Path) -> dict[str, bytes]:
    """The published files; of a manifest its result, since its history tells the day."""
    files = {path.name: path.read_bytes() for path in root.glob("out.*json*")}
    return {
        name: json.dumps(json.loads(data)["result"]).encode() if name.endswith("manifest.json") else data
        for name, data in files.items()
    }


@pytest.fixture(scope="module")
def recorded(job: Job, tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    with pytest.MonkeyPatch.context() as patch:
        return record(job, tmp_path_factory.mktemp("recorded") / "disk", patch)


def check(state: State, recorded: Recorded, root: Path) -> None:
    """What holds in every state before anything recovers: answers that were promised, files old or new, none half."""
    materialise(state.tree, root)
    with closing(Journal(root / "out.run" / "journal")) as journal:
        for key in state.promised - set(TURNS):
            entry = journal.find(key)
            row = recorded.rows[key]
            assert entry and row.encode() in entry.body, f"{row} is lost after {state.after}"
    left = outputs(root)
    for name, content in left.items():
        assert content in [each.get(name) for each in recorded.published], f"half a {name} after {state.after}"
    for manifest in (name for name in left if name.endswith("manifest.json")):
        whole = next(each for each in recorded.published if each.get(manifest) == left[manifest])
        for ending in ("jsonl", "rejects.jsonl"):
            name = manifest.replace("manifest.json", ending)
            known = [each.get(name) for each in recorded.published[recorded.published.index(whole) :]]
            assert left.get(name) in known, f"{name} is older than its manifest after {state.after}"


def recover(state: State, recorded: Recorded, root: Path, job: Job) -> None:
    """Give the command again that was running, or the next, and see what it asks and what comes of it."""
    materialise(state.tree, root)
    turn = max(1, *(TURNS.index(each) for each in state.promised & set(TURNS)))
    asked = job.server.asked()
    assert job.run(root, turn) == 0, state.after
    again = {line["row"] for line in job.server.ledger()[asked:]}
    assert not again & {recorded.rows[key] for key in state.promised - set(TURNS)}, f"bought twice after {state.after}"
    assert outputs(root) == recorded.published[turn], state.after


def drawn(states: list[State], count: int) -> list[State]:
    """A sample in which each call is the last one before the cut about as often as any other."""
    mixed = random.Random(7).sample(states, len(states))
    often = Counter[str]()
    ranked = [(often.update([state.after]) or often[state.after], at) for at, state in enumerate(mixed)]
    return [mixed[at] for _, at in sorted(ranked)[:count]]


def test_a_state_after_a_cut_holds_what_was_promised(recorded: Recorded, tmp_path: Path) -> None:
    assert len(recorded.states) > 1000
    for number, state in enumerate(drawn(recorded.states, 80)):
        check(state, recorded, tmp_path / str(number))


@pytest.mark.slow
def test_many_states_after_a_cut_hold_what_was_promised(recorded: Recorded, tmp_path: Path) -> None:
    for number, state in enumerate(drawn(recorded.states, STATES)):
        check(state, recorded, tmp_path / str(number))


@pytest.mark.parametrize("count", [10, pytest.param(80, marks=pytest.mark.slow)])
def test_the_same_command_recovers_from_a_cut(recorded: Recorded, job: Job, tmp_path: Path, count: int) -> None:
    for number, state in enumerate(drawn(recorded.states, count)):
        recover(state, recorded, tmp_path / str(number), job)


@pytest.mark.parametrize(
    ("module", "name"),
    [(appender, "sync_data"), (appender, "sync_directory"), (durable, "sync_directory"), (publish, "sync_directory")],
    ids=["content of a segment", "name of a segment", "name of the run", "names of what is published"],
)
def test_without_a_sync_the_model_finds_a_loss(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(module, name, lambda where: None)
        loose = record(job, tmp_path / "disk", patch, turns=1)
    with pytest.raises(AssertionError, match=r"is lost after|is older than its manifest"):
        for number, state in enumerate(reversed(loose.states)):
            check(state, loose, tmp_path / str(number))


# Batches and arrays, below the commands

TEXTS = [str(number) * 3000 for number in range(6)]


def keep_all(directory: Path, disk: Disk) -> None:
    """Keep three answers at once with their arrays, twice; each is longer than half a page."""

    async def keep(journal: Journal, store: Blobs, text: str) -> None:
        body = {"blob": place_of(await store.put(text.encode())), "text": text}
        await journal.commit(key_of(text), "00000000000000aa", (1, 1, 0), json.dumps(body).encode())
        disk.promise(text)

    async def main() -> None:
        journal = Journal(directory / "journal")
        store = Blobs(journal.blobs)
        journal.prepare()
        for batch in TEXTS[:3], TEXTS[3:]:
            await asyncio.gather(*(keep(journal, store, text) for text in batch))
        await store.aclose()
        journal.close()

    asyncio.run(main())


def cuts(root: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    (root / "run").mkdir(parents=True)
    disk = Disk(root)
    monkeypatch.setattr(appender, "RESERVE_BYTES", 64)
    monkeypatch.setattr(blobs, "RESERVE_BYTES", 64)
    with disk.recording(monkeypatch):
        keep_all(root / "run", disk)
    return disk


def find_all(state: State, root: Path) -> None:
    """Every answer that was promised is there, and its arrays are those that came with it."""
    materialise(state.tree, root)
    with closing(Journal(root / "run" / "journal")) as journal:
        for text in state.promised:
            entry = journal.find(key_of(text))
            assert entry, f"an answer is lost after {state.after}"
            body = json.loads(entry.body)
            assert body["text"] == text
            assert blob_at(journal.blobs, body["blob"]).read() == text.encode()


def test_a_batch_and_its_arrays_are_there_after_a_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    states = cuts(tmp_path / "disk", monkeypatch).states()
    assert len(states) > 100
    for number, state in enumerate(states):
        find_all(state, tmp_path / str(number))


def test_published_files_and_run_json_are_old_or_new_after_a_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, published = tmp_path / "disk", list[dict[str, bytes]]()
    root.mkdir()
    disk = Disk(root)
    with disk.recording(monkeypatch):
        run = RunDirectory(root / "out.run")
        run.claim()
        for version, rows in (("1", range(4)), ("2", range(7))):
            run.save({"version": version})
            disk.promise(version)
            publish_all(files_of(root / "out.jsonl"), rows, items=len(rows), version=version)
            published.append(outputs(root))
            disk.promise(f"published {version}")
        run.release()
    for number, state in enumerate(disk.states()):
        check(state._replace(promised=frozenset()), Recorded([], published, {}), tmp_path / str(number))
        saved = RunDirectory(tmp_path / str(number) / "out.run").load().get("version", "0")
        assert saved in {"0", "1", "2"} and saved >= max({"0"} | state.promised & {"1", "2"}), state.after
        whole = outputs(tmp_path / str(number))
        for version in state.promised & {"published 1"}:
            assert "out.manifest.json" in whole, f"{version} is gone after {state.after}"


def test_arrays_that_were_not_synced_are_found_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blobs, "sync_data", lambda fd: None)
    states = cuts(tmp_path / "disk", monkeypatch).states()
    with pytest.raises(DamageError):
        for number, state in enumerate(states):
            find_all(state, tmp_path / str(number))


def test_names_and_content_are_synced_before_an_answer_is_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = [moment.call for moment in cuts(tmp_path / "disk", monkeypatch).moments]
    wanted = [
        ["mkdir journal", "fsync run", "mkdir blobs"],
        ["mkdir blobs", "open 000001.bin", "fsync blobs", "fsync run"],
        ["open 000001.jsonl", "open 000001.sent", "fsync journal", "write 000001.jsonl"],
        ["write 000001.bin", "fdatasync 000001.bin", "write 000001.jsonl", "fdatasync 000001.jsonl", "promise"],
    ]
    for order in wanted:
        rest = iter(calls)
        assert all(any(found.startswith(call) for found in rest) for call in order), f"{order} comes as {calls}"


def test_what_a_cut_leaves_of_a_file() -> None:
    assert set(between(b"ab", b"ab")) == set()
    assert {b"ab", b"abcd", b"abc", b"abc\0", b"ab\0\0"} == set(between(b"ab", b"abcd"))
    assert {b"abcd", b"x", b"\0"} == set(between(b"abcd", b"x"))
    long = b"a" * 10 + b"b" * 9000
    assert b"a" * 10 + bytes(4086) + b"b" * (9010 - 4096) in set(between(long[:10], long))

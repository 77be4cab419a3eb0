"""Every step of a run, by name: the process is killed there, the same command goes on and ends in the same bytes.

A step is a call of the system or a function of the program, as `tests/crash` tells them. The tables are whole: a call
of an uninterrupted run that no line of them names fails the test.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from tests.crash import Ending, Fault, Fork
from tests.crash.deaths import Job, compare, files_of
from tests.crash.scenes import SCENES
from tests.faultserver import serve
from tests.system.command import Output, label, marked, write_seeds

ROWS, CONCURRENCY = 24, 4


def kill(at: str, when: str = "after", nth: int = 1) -> Fault:
    return Fault(at, when, "SIGKILL", nth)


START = {
    "the configuration is looked for": kill("look distill.toml", "before"),
    "seeds are read": kill("look seeds.jsonl", "before"),
    "the run's directory is made": kill("mkdir out.run"),
    "the lock's file is made": kill("open out.run/lock"),
    "the lock is taken": kill("flock out.run/lock"),
    "the lock tells no number": kill("ftruncate out.run/lock"),
    "what a dead process set aside is removed": kill("unlink out.run/*", "before", 2),
    "run.json is looked for": kill("look out.run/run.json", "before"),
    "run.json is begun": kill("open out.run/.run.json.tmp"),
    "run.json is half written": kill("write out.run/.run.json.tmp", "half"),
    "run.json is written": kill("write out.run/.run.json.tmp"),
    "run.json is synced": kill("fsync out.run/.run.json.tmp"),
    "run.json has its name": kill("replace out.run/run.json"),
    "the journal's directory is made": kill("mkdir out.run/journal"),
    "the run's directory is opened": kill("look out.run"),
    "the run's directory is synced": kill("fsync out.run"),
    "the reserve is begun": kill("open out.run/journal/reserve"),
    "the reserve is there": kill("posix_fallocate out.run/journal/reserve"),
    "the spill is there": kill("open out.run/spill"),
    "the spill can be read back": kill("look out.run/spill"),
}
COMMIT = {
    "a first segment is made": kill("open out.run/journal/*.jsonl"),
    "its notes are made": kill("open out.run/journal/*.sent"),
    "the journal's directory is opened": kill("look out.run/journal"),
    "the journal's directory is synced": kill("fsync out.run/journal"),
    "a note is half written": kill("write out.run/journal/*.sent", "half"),
    "a note is written": kill("write out.run/journal/*.sent"),
    "a request is about to leave": kill("ask begun"),
    "an answer is here": kill("ask ended"),
    "an answer is half written": kill("write out.run/journal/*.jsonl", "half"),
    "an answer is written and not synced": kill("write out.run/journal/*.jsonl"),
    "an answer is synced and not acknowledged": kill("fdatasync out.run/journal/*.jsonl"),
    "an answer is acknowledged": kill("count"),
    "an outcome is set aside": kill("outcome", nth=8),
}
FULL = Fault("write out.run/journal/*.jsonl", "half", "ENOSPC")
RESCUE = {
    "a full disk takes the reserve": kill("unlink out.run/journal/reserve", nth=2),
    "a second segment is made on a full disk": kill("open out.run/journal/*.jsonl", nth=2),
    "its notes are made on a full disk": kill("open out.run/journal/*.sent", nth=2),
    "the answer is written once more": kill("fdatasync out.run/journal/*.jsonl"),
    "what was half written is taken back": kill("ftruncate out.run/journal/*.jsonl"),
}
RECOVERY = {
    "a segment is opened at the start": kill("look out.run/journal/*.jsonl"),
    "a segment is read at the start": kill("scan", nth=2),
    "notes are read at the start": kill("look out.run/journal/*.sent", nth=3),
    "an answer is read back": kill("outcome", "before"),
}
LANDING = {
    "the reserve of arrays is cleared away": kill("unlink out.run/blobs/reserve", "before", 2),
    "the reserve is given back": kill("unlink out.run/journal/reserve", nth=2),
}
PARTIAL = {
    "a partial dataset is begun": kill("open .out.partial.jsonl.tmp"),
    "partial rejects have their name": kill("replace out.partial.rejects.jsonl"),
    "a partial dataset has its name": kill("replace out.partial.jsonl"),
    "a partial manifest is half written": kill("write .out.partial.manifest.json.tmp", "half"),
    "a partial manifest has its name": kill("replace out.partial.manifest.json"),
}
PUBLISH = {
    "an earlier manifest is looked for": kill("look out.manifest.json", "before"),
    "the output's directory is there": kill("mkdir .", "before"),
    "the dataset is begun": kill("open .out.jsonl.tmp"),
    "the rejects are begun": kill("open .out.rejects.jsonl.tmp"),
    "the spill is half written": kill("write out.run/spill", "half"),
    "the spill is written": kill("write out.run/spill"),
    "the dataset is half written": kill("write .out.jsonl.tmp", "half"),
    "the dataset is written": kill("write .out.jsonl.tmp"),
    "the dataset is synced": kill("fsync .out.jsonl.tmp"),
    "the dataset is read back": kill("look .out.jsonl.tmp"),
    "the dataset is verified": kill("verify"),
    "the rejects are synced": kill("fsync .out.rejects.jsonl.tmp"),
    "the rejects are read back": kill("look .out.rejects.jsonl.tmp"),
    "the rejects are verified": kill("verify", nth=2),
    "the rejects have their name": kill("replace out.rejects.jsonl"),
    "the dataset has its name": kill("replace out.jsonl"),
    "the output's directory is opened": kill("look .", nth=2),
    "the output's directory is synced": kill("fsync .", nth=2),
    "the manifest is begun": kill("open .out.manifest.json.tmp"),
    "the manifest is half written": kill("write .out.manifest.json.tmp", "half"),
    "the manifest is written": kill("write .out.manifest.json.tmp"),
    "the manifest is synced": kill("fsync .out.manifest.json.tmp"),
    "the manifest has its name": kill("replace out.manifest.json"),
    "the output's directory is synced again": kill("fsync .", nth=3),
    "drafts are cleared away": kill("unlink .out.*.tmp", "before"),
    "a partial manifest is looked for": kill("look out.partial.manifest.json", "before"),
    "the partial manifest is withdrawn": kill("unlink out.partial.manifest.json"),
    "the partial dataset is withdrawn": kill("unlink out.partial.jsonl"),
    "the partial rejects are withdrawn": kill("unlink out.partial.rejects.jsonl"),
    "the spill is cleared away": kill("unlink out.run/spill", nth=2),
}
UNCHANGED = {
    "the rejects are compared with the manifest": kill("look out.rejects.jsonl"),
    "the dataset is compared with the manifest": kill("look out.jsonl"),
}
STEPS = {**START, **COMMIT, **RESCUE, **RECOVERY, **LANDING, **PARTIAL, **PUBLISH, **UNCHANGED}


ARRAYS = {
    "the directory of arrays is made": kill("mkdir out.run/blobs"),
    "the reserve of arrays is begun": kill("open out.run/blobs/reserve"),
    "the reserve of arrays is there": kill("posix_fallocate out.run/blobs/reserve"),
    "a file of arrays is begun": kill("open out.run/blobs/*.bin"),
    "the directory of arrays is synced": kill("fsync out.run/blobs"),
    "an array is half written": kill("write out.run/blobs/*.bin", "half"),
    "an array is written": kill("write out.run/blobs/*.bin"),
    "an array is synced and no line names it": kill("fdatasync out.run/blobs/*.bin"),
    "a line that names an array is half written": kill("write out.run/journal/*.jsonl", "half"),
    "a line that names an array is synced": kill("fdatasync out.run/journal/*.jsonl"),
    "the directory of side files is made": kill("mkdir out.features"),
    "a side file is begun": kill("open out.features/.shard.tmp"),
    "a side file is half written": kill("write out.features/.shard.tmp", "half"),
    "a side file is synced": kill("fsync out.features/.shard.tmp"),
    "a side file has its name": kill("replace out.features/*"),
    "the dataset that points at it has its name": kill("replace out.jsonl"),
}
KINDS = {
    "another kind is begun": kill("open .preference.jsonl.tmp"),
    "another kind is half written": kill("write .preference.jsonl.tmp", "half"),
    "another kind is verified": kill("verify", nth=2),
    "a last kind has its name": kill("replace unpaired.jsonl"),
    "a first kind has its name": kill("replace preference.jsonl"),
    "all kinds have their names": kill("replace out.jsonl"),
}
GROWTH = {
    "a proposal is written": kill("fdatasync out.run/journal/*.jsonl"),
    "a proposal is acknowledged": kill("count"),
    "an answer to a proposal is half written": kill("write out.run/journal/*.jsonl", "half"),
    "an answer to a proposal is written": kill("fdatasync out.run/journal/*.jsonl"),
    "an answer to a proposal is acknowledged": kill("count"),
}


def unnamed(ending: Ending) -> set[str]:
    """Calls of a run that no step names."""
    return {call for call in ending.calls if not any(fnmatchcase(call, step.at) for step in STEPS.values())}


@pytest.mark.slow
def test_killed_at_every_step_of_a_run(fork: Fork, tmp_path: Path) -> None:
    out, whole = (Output(tmp_path / name / "out.jsonl") for name in ("killed", "whole"))
    for each in (out, whole):
        each.path.parent.mkdir()
        seeds = write_seeds(each.path.with_name("seeds.jsonl"), marked(ROWS))
    with serve(latency=0.01) as server:
        args = label(Path(seeds.name), server.url, Output(Path(out.path.name)), "--concurrency", "4")
        job = Job(fork, server, args, out, CONCURRENCY, out.on_disk)
        for fault in [*START.values(), *COMMIT.values()]:
            job.die(fault)
        job.die_while_asked(3)
        for fault in RESCUE.values():
            job.die(FULL, fault)
        assert 0 < len(out.on_disk()) < ROWS, "the steps of a commit are met while something is missing"
        for fault in [*RECOVERY.values(), *LANDING.values()]:
            job.die(fault)
        interrupted = Fault("outcome", "before", "SIGINT")
        for fault in PARTIAL.values():
            job.die(interrupted, fault)
        for fault in PUBLISH.values():
            out.beside("manifest.json").unlink(missing_ok=True)  # a dataset without one is published again
            job.die(fault)
        for fault in UNCHANGED.values():
            job.die(fault)
        assert set(out.rows()) == out.on_disk()
        done = job.run().ended(0)
        assert job.run().ended(0).calls.count("ask begun") == 0
        again = fork(whole.path.parent, *args).ended(0)
    assert out.accounted(ROWS)["kept"] == ROWS
    assert out.path.read_bytes() == whole.path.read_bytes()
    assert out.manifest()["result"] == whole.manifest()["result"]
    assert files_of(out.path.parent) == files_of(whole.path.parent)
    assert unnamed(done) | unnamed(again) == set()


@pytest.mark.slow
@pytest.mark.parametrize(("scene", "steps"), [("feature", ARRAYS), ("kinds", KINDS), ("expand", GROWTH)])
def test_killed_at_the_steps_of_other_runs(fork: Fork, tmp_path: Path, scene: str, steps: dict[str, Fault]) -> None:
    with SCENES[scene].serve() as server:
        job, whole = (SCENES[scene].new_job(fork, server, tmp_path / name) for name in ("killed", "whole"))
        for fault in steps.values():
            job.die(fault)
        job.run().ended(0)
        whole.run().ended(0)
        compare(job, whole)

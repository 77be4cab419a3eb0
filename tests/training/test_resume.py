"""A training that was killed, interrupted, or found no room, and goes on: the same student, the same losses."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import resource
import shutil
import signal
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from distill_data.commands.status import status
from distill_data.commands.train import Loop, Training, train
from distill_data.commands.training_output import standing
from distill_data.engine.durable import remove
from distill_data.engine.rundir import RunDirectory
from distill_data.errors import DistillError, DriftError, LockedError, UsageError, YieldError
from tests.system.command import read_jsonl
from tests.training.teaching import write_rows

pytest.importorskip("torch")
pytestmark = pytest.mark.white_box

ROWS = [{"prompt": f"say {number}", "completion": str(number)} for number in range(6)]
SHORT = Training("tiny", "sft", Loop(steps=5, batch=2, max_length=48), held="held.jsonl")
"""Five checkpoints; it ends within the second epoch."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with rows, the student that was trained on them without a stop, and how many calls that took."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_rows(Path("rows.jsonl"), ROWS)
        write_rows(Path("held.jsonl"), ROWS[:2])
        assert killed_at(0, "whole") == 0
    return folder


@pytest.fixture(autouse=True)
def here(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of it is the working directory."""
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)


def forked(work: Callable[[], Any]) -> int:
    """What a process ends with that does this: the exit code of an error of ours; below 0 the signal that killed it."""
    process = os.fork()
    if process:
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    code = 99
    try:
        work()
        code = 0
    except DistillError as error:
        Path("said").write_text(str(error))
        code = error.exit_code
    except BaseException:  # noqa: BLE001 - a fork must not go on with the tests
        traceback.print_exc()
    finally:
        os._exit(code)


def trained(output: str = "s", training: Training = SHORT) -> int:
    return forked(lambda: train("rows.jsonl", training, output))


def result(output: str) -> dict[str, Any]:
    """What the manifest says of the training, with the digest of the weights."""
    import orjson

    found: Mapping[str, Any] = orjson.loads(Path(f"{output}.manifest.json").read_bytes())["result"]
    return {name: found[name] for name in ("history", "weights", "steps", "plan")}


def same_in_the_end(training: Training = SHORT, unstopped: str = "whole") -> None:
    """The same command, and one that was never stopped, give the same."""
    assert trained("s", training) == 0
    assert result("s") == result(unstopped)
    assert sorted(path.name for path in Path("s.run").iterdir()) == ["lock", "run.json"]
    assert not [*Path().glob(".s*")]


CHANGES = ("fsync", "rename", "replace")
"""The calls by which files come to the disk and get their names."""


def killed_at(place: int, output: str = "s") -> int:
    """Train in a process that is killed before the call of this number; its calls are counted in the file `calls`."""

    def work() -> None:
        numbers = itertools.count(1)

        def wrap(call: Callable[..., Any]) -> Callable[..., Any]:
            def wrapped(*given: Any, **named: Any) -> Any:
                number = next(numbers)
                Path("calls").write_text(str(number))
                if number == place:
                    os.kill(os.getpid(), signal.SIGKILL)
                return call(*given, **named)

            return wrapped

        for name in CHANGES:
            setattr(os, name, wrap(getattr(os, name)))
        train("rows.jsonl", SHORT, output)

    return forked(work)


@pytest.mark.timeout(300)
def test_killed_at_any_moment_it_goes_on_to_the_same_student() -> None:
    calls = int(Path("calls").read_text())
    last = (calls - 4, calls - 2)  # while the student is published
    for place in (calls * 2 // 3, *last):
        for path in Path().glob("s*"):
            remove(path)
        assert killed_at(place) == -signal.SIGKILL, place
        same_in_the_end()


def test_interrupted_in_a_later_epoch_it_goes_on_to_the_same_student() -> None:
    """One that draws answers, and is given prompts in an order of its trainer's own."""
    training = Training("tiny", "on-policy", SHORT.loop, {"length": "4"}, "held.jsonl", "whole")
    assert trained("unstopped", training) == 0

    def stop(measured: Mapping[str, float]) -> None:
        if measured["step"] == 4:
            stands = standing("s")
            assert stands and stands.state == "running" and f"{os.getpid()} works on it" in stands.message
            os.kill(os.getpid(), signal.SIGTERM)

    assert standing("s") is None
    assert forked(lambda: train("rows.jsonl", training, "s", stop)) == 128 + signal.SIGTERM
    assert "goes on from there" in Path("said").read_text() and not Path("s").exists()
    assert standing("s") == ("interrupted", "Step 5 is saved. The same command goes on.", {})
    same_in_the_end(training, "unstopped")
    after = standing("s")
    assert after and after.state == "trained" and after.result["steps"] == SHORT.loop.steps
    losses = [each["loss"] for each in result("s")["history"] if "loss" in each]
    held = [each["eval_loss"] for each in result("s")["history"] if "eval_loss" in each]
    assert losses[-1] < losses[0] and held[1] < held[0], "the divergence falls, also on prompts that are held out"


def test_how_a_training_stands_is_told_of_what_is_there() -> None:
    assert [standing(name) for name in (".", "", "/", "nothing", "rows.jsonl")] == [None] * 5
    with pytest.raises(UsageError, match="is the run of a training; its student is whole"):
        status("whole.jsonl")
    remove(Path("whole"))
    gone = standing("whole")
    assert gone and gone.state == "interrupted" and not gone.result


def test_without_room_for_a_checkpoint_nothing_is_published() -> None:
    def work() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, 3_000_000))  # the weights, and not the optimizer's state
        train("rows.jsonl", SHORT, "s")

    assert forked(work) == 7
    assert "make room" in Path("said").read_text() and not Path("s").exists()
    same_in_the_end()


def test_what_is_in_the_way() -> None:
    weights = Path("whole/model.safetensors")
    before = weights.stat().st_mtime_ns
    assert not train("rows.jsonl", SHORT, "whole").changed and weights.stat().st_mtime_ns == before
    Path("whole.run/checkpoints/checkpoint-6").mkdir(parents=True)  # of one that died before it cleared up
    other = Training("tiny", "sft", Loop(steps=1, batch=2, max_length=48))
    assert trained("whole", other) == 0, "ours is replaced"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(UsageError, match="no manifest says"):
        train("rows.jsonl", SHORT, "whole")
    Path("mine").mkdir()
    Path("mine/notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="no manifest says"):
        train("rows.jsonl", SHORT, "mine")
    run = RunDirectory(Path("t.run"))
    run.claim()
    with pytest.raises(LockedError):
        train("rows.jsonl", SHORT, "t")
    run.release()
    run.path.joinpath("run.json").write_text('{"format":1,"command":"train","plan":"of another"}')
    run.path.joinpath("checkpoints/checkpoint-1").mkdir(parents=True)
    with pytest.raises(DriftError, match="--fresh"):
        train("rows.jsonl", SHORT, "t")


def test_a_training_that_diverges_ends_with_advice() -> None:
    training = Training("tiny", "sft", Loop(steps=30, batch=2, max_length=48, learning_rate=1e6))
    assert trained("s", training) == YieldError.exit_code
    assert "--learning-rate" in Path("said").read_text() and not Path("s").exists()


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([], "no rows"),
        ([{"prompt": "a", "chosen": "b", "rejected": "c"}], r"rows.jsonl:1: .*preference.*made by label"),
        ([{"strange": 1}], "no kind that is known"),
    ],
)
def test_rows_that_cannot_be_learned_from(rows: list[Any], says: str) -> None:
    write_rows(Path("rows.jsonl"), rows)
    with pytest.raises(UsageError, match=says):
        train("rows.jsonl", SHORT, "s")
    write_rows(Path("rows.jsonl"), ROWS)
    write_rows(Path("held.jsonl"), rows)
    with pytest.raises(UsageError):
        train("rows.jsonl", SHORT, "s")
    assert not [*Path().glob("s*")]
    assert read_jsonl(Path("rows.jsonl")) == ROWS


def test_what_others_have_there_stays() -> None:
    """A dataset's run, which has bought answers, and its manifest; what a user put into a student; a student's own."""
    Path("rows.run/journal").mkdir(parents=True)
    Path("rows.run/run.json").write_text('{"format":1,"plan":"of answers"}')
    with pytest.raises(UsageError, match="run of another command"):
        train("rows.jsonl", SHORT, "rows")
    assert [path.name for path in sorted(Path("rows.run").iterdir())] == ["journal", "lock", "run.json"]
    assert Path("rows.run/run.json").read_text() == '{"format":1,"plan":"of answers"}'
    Path("held.manifest.json").write_text('{"result":{"command":"label"},"history":{}}')
    with pytest.raises(UsageError, match="of no training"):
        train("rows.jsonl", SHORT, "held")
    other = Training("tiny", "sft", Loop(steps=1, batch=2, max_length=48))
    Path("whole/README.md").write_text("mine")
    with pytest.raises(UsageError, match="no manifest says"):
        train("rows.jsonl", other, "whole")
    Path("whole/README.md").unlink()
    with pytest.raises(UsageError, match="which this training reads"):
        train("rows.jsonl", Training("whole", "sft", other.loop), "whole")
    Path("link").symlink_to("whole")
    with pytest.raises(UsageError, match="is a link"):
        train("rows.jsonl", other, "link")


def test_what_comes_while_the_student_is_trained_stays() -> None:
    def come(measured: Mapping[str, float]) -> None:
        Path("s").mkdir(exist_ok=True)
        Path("s/notes.txt").write_text("mine")

    assert forked(lambda: train("rows.jsonl", SHORT, "s", come)) == DriftError.exit_code
    assert [path.name for path in Path("s").iterdir()] == ["notes.txt"]
    assert Path("s.run/checkpoints/checkpoint-5").is_dir(), "what was learned is not lost"


@pytest.mark.parametrize(("held", "told"), [(ROWS[4:], 2), ([{**ROWS[0], "completion": "no"}, {"text": "say 1"}], 2)])
def test_held_out_rows_that_are_learned_from_are_told(
    held: list[Any], told: int, caplog: pytest.LogCaptureFixture
) -> None:
    write_rows(Path("held.jsonl"), held)
    short = replace(SHORT, loop=replace(SHORT.loop, steps=1))
    with contextlib.suppress(UsageError):  # raw text beside answers
        train("rows.jsonl", short, "s")
    assert f"{told} of 2 held-out rows ask what a training row asks" in caplog.text


def test_held_out_rows_that_are_new_are_not_told(caplog: pytest.LogCaptureFixture) -> None:
    write_rows(Path("held.jsonl"), [{"prompt": "say 7", "completion": "1"}])
    train("rows.jsonl", replace(SHORT, loop=replace(SHORT.loop, steps=1)), "s")
    assert "held-out" not in caplog.text


def test_a_manifest_tells_which_student_was_opened_whatever_lies_there_afterwards() -> None:
    def change(measured: Mapping[str, float]) -> None:
        Path("another").write_bytes(b"another")
        Path("another").replace("whole/model.safetensors")

    opened, training = result("whole")["weights"], Training("whole", "sft", Loop(steps=1, max_length=48))
    assert forked(lambda: train("rows.jsonl", training, "s", change)) == 0
    assert json.loads(Path("s.manifest.json").read_bytes())["result"]["student"]["weights"] == opened


def test_a_student_that_cannot_be_opened_any_more_loses_no_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("whole.run/checkpoints/checkpoint-5").mkdir(parents=True)
    remove(Path("whole"))

    def fail(*_: Any) -> Any:
        raise UsageError("not now")

    monkeypatch.setattr(import_module("distill_data.commands.train"), "open_beginning", fail)
    with pytest.raises(UsageError, match="not now"):
        train("rows.jsonl", SHORT, "whole")
    assert Path("whole.run/checkpoints/checkpoint-5").is_dir()

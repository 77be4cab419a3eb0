"""`label` as a function: where it may write, stdout, stdin, loops and threads, limits over the whole run."""

from __future__ import annotations

import asyncio
import io
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from distill_data.commands import Options, label, status
from distill_data.engine.rundir import RunDirectory
from distill_data.errors import DriftError, LockedError, UsageError

ECHO = Options(teachers=("echo",))


@pytest.fixture
def seeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    Path("s.jsonl").write_text("".join(f'{{"instruction": "say {n} words"}}\n' for n in range(1, 5)))
    return "s.jsonl"


@pytest.mark.parametrize(
    ("output", "says"),
    [("s.jsonl", "would be overwritten"), ("link.jsonl", "would be overwritten"), ("d.jsonl", "is a directory")],
)
def test_an_output_that_would_destroy_something_is_refused(seeds: str, output: str, says: str) -> None:
    before = Path(seeds).read_bytes()
    Path("link.jsonl").symlink_to(seeds)
    Path("d.jsonl").mkdir()
    with pytest.raises(UsageError, match=says):
        label(seeds, recipe="answer", output=output, options=ECHO)
    assert Path(seeds).read_bytes() == before
    assert not list(Path().glob("*.run"))


@pytest.mark.parametrize("option", ["reuse", "replay"])
def test_a_run_that_is_not_there_is_a_usage_error(seeds: str, option: str) -> None:
    options = Options(teachers=("echo",), reuse=(Path("gone"),)) if option == "reuse" else Options(replay=Path("gone"))
    with pytest.raises(UsageError, match=f"--{option} gone"):
        label(seeds, recipe="answer", output="o.jsonl", options=options)


def test_the_dataset_goes_to_stdout_and_its_run_is_kept(
    seeds: str, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert label(seeds, recipe="answer", output="-", options=ECHO).status == "published"
    first = capfdbinary.readouterr().out
    assert first.count(b"\n") == 4
    assert label(seeds, recipe="answer", output="-", options=ECHO).status == "unchanged"
    assert capfdbinary.readouterr().out == first
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(Path(seeds).read_bytes())))
    label("-", recipe="answer", output="-", options=ECHO)
    assert capfdbinary.readouterr().out == first


def test_piped_seeds_of_another_process_for_the_same_shards_are_not_written_over(
    seeds: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    piped = io.BytesIO(Path(seeds).read_bytes())
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(piped))
    other = RunDirectory(Path("o.shards/stdin"))
    other.claim()
    copy = other.path / "stdin.jsonl"
    copy.write_bytes(b'{"instruction": "what the other one asks"}\n')
    with pytest.raises(LockedError, match=r"o\.shards/stdin: another process"):
        label("-", recipe="answer", output="o.jsonl", options=replace(ECHO, shards=2))
    assert (piped.tell(), copy.read_bytes().count(b"other")) == (0, 1)
    other.abandon()
    with pytest.raises(UsageError, match="nowhere"):
        label(
            "-", recipe="answer", output="o.jsonl", options=replace(ECHO, shards=2, rename={"instruction": "nowhere"})
        )
    assert not list(Path().glob("o.*")), "a mistake leaves nothing"


def test_a_running_loop_is_told_to_use_a_thread(seeds: str) -> None:
    async def inside() -> str:
        with pytest.raises(UsageError, match="to_thread"):
            label(seeds, recipe="answer", output="o.jsonl", options=ECHO)
        summary = await asyncio.to_thread(label, seeds, recipe="answer", output="o.jsonl", options=ECHO)
        return summary.status

    assert asyncio.run(inside()) == "published"


def test_another_prompt_is_drift_until_it_is_accepted(seeds: str) -> None:
    label(seeds, recipe="answer", output="o.jsonl", options=ECHO)
    hotter = Options(teachers=("echo",), settings={"temperature": "0.9"})
    with pytest.raises(DriftError, match="4 items"):
        label(seeds, recipe="answer", output="o.jsonl", options=hotter)
    accepted = Options(teachers=("echo",), settings={"temperature": "0.9"}, accept_drift=True)
    assert label(seeds, recipe="answer", output="o.jsonl", options=accepted).history["bought"] == 4


@pytest.mark.parametrize("change", ["appended", "removed", "reordered", "more samples", "limit"])
def test_more_or_other_rows_are_no_drift(seeds: str, change: str) -> None:
    label(seeds, recipe="answer", output="o.jsonl", options=ECHO)
    lines = Path(seeds).read_text().split("\n")[:-1]
    options, bought = ECHO, 0
    if change == "appended":
        lines, bought = [*lines, '{"instruction": "one more"}'], 1
    elif change == "removed":
        lines = lines[1:]
    elif change == "reordered":
        lines = lines[::-1]
    elif change == "more samples":
        options, bought = Options(teachers=("echo",), samples=2), 4
    else:
        options = Options(teachers=("echo",), limit=2)
    Path(seeds).write_text("\n".join(lines) + "\n")
    summary = label(seeds, recipe="answer", output="o.jsonl", options=options)
    assert (summary.exit_code, summary.history["bought"]) == (0, bought)


def test_the_budget_stops_the_run_and_counts_what_was_spent_before(seeds: str) -> None:
    planned = label(seeds, recipe="answer", output="o.jsonl", options=Options(teachers=("echo",), dry_run=True)).history
    one = (int(str(planned["estimated_prompt_tokens"])) + int(str(planned["estimated_completion_tokens"]))) // 4
    tight = Options(teachers=("echo",), max_tokens_total=one + 3, concurrency=1)
    stopped = label(seeds, recipe="answer", output="o.jsonl", options=tight)
    assert (stopped.status, stopped.exit_code) == ("partial", 4)
    assert "--max-tokens-total" in stopped.message
    assert not Path("o.jsonl").exists()
    assert Path("o.partial.jsonl").exists()
    assert status("o.jsonl").status == "partial"
    assert label(seeds, recipe="answer", output="o.jsonl", options=ECHO).exit_code == 0
    assert not list(Path().glob("o.partial*"))


def test_an_unknown_price_cannot_be_capped(seeds: str) -> None:
    options = Options(teachers=("openai/x",), base_url="http://127.0.0.1:9/v1", max_cost=1.0)
    with pytest.raises(UsageError, match="price of openai/x is unknown"):
        label(seeds, recipe="answer", output="o.jsonl", options=options)


def test_a_directory_with_somebodys_files_is_not_taken_for_a_run(seeds: str, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "spill").write_text("precious")
    (theirs / "lock").write_text("x")
    with pytest.raises(UsageError, match="not a run's directory"):
        label(seeds, recipe="answer", output="o.jsonl", options=Options(teachers=("echo",), run=theirs))
    assert (theirs / "spill").read_text() == "precious"
    assert (theirs / "lock").read_text() == "x"


@pytest.mark.parametrize("output", ["", ".", "/"])
def test_an_output_without_a_name_is_a_usage_error(seeds: str, output: str) -> None:
    with pytest.raises(UsageError, match=r"must end in \.jsonl"):
        label(seeds, recipe="answer", output=output, options=ECHO)


@pytest.mark.parametrize("setting", ["seed", "logprobs"])
def test_what_a_teacher_cannot_express_is_a_usage_error_in_a_dry_run(seeds: str, setting: str) -> None:
    value = "1" if setting == "seed" else "true"
    options = Options(teachers=("openai/x",), base_url="http://127.0.0.1:9/v1", settings={setting: value}, dry_run=True)
    with pytest.raises(UsageError, match=setting):
        label(seeds, recipe="answer", output="o.jsonl", options=options)


def test_the_same_teacher_twice_is_refused(seeds: str) -> None:
    with pytest.raises(UsageError, match="same teacher twice"):
        label(seeds, recipe="answer", output="o.jsonl", options=Options(teachers=("echo", "echo")))


@pytest.mark.parametrize("name", ["limit", "resample", "max_failed", "samples"])
def test_a_number_that_cannot_be_is_a_usage_error(seeds: str, name: str) -> None:
    with pytest.raises(UsageError, match=f"--{name.replace('_', '-')}"):
        label(seeds, recipe="answer", output="o.jsonl", options=Options(**{"teachers": ("echo",), name: -1}))


def test_fewer_resamples_and_more_samples_are_no_drift(seeds: str) -> None:
    Path("q.jsonl").write_text('{"question": "how <answer> many?"}\n{"question": "how <answer> much?"}\n')
    hot = {"temperature": "0.7"}
    first = label("q.jsonl", recipe="cot", output="o.jsonl", options=Options(teachers=("echo",), settings=hot))
    assert first.history["bought"] == 4  # the echo cannot be read, so each is asked again
    again = Options(teachers=("echo",), settings=hot, resample=0, samples=2)
    assert label("q.jsonl", recipe="cot", output="o.jsonl", options=again).history["bought"] == 2


def test_a_changed_pool_of_demonstrations_is_another_plan(seeds: str) -> None:
    rows = [f'{{"text": "text number {n}", "label": "positive"}}\n' for n in range(5)]
    Path("pool.jsonl").write_text("".join(rows))
    Path("t.jsonl").write_text('{"text": "a text", "label": "negative", "language": "en"}\n')
    shown = {"demonstrations.k": "1", "demonstrations.from": "pool.jsonl"}
    options = Options(teachers=("echo",), settings=shown)
    assert label("t.jsonl", recipe="annotate", output="o.jsonl", options=options).history["bought"] == 1
    Path("pool.jsonl").write_text("".join(rows).replace("text number", "changed"))
    with pytest.raises(DriftError):
        label("t.jsonl", recipe="annotate", output="o.jsonl", options=options)
    with pytest.raises(UsageError, match="would be overwritten"):
        label("t.jsonl", recipe="annotate", output="pool.jsonl", options=options)

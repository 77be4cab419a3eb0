"""Growing in rounds, as a user runs it: any concurrency, any number of kills, the same bytes; and how it ends."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faultserver import Server, serve
from tests.system.command import Output, run, signal_all, start, wait_for_requests, write_seeds

pytestmark = pytest.mark.slow
"""Whole runs of the command line: they stand with the slow ones, so that the core suite stays short."""

RECIPE = """\
---
about: Eight new tasks beside three shown ones, and an answer to each that is new.
strategy: demonstrations
columns: {instruction: required}
settings: {round: 32, per_call: 8, rouge: 0.7, human: 3, machine: 1}
parser: list
checks:
  - words: {field: text, min: 3, max: 50}
sampling: {temperature: 0.7, max_tokens: 400}
stages:
  answer: {parser: text, sampling: {max_tokens: 100}}
record: {kind: sft, completion: {content: text}}
example:
  row: {instruction: Name three rivers.}
  x: {instruction: Name three lakes.}
  reply: "1. Name three lakes of the north."
---
{% block main %}
Write more tasks:
{% for shown in demonstrations %}
- {{ shown.instruction }}
{% endfor %}
{% endblock %}
{% block answer %}
{{ x.instruction }}
{% endblock %}
"""

PLANTED = "Tell me about the number of things that are nearly the same here"


@pytest.fixture
def inventive() -> Iterator[Server]:
    """A server that invents tasks where it is asked for them, and answers everything else."""
    markers = {
        "Write more tasks": "tasks",
        "Write the next": "tasks",
        "Is this a classification task": "no",
        "Write one example of it": "instance",
    }
    with serve(latency=0.005, plan={"markers": markers, "bodies": True}) as running:
        yield running


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "grow" / "grow.jinja"
    path.parent.mkdir()
    path.write_text(RECIPE)
    return path


@pytest.fixture
def few(tmp_path: Path) -> Path:
    return write_seeds(tmp_path / "few.jsonl", [f"Seed {n}: say what you know of {n * n} apples" for n in range(9)])


def expand(seeds: Path, recipe: Path, url: str, out: Output, *options: str) -> list[str | Path]:
    asked: list[str | Path] = ["expand", seeds, "-r", recipe, "-t", "openai/test-model", "--base-url", url]
    return [*asked, "-o", out.path, *options]


def bytes_of(out: Output) -> tuple[bytes, bytes, object]:
    return out.path.read_bytes(), out.beside("rejects.jsonl").read_bytes(), out.manifest()["result"]


def self_instruct(url: str, out: Output, *options: str) -> list[str | Path]:
    asked: list[str | Path] = ["expand", "@tasks", "-r", "self-instruct", "--rows", "200", "-t", "openai/test-model"]
    return [*asked, "--base-url", url, "-o", out.path, *options]


@pytest.mark.timeout(120)
def test_self_instruct_gives_the_same_bytes_at_any_concurrency(inventive: Server, tmp_path: Path) -> None:
    made = []
    for concurrency in ("1", "8", "64"):
        out = Output(tmp_path / concurrency / "out.jsonl")
        out.path.parent.mkdir()
        run(*self_instruct(inventive.url, out, "--concurrency", concurrency)).ended(0)
        made.append(bytes_of(out))
    assert made[0] == made[1] == made[2]
    result = out.accounted(out.manifest()["result"]["items"])
    assert result["rows"] == result["kept"] == len(out.records()) == 200
    assert result["reasons"].keys() <= {"similar", "duplicate", "too-short", "opens-with-punctuation", "surplus"}


@pytest.mark.timeout(120)
def test_planted_duplicates_and_junk_are_found_and_nothing_else(inventive: Server, out: Output) -> None:
    run(*self_instruct(inventive.url, out)).ended(0)
    rejects = [reject for reject in out.rejects() if reject["reason"] != "surplus"]
    alike = [PLANTED in reject["seed"] for reject in rejects if reject["reason"] in {"similar", "duplicate"}]
    kept = [PLANTED in str(record["prompt"]) for record in out.records()]
    planted = sum(alike) + sum(kept) - 1  # the first one is no duplicate of anything
    assert sum(alike) / planted >= 0.95, "recall"
    assert sum(alike) / len(alike) >= 0.95, "precision"
    assert planted > 60 and len(rejects) - len(alike) > 15, "three of ten were planted, and one of ten is junk"


@pytest.mark.timeout(120)
def test_kills_change_nothing_and_nothing_on_disk_is_asked_again(
    inventive: Server, out: Output, tmp_path: Path
) -> None:
    rng = random.Random(5)
    job = self_instruct(inventive.url, out, "--concurrency", "8")
    for _ in range(5):
        process = start(*job)
        wait_for_requests(inventive, inventive.asked() + rng.randrange(2, 90), process)
        time.sleep(rng.random() * 0.02)
        if process.poll() is None:
            signal_all(process, signal.SIGKILL)
        process.communicate()
    run(*job).ended(0)
    paid = Counter(str(line["digest"]) for line in inventive.ledger() if line["paid"])
    assert paid.total() - len(paid) <= 5 * 8 * 5 // 4, (
        "more was bought twice than was in flight or on its way to the disk"
    )
    whole = Output(tmp_path / "whole" / "out.jsonl")
    whole.path.parent.mkdir()
    run(*self_instruct(inventive.url, whole, "--concurrency", "8")).ended(0)
    assert bytes_of(out) == bytes_of(whole)


def test_more_rows_later_pay_for_the_new_ones_only(inventive: Server, few: Path, recipe: Path, out: Output) -> None:
    run(*expand(few, recipe, inventive.url, out, "--rows", "10")).ended(0)
    first, asked = out.records(), inventive.asked()
    run(*expand(few, recipe, inventive.url, out, "--rows", "14")).ended(0)
    assert out.records()[:10] == first and len(out.records()) == 14
    assert inventive.asked() - asked <= 6
    asked = inventive.asked()
    assert "nothing was sent" in run(*expand(few, recipe, inventive.url, out, "--rows", "14")).ended(0).err
    assert inventive.asked() == asked


def test_refused_requests_stand_and_the_run_goes_on(few: Path, recipe: Path, out: Output, tmp_path: Path) -> None:
    """What later rounds drew depends on a refusal, so asking it anew would make what is on disk useless."""
    plan = {"markers": {"Seed 3:": "400", "Write more tasks": "tasks"}}
    with serve(plan=plan) as server:
        assert "--retry-failed" in run(*expand(few, recipe, server.url, out, "--rows", "20")).ended(3).err
        some = ("--max-failed", "50%")
        run(*expand(few, recipe, server.url, out, "--rows", "20", *some)).ended(0)
        asked = server.asked()
        run(*expand(few, recipe, server.url, out, "--rows", "40", *some)).ended(0)
        assert out.manifest()["result"]["failed"] > 2 and server.asked() > asked
    with serve(plan=plan) as server:
        whole = Output(tmp_path / "whole" / "out.jsonl")
        whole.path.parent.mkdir()
        run(*expand(few, recipe, server.url, whole, "--rows", "40", *some)).ended(0)
    assert out.records() == whole.records()


def test_a_changed_answer_stage_is_drift_too(inventive: Server, few: Path, recipe: Path, out: Output) -> None:
    run(*expand(few, recipe, inventive.url, out, "--rows", "5")).ended(0)
    recipe.write_text(RECIPE.replace("{% block answer %}\n", "{% block answer %}\nAnswer: "))
    run(*expand(few, recipe, inventive.url, out, "--rows", "5")).complained(5, "--accept-drift")


def test_a_dry_run_says_that_it_is_one_round(inventive: Server, few: Path, recipe: Path, out: Output) -> None:
    done = run(*expand(few, recipe, inventive.url, out, "--rows", "50", "--dry-run")).ended(0)
    assert "requests: 4 to send" in done.err and "one round" in done.err
    assert inventive.asked() == 0


def test_a_changed_prompt_is_drift(inventive: Server, few: Path, recipe: Path, out: Output) -> None:
    run(*expand(few, recipe, inventive.url, out, "--rows", "5")).ended(0)
    recipe.write_text(RECIPE.replace("Write more tasks:", "Write more tasks, please:"))
    run(*expand(few, recipe, inventive.url, out, "--rows", "5")).complained(5, "--accept-drift")


def test_a_cap_before_the_rows_are_there_leaves_a_partial_file_and_says_why(
    inventive: Server, few: Path, recipe: Path, out: Output
) -> None:
    done = run(*expand(few, recipe, inventive.url, out, "--rows", "60", "--max-candidates", "60")).ended(3)
    told = " ".join(done.err.split())
    assert "of 60 rows were kept" in told and "--max-candidates" in told and "similar" in told
    assert not out.path.exists() and 0 < len(out.partial.records()) < 60
    run(*expand(few, recipe, inventive.url, out, "--rows", "60")).ended(0)
    assert len(out.records()) == 60 and not out.partial.path.exists()


def test_x_alone_is_a_prompt(inventive: Server, few: Path, recipe: Path, out: Output) -> None:
    run(*expand(few, recipe, inventive.url, out, "--rows", "10", "--no-answer")).ended(0)
    assert {record["kind"] for record in out.records()} == {"prompt"}
    assert not any("completion" in record for record in out.records())
    assert all("Write more tasks" in str(line["body"]) for line in inventive.ledger())


def test_another_teacher_may_answer(inventive: Server, few: Path, recipe: Path, out: Output) -> None:
    run(*expand(few, recipe, inventive.url, out, "--rows", "5", "--answer-teacher", "openai/other")).ended(0)
    by_model = Counter(
        (str(line["body"]["model"]), "Write more tasks" in str(line["body"])) for line in inventive.ledger()
    )
    assert set(by_model) == {("test-model", True), ("other", False)}
    assert {record["meta"]["teacher"] for record in out.records()} == {"openai/other"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--rows", "0"), "--rows"),
        (("--rows", "5", "--set", "human=20"), "demonstrations are wanted"),
        (("--rows", "5", "-t", "openai/second"), "one teacher"),
        (("--rows", "5", "--samples", "3"), "--samples is for label"),
        (("--rows", "5", "--no-answer", "--answer-teacher", "openai/x"), "exclude each other"),
        (("--rows", "50", "--max-candidates", "20"), "less than --rows"),
    ],
)
def test_what_cannot_work_is_said_before_anything_is_asked(
    options: tuple[str, ...], words: str, inventive: Server, few: Path, recipe: Path, out: Output
) -> None:
    run(*expand(few, recipe, inventive.url, out, *options)).complained(2, words)
    assert inventive.asked() == 0
    assert not out.run.exists()

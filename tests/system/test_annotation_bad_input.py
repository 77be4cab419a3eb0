"""Mistakes with students, judges and verifiers: one clear paragraph, the documented exit code, nothing bought."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.annotators import SEEDED, saying, serve
from tests.crash import Fork
from tests.faultserver import Server
from tests.system.command import Done, Output, run

pytestmark = pytest.mark.slow
"""Whole runs of the command line: they stand with the slow ones, so that the core suite stays short."""

TASKS = [{"instruction": f"row-{n:05d}: describe this number"} for n in range(4)]
SUMS = [{"question": f"row-{n:05d}: How much is {n + 20} plus {n}?", "answer": str(2 * n + 20)} for n in range(4)]
STUDENT, JUDGE = ("-s", "openai/student"), ("-t", "openai/judge")


@pytest.fixture
def server() -> Iterator[Server]:
    with serve() as running:
        yield running


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory of a command: seeds, models, a verifier of the user's."""
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path / "tasks.jsonl", TASKS)
    write_rows(tmp_path / "sums.jsonl", SUMS)
    write_rows(tmp_path / "gap.jsonl", [*SUMS[:2], {**SUMS[2], "answer": ""}, SUMS[3]])
    (tmp_path / "models.toml").write_text(SEEDED)
    (tmp_path / "checks.py").write_text(CHECKS)
    (tmp_path / "twice.jinja").write_text(CODE)
    return tmp_path


CHECKS = """\
LIMIT = 3

def same(answer, gold):
    return answer == gold

def raises(answer, gold):
    raise RuntimeError(f"no table for {gold}")

def sometimes(answer, gold):
    if gold.endswith("2"):
        raise RuntimeError("no table")
    return True

def counts(answer, gold):
    return 1
"""

CODE = """\
---
about: Write a function.
strategy: star
columns: {question: required, answer: required}
parser: text
verifier: {tests: {seconds: 1}}
gold: answer
sampling: {temperature: 0.7, max_tokens: 200}
stages:
  hint: {parser: text}
record: {kind: sft, completion: {content: text}, answer: text}
example:
  row: {question: Write one() that returns 1., answer: assert one() == 1}
  reply: "def one(): return 1"
---
{% block main %}{{ question }}{% endblock %}
{% block hint %}{{ question }} It must pass: {{ answer }}{% endblock %}
"""


def write_rows(path: Path, rows: list[dict[str, str]]) -> Path:
    path.write_bytes(b"".join(json.dumps(row).encode() + b"\n" for row in rows))
    return path


def annotate(server: Server, *args: str | Path) -> list[str | Path]:
    """The arguments, in which the output is out.jsonl and the server is this one."""
    return [*args, "--base-url", server.url, "--config", "models.toml", "-o", "out.jsonl"]


def told(done: Done) -> str:
    return " ".join(done.err.split())


# -- what cannot work --------------------------------------------------------------------------------------------------


class Mistake(NamedTuple):
    """A command that cannot work, and what the message has to hold (regular expressions)."""

    args: tuple[str, ...]
    says: tuple[str, ...]


def feedback(
    recipe: str, *options: str, seeds: str = "tasks.jsonl", who: tuple[str, ...] = STUDENT + JUDGE
) -> tuple[str, ...]:
    return ("feedback", seeds, "-r", recipe, *who, *options)


def self_knowledge(
    recipe: str, *options: str, seeds: str = "sums.jsonl", who: tuple[str, ...] = STUDENT
) -> tuple[str, ...]:
    return ("self-knowledge", seeds, "-r", recipe, *who, *options)


MISTAKES = {
    "feedback without a student": Mistake(feedback("rate", who=JUDGE), ("-s MODEL", "--answers")),
    "self-knowledge without a student": Mistake(self_knowledge("star", who=()), ("needs a student", "-s MODEL")),
    "a teacher for self-knowledge": Mistake(self_knowledge("star", *JUDGE), ("student only", "-t", "feedback")),
    "two students of self-knowledge": Mistake(self_knowledge("star", "-s", "openai/other"), ("-s once",)),
    "the same student twice": Mistake(feedback("rate", *STUDENT), ("-s", "twice", "--samples")),
    "the same teacher twice": Mistake(feedback("rate", *JUDGE), ("-t", "twice")),
    "a teacher that nobody asks": Mistake(feedback("contrast"), ("contrast", "no teacher", "drop -t")),
    "one sample for a majority": Mistake(self_knowledge("majority", "-n", "1"), ("--samples 1", "at least 2")),
    "one sample for the shortest": Mistake(self_knowledge("shortest", "-n", "1"), ("--samples 1", "at least 2")),
    "one answer to compare": Mistake(feedback("compare", "-n", "1"), ("two", "--samples 2")),
    "one answer to choose from": Mistake(feedback("best-of-n", "-n", "1"), ("one is too few", "--samples")),
    "samples at temperature 0": Mistake(
        self_knowledge("majority", "--set", "temperature=0"), ("8 samples at temperature 0", "all the same")
    ),
    "answers at temperature 0": Mistake(feedback("rate", "--set", "temperature=0"), ("temperature 0", "all the same")),
    "an unknown kind": Mistake(feedback("rate", "--kind", "pairs"), ("--kind pairs", "ranked, preference")),
    "an unknown kind with a file": Mistake(feedback("rate", "--kind", "pairs=P.jsonl"), ("--kind pairs", "ranked")),
    "a kind of another recipe": Mistake(feedback("rate", "--kind", "steps=S.jsonl"), ("--kind steps", "ranked")),
    "two kinds for one output": Mistake(feedback("rate", "--kind", "ranked", "--kind", "sft"), ("--kind sft=FILE",)),
    "a kind twice": Mistake(feedback("rate", "--kind", "sft=A.jsonl", "--kind", "sft=B.jsonl"), ("each kind once",)),
    "the output's kind twice": Mistake(feedback("rate", "--kind", "sft", "--kind", "sft=B.jsonl"), ("each kind once",)),
    "the recipe's kind again": Mistake(feedback("rate", "--kind", "ranked=B.jsonl"), ("ranked", "already")),
    "a kind without a file": Mistake(feedback("rate", "--kind", "sft="), ("--kind", r"KIND=FILE|\.jsonl")),
    "a file without its ending": Mistake(feedback("rate", "--kind", "sft=best.json"), (r"best\.json", r"\.jsonl")),
    "one file for two kinds": Mistake(
        feedback("rate", "--kind", "sft=A.jsonl", "--kind", "unpaired=A.jsonl"), (r"A\.jsonl", "twice")
    ),
    "one file by two names": Mistake(
        feedback("rate", "--kind", "sft=A.jsonl", "--kind", "unpaired=x/../A.jsonl"), (r"A\.jsonl", "twice")
    ),
    "the output as a kind's file": Mistake(feedback("rate", "--kind", "sft=out.jsonl"), (r"out\.jsonl", "twice")),
    "the rejects as a kind's file": Mistake(feedback("rate", "--kind", "sft=out.rejects.jsonl"), ("rejects", "twice")),
    "the seeds as a kind's file": Mistake(
        feedback("rate", "--kind", "sft=tasks.jsonl"), (r"tasks\.jsonl", "overwritten")
    ),
    "a pair rule that is none": Mistake(
        feedback("rate", "--set", "pairs=worst", "--kind", "preference"), ("best-worst",)
    ),
    "rows without growth": Mistake(feedback("rate", "--rows", "10"), ("--rows", "rate")),
    "candidates without growth": Mistake(self_knowledge("star", "--max-candidates", "10"), ("star", "new prompts")),
    "growth without rows": Mistake(self_knowledge("instruct", seeds="tasks.jsonl"), ("--rows N",)),
    "several kinds of a growth": Mistake(
        self_knowledge("instruct", "--rows", "5", "--kind", "sft=S.jsonl", seeds="tasks.jsonl"), ("--kind", "instruct")
    ),
    "canaries above all": Mistake(feedback("rate", "--canaries", "200%"), ("--canaries 200%", "0 to 1")),
    "canaries below none": Mistake(feedback("rate", "--canaries", "-1"), ("--canaries -1",)),
    "canaries that are no number": Mistake(feedback("rate", "--canaries", "few"), ("--canaries few",)),
    "canaries without a judge": Mistake(self_knowledge("majority", "--canaries", "5%"), ("--canaries", "majority")),
    "an empty gold in row 3": Mistake(self_knowledge("star", seeds="gap.jsonl"), (r"gap\.jsonl:3", "answer")),
    "no gold at all": Mistake(
        self_knowledge("star", "--map", "question=instruction", seeds="tasks.jsonl"), ("answer",)
    ),
    "a column of answers that isn't there": Mistake(
        feedback("rate", "--answers", "told", who=JUDGE), (r"tasks\.jsonl:1", "told")
    ),
    "a verifier without a function": Mistake(
        self_knowledge("star", "--verifier", "checks", "--allow-code"), ("module:function",)
    ),
    "a verifier that is a number": Mistake(
        self_knowledge("star", "--verifier", "checks:LIMIT", "--allow-code"), ("'LIMIT' is no function", r"checks\.py")
    ),
    "a verifier that isn't there": Mistake(
        self_knowledge("star", "--verifier", "checks:other", "--allow-code"), ("there is no 'other'", r"checks\.py")
    ),
    "a module that isn't there": Mistake(
        self_knowledge("star", "--verifier", "chekcs:same", "--allow-code"), ("no module 'chekcs'",)
    ),
    "model code without leave": Mistake(self_knowledge("./twice.jinja"), ("tests", "--allow-code")),
    "a later round without the one before": Mistake(
        self_knowledge("star", "--round", "3"), ("--round 3", "--previous")
    ),
    "round -1": Mistake(self_knowledge("star", "--round", "-1"), ("--round",)),
    "a round before that is no dataset": Mistake(
        self_knowledge("star", "--previous", "sums.jsonl"), (r"--previous sums\.jsonl", "manifest")
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_costs_nothing(mistake: Mistake, server: Server, place: Path, fork: Fork) -> None:
    before = (place / "tasks.jsonl").read_bytes()
    fork(place, *annotate(server, *mistake.args)).complained(2, *mistake.says)
    assert server.ledger() == []
    assert not list(place.glob("out*.jsonl")) and not (place / "out.manifest.json").exists()
    assert (place / "tasks.jsonl").read_bytes() == before


# -- what goes on, and says so -----------------------------------------------------------------------------------------


def test_a_student_that_judges_itself_is_warned_of(server: Server, place: Path) -> None:
    done = run(*annotate(server, *feedback("rate", who=(*STUDENT, "-t", "openai/student")))).ended(0)
    assert "openai/student is both student and teacher" in told(done) and "self-knowledge" in told(done)
    assert Output(place / "out.jsonl").accounted(4)["kept"]


def test_a_student_that_judges_itself_beside_another_is_warned_of(server: Server, place: Path) -> None:
    both = (*STUDENT, *JUDGE, "-t", "openai/student")
    done = run(*annotate(server, *feedback("rate", "-n", "2", who=both))).ended(0)
    assert "openai/student is both student and teacher" in told(done)
    assert "judges agree" in told(done)


def test_a_judge_that_nobody_named_is_told_of(server: Server, place: Path) -> None:
    """The server's address is meant for the student: the embedded teacher has none, and may not be installed."""
    done = run(*annotate(server, *feedback("rate", "--dry-run", who=STUDENT)))
    assert done.code in (0, 2)
    assert "the embedded one judges: local/smollm2" in told(done)
    assert "answers: local" not in told(done)
    assert server.ledger() == []


# -- verifiers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verifier", "detail"),
    [("raises", "checks:raises raised RuntimeError: no table for"), ("counts", "checks:counts returned 1")],
)
def test_a_verifier_that_breaks_fails_its_items(verifier: str, detail: str, server: Server, place: Path) -> None:
    run_it = annotate(server, *self_knowledge("star", "--verifier", f"checks:{verifier}", "--allow-code"))
    done = run(*run_it).ended(3)
    assert "4 of 4 items failed" in told(done) and "verifier-error" in done.err
    assert 'File "' not in done.err
    rejects = Output(place / "out.partial.jsonl").rejects()
    assert {(reject["outcome"], reject["reason"]) for reject in rejects} == {("failed", "verifier-error")}
    assert all(detail in reject["detail"] for reject in rejects)
    assert not (place / "out.jsonl").exists()


def test_one_broken_verdict_in_four_is_a_failed_item(server: Server, place: Path) -> None:
    """Gold answers are 20, 22, 24 and 26. The command goes on with what was bought."""
    run_it = annotate(server, *self_knowledge("star", "--verifier", "checks:sometimes", "--allow-code"))
    run(*run_it).ended(3)
    asked = len(server.ledger())
    assert asked == 4, "all four answered, whatever the verifier said"
    run(*run_it, "--max-failed", "25%").ended(0)
    result = Output(place / "out.jsonl").accounted(4)
    assert (result["kept"], result["failed"], result["reasons"]) == (3, 1, {"verifier-error": 1})
    assert len(server.ledger()) == asked
    (place / "checks.py").write_text(CHECKS.replace('endswith("2")', 'endswith("x")'))
    run(*run_it, "--retry-failed").ended(0)
    assert Output(place / "out.jsonl").accounted(4)["kept"] == 4
    assert len(server.ledger()) == asked


def test_code_that_never_ends_is_wrong_and_the_run_ends(place: Path) -> None:
    """`tests` lets the code of a model run for a second; here it loops, and its tests are never reached."""
    loops = "while True: pass"
    tasks = [{"question": f"row-{n:05d}: write one()", "answer": "assert one() == 1"} for n in range(3)]
    write_rows(place / "code.jsonl", tasks)
    with saying({"row-00001": loops}, "def one(): return 1") as server:
        done = run(*annotate(server, *self_knowledge("./twice.jinja", "--allow-code", seeds="code.jsonl"))).ended(0)
    assert done.seconds < 20
    out = Output(place / "out.jsonl")
    assert [reject["reason"] for reject in out.rejects()] == ["not-verified"]
    assert [record["completion"][0]["content"] for record in out.records()] == ["def one(): return 1"] * 2


def test_gold_tests_that_are_no_python_are_named(place: Path) -> None:
    write_rows(place / "code.jsonl", [{"question": "row-00000: write one()", "answer": "assert one( == 1"}])
    with saying({}, "def one(): return 1") as server:
        run_it = annotate(server, *self_knowledge("./twice.jinja", "--allow-code", seeds="code.jsonl"))
        done = run(*run_it).ended(3)
    assert "unusable-row" in done.err
    (reject,) = Output(place / "out.partial.jsonl").rejects()
    assert "code.jsonl:1" in reject["detail"] and "no Python" in reject["detail"]


# -- models that cannot be asked ---------------------------------------------------------------------------------------


def test_a_student_out_of_reach_stops_the_run(server: Server, place: Path) -> None:
    server.stop()
    done = run(*annotate(server, *feedback("rate", "--timeout", "2")), timeout=90).ended(4)
    assert "openai/student" in told(done) and "goes on from here" in told(done)
    assert not (place / "out.jsonl").exists()


def test_a_judge_that_refuses_the_key_stops_the_run_and_keeps_the_answers(server: Server, place: Path) -> None:
    refused = (*STUDENT, "-t", "openai/refused")
    run_it = annotate(server, *feedback("rubric", who=refused))
    done = run(*run_it).ended(4)
    assert "openai/refused" in told(done) and "Incorrect API key" in told(done) and "goes on from here" in told(done)
    answers = sum(line["paid"] for line in server.ledger())
    assert answers == len({line["digest"] for line in server.ledger() if line["paid"]}) > 0
    run_it[run_it.index("openai/refused")] = "openai/judge"
    run(*run_it).ended(0)
    paid = [line["digest"] for line in server.ledger() if line["paid"]]
    assert len(paid) == len(set(paid)) == 8, "no answer is bought again for another judge"

"""What votes and verifiers make of a student that is right half the time, by the real command line.

The bounds are binomial: a right program leaves them for one seed of the student in a million.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from distill_data.quality.votes import decide
from tests.faultserver import Server
from tests.simulated import GREEDY, Problem, draw, make_student, problems, serve, slips
from tests.system.command import Output, run

pytestmark = pytest.mark.slow
"""Whole runs of the command line: they stand with the slow ones, so that the core suite stays short."""

ACCURACY = 0.5
COUNT = 400
PROBLEMS = problems(COUNT)
GOLD = {problem.question: str(problem.answer) for problem in PROBLEMS}


class Job(NamedTuple):
    """A command and a recipe that answer the column `question`, and the option that names who answers."""

    command: str
    recipe: str
    who: str
    samples: int
    agreement: float = 0.0
    """Below which a vote's winner is no row."""


class Kept(NamedTuple):
    """What a job published."""

    share: float
    """Of the questions that have a record."""
    right: float
    """Of the questions whose first record is right."""
    answers: list[tuple[str, str]]
    """(question, answer) of every record."""
    asked: int


GREEDILY = Job("label", "cot", "-t", 1)
VOTED = [
    Job("label", "self-consistency", "-t", 8),
    Job("label", "self-consistency", "-t", 8, agreement=0.5),
    Job("self-knowledge", "majority", "-s", 8, agreement=0.5),
]
VERIFIED = [Job("label", "rejection", "-t", 4), Job("self-knowledge", "rest", "-s", 4)]


@pytest.fixture(scope="module")
def student() -> Iterator[Server]:
    with serve(PROBLEMS, ACCURACY) as running:
        yield running


@pytest.fixture(scope="module")
def questions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("problems") / "problems.jsonl"
    rows = [{"question": question, "answer": answer} for question, answer in GOLD.items()]
    path.write_bytes(b"".join(json.dumps(row).encode() + b"\n" for row in rows))
    return path


def do(job: Job, questions: Path, student: Server, out: Output) -> Kept:
    """Run a job to its end, over all questions."""
    before = student.asked()
    options = ["-n", str(job.samples)] if job.samples > 1 else []
    options += ["--set", f"agreement={job.agreement}"] if job in VOTED else []
    model = [job.who, "openai/student", "--base-url", student.url]
    run(job.command, questions, "-r", job.recipe, *model, "-o", out.path, *options).ended(0)
    out.accounted(COUNT)
    answers = [(record["prompt"][-1]["content"], record["answer"]) for record in out.records()]
    first = dict(reversed(answers))
    right = sum(GOLD[question] == answer for question, answer in first.items())
    return Kept(len(first) / COUNT, right / COUNT, answers, student.asked() - before)


def bounds(share: float, count: int = COUNT, odds: float = 1e-6) -> tuple[float, float]:
    """The shares between which all but `odds` of a binomial distribution lies, half of the rest on each side."""
    chances = [math.comb(count, k) * share**k * (1 - share) ** (count - k) for k in range(count + 1)]
    low = next(k for k in range(count + 1) if math.fsum(chances[: k + 1]) > odds / 2)
    high = next(k for k in range(count, -1, -1) if math.fsum(chances[k:]) > odds / 2)
    return low / count, high / count


def expected_of_votes(planned: int, agreement: float) -> tuple[float, float]:
    """Shares of questions kept and right by the rule `lead`, from 20,000 votes of the same student."""
    kept = right = 0
    many = problems(20_000)
    for problem in many:
        votes = [str(draw(problem, number, ACCURACY, seed=2).value) for number in range(planned)]
        decision = decide(votes, "lead", planned)
        assert decision is not None
        kept += bool(decision.winner) and decision.agreement >= agreement
        right += decision.winner == str(problem.answer) and decision.agreement >= agreement
    return kept / len(many), right / len(many)


def test_the_student_is_right_as_often_as_it_says_and_its_errors_are_spread() -> None:
    problem, samples = Problem("What is 40 times 5?", 200), 10_000
    drawn = Counter(draw(problem, number, ACCURACY).value for number in range(samples))
    wrong = slips(200)
    assert drawn.keys() == {200, *wrong} and len(wrong) == 8
    for value, share in {200: ACCURACY, **dict.fromkeys(wrong, (1 - ACCURACY) / 8)}.items():
        assert abs(drawn[value] / samples - share) < 5 * math.sqrt(share * (1 - share) / samples)


def test_the_student_is_a_function_of_seed_model_question_and_sample() -> None:
    first, second = (make_student(PROBLEMS, ACCURACY, seed) for seed in (1, 2))
    asked = [{"role": "user", "content": f"Solve it.\n{PROBLEMS[0].question}"}]
    embedded = [{"role": "user", "content": json.dumps({"task": PROBLEMS[0].question})}, {"role": "assistant"}]
    samples = [first(asked, number, "one") for number in range(30)]
    assert samples == [first(embedded, number, "one") for number in range(30)]
    assert len(set(samples)) > 5
    assert samples != [second(asked, number, "one") for number in range(30)]
    assert samples != [first(asked, number, "two") for number in range(30)]
    assert first(asked, GREEDY, "one") == first(asked, GREEDY, "one") != first([{"content": "And 2?"}], GREEDY, "one")


def test_a_greedy_answer_is_right_as_often_as_the_student(questions: Path, student: Server, out: Output) -> None:
    greedy = do(GREEDILY, questions, student, out)
    low, high = bounds(ACCURACY)
    assert low <= greedy.right <= high
    assert greedy.share == 1 and greedy.asked == COUNT


def named(job: Job) -> str:
    return f"{job.command} {job.recipe} {job.agreement}"


@pytest.mark.parametrize("job", VOTED, ids=named)
def test_a_majority_is_clearly_more_often_right(job: Job, questions: Path, student: Server, out: Output) -> None:
    voted, best_greedy = do(job, questions, student, out), bounds(ACCURACY)[1]
    share, right = expected_of_votes(job.samples, job.agreement)
    assert bounds(share)[0] <= voted.share <= bounds(share)[1]
    assert bounds(right)[0] <= voted.right <= bounds(right)[1]
    if not job.agreement:
        assert bounds(right)[0] > best_greedy, "of all questions"
    precision = bounds(right / share, round(voted.share * COUNT))[0]
    assert voted.right / voted.share >= precision > best_greedy + 0.2, "of those kept"
    assert COUNT * 4 <= voted.asked < COUNT * job.samples, "some votes are decided early"


@pytest.mark.parametrize("job", VERIFIED, ids=named)
def test_verified_rows_are_all_right(job: Job, questions: Path, student: Server, out: Output) -> None:
    verified = do(job, questions, student, out)
    low, high = bounds(1 - (1 - ACCURACY) ** job.samples)
    assert low <= verified.share <= high
    assert verified.right == verified.share
    assert [GOLD[question] == answer for question, answer in verified.answers] == [True] * len(verified.answers)
    assert len(verified.answers) > COUNT, "several different solutions of a question are kept"
    assert verified.asked == COUNT * job.samples

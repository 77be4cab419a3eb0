"""What votes and verifiers make of a student that is right with a known probability, and when votes may stop early.

    python benchmarks/self_consistency.py                     8,000 questions, p = 0.3, 0.5, 0.7
    python benchmarks/self_consistency.py --questions 40000   tighter

The student is tests/simulated.py: every question is equally hard, samples are independent, and wrong ones are spread
evenly over eight values, so that they seldom agree. Votes are decided by `quality.votes.decide`, and rows are verified
by the verifier `numeric`, as in the recipes `self-consistency` and `rejection`. Nothing is sent. A vote that ends in a
tie has no winner and counts as not right. `paid` are the samples asked for in waves of the sizes that the recipe
`self-consistency` gives, `decided` those that the vote needed: what `--set waves=[4,1]` would pay, in more turns.
"""

from __future__ import annotations

import argparse
import itertools
import math
import statistics
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from distill_data.quality import make_verifier  # noqa: E402
from distill_data.quality.votes import RULES, Decision, decide  # noqa: E402
from distill_data.recipes import load_recipe  # noqa: E402
from tests.simulated import draw, problems  # noqa: E402

ACCURACIES = (0.3, 0.5, 0.7)
MOST = 16
SIZES = (2, 4, 8, MOST)
THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
SAVED, WITHIN = 0.40, 0.01
"""What is claimed of the rule `lead` against 16 samples at p = 0.5: share of samples saved, accuracy given up."""

Vote = tuple[str, int]
"""A rule's name and the samples planned."""


class Question(NamedTuple):
    """A gold answer and the samples in order."""

    gold: str
    votes: list[str]


class Measured(NamedTuple):
    """One way to vote over all questions."""

    accuracy: float
    undecided: float
    """Share of questions without a winner."""
    decided: float
    """Samples a question, in the mean."""
    paid: float


def sample(count: int, accuracy: float, spread: int = 8) -> list[Question]:
    return [
        Question(str(each.answer), [str(draw(each, n, accuracy, spread=spread).value) for n in range(MOST)])
        for each in problems(count)
    ]


def decisions(questions: Sequence[Question], rule: str, planned: int) -> list[Decision]:
    made = [decide(question.votes, rule, planned) for question in questions]
    return [decision for decision in made if decision is not None]


def paid(used: int, planned: int, waves: Sequence[int]) -> int:
    """The samples asked for when the vote is decided after `used` of them."""
    asked = itertools.accumulate([*waves, *[waves[-1]] * planned])
    return min(planned, next(total for total in asked if total >= used))


def single(questions: Sequence[Question]) -> Measured:
    """One sample: the mean over each of them."""
    right = sum(vote == question.gold for question in questions for vote in question.votes)
    return Measured(right / (len(questions) * MOST), 0.0, 1, 1)


def fixed(questions: Sequence[Question], planned: int) -> Measured:
    """All samples, then the plurality."""
    right = tied = 0
    for question in questions:
        (winner, most), *rest = Counter(question.votes[:planned]).most_common(2)
        tie = bool(rest) and rest[0][1] == most
        tied += tie
        right += winner == question.gold and not tie
    return Measured(right / len(questions), tied / len(questions), planned, planned)


def stopped(questions: Sequence[Question], made: Sequence[Decision], planned: int, waves: Sequence[int]) -> Measured:
    """The rule's winner after as few samples as the rule needs."""
    count = len(questions)
    return Measured(
        sum(each.winner == question.gold for each, question in zip(made, questions, strict=True)) / count,
        sum(not each.winner for each in made) / count,
        sum(each.used for each in made) / count,
        sum(paid(each.used, planned, waves) for each in made) / count,
    )


def show_votes(questions: Sequence[Question], made: Mapping[Vote, Sequence[Decision]], waves: Sequence[int]) -> None:
    print("\n|  n | rule  | accuracy | no winner | decided |  paid | saved of n | saved of 16 |")
    print("|---:|-------|---------:|----------:|--------:|------:|-----------:|------------:|")
    measured = {("all", 1): single(questions)} | {("all", planned): fixed(questions, planned) for planned in SIZES}
    measured |= {vote: stopped(questions, each, vote[1], waves) for vote, each in made.items()}
    for (rule, planned), each in sorted(measured.items(), key=lambda entry: entry[0][1]):
        saved, of_all = 1 - each.paid / planned, 1 - each.paid / MOST
        print(
            f"| {planned:2} | {rule:5} | {each.accuracy:8.1%} | {each.undecided:9.1%} | {each.decided:7.2f} "
            f"| {each.paid:5.2f} | {saved:10.1%} | {of_all:11.1%} |"
        )


def show_thresholds(questions: Sequence[Question], made: Mapping[Vote, Sequence[Decision]], planned: int) -> None:
    """Precision and yield of rows kept at an agreement of tau and above."""
    exact, lead = (f"{rule}, n = {planned}: yield" for rule in RULES)
    print(f"\n|  tau | {exact:20} | precision | {lead:20} | precision |")
    print("|-----:|---------------------:|----------:|---------------------:|----------:|")
    for tau in THRESHOLDS:
        cells = []
        for rule in RULES:
            pairs = zip(made[rule, planned], questions, strict=True)
            kept = [each.winner == question.gold for each, question in pairs if each.winner and each.agreement >= tau]
            precision = f"{sum(kept) / len(kept):9.2%}" if kept else "        -"
            cells.append(f"{len(kept) / len(questions):20.1%} | {precision}")
        print(f"| {tau:4.1f} | {' | '.join(cells)} |")


def show_verified(questions: Sequence[Question]) -> None:
    """Rows kept by a verifier, which needs the gold answer; their precision is counted by comparing whole numbers."""
    verify = make_verifier("numeric", None)
    print("\n| verified, n = |  yield | rows a question | precision |")
    print("|--------------:|-------:|----------------:|----------:|")
    passed = [[verify(vote, each.gold) for vote in each.votes] for each in questions]
    right = [[int(vote) == int(each.gold) for vote in each.votes] for each in questions]
    for planned in (1, *SIZES):
        rows = [list(itertools.compress(ours[:planned], oks)) for ours, oks in zip(right, passed, strict=True)]
        total, share = sum(map(len, rows)), sum(map(bool, rows)) / len(rows)
        precision = sum(map(sum, rows)) / total
        print(f"| {planned:13} | {share:6.1%} | {total / len(rows):15.2f} | {precision:9.2%} |")


def show_claim(count: int, waves: Sequence[int]) -> bool:
    """Print whether `lead` does what is claimed of it, where wrong answers are spread over 4, 8 and 16 values.

    Return whether it does for 8, counting the samples decided on.
    """
    print(
        f"\n## claim: at p = 0.5 `lead` saves at least {SAVED:.0%} of {MOST} samples within {WITHIN * 100:.0f} point\n"
    )
    print(f"{count:,} questions each; ± is two standard errors\n")
    print("| wrong values | accuracy, all 16 |   lead | points given up | fewer decided on |   fewer paid |")
    print("|-------------:|-----------------:|-------:|----------------:|-----------------:|-------------:|")
    verdicts, held = [], {}
    for spread in (4, 8, 16):
        questions = sample(count, 0.5, spread)
        made = decisions(questions, "lead", MOST)
        every, lead = fixed(questions, MOST), stopped(questions, made, MOST, waves)
        lost, saved = (
            every.accuracy - lead.accuracy,
            {"decided on": 1 - lead.decided / MOST, "paid": 1 - lead.paid / MOST},
        )
        error = 2 * statistics.stdev(each.used for each in made) / MOST / math.sqrt(count)
        print(f"| {spread:12} | {every.accuracy:16.2%} | {lead.accuracy:6.2%} | {lost * 100:15.2f} ", end="")
        print(f"| {saved['decided on']:9.2%} ±{error:5.2%} | {saved['paid']:12.2%} |")
        for what, share in saved.items():
            held[spread, what] = share >= SAVED and abs(lost) <= WITHIN
            answer = "HOLDS" if held[spread, what] else "DOES NOT HOLD"
            verdicts.append(f"{answer} with {spread} wrong values, samples {what}: {share:.1%} fewer")
    print("", *verdicts, sep="\n")
    return held[8, "decided on"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=8_000)
    options = parser.parse_args()
    waves = load_recipe("self-consistency", "label").settings["waves"]
    error = 2 * math.sqrt(0.25 / options.questions)
    print(f"{options.questions:,} questions, waves {waves}; shares are right within {error:.1%} (two standard errors)")
    for accuracy in ACCURACIES:
        print(f"\n## p = {accuracy}")
        questions = sample(options.questions, accuracy)
        made = {(rule, planned): decisions(questions, rule, planned) for planned in SIZES for rule in RULES}
        show_votes(questions, made, waves)
        for planned in (8, MOST):
            show_thresholds(questions, made, planned)
        show_verified(questions)
    raise SystemExit(0 if show_claim(4 * options.questions, waves) else 1)


if __name__ == "__main__":
    main()

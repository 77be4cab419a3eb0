"""What the experiments' scripts know is true: problems have the answers that they name, teachers err as they say."""

from __future__ import annotations

import re

import pytest

from experiments import lifts
from experiments.E1 import language
from experiments.E1.teacher import reply as label_of
from experiments.E3.teacher import reply as reasoned
from experiments.E6.teacher import reply as taught

TEXTS = language.texts(0, 2000)
PROBLEMS = lifts.problems(0, 800)


def test_a_lift_stops_at_either_end() -> None:
    assert lifts.solve(lifts.read("Some words.\nLift at 4 + 3 - 8 + 2\nMore.")) == [4, 7, 0, 2]
    assert lifts.solve(lifts.Problem(7, (5,))) == [7, 9]


def test_problems_are_read_as_they_are_written_and_fewer_are_a_prefix() -> None:
    assert [lifts.read(str(problem)) for problem in PROBLEMS] == PROBLEMS
    assert lifts.problems(0, 100) == PROBLEMS[:100]
    assert len(set(PROBLEMS)) == len(PROBLEMS)


def test_no_problem_that_is_held_out_is_learned_from() -> None:
    assert set(PROBLEMS).isdisjoint(lifts.problems(1, 300, held=True))


def test_no_text_that_is_held_out_is_learned_from() -> None:
    held = set(language.texts(1000, 500))
    assert all(held.isdisjoint(language.texts(seed, 3000)) for seed in range(3))


def wrong(model: str) -> float:
    """Share of E1's texts that the teacher gives a wrong label."""
    return sum(label_of(model, f"Text:\n{text}", 0) != language.label(text) for text in TEXTS) / len(TEXTS)


@pytest.mark.parametrize(
    ("model", "share"), [("gold", 0), ("noise.10", 0.1), ("noise.20", 0.2), ("noise.30", 0.3), ("random", 0.8)]
)
def test_a_labelling_teacher_errs_as_often_as_its_name_says(model: str, share: float) -> None:
    assert wrong(model) == pytest.approx(share, abs=0.04)


def test_the_weak_teacher_errs_about_as_often_as_noise_30_and_always_about_the_same_words() -> None:
    assert wrong("weak") == pytest.approx(wrong("noise.30"), abs=0.04)
    words = [word for word in language.MEANING if label_of("weak", f"Text:\n{word}", 0) != language.MEANING[word]]
    assert 0.2 < len(words) / len(language.MEANING) < 0.5


def answers(reply: str) -> str:
    (found,) = re.findall(r"<(?:answer|label)>(\d)</", reply)
    return str(found)


def test_a_reasoning_teacher_errs_in_one_step_of_four_and_each_sample_on_its_own() -> None:
    one = [problem for problem in PROBLEMS if len(problem.moves) == 1]
    right = [
        answers(reasoned("raw", str(problem), sample)) == str(lifts.solve(problem)[-1])
        for problem in one
        for sample in range(20)
    ]
    assert sum(right) / len(right) == pytest.approx(0.75, abs=0.05)
    assert reasoned("raw", str(one[0]), 3) == reasoned("raw", str(one[0]), 3)


def test_the_teachers_of_reasons_know_the_answer_and_the_control_does_not() -> None:
    for problem in PROBLEMS[:50]:
        floors = lifts.solve(problem)
        assert taught("answer", str(problem), 0) == str(floors[-1])
        assert (
            answers(taught("two.task", str(problem), 0)) == answers(taught("cot", str(problem), 0)) == str(floors[-1])
        )
        assert lifts.reasoning(floors) in taught("cot", str(problem), 0)
    others = [answers(taught("random", str(problem), 0)) == str(lifts.solve(problem)[-1]) for problem in PROBLEMS]
    assert sum(others) / len(others) < 0.3

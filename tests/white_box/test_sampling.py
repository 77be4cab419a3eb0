"""How one token is drawn: filters by hand-made numbers, frequencies against the softmax, what a body may not ask."""

from __future__ import annotations

import math
from typing import Any

import pytest

from distill_data.teachers.sampling import Refused, Settings, gumbel, make_generator, read_settings, shape

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.white_box

PROBABILITIES = (0.4, 0.3, 0.15, 0.1, 0.05)
DRAWS = 20_000
CRITICAL = 18.47
"""Chi-square with 4 degrees of freedom exceeds this once in a thousand."""


def scores(*probabilities: float) -> Any:
    return torch.log(torch.tensor(probabilities or PROBABILITIES))


def kept(**sampling: Any) -> list[int]:
    shaped = shape(scores(), Settings(**sampling), ())
    return [place for place, score in enumerate(shaped.tolist()) if score > -math.inf]


def chi_square(noise: Any, probabilities: Any, draws: int = DRAWS) -> float:
    """How far the frequencies of the Gumbel-max samples are from the probabilities."""
    logits = torch.log(probabilities)
    counts = torch.bincount(torch.stack([(logits + noise()).argmax() for _ in range(draws)]), minlength=5)
    expected = probabilities * draws
    return float(((counts - expected) ** 2 / expected).sum())


def test_samples_have_the_frequencies_of_the_softmax() -> None:
    chance = make_generator(1, (1, 2, 3), "cpu")
    assert chi_square(lambda: gumbel(chance, 5, "cpu"), torch.tensor(PROBABILITIES)) < CRITICAL
    # the same check finds noise of another kind, and noise that is a little too strong
    normal = torch.Generator().manual_seed(1)
    assert chi_square(lambda: torch.randn(5, generator=normal), torch.tensor(PROBABILITIES)) > CRITICAL
    assert chi_square(lambda: 1.1 * gumbel(chance, 5, "cpu"), torch.tensor(PROBABILITIES)) > CRITICAL


def test_temperature_sharpens_the_softmax() -> None:
    chance = make_generator(2, (), "cpu")
    sharp = torch.softmax(shape(scores(), Settings(temperature=0.5), ()), -1)
    assert sharp.tolist() == pytest.approx([p * p / 0.285 for p in PROBABILITIES])
    assert chi_square(lambda: gumbel(chance, 5, "cpu"), sharp) < CRITICAL


def test_noise_has_the_moments_of_the_standard_gumbel_distribution() -> None:
    noise = gumbel(make_generator(3, (), "cpu"), 1_000_000, "cpu").double()
    assert float(noise.mean()) == pytest.approx(0.5772, abs=0.005)
    assert float(noise.var()) == pytest.approx(1.6449, abs=0.02)
    assert bool(noise.isfinite().all())


@pytest.mark.parametrize(
    ("sampling", "left"),
    [
        ({}, [0, 1, 2, 3, 4]),
        ({"top_k": 2}, [0, 1]),
        ({"top_k": 9}, [0, 1, 2, 3, 4]),
        ({"top_p": 0.65}, [0, 1]),
        ({"top_p": 0.75}, [0, 1, 2]),
        ({"top_p": 0.0}, [0]),
        ({"min_p": 0.3}, [0, 1, 2]),
        ({"min_p": 1.0}, [0]),
        ({"top_k": 3, "top_p": 0.8}, [0, 1]),  # of the three that are left, two have 0.82
        ({"top_p": 0.75, "temperature": 0.5}, [0, 1]),  # sharper: two have 0.88
        ({"temperature": 0.0, "top_k": 1}, [0, 1, 2, 3, 4]),  # greedy: the order alone counts
    ],
)
def test_filters_keep_what_they_should(sampling: dict[str, Any], left: list[int]) -> None:
    assert kept(**sampling) == left


def test_penalties_lower_what_was_said() -> None:
    settings = Settings(temperature=0.0, frequency_penalty=0.5, presence_penalty=0.25)
    lowered = (scores() - shape(scores(), settings, [1, 3, 1])).tolist()
    assert lowered == pytest.approx([0, 1.25, 0, 0.75, 0], abs=1e-6)


def test_filters_leave_the_scores_that_they_are_given() -> None:
    given = scores()
    before = given.clone()
    shape(given, Settings(top_k=1, top_p=0.5, min_p=0.5, presence_penalty=1.0), [0])
    assert torch.equal(given, before)


def test_a_generator_depends_on_the_seed_and_the_prompt() -> None:
    def noise(seed: int, prompt: tuple[int, ...]) -> tuple[float, ...]:
        return tuple(gumbel(make_generator(seed, prompt, "cpu"), 4, "cpu").tolist())

    assert noise(1, (5, 6)) == noise(1, (5, 6))
    assert len({noise(1, (5, 6)), noise(2, (5, 6)), noise(1, (5, 7)), noise(1, (56,))}) == 4


def test_fields_are_read_and_null_is_absent() -> None:
    body = {"temperature": None, "stop": "###", "logprobs": True, "top_logprobs": 3, "top_k": -1, "max_tokens": 7}
    assert read_settings(body) == Settings(stop=("###",), top_logprobs=3, max_tokens=7)
    assert read_settings({}, default_temperature=0.0).greedy
    assert read_settings({"logprobs": True}).top_logprobs == 0
    assert read_settings({"logprobs": 5}).top_logprobs == 5  # as raw completions have it
    assert read_settings({"logprobs": False, "top_logprobs": 5}).top_logprobs is None


@pytest.mark.parametrize(
    "body",
    [
        {"temperature": -1},
        {"temperature": "hot"},
        {"temperature": float("nan")},
        {"temperature": True},
        {"top_p": 1.5},
        {"top_k": 1.5},
        {"min_p": -0.1},
        {"max_tokens": 0},
        {"stop": ""},
        {"stop": ["a", 1]},
        {"seed": -1},
        {"seed": 2**70},
        {"logprobs": "yes"},
        {"logprobs": True, "top_logprobs": -1},
        {"frequency_penalty": 3},
    ],
)
def test_what_makes_no_sense_is_refused_by_name(body: dict[str, Any]) -> None:
    with pytest.raises(Refused, match=next(reversed(body))):
        read_settings(body)

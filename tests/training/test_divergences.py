"""Divergences against values by hand, numerical gradients, and the limits that the formulas have."""

from __future__ import annotations

from collections.abc import Callable
from math import log
from typing import Any

import pytest

from distill_data.training.divergences import (
    MAKERS,
    forward_kl,
    make_full,
    make_jsd,
    make_skewed_kl,
    make_topk,
    mixed,
    reverse_kl,
    sampled,
)

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.white_box

P, Q = [0.7, 0.2, 0.1], [0.5, 0.25, 0.25]
FORWARD = 0.7 * log(0.7 / 0.5) + 0.2 * log(0.2 / 0.25) + 0.1 * log(0.1 / 0.25)
REVERSE = 0.5 * log(0.5 / 0.7) + 0.25 * log(0.25 / 0.2) + 0.25 * log(0.25 / 0.1)


def tensor(values: Any) -> Any:
    return torch.tensor(values, dtype=torch.float64)


def kl(p: list[float], q: list[float]) -> float:
    return sum(a * log(a / b) for a, b in zip(p, q, strict=True))


def mix(p: list[float], q: list[float], share: float) -> list[float]:
    return [share * a + (1 - share) * b for a, b in zip(p, q, strict=True)]


@pytest.mark.parametrize(
    ("name", "weight", "by_hand"),
    [
        ("forward-kl", 0.5, FORWARD),
        ("reverse-kl", 0.5, REVERSE),
        ("jsd", 0.3, 0.3 * kl(P, mix(P, Q, 0.3)) + 0.7 * kl(Q, mix(P, Q, 0.3))),
        ("skewed-kl", 0.1, kl(P, mix(P, Q, 0.1))),
    ],
)
def test_by_hand(name: str, weight: float, by_hand: float) -> None:
    found = MAKERS[name](weight)(tensor(P).log(), tensor(Q).log())
    assert found.item() == pytest.approx(by_hand, abs=1e-9)
    full = make_full(MAKERS[name](weight))(tensor([Q, Q]).log() + 3.0, tensor([P, P]).log() - 1.0)
    assert full.item() == pytest.approx(by_hand, abs=1e-9), "a mean over positions, whatever logits are shifted by"


def test_a_temperature_flattens_both_and_keeps_the_size_of_gradients() -> None:
    told, said = tensor([[3.0, 1.0, -1.0]]), tensor([[0.5, 0.0, 1.0]])
    expected = 4 * kl((told[0] / 2).softmax(-1).tolist(), (said[0] / 2).softmax(-1).tolist())
    assert make_full(forward_kl, 2.0)(said, told).item() == pytest.approx(expected, abs=1e-9)


LOSSES = [(name, weight) for name in MAKERS for weight in (0.1, 0.5)]


def draw(*shape: int, seed: int = 0) -> Any:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def listed(teacher: Any, k: int) -> tuple[Any, Any, Any]:
    """The k likeliest of each position, as they are stored."""
    logprobs, ids = teacher.log_softmax(-1).topk(k)
    return ids, logprobs, (1 - logprobs.exp().sum(-1)).clamp(min=0)


@pytest.mark.parametrize(("name", "weight"), LOSSES)
def test_gradients_are_numerical_ones(name: str, weight: float) -> None:
    teacher, student = draw(4, 6), draw(4, 6, seed=1).requires_grad_()
    full, few = make_full(MAKERS[name](weight), 1.5), make_topk(MAKERS[name](weight), 1.5)
    assert torch.autograd.gradcheck(lambda logits: full(logits, teacher), student)
    assert torch.autograd.gradcheck(lambda logits: few(logits, *listed(teacher / 1.5, 3)), student)


@pytest.mark.parametrize(("name", "weight"), LOSSES)
def test_equals_are_at_no_distance_and_others_are(name: str, weight: float) -> None:
    logits, other = draw(5, 7), draw(5, 7, seed=2)
    full, few = make_full(MAKERS[name](weight)), make_topk(MAKERS[name](weight))
    assert full(logits, logits).item() == pytest.approx(0, abs=1e-12)
    assert few(logits, *listed(logits, 3)).item() == pytest.approx(0, abs=1e-12)
    assert full(other, logits).item() > 0.01 and few(other, *listed(logits, 3)).item() > 0.01


@pytest.mark.parametrize(("name", "weight"), LOSSES)
def test_all_of_the_vocabulary_listed_is_the_full_divergence(name: str, weight: float) -> None:
    student, teacher = draw(5, 7), draw(5, 7, seed=3)
    divergence = MAKERS[name](weight)
    few = make_topk(divergence)(student, *listed(teacher, 7))
    assert few.item() == pytest.approx(make_full(divergence)(student, teacher).item(), abs=1e-6)


@pytest.mark.parametrize(("name", "weight"), LOSSES)
def test_a_temperature_on_what_was_stored_at_another(name: str, weight: float) -> None:
    student, teacher = draw(5, 7), draw(5, 7, seed=3)
    divergence = MAKERS[name](weight)
    # all of the vocabulary: the full divergence at that temperature, whatever was stored
    for stored in (1.0, 2.0, 3.0):
        full = make_topk(divergence, 2.0, stored)(student, *listed(teacher / stored, 7))
        assert full.item() == pytest.approx(make_full(divergence, 2.0)(student, teacher).item(), abs=1e-6)
    # a part of it: equals at no distance, and the temperature that was stored changes nothing
    assert make_topk(divergence, 2.0, 1.0)(teacher, *listed(teacher, 3)).item() == pytest.approx(0, abs=1e-9)
    plain = make_topk(divergence)(student, *listed(teacher, 3))
    assert make_topk(divergence, 1.0, 1.0)(student, *listed(teacher, 3)).item() == plain.item()
    assert torch.autograd.gradcheck(
        lambda logits: make_topk(divergence, 2.0, 1.0)(logits, *listed(teacher, 3)), student.requires_grad_()
    )


@pytest.mark.parametrize("name", MAKERS)
def test_a_tail_of_0_rules_nothing_out_and_neither_does_a_sure_student(name: str) -> None:
    few = make_topk(MAKERS[name](0.5))
    sure, unsure = torch.tensor([[40.0, 0.0, 0.0, 0.0]]), torch.zeros(1, 4, requires_grad=True)
    ids, logprobs = torch.tensor([[0]]), torch.tensor([[0.0]])
    assert few(unsure, ids, logprobs, torch.tensor([0.0])).item() < 20, "and not as much as a logarithm of 0"
    told = few(sure.requires_grad_(), ids, torch.tensor([[log(0.9)]]), torch.tensor([0.1]))
    (gradient,) = torch.autograd.grad(told, sure)
    assert told.item() < 41 and torch.isfinite(gradient).all()
    assert name != "forward-kl" or gradient[0, 0].item() == pytest.approx(0.1, abs=1e-4), "it is told to be less sure"


def test_fewer_classes_never_tell_more() -> None:
    student, teacher = draw(50, 20), draw(50, 20, seed=4)
    found = [make_topk(forward_kl)(student, *listed(teacher, k)).item() for k in (1, 2, 5, 10, 20)]
    assert found == sorted(found)


@pytest.mark.parametrize(("name", "weight"), LOSSES)
def test_padding_of_a_short_list_contributes_nothing(name: str, weight: float) -> None:
    student, (ids, logprobs, tail) = draw(3, 8).requires_grad_(), listed(draw(3, 8, seed=5), 3)
    padded = (torch.nn.functional.pad(ids, (0, 2), value=-1), torch.nn.functional.pad(logprobs, (0, 2), value=-1.0))
    divergence = make_topk(MAKERS[name](weight))
    one, other = divergence(student, ids, logprobs, tail), divergence(student, *padded, tail)
    assert other.item() == pytest.approx(one.item(), abs=1e-9)
    (gradient,) = torch.autograd.grad(other, student)
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize(("make", "weight"), [(make_jsd, 0.001), (make_jsd, 0.999)])
def test_the_ends_of_jsd_are_the_two_kls(make: Callable[[float], Any], weight: float) -> None:
    told, said = tensor(P).log(), tensor(Q).log()
    found = make(weight)(told, said).item() / min(weight, 1 - weight)
    assert found == pytest.approx((forward_kl if weight < 0.5 else reverse_kl)(told, said).item(), rel=0.01)


def test_a_skewed_kl_is_bounded_where_the_student_rules_out_what_is_likely() -> None:
    told, said = tensor([0.0, -800.0]), tensor([-800.0, 0.0])
    assert forward_kl(told, said).item() == pytest.approx(800)
    assert make_skewed_kl(0.1)(told, said).item() == pytest.approx(-log(0.1))


def test_counts_by_hand_and_by_gradient() -> None:
    logits = tensor([[0.0, 1.0, 2.0], [1.0, 1.0, 1.0]]).requires_grad_()
    places, ids, counts = torch.tensor([0, 0, 1]), torch.tensor([2, 0, 1]), tensor([3.0, 1.0, 5.0])
    logp = logits.log_softmax(-1)
    expected = -(0.75 * logp[0, 2] + 0.25 * logp[0, 0] + logp[1, 1]) / 2
    assert sampled(logits, places, ids, counts).item() == pytest.approx(expected.item(), abs=1e-12)
    assert torch.autograd.gradcheck(lambda given: sampled(given, places, ids, counts), logits)


def test_counts_in_proportion_are_the_forward_kl_but_for_the_entropy() -> None:
    student, p = draw(1, 3), tensor(P)
    found = sampled(student, torch.zeros(3, dtype=torch.long), torch.arange(3), p * 10)
    entropy = -(p * p.log()).sum()
    full = make_full(forward_kl)(student, p.log().unsqueeze(0))
    assert (found - entropy).item() == pytest.approx(full.item(), abs=1e-12)


def test_a_mixture_has_both_shares() -> None:
    assert mixed(tensor(2.0), tensor(10.0), 0.75).item() == pytest.approx(4.0)

"""Likeness of states against values by hand, numerical gradients and limits."""

from __future__ import annotations

from typing import Any

import pytest

from distill_data.training.similarity import MEASURES, make_projection, relations

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.white_box


def tensor(values: Any) -> Any:
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize(("name", "by_hand"), [("mse", (4 + 0 + 1 + 1) / 4), ("cosine", 1 - (1 + 0.5**0.5) / 2)])
def test_states_by_hand(name: str, by_hand: float) -> None:
    student, teacher = tensor([[4.0, 0.0], [1.0, 1.0]]).requires_grad_(), tensor([[2.0, 0.0], [2.0, 0.0]])
    assert MEASURES[name](student, teacher).item() == pytest.approx(by_hand, abs=1e-9)
    assert MEASURES[name](teacher, teacher).item() == pytest.approx(0, abs=1e-12)
    assert torch.autograd.gradcheck(lambda states: MEASURES[name](states, teacher), student)


def test_other_widths_meet_through_a_learned_map() -> None:
    assert list(make_projection(3, 3).parameters()) == []
    projection = make_projection(3, 5)
    (weight,) = projection.parameters()
    assert projection(torch.zeros(2, 3)).shape == (2, 5) and weight.requires_grad


def test_relations_by_hand() -> None:
    states = tensor([[2.0, 0.0], [0.0, 3.0], [1.0, 1.0]]).requires_grad_()
    half = 0.5**0.5
    told = tensor([[1.0, 0.5, half], [0.5, 1.0, half - 1], [half, half - 1, 1.0]])
    assert relations(states, told).item() == pytest.approx((2 * 0.25 + 2 * 1) / 6, abs=1e-9)
    assert torch.autograd.gradcheck(lambda given: relations(given, told), states)


def test_likenesses_of_the_same_rows_in_another_width_are_no_distance() -> None:
    states = tensor([[1.0, 2.0], [3.0, -1.0], [0.5, 0.5]])
    own = torch.nn.functional.cosine_similarity(states.unsqueeze(1), states.unsqueeze(0), dim=-1)
    turned = states @ tensor([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]]) * 7
    assert relations(turned, own).item() == pytest.approx(0, abs=1e-12)

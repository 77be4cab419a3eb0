"""RRHF and PRO against values by hand, numerical gradients and limits."""

from __future__ import annotations

from math import exp, log
from typing import Any

import pytest

from distill_data.training.ranking import pro, rrhf, sequence_logprobs

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.white_box


def tensor(values: Any) -> Any:
    return torch.tensor(values, dtype=torch.float64)


LOGPROBS, LENGTHS, SCORES = tensor([-6.0, -2.0, -12.0]), tensor([3.0, 2.0, 4.0]), tensor([5.0, 1.0, 4.0])


def test_what_a_prompt_and_padding_say_counts_for_nothing() -> None:
    logits, ids = torch.randn(2, 4, 5, dtype=torch.float64), torch.tensor([[1, 2, 3, 0], [4, 0, 0, 0]])
    mask = torch.tensor([[0, 1, 1, 0], [1, 0, 0, 0]])
    logprobs, lengths = sequence_logprobs(logits, ids, mask)
    logp = logits.log_softmax(-1)
    expected = [(logp[0, 1, 2] + logp[0, 2, 3]).item(), logp[1, 0, 4].item()]
    assert logprobs.tolist() == pytest.approx(expected) and lengths.tolist() == [2, 1]
    shifted = logits + (1 - mask).unsqueeze(-1) * torch.randn(2, 4, 5, dtype=torch.float64)
    assert torch.equal(sequence_logprobs(shifted, ids, mask)[0], logprobs)


def test_rrhf_by_hand() -> None:
    # Means of tokens -2, -1, -3; the best is the first. Worse ones above better ones: -1 over -2 and over -3.
    assert rrhf(LOGPROBS, LENGTHS, SCORES).item() == pytest.approx((1 + 2) + 2, abs=1e-9)
    assert rrhf(LOGPROBS, LENGTHS, SCORES, weight=10.0).item() == pytest.approx(30 + 2, abs=1e-9)
    # Without normalising -6, -2, -12: the second is above the first by 4 and above the third by 10.
    assert rrhf(LOGPROBS, LENGTHS, SCORES, penalty=0.0).item() == pytest.approx(14 + 2, abs=1e-9)


def test_rrhf_of_a_right_order_and_of_equal_scores_is_the_loss_of_the_best() -> None:
    assert rrhf(tensor([-1.0, -2.0]), tensor([1.0, 1.0]), tensor([2.0, 1.0])).item() == pytest.approx(1)
    assert rrhf(tensor([-2.0, -1.0]), tensor([1.0, 1.0]), tensor([1.0, 1.0])).item() == pytest.approx(2)


def test_pro_by_hand() -> None:
    # In order: means -2, -3, -1 with scores 5, 4, 1.
    first = log(exp(-2 * 4) + exp(-3 * 1) + exp(-1 * 4)) + 2 * 4
    second = log(exp(-3 * 3) + exp(-1 * 3)) + 3 * 3
    expected = first + second + 0.05 * 4 * 2
    assert pro(LOGPROBS, LENGTHS, SCORES).item() == pytest.approx(expected, abs=1e-9)


def test_pro_of_two_is_its_pairwise_form() -> None:
    logprobs, lengths, scores = tensor([-4.0, -3.0]), tensor([2.0, 3.0]), tensor([1.0, 3.5])
    expected = -torch.nn.functional.logsigmoid(2.5 * (logprobs[1] / 3 - logprobs[0] / 2)) + 0.05
    assert pro(logprobs, lengths, scores).item() == pytest.approx(expected.item(), abs=1e-9)


def test_pro_of_equal_scores_is_the_loss_of_the_best() -> None:
    assert pro(tensor([-4.0, -3.0]), tensor([2.0, 3.0]), tensor([1.0, 1.0])).item() == pytest.approx(0.05 * 2)


@pytest.mark.parametrize("loss", [rrhf, pro])
def test_gradients_are_numerical_ones(loss: Any) -> None:
    logprobs = LOGPROBS.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda given: loss(given, LENGTHS, SCORES), logprobs)

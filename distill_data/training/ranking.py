"""Losses over one prompt's ranked responses, where no reference model is asked: RRHF and PRO.

Sources: RRHF, Yuan et al. 2023 (arXiv 2304.05302); PRO, Song et al. 2023 (2306.17492). Torch tensors are `Any`; knows
no model, no file and no trainer.
"""

from __future__ import annotations

from typing import Any


def sequence_logprobs(logits: Any, ids: Any, mask: Any) -> tuple[Any, Any]:
    """Log-probabilities of n responses (n) and their lengths in tokens (n), from logits (n, T, V), which predict the
    tokens `ids` (n, T); `mask` (n, T) is 1 where a token is the response's, and 0 for prompt and padding."""
    said = logits.log_softmax(-1).gather(-1, ids.unsqueeze(-1)).squeeze(-1)
    return (said * mask).sum(-1), mask.sum(-1)


def rrhf(logprobs: Any, lengths: Any, scores: Any, weight: float = 1.0, penalty: float = 1.0) -> Any:
    """w·Σ max(0, p_i - p_j) over pairs with score_i < score_j, plus the loss of the best response's tokens.

    p is a response's log-probability (n) over its length to the power of `penalty`. The best one's loss is the mean
    over its tokens.
    """
    length_normalised = logprobs / lengths**penalty
    worse = scores.unsqueeze(1) < scores.unsqueeze(0)
    gaps = length_normalised.unsqueeze(1) - length_normalised.unsqueeze(0)
    best = scores.argmax()
    return weight * gaps[worse].clamp(min=0).sum() - logprobs[best] / lengths[best]


def pro(logprobs: Any, lengths: Any, scores: Any, sft_weight: float = 0.05) -> Any:
    """Σ_k -log(exp(s_k·T_k) / (exp(s_k·T_k) + Σ_{i>k} exp(s_i·T_k^i))) for k = 1 … n - 1, the best first, plus
    sft_weight·(n - 1)²·the loss of the best response's tokens.

    s is the mean log-probability of a token, T_k^i = score_k - score_i, and T_k the largest of these. Of two responses
    it is -log sigmoid(T·(s_1 - s_2)). Responses whose scores are equal to the k-th are no worse ones and don't count.
    """
    order = scores.argsort(descending=True, stable=True)
    mean, score = (logprobs / lengths)[order], scores[order]
    loss = mean.new_zeros(())
    for k in range(len(order) - 1):
        gaps = score[k] - score[k + 1 :]
        worse = gaps > 0
        if worse.any():
            others = (mean[k + 1 :] * gaps)[worse].logsumexp(0)
            own = mean[k] * gaps.max()
            loss = loss + own.logaddexp(others) - own
    return loss - sft_weight * (len(order) - 1) ** 2 * mean[0]

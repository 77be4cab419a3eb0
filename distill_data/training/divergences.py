"""How far a student's next-token distributions are from a teacher's: forward and reverse KL, JSD and skewed KL.

Each is taken over N positions of y at once: all of the vocabulary (`make_full`), the teacher's k likeliest tokens and
one bucket for all others (`make_topk`), or counts of tokens that were drawn from the teacher (`sampled`). Prompts and
padding are no positions: whoever calls picks those of y. Torch tensors are `Any`; knows no model, no file, no trainer.

Sources: forward KL, Hinton et al. 2015 (arXiv 1503.02531); reverse KL, Gu et al. 2024 (2306.08543); generalised JSD,
Agarwal et al. 2024 (2306.13649); skewed KL, Ko et al. 2024 (2402.03898); sampled logits, Anshumann et al. 2025
(2503.16870).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import log
from typing import Any

Divergence = Callable[[Any, Any], Any]
"""Log-probabilities (N, C) of the teacher and of the student to N values in nats, each at least 0."""
LEAST = -1e4
"""Stands for the logarithm of 0: finite, so that a gradient times a probability of 0 is 0 and not NaN."""
SMALLEST_TAIL = 2.0**-25
"""Stands for a tail that is stored as 0: as float16 holds it, a smaller one is 0. A teacher that is sure rules nothing
out."""


def forward_kl(teacher: Any, student: Any) -> Any:
    """KL(p_T ‖ p_S): the student has to cover all that the teacher may say."""
    return (teacher.exp() * (teacher - student)).sum(-1)


def reverse_kl(teacher: Any, student: Any) -> Any:
    """KL(p_S ‖ p_T): the student has to say only what the teacher may."""
    return forward_kl(student, teacher)


def make_jsd(beta: float) -> Divergence:
    """β·KL(p_T ‖ m) + (1 - β)·KL(p_S ‖ m) with m = β·p_T + (1 - β)·p_S, and β between 0 and 1, both excluded.

    Divided by β it nears the forward KL as β goes to 0; divided by 1 - β the reverse one as β goes to 1.
    """

    def jsd(teacher: Any, student: Any) -> Any:
        middle = (teacher + log(beta)).logaddexp(student + log(1 - beta))
        return beta * forward_kl(teacher, middle) + (1 - beta) * forward_kl(student, middle)

    return jsd


def make_skewed_kl(alpha: float) -> Divergence:
    """KL(p_T ‖ α·p_T + (1 - α)·p_S), with α between 0 and 1, both excluded: bounded by -log α, so gradients are."""

    def skewed(teacher: Any, student: Any) -> Any:
        return forward_kl(teacher, (teacher + log(alpha)).logaddexp(student + log(1 - alpha)))

    return skewed


MAKERS: Mapping[str, Callable[[float], Divergence]] = {
    "forward-kl": lambda _: forward_kl,
    "reverse-kl": lambda _: reverse_kl,
    "jsd": make_jsd,
    "skewed-kl": make_skewed_kl,
}
"""Name of a divergence to its maker, from a weight that `jsd` takes as β and `skewed-kl` as α."""


def make_full(divergence: Divergence, temperature: float = 1.0) -> Callable[[Any, Any], Any]:
    """A loss of the student's logits (N, V) and the teacher's (N, V): the mean over N, in nats.

    Both are divided by the temperature, and the loss is multiplied by its square: gradients keep their size.
    """

    def loss(student: Any, teacher: Any) -> Any:
        told, said = ((logits / temperature).log_softmax(-1) for logits in (teacher, student))
        return divergence(told, said).mean() * temperature**2

    return loss


def make_topk(
    divergence: Divergence, temperature: float = 1.0, stored: float = 0.0
) -> Callable[[Any, Any, Any, Any], Any]:
    """A loss of the student's logits (N, V), the teacher's ids (N, k), log-probabilities (N, k) and the mass of all
    other tokens (N), both at the temperature `stored`, by default the loss's own: the mean over N, in nats.

    The other tokens are one more class for both, so what the student wastes on them is not free. An id below 0 pads a
    row that has fewer than k. Both distributions of k + 1 classes are raised to the power stored / temperature and
    scaled to sum to 1, which what is stored does but for rounding: equals stay at no distance, equal temperatures
    change nothing, and with k = V, where there is no other token, it is the loss over all of the vocabulary.
    """
    at = stored or temperature
    power = at / temperature

    def loss(student: Any, ids: Any, logprobs: Any, tail: Any) -> Any:
        here = ids >= 0
        said = (student / at).log_softmax(-1)
        listed = _listed(said, ids, here)
        told = _closed(logprobs, here, _log(tail).masked_fill(listed.all(-1), LEAST))
        rest = said.masked_fill(listed, LEAST).logsumexp(-1).clamp(min=LEAST)
        said = _closed(said.gather(-1, ids.clamp(min=0)), here, rest)
        told, said = ((classes * power).log_softmax(-1) for classes in (told, said))
        return divergence(told, said).mean() * temperature**2

    return loss


def _listed(student: Any, ids: Any, here: Any) -> Any:
    """(N, V): whether the teacher lists the token."""
    import torch

    listed = torch.zeros_like(student, dtype=torch.bool)
    places, _ = here.nonzero(as_tuple=True)
    listed[places, ids[here]] = True
    return listed


def _log(tail: Any) -> Any:
    return tail.clamp(min=SMALLEST_TAIL).log()


def _closed(listed: Any, here: Any, rest: Any) -> Any:
    """Log-probabilities (N, k), where they are here, and of the others (N) as one distribution of k + 1 classes."""
    import torch

    return torch.cat([listed.masked_fill(~here, LEAST).clamp(min=LEAST), rest.unsqueeze(-1)], -1)


def sampled(student: Any, places: Any, ids: Any, counts: Any) -> Any:
    """-Σ count/draws · log p_S, the mean over N: an estimate without bias of the forward KL, but for the teacher's
    entropy, whose gradient is 0.

    The student's logits are (N, V). The M entries say at which position (0 to N - 1), which id, and how often it was
    drawn there. Every position has an entry.
    """
    logp = student.log_softmax(-1)[places, ids]
    draws = counts.new_zeros(len(student)).index_add(0, places, counts)
    return -(logp * counts / draws[places]).sum() / len(student)


def mixed(divergence: Any, cross_entropy: Any, alpha: float) -> Any:
    """α·divergence + (1 - α)·cross-entropy of y's own tokens: what the teacher thinks, and what stands there."""
    return alpha * divergence + (1 - alpha) * cross_entropy

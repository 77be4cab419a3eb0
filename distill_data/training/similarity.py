"""How unlike a student's inner states are to a teacher's: hidden states position by position, or likenesses of rows.

Sources: intermediate states, Romero et al. 2015 (arXiv 1412.6550), Jiao et al. 2020 (1909.10351); relations, Park et
al. 2019 (1904.05068). Torch tensors are `Any`; knows no model, no file and no trainer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def mean_square(student: Any, teacher: Any) -> Any:
    """Mean of the squared differences of states (N, D)."""
    return (student - teacher).square().mean()


def cosine(student: Any, teacher: Any) -> Any:
    """1 - cosine of states (N, D), the mean over N: from 0, where all point the same way, to 2."""
    return 1 - _cosines(student, teacher).mean()


MEASURES: Mapping[str, Callable[[Any, Any], Any]] = {"mse": mean_square, "cosine": cosine}
"""How states are compared, by name."""


def make_projection(student: int, teacher: int) -> Any:
    """A linear map from the student's width to the teacher's, learned beside the student; the identity for equal
    widths. The student's states go through it, since the teacher's are fixed."""
    import torch

    return torch.nn.Identity() if student == teacher else torch.nn.Linear(student, teacher, bias=False)


def relations(student: Any, teacher: Any) -> Any:
    """Mean squared difference between the cosines of a batch's rows, states (B, D), and the teacher's likenesses of the
    same rows (B, B). Widths may differ, and the diagonal, which is 1 in both, does not count."""
    import torch

    own = _cosines(student.unsqueeze(1), student.unsqueeze(0))
    apart = ~torch.eye(len(student), dtype=torch.bool, device=student.device)
    return (own - teacher)[apart].square().mean()


def _cosines(one: Any, other: Any) -> Any:
    import torch

    return torch.nn.functional.cosine_similarity(one, other, dim=-1)

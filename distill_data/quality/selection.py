"""Which rows of a dataset to train on, when all are too many: six strategies on numbers. Knows no rows and no files.

Every strategy takes a number of rows to keep, the budget, and gives a `Selection`; fewer are kept where fewer may be.
Equal scores are put in order by `ties`, numbers drawn from what the rows say, so the order of the file decides
nothing. To add one: write it here, and a line to `commands.select.STRATEGIES`.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from typing import NamedTuple

from distill_data.quality.likeness import Likeness

Reason = tuple[str, str]
"""(reason, detail) of a row that is not kept."""
NOT_SELECTED = "not-selected"
ROUNDING = 1e-6
"""What a cosine of four bytes may lack: equal rows are at 1."""


class Selection(NamedTuple):
    """What a strategy decided."""

    kept: frozenset[int]
    """Ordinals of rows, from 0."""
    reason: Callable[[int], Reason]
    """Why a row is not among them."""


def top(scores: Sequence[float], ties: Sequence[int], budget: int) -> Selection:
    """The rows of the highest score."""
    return _first(ranked(scores, ties), len(scores), budget)


def ifd(scores: Sequence[float], ties: Sequence[int], budget: int) -> Selection:
    """The highest of the rows whose score is at most 1; above, the instruction is no help to the answer.

    Cherry LLM, Li et al. 2023, arXiv 2308.12032, keeps 5 to 10 % so.
    """
    fitting = [ordinal for ordinal in ranked(scores, ties) if scores[ordinal] <= 1]
    return _first(fitting, len(scores), budget, lambda ordinal: ("ifd-above-1", f"{scores[ordinal]:.4g}"))


def band(scores: Sequence[float], ties: Sequence[int], budget: int, least: float, most: float) -> Selection:
    """The rows whose score is from `least` to `most`, those nearest to the middle of the two first."""
    middle = (least + most) / 2
    distances = [-abs(score - middle) for score in scores]
    inside = [ordinal for ordinal in ranked(distances, ties) if least <= scores[ordinal] <= most]
    return _first(inside, len(scores), budget, lambda ordinal: ("outside-band", f"{scores[ordinal]:.4g}"))


def balance(groups: Sequence[int], scores: Sequence[float], ties: Sequence[int], budget: int) -> Selection:
    """The same number of every group, the highest of each; what a small group lacks goes to the others.

    `groups` has a number for each row's group. Rows are dealt in rounds, one of each group that has any left; in the
    last round those of the highest score.
    """
    order = ranked(scores, ties)
    dealt = array("q", bytes(8 * max(groups, default=-1) + 8))
    rounds = array("q", bytes(8 * len(groups)))
    for ordinal in order:
        rounds[ordinal] = dealt[groups[ordinal]]
        dealt[groups[ordinal]] += 1
    kept = frozenset(sorted(order, key=rounds.__getitem__)[:budget])  # keeps the order within a round
    return Selection(kept, lambda ordinal: (NOT_SELECTED, f"rank {rounds[ordinal] + 1:,} of its group"))


def deita(scores: Sequence[float], ties: Sequence[int], budget: int, likeness: Likeness, alike: float) -> Selection:
    """The rows of the highest score, without those whose similarity to a row kept before is `alike` or more.

    DEITA, Liu et al. 2023, arXiv 2312.15685; there the score is complexity × quality and `alike` 0.9. Takes a pass
    over the likeness for each row kept.
    """
    import numpy as np

    nearest = np.full(len(scores), -np.inf)
    found: list[int] = []
    dropped: dict[int, float] = {}
    order = ranked(scores, ties)
    for ordinal in order:
        if len(found) == budget:
            break
        if nearest[ordinal] >= alike - ROUNDING:
            dropped[ordinal] = float(nearest[ordinal])
            continue
        found.append(ordinal)
        np.maximum(nearest, likeness.to(ordinal), out=nearest)
    rest = _first(order, len(scores), 0).reason

    def reason(ordinal: int) -> Reason:
        return ("too-alike", f"similarity {dropped[ordinal]:.3f}") if ordinal in dropped else rest(ordinal)

    return Selection(frozenset(found), reason)


def k_centre(likeness: Likeness, budget: int) -> Selection:
    """Rows so that no row is far from one that is kept: greedily, each the one that is farthest from all before.

    Gonzalez 1985, at most twice as far as the best choice; core-sets, Sener and Savarese 2018, arXiv 1708.00489. The
    first is the row in the middle. Takes a pass over the likeness for each row kept.
    """
    import numpy as np

    nearest = np.full(likeness.rows, -np.inf)
    found: list[int] = []
    following = likeness.middle()
    while len(found) < min(budget, likeness.rows):
        found.append(following)
        np.maximum(nearest, likeness.to(following), out=nearest)
        nearest[following] = np.inf
        following = int(nearest.argmin())
    return Selection(frozenset(found), lambda ordinal: (NOT_SELECTED, f"similarity {nearest[ordinal]:.3f}"))


def ranked(scores: Sequence[float], ties: Sequence[int]) -> list[int]:
    """The ordinals, highest score first."""
    return sorted(range(len(scores)), key=lambda ordinal: (-scores[ordinal], ties[ordinal], ordinal))


def _first(
    order: Sequence[int], rows: int, budget: int, unranked: Callable[[int], Reason] = lambda ordinal: (NOT_SELECTED, "")
) -> Selection:
    """The first of an order; the others have a rank in it, or are not in it."""
    ranks = array("q", bytes(8 * rows))
    for rank, ordinal in enumerate(order, 1):
        ranks[ordinal] = rank

    def reason(ordinal: int) -> Reason:
        rank = ranks[ordinal]
        return (NOT_SELECTED, f"rank {rank:,} of {len(order):,}") if rank else unranked(ordinal)

    return Selection(frozenset(order[:budget]), reason)

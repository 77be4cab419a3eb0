"""What the exports of stored distributions share: a row with its place among the tokens of its conversation.

Trainers want the same number of entries at every token. Where the teacher's k are fewer, as in packed arrays, ids that
are not among them fill up with a mass of nothing. Knows neither files nor tokenizers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from distill_data.data.arrays import LEAST, STEPS, topk_of
from distill_data.data.items import Record
from distill_data.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

    from distill_data.data.arrays import Array, TopK

NOTHING = -LEAST / STEPS
"""Log-probability of a filler: finite, as trainers multiply it, and of no mass, e^-32."""


class Row(NamedTuple):
    """A record on its way into an export."""

    where: str
    """File and line, for messages."""
    record: Record
    arrays: Mapping[str, Array]
    ids: list[int]
    """All tokens of the conversation, behind y too; empty where the target needs none."""
    start: int
    """Where y's tokens begin among them."""


class Facts(NamedTuple):
    """What holds for the whole dataset."""

    k: int
    """The most entries that a token has; 0 where there are no distributions."""
    vocab_size: int
    """0 where it is not known."""
    temperature: float
    output: Path
    """Where the export will lie when it is whole."""


Writer = Callable[[Iterator[Row], Path, Facts], Mapping[str, Any]]
"""Writes rows to a path and gives the settings with which the trainer reads them."""


def distributions_of(row: Row) -> TopK:
    """The k most likely tokens. Raises UsageError for a record of another kind."""
    if "logprobs" not in row.arrays:
        raise UsageError(
            f"{row.where}: has the arrays {', '.join(row.arrays)}, and this trainer reads the k most likely tokens "
            "only; make the dataset with `feature -r topk`, or export it as npz."
        )
    return topk_of(row.arrays)


def fill(found: TopK, k: int) -> tuple[Array, Array]:
    """Ids (T, k) int64 and log-probabilities (T, k) float32, with a filler wherever there is no entry."""
    import numpy as np

    tokens, there = found.ids.shape
    ids = np.full((tokens, k), -1, np.int64)
    logprobs = np.full((tokens, k), NOTHING, np.float32)
    width = min(k, there)
    ids[:, :width] = found.ids[:, :width]
    logprobs[:, :width] = np.where(found.ids[:, :width] >= 0, found.logprobs[:, :width], NOTHING)
    for at in np.flatnonzero((ids < 0).any(axis=1)):
        ids[at, ids[at] < 0] = _others(ids[at], int((ids[at] < 0).sum()))
    return ids, logprobs


def _others(ids: Array, count: int) -> np.ndarray[Any, Any]:
    """The lowest ids that are not among these."""
    import numpy as np

    return np.setdiff1d(np.arange(len(ids)), ids)[:count]

"""Batches of rows and of what is stored of them, as tensors. Knows side files by their arrays, and no model or loss.

N tokens of y in all, B rows. Rows that belong together, as those of a stored batch of relations, come as a group.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from distill_data.data.arrays import topk_of
from distill_data.errors import DamageError
from distill_data.training.divergences import LEAST
from distill_data.training.examples import Example

if TYPE_CHECKING:
    from distill_data.data.arrays import Array

Group = Sequence[Example]
"""Rows that are never parted: one, or those of a stored batch."""
Read = Callable[[Sequence[Group]], Mapping[str, Any]]
"""What is stored of a batch's rows, by name, and in `units` of how many things a loss is the mean."""


def collate(groups: Sequence[Group], read: Read) -> dict[str, Any]:
    """Rows padded on the right: `input_ids` and `attention_mask` (B, L), and two masks of as many true places as y has
    tokens in all: `before`, the positions that predict them, and `at`, their own. `counts` are the units and N."""
    import torch

    examples = _flat(groups)
    longest = max(len(example.ids) for example in examples)
    ids = torch.zeros((len(examples), longest), dtype=torch.long)
    mask, at = torch.zeros_like(ids), torch.zeros(ids.shape, dtype=torch.bool)
    for row, example in enumerate(examples):
        ids[row, : len(example.ids)] = torch.tensor(example.ids)
        mask[row, : len(example.ids)] = 1
        at[row, example.start : len(example.ids)] = True
    stored = read(groups)
    return {
        "input_ids": ids,
        "attention_mask": mask,
        "before": at.roll(-1, 1),
        "at": at,
        **{name: torch.from_numpy(array) for name, array in stored.items() if name != "units"},
        "counts": torch.tensor([stored["units"], int(at.sum())], dtype=torch.float),
    }


def read_topk(groups: Sequence[Group]) -> dict[str, Any]:
    """`ids` and `logprobs` (N, k), where a token has fewer -1 and next to nothing; `tail` (N)."""
    import numpy as np

    found = [(topk_of(each.read()), each.tokens) for each in _flat(groups)]
    most = max(topk.ids.shape[1] for topk, _ in found)

    def widened(array: Array, tokens: int, value: float) -> Array:
        return np.pad(array[:tokens], ((0, 0), (0, most - array.shape[1])), constant_values=value)

    tail = np.concatenate([topk.tail[:tokens] for topk, tokens in found])
    return {
        "ids": np.concatenate([widened(topk.ids, tokens, -1) for topk, tokens in found]).astype(np.int64),
        "logprobs": np.concatenate([widened(topk.logprobs, tokens, LEAST) for topk, tokens in found]),
        "tail": tail,
        "units": len(tail),
    }


def read_counts(groups: Sequence[Group]) -> dict[str, Any]:
    """Of M entries: `places` from 0 to N - 1, `ids`, and how often each was `drawn` there."""
    import numpy as np

    places, ids, drawn, done = [], [], [], 0
    for example in _flat(groups):
        arrays = example.read()
        different, total = arrays["counts_per_token"].astype(np.int64), len(arrays["ids"])
        if different.sum() != total or len(arrays["counts"]) != total or len(different) < example.tokens:
            raise _damage(example, "its counts do not belong to its tokens")
        different = different[: example.tokens]
        places.append(np.repeat(np.arange(done, done + example.tokens), different))
        ids.append(arrays["ids"][: different.sum()].astype(np.int64))
        drawn.append(arrays["counts"][: different.sum()].astype(np.float32))
        done += example.tokens
    return {
        "places": np.concatenate(places),
        "ids": np.concatenate(ids),
        "drawn": np.concatenate(drawn),
        "units": done,
    }


def read_states(groups: Sequence[Group]) -> dict[str, Any]:
    """`states` (layers, N, width)."""
    import numpy as np

    found = []
    for example in _flat(groups):
        states = example.read()["hidden"]
        if states.ndim != 3 or states.shape[1] < example.tokens:
            raise _damage(example, f"states {states.shape} are not those of {example.tokens} tokens")
        found.append(states[:, : example.tokens])
    states = np.concatenate(found, 1).astype(np.float32)
    return {"states": states, "units": states.shape[1]}


def read_pooled(groups: Sequence[Group]) -> dict[str, Any]:
    """`states` (layers, B, width): one of each row."""
    import numpy as np

    states = np.stack([example.read()["hidden"] for example in _flat(groups)], 1).astype(np.float32)
    return {"states": states, "units": states.shape[1]}


def read_pairs(groups: Sequence[Group]) -> dict[str, Any]:
    """`pairs` (B, B): how alike the rows of each group are, along the diagonal; and the `sizes` of the groups."""
    import numpy as np

    sizes = np.array([len(group) for group in groups])
    pairs, first = np.zeros((sizes.sum(), sizes.sum()), np.float32), 0
    for group in groups:
        at = {identity: place for place, identity in enumerate(group[0].row["batch"])}
        columns = [at[example.row["id"]] for example in group]
        for row, example in enumerate(group, first):
            alike = example.read()["similarity"]
            if len(alike) != len(at):
                raise _damage(example, f"{len(alike)} likenesses do not belong to a batch of {len(at)}")
            pairs[row, first : first + len(group)] = alike[columns]
        first += len(group)
    return {"pairs": pairs, "sizes": sizes, "units": int((sizes * (sizes - 1)).sum())}


def _flat(groups: Sequence[Group]) -> list[Example]:
    return [example for group in groups for example in group]


def _damage(example: Example, what: str) -> DamageError:
    return DamageError(f"record {example.row.get('id')}: {what}. Check the file with distill-data verify.")

"""One number of each row of a batch: how likely y is after x, and what a reward model gives both together.

Knows a loaded model and rows of tokens; nothing about requests and replies.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from distill_data.teachers import forward
from distill_data.teachers.batching import Proceed
from distill_data.teachers.loading import Loaded

Facts = tuple[dict[str, Any], dict[str, Any]]
"""No arrays, and what the reply says."""


def likelihood(loaded: Loaded, rows: Sequence[forward.Row], proceed: Proceed) -> list[Facts]:
    """`logprob`: the log-probability of all tokens of y together, in nats."""
    import torch

    targets = torch.tensor([each for row in rows for each in row.ids[row.start :]])
    found: list[Any] = []
    done = 0
    for logits in forward.predictions(loaded.model, rows):
        proceed()
        wanted = targets[done : done + len(logits), None].to(logits.device)
        done += len(logits)
        found.append((logits.gather(1, wanted)[:, 0] - logits.logsumexp(-1)).double().cpu())
    sums = [part.sum().item() for part in torch.cat(found).split([len(row.ids) - row.start for row in rows])]
    return [_told("logprob", total) for total in sums]


def reward(loaded: Loaded, rows: Sequence[forward.Row], proceed: Proceed) -> list[Facts]:
    """`reward`: the one output of a sequence classifier. Rows must be equally long, so that none is padded: such a
    model looks for the last token of a row that is no padding, and y may end as padding does."""
    import torch

    proceed()
    ids = torch.tensor([list(row.ids) for row in rows]).to(loaded.model.device)
    # each row by itself where the model does not know padding: it would refuse several at once
    parts = ids.split(1) if loaded.model.config.get_text_config().pad_token_id is None else (ids,)
    found = torch.cat([loaded.model(input_ids=part).logits.float().cpu() for part in parts])
    return [_told("reward", each.item()) for each in found[:, 0]]


def _told(name: str, value: float) -> Facts:
    """The number by its name, or why there is none: JSON has no infinity."""
    if math.isfinite(value):
        return {}, {name: value}
    return {}, {"rejected": "no-number", "detail": f"the model gives {value} here, which is no finite number."}

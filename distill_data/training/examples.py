"""Rows of `feature` as token ids with the place of y. Knows no model and no loss.

y's ids are the stored ones, after the prompt as the student's own chat template writes it; where none are stored, as
for relations, those of the student's tokenizer.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from distill_data.data.arrays import spellings_of
from distill_data.data.items import Row
from distill_data.errors import UsageError
from distill_data.teachers.spans import TemplateRefused, encode_pair, encode_prompt, encode_text
from distill_data.training.jobs import Arrays, Job

if TYPE_CHECKING:
    from distill_data.data.arrays import Array

LOG = logging.getLogger(__name__)


class Example(NamedTuple):
    """A row as the student reads it."""

    ids: list[int]
    """x and y, cut to the length that is allowed."""
    start: int
    """At least 1: y's tokens are `ids[start:]`, each predicted at the position before it."""
    row: Row
    read: Callable[[], Mapping[str, Array]]
    """The row's arrays, of all of y's tokens as they are stored."""

    @property
    def tokens(self) -> int:
        """Of y."""
        return len(self.ids) - self.start


def make_examples(job: Job, rows: Sequence[Row], arrays: Arrays, left_out: Counter[str]) -> list[Example]:
    """The rows in their order, each side file read once.

    What is longer than `--max-length` loses its end, and a row whose prompt alone is as long is left out, and counted:
    both are told with their number. Raises UsageError where nothing is left, and for rows that cannot be placed at all;
    DamageError where arrays are missing.
    """
    found, cut, lost = list[Example](), 0, 0
    for row in rows:
        read = partial(arrays, row)
        ids, start = _placed(job, row, read())
        kept = ids[: job.loop.max_length]
        cut += len(kept) < len(ids)
        if start < len(kept):
            found.append(Example(kept, start, row, read))
        else:
            lost += 1
            left_out["too-long"] += 1
    if cut:
        LOG.warning(
            f"{cut:,} of {len(rows):,} rows are longer than {job.loop.max_length} tokens and are cut, with their "
            f"arrays; {lost:,} of them have no token of y left and are left out. Raise --max-length, or drop them."
        )
    if rows and not found:
        raise UsageError(f"no row has a token of y within {job.loop.max_length} tokens: raise --max-length.")
    return found


def _placed(job: Job, row: Row, arrays: Mapping[str, Array]) -> tuple[list[int], int]:
    """Ids of x and y, and where y begins. Raises UsageError."""
    tokenizer = job.student.tokenizer
    if spellings_of(arrays) is not None:
        raise UsageError(
            f"{job.place(row)}: the server named its tokens by their text, so their ids are the row's own. "
            "Take a server that gives ids, or score the text with feature -r topk."
        )
    tokens = arrays["tokens"].tolist() if "tokens" in arrays else None
    try:
        if "text" in row and "prompt" not in row:
            ids = encode_text(tokenizer, row["text"])
            return (ids if tokens is None else [*ids[:1], *tokens]), 1
        pair = encode_pair(tokenizer, row["prompt"], row["completion"])
        if tokens is None and pair:
            return pair.ids[: pair.end], max(pair.start, 1)
        if tokens is not None:
            # of a token with characters of x and y, as some tokenizers make at the seam, the pair knows the place
            seen = pair is not None and pair.start > 0 and pair.ids[pair.start : pair.start + len(tokens)] == tokens
            head = pair.ids[: pair.start] if pair and seen else encode_prompt(tokenizer, row["prompt"])
            return [*head, *tokens], len(head)
    except TemplateRefused as refused:
        raise UsageError(f"{job.place(row)}: {refused}.") from None
    raise UsageError(
        f"{job.place(row)}: the student's chat template writes the prompt otherwise once an answer follows, so y has "
        "no place of its own. Take a student with another template."
    )

"""What tells one tokenizer from another, the ids it makes of a fixed text, and what to do. Knows no tokenizer.

A fingerprint is a mapping: `name`, `vocab_size` (0 is unknown), `template` and `probe`, where `probe` is the digest of
the ids of PROBE, encoded as plain text and without special tokens.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

PROBE = (
    "The kettle clicked off at 6:45; don't wait for Zoë's reply.\n"
    "水开了，等一下再倒。\n\n"
    "def area(r):\n"
    "    return 3.14159 * r**2  # 0x1F, 1024, 99999\n"
    "\t🙂👩‍🚀 ½"
)
"""English, Chinese, code, digits and emoji: two tokenizers that agree on it agree on nearly everything."""

Match = Literal["same", "padded", "mismatch"]


def probe_digest(ids: Sequence[int]) -> str:
    """16 hex digits of SHA-256 over the ids of PROBE."""
    return hashlib.sha256(",".join(map(str, ids)).encode()).hexdigest()[:16]


def matches(one: Mapping[str, Any], other: Mapping[str, Any]) -> Match:
    """How two tokenizers' fingerprints compare.

    `same`: equal ids, and equal vocabulary sizes or one of them unknown. `padded`: equal ids, other sizes, as where one
    model's output has rows that no token uses. Else `mismatch`.
    """
    if not one.get("probe") or one.get("probe") != other.get("probe"):
        return "mismatch"
    sizes = {fingerprint.get("vocab_size") or 0 for fingerprint in (one, other)} - {0}
    return "same" if len(sizes) < 2 else "padded"


@dataclass(frozen=True, slots=True)
class Checked:
    """How a student's tokenizer compares with the dataset's."""

    match: Match
    fits: bool
    """Whether it can be trained as it is."""
    lines: tuple[str, ...]
    """What was found and what to do, each a sentence."""


def compare(known: Mapping[str, Any], own: Mapping[str, Any], highest_id: Callable[[], int]) -> Checked:
    """The verdict on two fingerprints, the dataset's and the student's. `highest_id`, of the dataset's arrays, is asked
    for only where the student may have too few."""
    match = matches(known, own)
    sizes = [fingerprint.get("vocab_size") or 0 for fingerprint in (known, own)]
    names = f"{known.get('name') or 'the teacher'} and {own.get('name') or 'the student'}"
    if match == "mismatch":
        lines = (
            f"mismatch: {names} make other tokens of the same text, so an id of the one means nothing to the other.",
            "Take a student with the teacher's tokenizer, or train on the text of the completions instead "
            "(sequence-level distillation), which fits every student.",
        )
        return Checked(match, False, lines)
    template = _template_line(known, own)
    if match == "same" and (sizes[0] or not sizes[1] or highest_id() < sizes[1]):
        size = f", {sizes[0] or sizes[1]:,} ids" if any(sizes) else ""
        return Checked(match, True, (f"same: {names} share their tokenizer{size}; train as it is.", *template))
    more = f"{sizes[0]:,}" if sizes[0] else "more"
    head = f"padded: {names} share their tokenizer, but the outputs have {more} and {sizes[1]:,} ids."
    if sizes[1] > sizes[0] > 0:
        rest = f"The student's last {sizes[1] - sizes[0]:,} have no mass in the dataset; train as it is."
        return Checked(match, True, (head, rest, *template))
    highest = highest_id()
    if highest < sizes[1]:
        rest = f"The highest id in the dataset is {highest:,}, which the student has; train as it is."
        return Checked(match, True, (head, rest, *template))
    wanted = max(sizes[0], highest + 1)
    rest = f"The dataset has the id {highest:,}, which the student has not: resize its embeddings to {wanted:,}."
    return Checked("padded", False, (head, rest, *template))


def _template_line(known: Mapping[str, Any], own: Mapping[str, Any]) -> tuple[str, ...]:
    """Where both have a chat template and these differ."""
    if not known.get("template") or not own.get("template") or known["template"] == own["template"]:
        return ()
    return (
        "warning: the chat templates differ; the completions were scored inside the teacher's, so give the student "
        "that one for training and use.",
    )

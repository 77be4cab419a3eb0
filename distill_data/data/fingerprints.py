"""What tells one tokenizer from another: the ids it makes of a fixed text. Knows no tokenizer.

A fingerprint is a mapping: `name`, `vocab_size` (0 is unknown), `template` and `probe`, where `probe` is the digest of
the ids of PROBE, encoded as plain text and without special tokens.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
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

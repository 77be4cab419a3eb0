"""A number that a key alone decides, for draws that stay as they are when rows come or go. Knows no rows."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

Place = Callable[[str], float]
"""A key to a number, evenly spread from 0 to below 1."""


def make_place(purpose: str, seed: int) -> Place:
    """A hash of the key, other for every purpose and seed: what one command draws says nothing about another's draw.

    So a share of 0.1 takes the keys below 0.1, and a larger share takes these and more.
    """
    start = hashlib.sha256(f"{purpose}\0{seed}\0".encode())

    def place(key: str) -> float:
        content = start.copy()
        content.update(key.encode())
        return (int.from_bytes(content.digest()[:8]) >> 11) / (1 << 53)

    return place


def mark_of(text: bytes) -> int:
    """60 bits of SHA-256: a longer int takes 16 bytes more where millions are held."""
    return int.from_bytes(hashlib.sha256(text).digest()[:8]) >> 4

"""Item, Outcome and Record: the unit that is accounted for, how it ended, and the rows it gave. Knows no files."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import orjson

from distill_data.data.exchange import Blob

Row = dict[str, Any]
Record = dict[str, Any]


class Item(NamedTuple):
    """A seed row on its way to an outcome."""

    ordinal: int
    """Position in the plan, from 0. Orders the output; never part of an identity."""
    id: str
    """16 hex digits over the row's content and its occurrence number among equal rows."""
    row: Row
    where: str
    """File and line, for messages."""
    seed: int = 0
    """The run's random seed."""

    def rng(self) -> random.Random:
        """A generator of this item's own, so that no draw depends on the order in which items run."""
        return random.Random(f"{self.seed}:{self.id}")


class Arrays(NamedTuple):
    """Arrays that belong to a record: what there is, and the bytes one after the other."""

    header: Mapping[str, Sequence[Any]]
    """Name to [dtype, shape], in the order of the bytes."""
    source: Blob | bytes


class Outcome(NamedTuple):
    """How an item ended. `pending` means that the run stopped before it did."""

    status: Literal["kept", "rejected", "failed", "pending"]
    records: tuple[Record, ...] = ()
    reason: str = ""
    """Short and stable, because it is counted."""
    detail: str = ""
    answers: tuple[str, ...] = ()
    """Raw texts that led to a reject."""
    dropped: Mapping[str, int] = MappingProxyType({})
    """Samples dropped inside a kept item, by reason."""
    agrees: bool | None = None
    """Whether the answer equals the seed's gold; None where there is no gold."""
    others: tuple[tuple[Record, ...], ...] = ()
    """Records of further kinds, for a file each."""
    tallies: Mapping[str, tuple[int, int]] = MappingProxyType({})
    """Name to (how often, of how many), summed over the run."""
    arrays: tuple[Arrays, ...] = ()
    """Of each record, where records have a side file; none otherwise."""


def kept(*records: Record, dropped: Mapping[str, int] | None = None, agrees: bool | None = None) -> Outcome:
    return Outcome("kept", records, "", "", (), dropped or {}, agrees)


def rejected(reason: str, detail: str = "", *answers: str, agrees: bool | None = None) -> Outcome:
    return Outcome("rejected", (), reason, detail, answers, agrees=agrees)


def failed(reason: str, detail: str = "") -> Outcome:
    return Outcome("failed", (), reason, detail)


def canonical(value: Any) -> bytes:
    """The one encoding that digests are made over: sorted keys, no spaces, UTF-8. Raises TypeError on foreign types."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def digest(value: Any) -> str:
    """SHA-256 over the canonical encoding, 64 hex digits."""
    return hashlib.sha256(canonical(value)).hexdigest()

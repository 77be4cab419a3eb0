"""`check --student`: whether a dataset's arrays fit a student's vocabulary, told before anyone trains."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from distill_data.commands.options import Options
from distill_data.commands.seating import resolve_teachers
from distill_data.commands.verify import read_records
from distill_data.data.arrays import highest_id
from distill_data.data.features import open_features
from distill_data.data.fingerprints import Checked, compare
from distill_data.errors import UsageError
from distill_data.teachers.profiles import find_profile, load_profiles


def check_student(dataset: str, student: str, options: Options = Options()) -> Checked:  # noqa: B008
    """Compare the fingerprint that stands in the dataset with the student's, `transformers/PATH` or a server's model.

    Raises UsageError where the dataset has no arrays, or the student's tokenizer cannot be told.
    """
    path = Path(dataset)
    known = _fingerprint_of(path)
    profile = find_profile(
        student,
        load_profiles(options.config),
        base_url=options.base_url or None,
        api_key_env=options.api_key_env or None,
        headers=dict(options.headers) or None,
    )
    resolved = asyncio.run(resolve_teachers({"student": profile}, {"student": frozenset({"score"})}, {}))["student"]
    own = resolved.capabilities.tokenizer
    if not own:
        raise UsageError(f"{student}: its tokenizer cannot be told; name a model that runs here: transformers/PATH.")
    return compare(known, own, lambda: _highest_id(path))


def _fingerprint_of(dataset: Path) -> dict[str, Any]:
    if not dataset.is_file():
        raise UsageError(f"{dataset}: there is no such dataset.")
    for _, record in read_records(dataset):
        described = record.get("features")
        fingerprint = described.get("tokenizer") if isinstance(described, dict) else None
        if isinstance(fingerprint, dict) and fingerprint.get("probe"):
            return fingerprint
        raise UsageError(f"{dataset}: its records name no tokenizer, so there is nothing to compare a student with.")
    raise UsageError(f"{dataset}: has no records.")


def _highest_id(dataset: Path) -> int:
    """The highest id anywhere in the dataset's arrays."""
    features = open_features(dataset)
    return max((highest_id(features.of(record)) for _, record in read_records(dataset)), default=-1)

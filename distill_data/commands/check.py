"""`check --student`: whether a dataset's arrays fit a student's vocabulary, told before anyone trains."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill_data.commands.options import Options
from distill_data.commands.seating import resolve_teachers
from distill_data.commands.verify import read_records
from distill_data.data.arrays import topk_of
from distill_data.data.features import open_features
from distill_data.data.fingerprints import Match, matches
from distill_data.errors import UsageError
from distill_data.teachers.profiles import find_profile, load_profiles


@dataclass(frozen=True, slots=True)
class Checked:
    """How a student's tokenizer compares with the dataset's."""

    match: Match
    fits: bool
    """Whether it can be trained as it is."""
    lines: tuple[str, ...]
    """What was found and what to do, each a sentence."""


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
    return compare(path, known, own)


def compare(dataset: Path, known: Mapping[str, Any], own: Mapping[str, Any]) -> Checked:
    """The verdict on two fingerprints, the dataset's and the student's; the arrays are read only where sizes differ."""
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
    if match == "same":
        size = f", {sizes[0] or sizes[1]:,} ids" if any(sizes) else ""
        return Checked(match, True, (f"same: {names} share their tokenizer{size}; train as it is.", *template))
    head = f"padded: {names} share their tokenizer, but the outputs have {sizes[0]:,} and {sizes[1]:,} ids."
    if sizes[1] > sizes[0]:
        rest = f"The student's last {sizes[1] - sizes[0]:,} have no mass in the dataset; train as it is."
        return Checked(match, True, (head, rest, *template))
    highest = _highest_id(dataset)
    if highest < sizes[1]:
        rest = f"The highest id in the dataset is {highest:,}, which the student has; train as it is."
        return Checked(match, True, (head, rest, *template))
    rest = f"The dataset has the id {highest:,}, which the student has not: resize its embeddings to {sizes[0]:,}."
    return Checked(match, False, (head, rest, *template))


def _template_line(known: Mapping[str, Any], own: Mapping[str, Any]) -> tuple[str, ...]:
    """Where both have a chat template and these differ."""
    if not known.get("template") or not own.get("template") or known["template"] == own["template"]:
        return ()
    return (
        "warning: the chat templates differ; the completions were scored inside the teacher's, so give the student "
        "that one for training and use.",
    )


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
    features, highest = open_features(dataset), -1
    for _, record in read_records(dataset):
        arrays = features.of(record)
        for name in ("tokens", "ids") if "counts" in arrays else ("tokens",):
            highest = max(highest, int(arrays[name].max(initial=0))) if name in arrays else highest
        if "logprobs" in arrays:
            highest = max(highest, int(topk_of(arrays).ids.max(initial=0)))
    return highest

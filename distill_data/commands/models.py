"""Fetch the weights of an embedded teacher. Knows neither engines nor runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from distill_data.teachers import weights


def pull_model(name: str, say: Callable[[str], None]) -> Path:
    """Download the weights called `name` (`smollm2`) into the user's cache and return the file's path.

    `say` gets a line for each step. Weights that are there and intact are left alone. Raises UsageError, TeacherError
    or DiskError.
    """
    return weights.pull(name, say)

"""`report`: what there is to know about a dataset, on one static page of HTML. Asks no model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NamedTuple

from distill_data.commands.manifests import beside
from distill_data.commands.replies import run_of
from distill_data.commands.report_facts import gather
from distill_data.commands.rows import opened
from distill_data.engine.durable import disk_error, write_atomically
from distill_data.engine.publish import read_manifest
from distill_data.errors import UsageError
from distill_data.recipes import seed_path
from distill_data.reporting.page import make_page


class Reported(NamedTuple):
    """A page that is there."""

    output: str
    bytes: int
    changed: bool
    """False where the page was there already, byte for byte, and was left as it is."""


def report(dataset: str, *, output: str) -> Reported:
    """Write the page of a dataset: of its rows, and of the manifest, the rejects and the run beside it, where they are.

    `output` is a file, or `-` for stdout. Raises UsageError, SeedError with the place of a row that cannot be read,
    DiskError.
    """
    if output != "-":
        path = seed_path(dataset)
        _refuse(Path(output), [path, *(beside(path, end) for end in ("manifest.json", "rejects.jsonl"))])
    facts = facts_of(dataset)
    page = make_page(facts).encode("utf-8")
    if output == "-":
        sys.stdout.buffer.write(page)
        sys.stdout.buffer.flush()
        return Reported(output, len(page), True)
    return Reported(output, len(page), _write(Path(output), page))


def _write(path: Path, page: bytes) -> bool:
    """Whether anything had to be written."""
    try:
        if path.is_file() and path.stat().st_size == len(page) and path.read_bytes() == page:
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_error(error, path) from error
    write_atomically(path, page, mode=0o644)
    return True


def _refuse(output: Path, read: list[Path]) -> None:
    """Raise UsageError where the page would be a folder, or overwrite what it is made of."""
    if output.is_dir():
        raise UsageError(f"-o {output}: is a folder; name a file, such as {output}/report.html.")
    if output.exists() and any(each.exists() and output.samefile(each) for each in read):
        raise UsageError(f"-o {output}: is read by this command and would be overwritten. Name another file.")


def facts_of(dataset: str) -> dict[str, Any]:
    """What `report` says of a dataset, as JSON: for pages and tools of one's own. Raises UsageError, SeedError."""
    with opened(dataset) as (source,):
        path = source.file.path
        return gather(source, read_manifest(beside(path, "manifest.json")), beside(path, "rejects.jsonl"), run_of(path))

"""What the manifest beside a dataset says: its result, its files, and the steps that made them.

Manifests may be of another version, or of another program: what is not as it should be counts as not there.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distill_data.engine.publish import read_manifest


def lineage_of(path: Path, sha256: str) -> tuple[Mapping[str, Any], ...]:
    """The steps that made a dataset, oldest first, by the manifest beside it where it describes this very file.

    A step has as `elsewhere` the files it read that no recorded step made: name, sha256 and, of the Hub, the commit.
    """
    result = result_of(beside(path, "manifest.json"))
    if not any(
        each.get("name") == path.name and each.get("sha256") == sha256 for each in described_in(result).values()
    ):
        return ()
    before = result.get("sources")
    sources = [each for each in before if isinstance(each, dict)] if isinstance(before, list) else []
    steps = [step for source in sources for step in _steps(source)]
    own = {key: value for key, value in result.items() if key not in ("files", "sources", "plan", "coverage")}
    named = [source for source in sources if isinstance(source.get("name"), str) and not _steps(source)]
    elsewhere = [
        {key: source[key] for key in ("name", "sha256", "hub", "revision") if key in source} for source in named
    ]
    return (*steps, {**own, "elsewhere": elsewhere} if elsewhere else own)


def beside(dataset: Path, end: str) -> Path:
    """The file of this ending that a command writes with a dataset: `rejects.jsonl` or `manifest.json`."""
    return dataset.with_name(f"{dataset.name.removesuffix('.jsonl')}.{end}")


def _steps(source: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    lineage = source.get("lineage")
    return [step for step in lineage if isinstance(step, dict)] if isinstance(lineage, list) else []


def result_of(path: Path) -> dict[str, Any]:
    """What a manifest says; nothing where there is none, or one of another program."""
    manifest = read_manifest(path)
    result = manifest["result"] if manifest else None
    return result if isinstance(result, dict) else {}


def described_in(result: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The files that a result describes, by what it calls them."""
    files = result.get("files")
    return {name: each for name, each in files.items() if isinstance(each, dict)} if isinstance(files, dict) else {}

"""Where a run's files lie, and where they may not. Knows nothing of what is in them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distill_data.commands.manifests import result_of
from distill_data.commands.options import Options
from distill_data.commands.shards import folder_of
from distill_data.data.items import digest
from distill_data.engine.publish import files_of
from distill_data.engine.rundir import RunDirectory
from distill_data.errors import UsageError


def output_path(output: str, job: list[Any], options: Options) -> Path:
    """The dataset's path. For `-` it lies in `--run`, or in a directory under `.distill` named by what the job is."""
    if Path(output).stem.endswith(".partial"):
        raise UsageError(
            f"-o {output}: what a run that is not whole leaves has such a name, and the run that ends it removes it. "
            "Name another file."
        )
    if output != "-":
        return Path(output)
    if options.run is not None:
        return options.run / "stdout.jsonl"
    return (
        Path(".distill")
        / digest([dict(part) if isinstance(part, Mapping) else part for part in job])[:16]
        / "out.jsonl"
    )


def refuse_overwriting(output: Path, sources: list[str], options: Options) -> None:
    """Raise UsageError where a file to be written is read, is a directory or a student's, or has another ending than
    `.jsonl`."""
    previous = [str(options.previous)] if options.previous else []
    read = [path for path in map(Path, [*sources, *previous]) if path.exists()]
    if options.shard or options.shards:
        for path in read:
            if path.resolve().parent == folder_of(output).resolve() and not path.name.startswith("stdin."):
                raise UsageError(f"-o {output}: its shards would lie where {path} is read. Name another file.")
    written = _all(output, options)
    places = [path.resolve() for path in written]
    for path, place in zip(written, places, strict=True):
        if places.count(place) > 1:
            raise UsageError(f"-o {output}: {path} would be written twice; give every kind a file of its own.")
        if path.is_dir():
            raise UsageError(f"-o {output}: {path} is a directory; name a file that ends in .jsonl.")
        if path.exists() and any(path.samefile(source) for source in read):
            raise UsageError(f"-o {output}: {path} is read by this run and would be overwritten. Name another file.")
        if path.is_symlink():
            raise UsageError(f"-o {output}: {path} is a symbolic link; name the file itself, or remove the link.")
        if path.name.endswith(".manifest.json") and result_of(path).get("command") == "train":
            raise UsageError(f"-o {output}: {path} tells how the student beside it was trained. Name another file.")


def _all(output: Path, options: Options) -> list[Path]:
    both = [files_of(output, partial=each, others=options.other_kinds) for each in (False, True)]
    return [path for files in both for path in (*files.datasets().values(), files.rejects, files.manifest)]


def run_at(directory: Path, option: str) -> RunDirectory:
    """A run that must be there already. Raises UsageError."""
    run = RunDirectory(directory)
    if not directory.is_dir() or not run.load():
        raise UsageError(f"{option} {directory}: this is no run directory; it has no run.json.")
    return run

"""Where the shards of an output lie, and what each may spend. Asks nobody and starts nothing.

out.jsonl                       the whole, once `publish` has united them
out.shards/2-of-3.jsonl         a shard, with its rejects, order and manifest
out.shards/2-of-3.run           its run, with its answers
out.shards/2-of-3.critique.jsonl   its file for `--kind critique=FILE`
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from distill_data.commands.options import Options
from distill_data.data.shard import Shard
from distill_data.engine.batches import Ledger
from distill_data.engine.rundir import RunDirectory
from distill_data.errors import DriftError
from distill_data.teachers.protocol import CONCURRENCY, Profile

_NAME = re.compile(r"([0-9]+)-of-([0-9]+)\.(run|manifest\.json|partial\.manifest\.json)")


def folder_of(output: Path) -> Path:
    """Where the shards of an output lie."""
    return output.with_suffix(".shards")


def path_of(output: Path, shard: Shard) -> Path:
    """A shard's own dataset."""
    return folder_of(output) / f"{shard.name}.jsonl"


def kinds_of(output: Path, shard: Shard, kinds: Mapping[str, Path]) -> dict[str, Path]:
    """A shard's own files of further kinds."""
    return {kind: folder_of(output) / f"{shard.name}.{kind}.jsonl" for kind in kinds}


def cuts_of(output: Path) -> list[int]:
    """Into how many shards an output was cut; several numbers where that was done more than once.

    A run without its `run.json` was stopped before it sent anything, and does not count.
    """
    folder = folder_of(output)
    names = [path.name for path in folder.glob("*.manifest.json")]
    names += [path.parent.name for path in folder.glob("*.run/run.json")]
    return sorted({int(found[2]) for found in map(_NAME.fullmatch, names) if found})


def run_of(output: Path, shard: Shard | None) -> Path:
    """Where a run keeps its answers."""
    return (path_of(output, shard) if shard else output).with_suffix(".run")


def cut_budget(options: Options) -> Options:
    """The options with a shard's part of what all may spend."""
    if options.shard is None:
        return options
    tokens, cost = options.max_tokens_total, options.max_cost
    return replace(
        options,
        max_cost=None if cost is None else cost / options.shard.of,
        max_tokens_total=None if tokens is None else tokens // options.shard.of,
    )


def cut_limits(profiles: Mapping[str, Profile], shard: Shard | None) -> dict[str, Profile]:
    """The models with a shard's part of what may be asked at once and in a minute; one request at least."""
    if shard is None:
        return dict(profiles)
    return {
        role: replace(
            profile,
            concurrency=max(1, (profile.concurrency or CONCURRENCY) // shard.of),
            rpm=None if profile.rpm is None else profile.rpm / shard.of,
            tpm=None if profile.tpm is None else profile.tpm / shard.of,
            enqueued_tokens=profile.enqueued_tokens and max(1, profile.enqueued_tokens // shard.of),
        )
        for role, profile in profiles.items()
    }


def shard_facts(output: Path, shard: Shard, kinds: Mapping[str, Path]) -> dict[str, Any]:
    """What a shard's manifest says so that the whole can be written without the command: which part it is, and where
    records of further kinds go, from the output's folder."""
    return {
        "number": shard.number,
        "of": shard.of,
        "kinds": {kind: os.path.relpath(path, output.parent) for kind, path in kinds.items()},
    }


def join_histories(histories: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The shards' histories as one: sums, unknown where one is, the longest time, and the prices that all have."""
    united: dict[str, Any] = {}
    for name in dict.fromkeys(name for history in histories for name in history):
        told: list[Any] = [history[name] for history in histories if name in history]
        if None in told:
            united[name] = None
        elif all(type(each) in (int, float) for each in told):
            united[name] = max(told) if name == "seconds" else sum(told)
        elif name == "prices":
            united[name] = told[0]
        elif all(isinstance(each, Mapping) for each in told):
            united[name] = join_histories(told)
    return united


def refuse_other_cut(output: Path, options: Options) -> None:
    """Raise DriftError where a run that has no answer yet would buy what is on disk: for the same output, in one piece
    or in another number of shards."""
    if options.accept_drift or options.run is not None:
        return
    taken = {path.resolve() for path in options.reuse}
    runs = [run_of(output, None), *sorted(folder_of(output).glob("*.run"))]
    mine = options.shard.of if options.shard else 0
    others = []
    for run in runs:
        found = _NAME.fullmatch(run.name) if run.parent == folder_of(output) else None
        cut = int(found[2]) if found else 0
        if cut != mine and Ledger(RunDirectory(run).batches).open:
            how = f"as one of {cut} shards" if cut else "without --shard and --shards"
            raise DriftError(
                f"{run}: batches of the same output are open, and what is in them would be bought again. Fetch them "
                f"first, {how}, or give --accept-drift."
            )
        if cut != mine and run.resolve() not in taken and any((run / "journal").glob("*.jsonl")):
            others.append(run)
    if not others:
        return
    now = f"{mine} shards" if mine else "one piece"
    shelves = " ".join(f"--reuse {run}" for run in others[:8]) + (" …" if len(others) > 8 else "")
    raise DriftError(
        f"{output}: answers of the same output lie in {len(others)} runs that were not cut into {now}, and would be "
        f"bought again. Take them along by {shelves}, give the same number of shards as before, or --accept-drift to "
        "buy anew."
    )

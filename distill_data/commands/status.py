"""How a run stands, from its files alone. Reads; never locks, sends or writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from distill_data.commands.options import Summary
from distill_data.engine.journal import Journal
from distill_data.engine.publish import files_of, read_manifest
from distill_data.engine.rundir import RunDirectory
from distill_data.errors import UsageError


def status(output: str, run: Path | None = None) -> Summary:
    """What is known about an output: from its manifest, else from its partial one, and from the run's journal.

    Raises UsageError where there is neither a manifest nor a run.
    """
    path = Path(output)
    whole, partial = (files_of(path, partial=each) for each in (False, True))
    directory = RunDirectory(run or path.with_suffix(".run"))
    facts = directory.load() if directory.path.is_dir() else {}
    finished = read_manifest(whole.manifest) if whole.dataset.is_file() else None
    stopped = read_manifest(partial.manifest)
    manifest = finished or stopped
    if manifest is None and not facts:
        raise UsageError(f"{output}: there is no such output, and no run at {directory.path}.")
    journal = Journal(directory.journal)
    try:
        history = {**(manifest or {}).get("history", {}), **_counted(journal)}
    finally:
        journal.close()
    if manifest is None:
        items = facts["items"]
        message = f"Nothing is published yet; {len(journal)} answers are on disk for {items} items."
        return Summary("partial", 0, message, str(directory.path), {"items": items, "pending": items}, history)
    result: dict[str, Any] = manifest["result"]
    if finished is not None:
        return Summary("published", 0, "", str(whole.dataset), result, history)
    return Summary("partial", 0, "Run the same command again to go on.", str(partial.dataset), result, history)


def _counted(journal: Journal) -> dict[str, Any]:
    totals = journal.totals
    return {
        "answers": len(journal),
        "in_doubt": totals.doubt.requests,
        "bought_in_all": totals.bought,
        "bought_twice": totals.bought_twice,
        "torn_tails": totals.torn_tails,
        "prompt_tokens": totals.prompt_tokens,
        "completion_tokens": totals.completion_tokens,
    }

"""How a run stands, from its files alone. Reads; never locks, sends or writes."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distill_data.commands.options import Summary
from distill_data.commands.shards import cuts_of, join_histories, path_of, run_of
from distill_data.commands.spending import read_accounts, sum_up
from distill_data.data.shard import Shard
from distill_data.engine.batches import Ledger
from distill_data.engine.journal import Journal
from distill_data.engine.publish import files_of, read_manifest
from distill_data.engine.rundir import RunDirectory
from distill_data.errors import UsageError

MOST_NAMED = 12
"""Shards that a message names."""
DAY = 24 * 3600
URGENT, KEPT = 20, "30 days as a rule"
"""Days after which a batch's answers should be fetched, since providers delete a batch's files."""


def status(output: str, run: Path | None = None) -> Summary:
    """What is known about an output: from its manifest, else from its partial one, and from the run's journal, or from
    its shards.

    Raises UsageError where there is neither a manifest nor a run.
    """
    path = Path(output)
    whole, partial = (files_of(path, partial=each) for each in (False, True))
    directory = RunDirectory(run or path.with_suffix(".run"))
    facts = directory.load() if directory.path.is_dir() else {}
    finished = read_manifest(whole.manifest) if whole.dataset.is_file() else None
    stopped = read_manifest(partial.manifest)
    if finished is not None and facts.get("plan") not in (None, finished["result"].get("plan")):
        finished = None  # of an earlier plan; a newer run has not ended yet
    if stopped is not None:
        finished = None
    manifest = finished or stopped
    if facts.get("command") == "train":
        raise UsageError(
            f"{output}: {directory.path} is the run of a training; its student is {directory.path.with_suffix('')}."
        )
    if cuts_of(path) and (not facts or "shards" in (manifest or {}).get("history", {})):
        return _of_shards(path, finished)
    if manifest is None and not facts:
        raise UsageError(f"{output}: there is no such output, and no run at {directory.path}.")
    journal, batches = Journal(directory.journal), Ledger(directory.batches)
    try:
        history = {**(manifest or {}).get("history", {}), **_counted(journal, facts, batches)}
    finally:
        journal.close()
    holder = directory.holder()
    if manifest is None or holder:
        state = "running" if holder else "partial"
        history.pop("forecast", None)  # of an earlier pilot
        message = f"Process {holder} works on it. " if holder else ""
        wanted = f"{facts['rows']} rows to keep" if facts.get("rows") else f"{facts['items']} items"
        message += f"{len(journal)} answers are on disk for {wanted}, and not judged yet.{_urge(batches)}"
        return Summary(state, 0, message, "", {"items": facts["items"]}, history)
    result: dict[str, Any] = manifest["result"]
    if finished is not None:
        return Summary("published", 0, "", str(whole.dataset), result, history)
    written = partial.dataset if result["files"]["dataset"] else partial.rejects
    return Summary("partial", 0, f"The same command goes on from here.{_urge(batches)}", str(written), result, history)


def _urge(*ledgers: Ledger) -> str:
    """A word about answers that a provider will not keep much longer."""
    days = (time.time() - min(batches.waiting_since for batches in ledgers)) // DAY if ledgers else 0
    if days < URGENT:
        return ""
    return f" A batch was handed in {days:.0f} days ago, and providers keep answers for {KEPT}: fetch them now."


def _of_shards(output: Path, manifest: Mapping[str, Any] | None) -> Summary:
    """How the shards of an output stand. `manifest`: of the whole, where they are united."""
    shards = [Shard(number, of) for of in cuts_of(output) for number in range(1, of + 1)]
    begun = {shard: status(str(path_of(output, shard))) for shard in shards if run_of(output, shard).is_dir()}
    history = join_histories([each.history for each in begun.values()]) if begun else {}
    if manifest is not None:
        return Summary("published", 0, "", str(output), manifest["result"], {**manifest["history"], **history})
    states = {shard: begun[shard].status if shard in begun else "not begun" for shard in shards}
    counts = Counter(states.values())
    rest = [f"{shard} {state}" for shard, state in states.items() if state != "published"]
    named = f"; {', '.join(rest[:MOST_NAMED])}{' …' if len(rest) > MOST_NAMED else ''}" if rest else ""
    message = f"{counts['published']} of {len(shards)} shards are done{named}."
    message += _urge(*(Ledger(RunDirectory(run_of(output, shard)).batches) for shard in begun))
    message += "" if rest else f" This unites them: distill-data publish {output}"
    items = sum(int(str(each.result["items"])) for each in begun.values())
    return Summary("running" if counts["running"] else "partial", 0, message, "", {"items": items}, history)


def _counted(journal: Journal, facts: Mapping[str, Any], batches: Ledger) -> dict[str, Any]:
    """What the journal says now; in money by the prices that `run.json` keeps."""
    totals = journal.totals
    tokens, cost, in_doubt = sum_up(totals, read_accounts(facts), batches)
    return {
        "answers": len(journal),
        "in_doubt": totals.doubt.requests + batches.doubt.requests,
        "bought": totals.bought,
        "bought_twice": totals.bought_twice,
        "torn_tails": totals.torn_tails,
        "prompt_tokens": totals.prompt_tokens,
        "completion_tokens": totals.completion_tokens,
        "cached_tokens": totals.cached_tokens,
        **({"tokens": tokens, "cost": cost, "cost_in_doubt": in_doubt} if "accounts" in facts else {}),
        **batches.to_json(),
    }

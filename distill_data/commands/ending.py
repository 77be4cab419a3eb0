"""How a run ends: its outcomes published whole or as `.partial`, and why. Knows no method and asks nobody."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from distill_data import __version__
from distill_data.commands.job import Job
from distill_data.commands.options import Summary
from distill_data.commands.running import Run
from distill_data.commands.shards import shard_facts
from distill_data.commands.watching import other_models
from distill_data.commands.work import Work
from distill_data.engine.publish import Count, Files, publish, withdraw
from distill_data.engine.spill import Spill
from distill_data.errors import DistillError

LEAST_CAUGHT = 0.8
"""Share of planted bad answers that a judge must catch for its scores to count as reliable."""
LEAST_READ = 4
"""Verdicts on planted answers that it takes to say so."""


def end_run(job: Job, spill: Spill, live: Run, stopped: DistillError | None) -> Summary:
    """Write what there is: as the output where it is whole, else as `.partial`."""
    history = live.history()
    failed, kept = live.count.statuses["failed"], live.count.statuses["kept"]
    whole = stopped is None and kept >= (live.work.target or 1) and failed <= job.options.max_failed * live.work.items
    whole = whole and live.count.records > 0 and live.meter is None  # further kinds alone are no output
    if job.options.shard is not None:
        return _end_shard(job, spill, live, stopped)
    if live.meter is not None:
        history["forecast"] = live.meter.forecast(live.journal.owned, job.profiles)
    target = job.files(partial=not whole)
    facts = {**job.facts(), **live.work.facts}
    facts |= annotated(facts, live.count, spill.read())
    result = publish(spill.read(), target, live.count, facts, {**history, **stamp()})
    if whole:
        withdraw(job.files(partial=True))
        warnings = " ".join(filter(None, (warnings_of(result), other_models(history["served"]))))
        return summary_of("published", 0, warnings, target, result, history)
    if live.meter is not None and stopped is None:
        return summary_of("pilot", 0 if result["kept"] else 3, _after_pilot(result, live), target, result, history)
    message, code = _ending(stopped, result, live.work, job)
    return summary_of("partial", code, message, target, result, history)


def _end_shard(job: Job, spill: Spill, live: Run, stopped: DistillError | None) -> Summary:
    """Write a shard, which is whole once every item has ended: whether too many failed is asked of all shards."""
    shard, history = job.options.shard, live.history()
    assert shard is not None
    target = job.files(partial=stopped is not None)
    facts = {**job.facts(), **live.work.facts, "shard": shard_facts(job.output, shard, job.options.other_kinds)}
    places = map(job.seeds.places.__getitem__, spill.places())
    result = publish(spill.read(), target, live.count, facts, {**history, **stamp()}, places)
    if stopped is not None:
        message = f"{stopped} What is done is kept: the same command goes on from here."
        return summary_of("partial", stopped.exit_code, message, target, result, history)
    withdraw(job.files(partial=True))
    message = f"Shard {shard} is done. Once all are, this unites them: distill-data publish {job.output}"
    return summary_of("published", 0, message, target, result, history)


def stamp() -> dict[str, str]:
    """What a manifest's history says of when and by what it was written."""
    return {"finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "version": __version__}


def summary_of(
    status: str, code: int, message: str, target: Files, result: Mapping[str, Any], history: Mapping[str, Any]
) -> Summary:
    written = {name: str(path) for name, path in target.datasets().items() if result["files"][name]}
    output = written.pop("dataset", str(target.rejects))
    return Summary(status, code, message, output, result, history, others=tuple(written.values()))


def _after_pilot(result: Mapping[str, Any], live: Run) -> str:
    """What to know of a forecast, and how to go on."""
    said = ["A pilot: look at its rows, which stay paid; the same command without --pilot goes on from here."]
    if not result["kept"]:
        said.insert(0, "Nothing was kept; the rejects say why for each item.")
    elif live.work.target is not None:
        said.append("Later rounds tend to keep fewer, since more stands there already: the forecast is the least.")
    return " ".join(said)


def annotated(facts: Mapping[str, Any], count: Count, blobs: Iterator[bytes]) -> dict[str, Any]:
    """What the manifest says of a student's answers as a whole, beside the other facts."""
    found: dict[str, Any] = {}
    if "canaries" in facts:
        caught, read = count.tallies.get("canaries_caught", (0, 0))
        found["judge"] = "untested" if read < LEAST_READ else "unreliable" if caught < LEAST_CAUGHT * read else "tested"
    if facts["command"] == "self-knowledge" or "round" in facts:
        from distill_data.commands.lineage import diversity_of

        found["diversity"] = diversity_of(blobs)
    return found


def warnings_of(result: Mapping[str, Any]) -> str:
    """What a person should know of a dataset that is whole."""
    found = []
    caught = result.get("measures", {}).get("canaries_caught", {"count": 0, "of": 0})
    if result.get("judge") == "unreliable":
        found.append(
            f"The judge took {caught['of'] - caught['count']} of {caught['of']} planted bad answers for good ones: "
            "do not rely on its scores."
        )
    if result.get("judge") == "untested":
        found.append(
            f"The judge gave a verdict on {caught['of']} of {result['canaries']} planted answers, which is too few to "
            "say anything about it."
        )
    if "before" in result:
        from distill_data.commands.lineage import alarms

        found += alarms(result)
    return " ".join(found)


def _ending(stopped: DistillError | None, result: Mapping[str, Any], work: Work, job: Job) -> tuple[str, int]:
    """Why the output is partial, and the exit code for it."""
    options, again = job.options, "What is done is kept: the same command goes on from here"
    if stopped is not None:
        return f"{stopped} {again}.", stopped.exit_code
    if result["failed"] > options.max_failed * result["items"]:
        if work.target is not None:
            again = (
                "A refusal stands, as later rounds were built beside it: --retry-failed asks again, which may need "
                "--accept-drift, and a higher --max-failed takes the rows as they are"
            )
        else:
            again += "; only the failed are asked"
        return (
            f"{result['failed']} of {result['items']} items failed, more than --max-failed {options.max_failed:g} "
            f"allows. {again}."
        ), 3
    if work.target is not None:
        return (
            f"{result['kept']} of {work.target} rows were kept, and {work.ended}. The reasons above say what was lost; "
            "what was kept is in the partial file and stays paid."
        ), 3
    if result["kept"]:
        kind = options.kind or job.recipe.record.kind
        return (
            f"No row of the kind {kind} came of it, which {job.output.name} was to hold; the dropped samples above say "
            "why. Rows of other kinds are in their partial files: let the output be one of these."
        ), 3
    return "Nothing was kept, so there is no dataset; the rejects say why for each item.", 3

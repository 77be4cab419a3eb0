"""`publish`: the shards of an output, united into the files that one run would have written. Asks nobody.

Needs neither recipe nor seeds: what it must know, the shards' manifests say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from distill_data.commands.ending import annotated, stamp, summary_of, warnings_of
from distill_data.commands.options import Summary
from distill_data.commands.shards import cuts_of, folder_of, join_histories, kinds_of, path_of, run_of
from distill_data.data.items import digest
from distill_data.data.shard import Shard
from distill_data.engine.publish import Count, files_of, is_published, read_manifest, withdraw
from distill_data.engine.publish import publish as write
from distill_data.engine.rundir import RunDirectory
from distill_data.engine.uniting import Part, unite
from distill_data.errors import DriftError, UsageError

OF_A_SHARD = ("shard", "records", "features", "files")
"""What a shard's result says of itself, beside its sums."""
NEEDED = frozenset({*Count(0).to_json(), *OF_A_SHARD, "plan", "seeds"} - {"features"})


def publish(output: str, *, partial: bool = False, max_failed: float = 0.01, of: int | None = None) -> Summary:
    """Unite the shards of `output`; with `partial` those that are there, into `OUT.partial.jsonl` unless that is all.

    The bytes are those of a run in one piece. `max_failed` is the share of all items that may fail before the output
    counts as partial. `of` is the number of shards, which must be given where there are several cuts. Raises UsageError
    where a shard is missing or unfinished, DriftError where shards are of different jobs, and DamageError where their
    files are not what they were.
    """
    path = Path(output)
    files_of(path)  # the name must be one
    if not 0 <= max_failed <= 1:
        raise UsageError(f"--max-failed {max_failed:g}: must be a share between 0 and 1.")
    shards = _shards_of(path, of)
    found = {shard: _find_part(path, shard, partial=False) for shard in shards}
    missing = [shard for shard, part in found.items() if part is None]
    if not partial:
        _refuse_unfinished(path, missing)
    partial = bool(missing)
    found |= {shard: _find_part(path, shard, partial=True) for shard in missing}
    parts = {shard: part for shard, part in found.items() if part is not None}
    if not parts:
        raise UsageError(f"{folder_of(path)}: no shard has published anything yet, so there is nothing to unite.")
    facts = _common_facts(path, parts)
    return _write(path, list(parts.values()), facts, len(shards), partial=partial, max_failed=max_failed)


def _shards_of(output: Path, of: int | None) -> list[Shard]:
    cuts = cuts_of(output) if of is None else [of]
    if not cuts:
        raise UsageError(f"{output}: there are no shards of it, as {folder_of(output)} would hold them.")
    if len(cuts) > 1:
        raise DriftError(
            f"{folder_of(output)}: shards of {len(cuts)} cuts lie there, into {' and into '.join(map(str, cuts))}. "
            "Move those of all but one of them elsewhere."
        )
    return [Shard(number, cuts[0]) for number in range(1, cuts[0] + 1)]


def _find_part(output: Path, shard: Shard, *, partial: bool) -> Part | None:
    """A shard that is whole, else, where that will do, what it has published; None where it isn't there."""
    path, whole = path_of(output, shard), True
    manifest = read_manifest(files_of(path).manifest)
    stopped = read_manifest(files_of(path, partial=True).manifest)
    plan = RunDirectory(run_of(output, shard)).load().get("plan")
    if stopped is not None or (manifest and plan not in (None, manifest["result"].get("plan"))):
        manifest, whole = stopped, False  # what is whole is of an earlier plan
    if manifest is None or not (whole or partial) or not _is_of_a_shard(manifest):
        return None
    kinds = manifest["result"]["shard"]["kinds"]
    others = kinds_of(output, shard, dict.fromkeys(kinds, output))
    files = files_of(path, partial=not whole, others=others, order=True)
    return Part(files.paths(), ("dataset", *kinds), manifest["result"], manifest["history"])


def _is_of_a_shard(manifest: Mapping[str, Any]) -> bool:
    """Whether it has what is needed here; it may be another program's."""
    result = manifest["result"]
    of = result.get("shard")
    return manifest.keys() >= {"history"} and result.keys() >= NEEDED and isinstance(of, dict) and "kinds" in of


def _refuse_unfinished(output: Path, shards: Sequence[Shard]) -> None:
    if not shards:
        return
    said = []
    for shard in shards[:10]:
        run = RunDirectory(run_of(output, shard))
        begun, holder = run.path.is_dir(), run.holder() if run.path.is_dir() else ""
        how = f"is being worked on by process {holder}" if holder else "is unfinished" if begun else "is missing"
        said.append(f"{shard} {how}")
    more = f", and {len(shards) - 10} more are not there" if len(shards) > 10 else ""
    raise UsageError(
        f"{output}: shard {', '.join(said)}{more}. Run the same command with its --shard to its end, or give --partial "
        "to write what there is."
    )


def _common_facts(output: Path, parts: Mapping[Shard, Part]) -> dict[str, Any]:
    """What all shards' results say of the job. Raises DriftError where they are of different jobs."""
    sums = Count(0).to_json().keys() | {"measures", *OF_A_SHARD}
    told = {
        shard: {name: each for name, each in part.result.items() if name not in sums} for shard, part in parts.items()
    }
    first, common = next(iter(told.items()))
    for shard, facts in told.items():
        differing = [name for name in common | facts if common.get(name) != facts.get(name) and name != "plan"]
        if facts != common:
            what = ", ".join(differing) or "an option, or what a teacher can do,"
            raise DriftError(
                f"{output}: shards {first} and {shard} are of different jobs: {what} differ. Run both again with the "
                "same command."
            )
        if part_kinds(parts[shard]) != part_kinds(parts[first]):
            raise DriftError(f"{output}: shards {first} and {shard} name different files for --kind.")
    return common


def part_kinds(part: Part) -> dict[str, str]:
    """Kind to the file of the whole that a shard's records of that kind go to, from the output's folder."""
    kinds: dict[str, str] = part.result["shard"]["kinds"]
    return kinds


def _write(
    output: Path, parts: Sequence[Part], facts: dict[str, Any], of: int, *, partial: bool, max_failed: float
) -> Summary:
    others = {kind: output.parent / name for kind, name in part_kinds(parts[0]).items()}
    files, rest = (files_of(output, partial=each, others=others) for each in (False, True))
    united = {"of": of, "digest": digest([part.result["files"] for part in parts])}
    history = {**join_histories([part.history for part in parts]), "shards": united}
    count = Count(facts["seeds"]["rows"])
    for part in parts:
        count.absorb(part.result)

    def outcomes() -> Iterator[bytes]:
        return unite(parts, count.items, whole=not partial)

    failed, kept = count.statuses["failed"], count.statuses["kept"]
    whole = not partial and kept > 0 and count.records > 0 and failed <= max_failed * count.items
    if whole:
        before = is_published(files, facts["plan"])
        if before and before["history"].get("shards") == history["shards"]:
            withdraw(rest)
            return Summary("unchanged", 0, warnings_of(before["result"]), str(output), before["result"], history)
    facts = {**facts, **annotated(facts, count, outcomes())}
    result = write(outcomes(), files if whole else rest, count, facts, {**history, **stamp()})
    if whole:
        withdraw(rest)
        return summary_of("published", 0, warnings_of(result), files, result, history)
    code, message = _ending(result, of, max_failed, partial=partial)
    return summary_of("partial", code, message, rest, result, history)


def _ending(result: Mapping[str, Any], of: int, max_failed: float, *, partial: bool) -> tuple[int, str]:
    """The exit code, and why the output is partial."""
    if partial:
        return 0, f"{result['pending']} items of {of} shards are pending."
    if result["failed"] > max_failed * result["items"]:
        return 3, (
            f"{result['failed']} of {result['items']} items failed, more than --max-failed {max_failed:g} allows. Run "
            "the shards again with --retry-failed: only the failed are asked."
        )
    if result["kept"]:
        return 3, "No row came of it for the output itself, only rows of other kinds; these are in their partial files."
    return 3, "Nothing was kept, so there is no dataset; the rejects say why for each item."

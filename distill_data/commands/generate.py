"""What every generating command does around its method: plan, lock, check for drift, run, publish.

    survey the seeds -> claim the run -> published already? -> drift? -> run -> publish

Knows the engine and the recipe, but not what the method asks.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from distill_data import __version__
from distill_data.commands import seating
from distill_data.commands.ending import end_run, warnings_of
from distill_data.commands.grouping import leading_column
from distill_data.commands.job import Job
from distill_data.commands.lanes import check_lane, expected_cost, is_batched, refuse_open
from distill_data.commands.loop import one_loop
from distill_data.commands.options import Options, Summary, check_arguments
from distill_data.commands.places import output_path, refuse_overwriting, run_at
from distill_data.commands.plan import Seeds, find_pool, find_seeds, plan_digest, questions_digest, read_recipe
from distill_data.commands.roles import FROM_STUDENTS, find_profiles
from distill_data.commands.running import Run, rehearse, run_live, run_parked, run_replay
from distill_data.commands.sharded import run_shards, with_shards
from distill_data.commands.shards import cut_budget, cut_limits, refuse_other_cut, run_of
from distill_data.commands.spending import accounts_to_json, check_cap, prices_to_json, read_accounts
from distill_data.commands.task import Task
from distill_data.commands.work import Work
from distill_data.data.items import Row, digest
from distill_data.engine.batches import Ledger
from distill_data.engine.journal import Journal
from distill_data.engine.publish import is_published, withdraw
from distill_data.engine.rundir import RunDirectory
from distill_data.engine.spill import Spill
from distill_data.errors import DiskError, DistillError, DriftError, UsageError
from distill_data.recipes import Recipe, try_row
from distill_data.reporting import Progress
from distill_data.teachers import Resolved
from distill_data.teachers.protocol import Profile

MakeWork = Callable[[Mapping[str, Resolved]], Work]
"""From role to what was found out about its model, to the work of one pass."""
Prepare = Callable[[Recipe, Mapping[str, str], Seeds, Sequence[Row], Options], MakeWork]
"""From recipe, role to model, seeds, demonstrations and options to a maker of works, one for each pass.

Checks all that can be checked without asking. Raises UsageError, RecipeError and SeedError.
"""


def generate(
    command: str,
    seeds: str,
    recipe: str | Recipe,
    output: str,
    options: Options,
    prepare: Prepare,
    progress: Callable[[Progress], None] | None = None,
) -> Summary:
    """Run one generating command, by a recipe's name or one that is made already. Raises DistillError; ends otherwise
    in a Summary."""
    given = recipe if isinstance(recipe, Recipe) else None
    recipe = given.name if given else str(recipe)
    check_arguments(options, seeds, recipe, output)
    with one_loop() as loop:
        made = given or read_recipe(recipe, command, options)
        say = progress or (lambda _: None)
        if options.replay is not None:
            return _replay(loop, made, seeds, output, options, prepare, say)
        asked = [*filter(None, (options.students, options.answers_column))]
        path = output_path(
            output, [command, seeds, recipe, options.teachers, options.settings, options.samples, *asked], options
        )
        refuse_overwriting(path, [seeds, recipe, made.demonstrations.source if made.demonstrations else ""], options)
        if options.shard and output == "-":
            raise UsageError("--shard writes files that `publish` unites; give -o OUT.jsonl.")
        run = RunDirectory(options.run or run_of(path, options.shard))
        options = cut_budget(options)
        profiles = find_profiles(options, made)
        check_lane(options, made, profiles)
        if options.dry_run:
            options = with_shards(path, options) if options.shards else options
            surveyed = find_seeds(seeds, options, None)
            stored = run.load().get("teachers", {})
            job = _plan(loop, made, surveyed, path, options, prepare, say, stored, probe=False, profiles=profiles)
            return _dry_run(loop, job, run)
        found: Seeds | None = None
        if seeds != "-":
            found = find_seeds(seeds, options, None)
            found.survey(made, run.load().get("surveyed", {}), run.places)
        if options.shards:
            in_process = not all(map(is_batched, profiles.values()))
            task = Task(command, seeds, recipe, str(path), options, in_process)

            def look(seeds: Seeds, stored: Mapping[str, Any], probe: bool) -> Summary | None:
                return _unchanged(_plan(loop, made, seeds, path, options, prepare, say, stored, probe=probe))

            summary = run_shards(loop, task, found, look, say)
            return _put_out(path, summary) if output == "-" else summary
        run.claim()
        try:
            found = found or find_seeds(seeds, options, run.path)
            job = _plan(
                loop, made, found, path, options, prepare, say, run.load().get("teachers", {}), profiles=profiles
            )
            summary = _run(loop, job, run)
        except DistillError:
            run.abandon()
            raise
        finally:
            run.release()
    return _put_out(path, summary) if output == "-" else summary


def _put_out(path: Path, summary: Summary) -> Summary:
    """The dataset on stdout, where the run came to its end."""
    if summary.status in ("published", "unchanged"):
        with path.open("rb") as stream:
            shutil.copyfileobj(stream, sys.stdout.buffer)
    return summary


def _plan(
    loop: asyncio.Runner,
    recipe: Recipe,
    seeds: Seeds,
    output: Path,
    options: Options,
    prepare: Prepare,
    say: Callable[[Progress], None],
    stored: Mapping[str, Any],
    *,
    probe: bool = True,
    profiles: Mapping[str, Profile] | None = None,
    resolved: Mapping[str, Resolved] | None = None,
) -> Job:
    """Check all that can be checked without sending, the first row's prompt included; then resolve the teachers."""
    profiles = cut_limits(profiles or find_profiles(options, recipe), options.shard)
    if not seeds.rows:
        seeds.survey(recipe)
    if seeds.rows:
        try_row(recipe, seeds.first().row)
    pool = find_pool(recipe.demonstrations, seeds, recipe)
    names = {role: profile.name for role, profile in profiles.items()}
    make_work = prepare(recipe, names, seeds, pool, options)
    seeds.leading = leading_column(recipe)
    if resolved is None:
        needs = {role: seating.needs_of(recipe, role) if probe else frozenset[str]() for role in profiles}
        resolved = loop.run(seating.resolve_teachers(profiles, needs, stored))
        resolved = resolved if probe else seating.take_for_granted(resolved, recipe)
    identities = {role: [names[role], each.to_json()] for role, each in resolved.items()}
    plan = plan_digest(recipe, seeds, pool, identities, options)
    questions = questions_digest(recipe, options)
    work = partial(make_work, resolved)
    return Job(recipe, seeds, options, output, profiles, resolved, work, plan, questions, say)


def _unchanged(job: Job) -> Summary | None:
    """What the output's files say, where they are the whole outcome of this plan and nothing is to be asked again."""
    files = job.files()
    manifest = is_published(files, job.plan)
    failed, items = (manifest["result"].get(name, 0) if manifest else 0 for name in ("failed", "items"))
    again = failed > 0 and (job.options.retry_failed or failed > job.options.max_failed * items)
    if manifest is None or again:
        return None
    withdraw(job.files(partial=True))
    return Summary(
        "unchanged",
        0,
        warnings_of(manifest["result"]),
        str(files.dataset),
        manifest["result"],
        {**manifest["history"], "bought": 0, "reused": 0},
    )


def _run(loop: asyncio.Runner, job: Job, run: RunDirectory) -> Summary:
    if done := _unchanged(job):
        return done
    with contextlib.ExitStack() as opened:
        journal, shelves = _open_journals(opened, job.options, run)
        stored = run.load()
        if len(journal):
            _check_drift(loop, job, partial(_pass, job, journal, shelves), stored)
        else:
            refuse_other_cut(job.output, job.options)
            loop.run(rehearse(_pass(job, journal, shelves)))
        live = _pass(job, journal, shelves)
        refuse_open(job.options, live.batches, live.addresses)
        live.before = read_accounts(stored)
        check_cap(job.options.max_cost, live.accounts())
        if job.options.pilot is not None:
            live = live.pilot(job.options.pilot)
        facts = {**_facts(job), "prices": prices_to_json(live.prices)}
        run.save({**facts, "accounts": accounts_to_json(live.accounts())})
        job.seeds.keep_places(run.places)
        journal.prepare()
        if job.options.lane == "online":
            spill = opened.enter_context(contextlib.closing(Spill(run.spill)))
            stopped = loop.run(run_live(live, spill, job.recipe.gold_by, job.say))
        else:
            from distill_data.commands.batched import run_batched

            live, spill, stopped = loop.run(run_batched(job, run, live))
            opened.callback(spill.close)
        stopped = stopped or job.seeds.changed()
        journal.close()  # what still lands now is in the counts
        with contextlib.suppress(DiskError):  # without the note it counts as dear as it can have been
            run.save({**facts, "accounts": accounts_to_json(live.accounts())})
        return end_run(job, spill, live, stopped)


def _facts(job: Job) -> dict[str, Any]:
    """What `run.json` says the run is about."""
    return {
        "created_by": __version__,
        "items": job.seeds.own_rows,
        "surveyed": job.seeds.surveyed,
        "rows": job.options.rows,
        "recipe": job.recipe.name,
        "plan": job.plan,
        "questions": job.questions,
        "reuse": _shelf_names(job.options),
        "teachers": seating.facts_of(job.profiles, job.resolved),
    }


def _open_journals(opened: contextlib.ExitStack, options: Options, run: RunDirectory) -> tuple[Journal, list[Journal]]:
    """A run's journal, and those that `--reuse` takes answers from; closed at the end of the block."""
    paths = [run.journal, *(run_at(each, "--reuse").journal for each in options.reuse)]
    journal, *shelves = (opened.enter_context(contextlib.closing(Journal(path))) for path in paths)
    return journal, shelves


def _pass(job: Job, journal: Journal, shelves: list[Journal]) -> Run:
    """One pass over the items, nothing counted yet."""
    batches = Ledger(journal.directory.with_name("batch"))
    return Run(job.make_work(), seating.seat(job.profiles, job.resolved), journal, shelves, job.options, batches)


def _check_drift(loop: asyncio.Runner, job: Job, make_pass: Callable[[], Run], stored: Mapping[str, Any]) -> None:
    """Raise DriftError where this run's answers belong to other requests than the ones asked for now.

    A plan that was begun goes on unseen. Where the questions and all who were asked are the same, samples and roles may
    have come to them.
    """
    begun = (stored.get("plan"), stored.get("created_by")) == (job.plan, __version__)
    if begun and set(stored.get("reuse", ())) <= set(_shelf_names(job.options)):
        return
    facts = orjson.loads(orjson.dumps(seating.facts_of(job.profiles, job.resolved)))
    before: Mapping[str, Any] = stored.get("teachers", {})
    same = stored.get("questions") == job.questions and all(facts.get(role) == each for role, each in before.items())
    known = before.keys() if same else None
    trial = make_pass()
    parking, drifted = loop.run(run_parked(trial, watch=True, known=known))
    if drifted and not job.options.accept_drift:
        raise DriftError(
            f"{job.output}: the recipe, its settings or the teacher changed since this run began: {drifted} items have "
            f"answers on disk that would go unused. {seating.moved(before, facts)}"
            f"Of {len(trial.journal)} answers on disk {min(trial.tally.reused, len(trial.journal))} can be used; "
            f"{len(parking.keys)} new requests would be sent (at most {parking.prompt_tokens} prompt and "
            f"{parking.completion_tokens} completion tokens). "
            "Give --accept-drift to go on, another -o to keep both, or undo the change."
        )


def _shelf_names(options: Options) -> list[str]:
    """The runs that answers are taken from, by digests of their places."""
    return [digest(str(path.resolve()))[:16] for path in options.reuse]


def _dry_run(loop: asyncio.Runner, job: Job, run: RunDirectory) -> Summary:
    """Count what would be sent. Nothing is written."""
    with contextlib.ExitStack() as opened:
        journal, shelves = _open_journals(opened, job.options, run)
        live = _pass(job, journal, shelves)
        parking, _ = loop.run(run_parked(live, watch=False))
    first = _first_messages(orjson.loads(parking.first_body or b"{}"))
    history = {
        "to_send": len(parking.keys),
        "answered": live.tally.reused,
        "estimated_prompt_tokens": parking.prompt_tokens,
        "estimated_completion_tokens": parking.completion_tokens,
        "estimated_cost": expected_cost(job.options, parking.cost),
        "in_doubt": journal.totals.doubt.requests + live.batches.doubt.requests,
    }
    message = _uncounted(job, live.work) if parking.keys else ""
    return Summary("planned", 0, message, str(job.output), live.count.to_json(), history, tuple(first))


def _first_messages(body: Mapping[str, Any]) -> list[Any]:
    """What a body asks about, as chat messages: a prompt or a text to embed, and y where that is given."""
    texts = [body["prompt"]] if "prompt" in body else body.get("input", [])
    raw = [{"role": "user", "content": text} for text in texts]
    return [*(body.get("messages") or raw), *body.get("completion", ())]


def _uncounted(job: Job, work: Work) -> str:
    """What a dry run cannot count yet, and what it counts beside the seeds."""
    if work.target is not None:
        return "These are the proposals of one round; answers and later rounds depend on what comes back."
    said = []
    if job.options.lane == "auto":
        said.append("That is the price by batch; what they leave over costs the whole of it.")
    if any(
        each.capabilities.scoring == "prompt_logprobs" and not each.capabilities.tokenizer
        for each in job.resolved.values()
    ):
        said.append("Whether the server can score a given text is found out by the run, with one or two short posts.")
    if job.recipe.command in FROM_STUDENTS and job.recipe.stages:
        said.append("What is asked about answers, such as verdicts, is counted once the answers are there.")
    if planted := work.facts.get("canaries"):
        said.append(f"Among {planted} items' answers one more is planted, a bad one, to see whether the judge notices.")
    return " ".join(said)


def _replay(
    loop: asyncio.Runner, recipe: Recipe, seeds: str, output: str, options: Options, prepare: Prepare,
    say: Callable[[Progress], None],
) -> Summary:  # fmt: skip
    """Make the output from another run's answers alone. Neither key, engine nor weights are needed."""
    assert options.replay is not None
    if output == "-":
        raise UsageError("--replay writes a file; give -o OUT.jsonl.")
    refuse_overwriting(Path(output), [seeds], options)
    source = run_at(options.replay, "--replay")
    stored = source.load()
    profiles, resolved = seating.recall_teachers(stored)
    found = find_seeds(seeds, options, None)
    job = _plan(loop, recipe, found, Path(output), options, prepare, say, {}, profiles=profiles, resolved=resolved)
    with contextlib.ExitStack() as opened:
        live = _pass(job, *_open_journals(opened, job.options, source))
        live.before = read_accounts(stored)
        scratch = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="distill-replay-")))
        spill = opened.enter_context(contextlib.closing(Spill(scratch / "spill")))
        loop.run(run_replay(live, spill, recipe.gold_by))
        return end_run(job, spill, live, None)

"""What every generating command takes. Knows neither the command line nor what the options do."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import orjson

from distill_data.data.shard import Shard
from distill_data.errors import UsageError

LANES = ("online", "batch", "auto")


@dataclass(frozen=True, slots=True)
class Options:
    """Options of a generating command, named as on the command line. The defaults are the command line's own."""

    teachers: tuple[str, ...] = ()
    """Profiles or `backend/model` names; none means `$DISTILL_TEACHER`, then the embedded teacher."""
    students: tuple[str, ...] = ()
    """The same for the models whose answers are annotated; none of them is a default."""
    base_url: str = ""
    api_key_env: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Header name to the environment variable that holds its value."""
    samples: int | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    """`--set KEY=VALUE`; values are YAML."""
    rename: Mapping[str, str] = field(default_factory=dict)
    """`--map new=old`."""
    limit: int | None = None
    shuffle: int | None = None
    """Take the seeds in an order drawn from this number."""
    seed: int = 0
    """The run's random seed."""
    concurrency: int | None = None
    timeout: float | None = None
    """Seconds for one request, all in."""
    rpm: float | None = None
    tpm: float | None = None
    max_cost: float | None = None
    """USD over the whole run."""
    max_tokens_total: int | None = None
    max_failed: float = 0.01
    """Share of items that may fail before the output counts as partial."""
    rows: int | None = None
    """How many candidates to keep, for the commands that write x themselves."""
    max_candidates: int | None = None
    """How many candidates to look at, at most; by default ten times `rows`, and at least a thousand."""
    answers: bool = True
    """Whether y is asked for; without, the records are prompts."""
    answer_teacher: str = ""
    """Who writes y, where it is another model than the one that writes x."""
    answers_column: str = ""
    """The column with the answers to annotate, where the seeds bring them; no student is asked then."""
    kind: str = ""
    """The kind of record in the output; empty is the recipe's own."""
    other_kinds: Mapping[str, Path] = field(default_factory=dict)
    """Further kinds to the files that they are written to, in the same run."""
    canaries: float = 0
    """Share of items whose judges are shown a planted bad answer too; at least four items where it isn't 0."""
    verifier: str = ""
    """`module:function`, in place of the recipe's verifier."""
    allow_code: bool = False
    """Whether verifiers may run code that a model wrote."""
    round: int = 0
    """Which round of training the student is in, from 1; 0 where nobody says."""
    previous: Path | None = None
    """The dataset of the round before."""
    resample: int = 1
    """How often a reply that its parser refuses is asked again."""
    retry_failed: bool = False
    accept_drift: bool = False
    reuse: tuple[Path, ...] = ()
    replay: Path | None = None
    run: Path | None = None
    """The run directory; by default `OUT.run` beside the output, or a folder under `.distill/` for `-o -`."""
    dry_run: bool = False
    shard: Shard | None = None
    """The part of the job that this process does; `publish` unites the parts."""
    shards: int | None = None
    """How many processes to start, each with a shard."""
    engine: str = ""
    """Where they are started: `ray`, or here."""
    pilot: int | None = None
    """Take so many items only, and forecast what the others will need."""
    lane: str = "online"
    """`online`, `batch` (by batch endpoints, at half the price) or `auto` (by batches first, then online)."""
    rebuy_lost: bool = False
    """Whether the requests of batches that the provider no longer knows are asked again."""
    config: Path | None = None
    """`distill.toml`; by default the one in the working directory."""


def check_arguments(options: Options, seeds: str, recipe: str, output: str) -> None:
    """Raise UsageError for what cannot be, before anything is paid for: what the manifest could not say included."""
    for name, value in {"SEEDS": seeds, "--recipe": recipe, "--output": output, **asdict(options)}.items():
        option = name if name.startswith(("S", "-")) else f"--{name.replace('_', '-')}"
        try:
            orjson.dumps(value, default=str)
        except TypeError:
            raise UsageError(
                f"{option} {ascii(value)[:80]}: numbers may have 64 bits, and names and texts must be UTF-8."
            ) from None
    check_options(options)


def check_options(options: Options) -> None:
    """Raise UsageError for a number that cannot be."""
    least = {
        **dict.fromkeys(("limit", "pilot", "samples", "rows", "max_candidates", "concurrency", "shards"), 1),
        **dict.fromkeys(("resample", "max_tokens_total", "max_cost", "round"), 0),
    }
    for name, bound in least.items():
        value = getattr(options, name)
        if value is not None and not value >= bound:  # as NaN is neither
            raise UsageError(f"--{name.replace('_', '-')} {value}: must be at least {bound}.")
        if isinstance(value, int) and value > sys.maxsize:
            raise UsageError(f"--{name.replace('_', '-')} {value}: must be at most {sys.maxsize}.")
    if options.pilot is not None and (options.dry_run or options.replay):
        raise UsageError("--pilot asks the teacher, so it can't be combined with --dry-run or --replay.")
    if options.pilot is not None and (options.shard or options.shards):
        raise UsageError("--pilot looks at the job as a whole: leave --shard and --shards out.")
    if options.lane not in LANES:
        raise UsageError(f"--lane {options.lane}: must be one of {', '.join(LANES)}.")
    if options.pilot is not None and options.lane != "online":
        raise UsageError("--pilot is to be quick, so its rows are asked online: leave --lane out.")
    if not 0 <= options.canaries <= 1:
        raise UsageError(f"--canaries {options.canaries:g}: must be a share between 0 and 1.")
    if not 0 <= options.max_failed <= 1:
        raise UsageError(f"--max-failed {options.max_failed:g}: must be a share between 0 and 1.")
    if options.shard or options.shards or options.engine:
        _check_shards(options)


def _check_shards(options: Options) -> None:
    """Raise UsageError for what cannot be done in shards."""
    option = "--shard" if options.shard else "--shards" if options.shards else "--engine"
    if options.engine and (options.engine != "ray" or not options.shards):
        raise UsageError(f"--engine {options.engine}: the only one is ray, and it needs --shards N.")
    if options.shard and options.shards:
        raise UsageError("--shard and --shards exclude each other: one of the shards, or all of them.")
    if options.rows is not None:
        raise UsageError(
            f"{option}: a recipe that writes x itself works in rounds. What a later round is shown depends on all that "
            "earlier rounds kept, so it cannot be cut into shards that know nothing of each other. Raise --concurrency."
        )
    if options.replay is not None:
        raise UsageError(f"{option}: a replay sends nothing, so there is nothing to share out. Leave one of them out.")
    if options.shards and options.run is not None:
        raise UsageError("--run: every shard has a run directory of its own, beside its files. Leave --run out.")


@dataclass(frozen=True, slots=True)
class Summary:
    """How a run stands: what the closing lines, `status` and `--dry-run` print."""

    status: str
    """`published`, `unchanged`, `partial`, `pilot` or `planned`; of `status` also `running`."""
    exit_code: int
    message: str = ""
    """One paragraph for a person: why the run stopped, or what to do next."""
    output: str = ""
    """The file that was written, as the user named it."""
    result: Mapping[str, object] = field(default_factory=dict)
    """The manifest's deterministic part: items, kept, rejected, failed, pending, records, reasons, dropped, gold, …"""
    history: Mapping[str, object] = field(default_factory=dict)
    """Requests bought, reused, retried, in doubt; tokens; cost in USD or None where a price is unknown; seconds;
    of a pilot the forecast."""
    first_prompt: tuple[Mapping[str, object], ...] = ()
    """The messages of the first request, for `--dry-run`."""
    others: tuple[str, ...] = ()
    """The files of further kinds that were written."""

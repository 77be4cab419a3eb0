"""The options of generating commands: how each is written on the command line, and how its text becomes a value.

An option is one alias here and one parameter of `build_options`; every generating command then has it. Knows nothing
about what the options do. Annotations are not deferred in this package: Typer evaluates them, and `Options` is not
imported for a help text.
"""

import inspect
import math
import re
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from distill_data.errors import UsageError

if TYPE_CHECKING:
    from distill_data.commands.options import Options

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_INPUT, _RECIPE, _TEACHER, _OUTPUT, _LIMITS, _TALK = "Input", "Recipe", "Teacher", "Output and resume", "Limits", "Talk"
_STUDENT = "Student"


def _option(heading: str, about: str, metavar: str | None, *names: str, hidden: bool = False) -> Any:
    """`metavar` is None for a switch."""
    return typer.Option(*names, rich_help_panel=heading, help=about, metavar=metavar, hidden=hidden)


Texts = list[str] | None
Paths = list[Path] | None

Seeds = Annotated[
    str,
    typer.Argument(
        metavar="SEEDS",
        help="JSONL, CSV, text (.gz, .zst), Parquet; - stdin, @NAME, hf/ORG/NAME:SPLIT",
        show_default=False,
    ),
]
RecipeName = Annotated[
    str, _option(_RECIPE, "a recipe's name, or a file: with a / or ending in .jinja", "NAME|PATH", "-r", "--recipe")
]
Output = Annotated[str, _option(_OUTPUT, "the dataset; - is stdout", "OUT", "-o", "--output")]
Verbose = Annotated[bool, _option(_TALK, "say more, and end with the whole manifest", None, "-v", "--verbose")]
Quiet = Annotated[bool, _option(_TALK, "say nothing but errors", None, "-q", "--quiet")]
AsJson = Annotated[bool, _option(_TALK, "print JSON", None, "--json")]

Rename = Annotated[Texts, _option(_INPUT, "read the column OLD as NEW; repeatable", "NEW=OLD", "--map")]
Limit = Annotated[int | None, _option(_INPUT, "take the first N seeds", "N", "--limit")]
Shuffle = Annotated[int | None, _option(_INPUT, "take them in an order drawn from SEED", "SEED", "--shuffle")]

Samples = Annotated[int | None, _option(_RECIPE, "samples of each question", "N", "-n", "--samples")]
Settings = Annotated[
    Texts, _option(_RECIPE, "a setting, sampling key or extra_body.KEY; VALUE is YAML", "KEY=VALUE", "--set")
]
Seed = Annotated[int, _option(_RECIPE, "the run's random seed", "N", "--seed")]
Resample = Annotated[int, _option(_RECIPE, "how often an unreadable reply is asked again", "K", "--resample")]

Rows = Annotated[int, _option(_RECIPE, "how many rows to keep", "N", "--rows")]
MaxCandidates = Annotated[
    int | None,
    _option(_LIMITS, "candidates to look at, at most; else 10 a row, at least 1000", "N", "--max-candidates"),
]
AnswerTeacher = Annotated[
    str, _option(_TEACHER, "who writes y, if not the one who writes x", "MODEL", "--answer-teacher")
]
NoAnswer = Annotated[bool, _option(_RECIPE, "write x only; the records are prompts", None, "--no-answer")]
Meta = Annotated[
    str,
    typer.Argument(
        metavar="META",
        help="what to write about: a file, as SEEDS are, or a folder of documents",
        show_default=False,
    ),
]

Data = Annotated[
    str, typer.Argument(metavar="DATA", help="rows with prompt and completion, messages, or text", show_default=False)
]
Prompts = Annotated[
    str, typer.Argument(metavar="PROMPTS", help="what students are asked: a file, as SEEDS are", show_default=False)
]
Students = Annotated[
    Texts, _option(_STUDENT, "who writes y, as -t names models; repeatable for feedback", "MODEL", "-s", "--student")
]
AnswersColumn = Annotated[
    str, _option(_STUDENT, "the column with the answers; no student is asked", "COLUMN", "--answers")
]
Kinds = Annotated[Texts, _option(_RECIPE, "a kind of record; =FILE for one more; repeatable", "KIND[=FILE]", "--kind")]
Canaries = Annotated[
    str, _option(_RECIPE, "items with a planted bad answer, to test the judge; 4 or more", "SHARE", "--canaries")
]
Verifier = Annotated[str, _option(_RECIPE, "your own (answer, gold) -> bool", "MOD:FUNC", "--verifier")]
AllowCode = Annotated[bool, _option(_RECIPE, "let the verifier run code that a model wrote", None, "--allow-code")]
Round = Annotated[int, _option(_STUDENT, "which round of training the student is in", "K", "--round")]
Previous = Annotated[Path | None, _option(_STUDENT, "the round before, to compare with", "OUT", "--previous")]
SomeRows = Annotated[int | None, _option(_RECIPE, "how many rows to keep, where prompts are new", "N", "--rows")]

Teachers = Annotated[
    Texts,
    _option(_TEACHER, "openai/M, transformers/M, local/M, echo, or a profile; repeatable", "MODEL", "-t", "--teacher"),
]
BaseUrl = Annotated[str, _option(_TEACHER, "where the server is, without /chat/completions", "URL", "--base-url")]
ApiKeyEnv = Annotated[str, _option(_TEACHER, "the environment variable that holds the key", "NAME", "--api-key-env")]
ApiKey = Annotated[str | None, _option(_TEACHER, "refused", "VALUE", "--api-key", hidden=True)]
Headers = Annotated[
    Texts, _option(_TEACHER, "a header, its value from a variable; repeatable", "NAME=ENVVAR", "--header")
]
Timeout = Annotated[float | None, _option(_TEACHER, "for one request, all in", "SECONDS", "--timeout")]
Config = Annotated[Path | None, _option(_TEACHER, "profiles; else ./distill.toml", "FILE", "--config")]

RetryFailed = Annotated[bool, _option(_OUTPUT, "ask again what failed in a finished run", None, "--retry-failed")]
AcceptDrift = Annotated[
    bool, _option(_OUTPUT, "go on though answers on disk fit no question any more", None, "--accept-drift")
]
Reuse = Annotated[Paths, _option(_OUTPUT, "take answers from another run too; repeatable", "RUN", "--reuse")]
Replay = Annotated[Path | None, _option(_OUTPUT, "answers of that run only; nothing is sent", "RUN", "--replay")]
Run = Annotated[Path | None, _option(_OUTPUT, "where answers are kept; else beside the dataset", "DIR", "--run")]
ShardOf = Annotated[str, _option(_LIMITS, "do the I-th of N parts; publish unites them", "I/N", "--shard")]
Shards = Annotated[int | None, _option(_LIMITS, "start N processes, a part each, and unite them", "N", "--shards")]
Engine = Annotated[str, _option(_LIMITS, "ray starts the N on a cluster; else they run here", "NAME", "--engine")]
Pilot = Annotated[int | None, _option(_OUTPUT, "run the first K items and forecast the rest", "K", "--pilot")]
DryRun = Annotated[bool, _option(_OUTPUT, "count requests, tokens and cost; send nothing", None, "--dry-run")]

Lane = Annotated[str, _option(_LIMITS, "online; batch: half the price, in a day; auto: both", "LANE", "--lane")]
RebuyLost = Annotated[bool, _option(_LIMITS, "ask again what was in batches that are lost", None, "--rebuy-lost")]
Concurrency = Annotated[
    int | None, _option(_LIMITS, "requests in flight at most; fewer if refused", "N", "--concurrency")
]
Rpm = Annotated[float | None, _option(_LIMITS, "requests a minute", "N", "--rpm")]
Tpm = Annotated[float | None, _option(_LIMITS, "tokens a minute", "N", "--tpm")]
MaxCost = Annotated[float | None, _option(_LIMITS, "stop before the run costs more", "USD", "--max-cost")]
MaxTokens = Annotated[int | None, _option(_LIMITS, "stop before it takes more tokens", "N", "--max-tokens-total")]
MaxFailed = Annotated[
    str, _option(_LIMITS, "items that may fail, 0 to 1 or in percent; more is .partial", "SHARE", "--max-failed")
]


def build_options(
    *,
    rename: Rename = None,
    limit: Limit = None,
    shuffle: Shuffle = None,
    samples: Samples = None,
    settings: Settings = None,
    seed: Seed = 0,
    resample: Resample = 1,
    teachers: Teachers = None,
    base_url: BaseUrl = "",
    api_key_env: ApiKeyEnv = "",
    api_key: ApiKey = None,
    headers: Headers = None,
    timeout: Timeout = None,
    config: Config = None,
    retry_failed: RetryFailed = False,
    accept_drift: AcceptDrift = False,
    reuse: Reuse = None,
    replay: Replay = None,
    run: Run = None,
    pilot: Pilot = None,
    dry_run: DryRun = False,
    lane: Lane = "online",
    rebuy_lost: RebuyLost = False,
    concurrency: Concurrency = None,
    rpm: Rpm = None,
    tpm: Tpm = None,
    max_cost: MaxCost = None,
    max_tokens_total: MaxTokens = None,
    max_failed: MaxFailed = "1%",
    shard: ShardOf = "",
    shards: Shards = None,
    engine: Engine = "",
) -> "Options":
    """The options as a command takes them. Raises UsageError for values that cannot be; no secret is repeated in it."""
    from distill_data.commands.options import Options
    from distill_data.data.shard import parse_shard

    if api_key is not None:
        raise UsageError(
            "--api-key is refused: every user of this machine can read the arguments of a process. Put the key into "
            "an environment variable, OPENAI_API_KEY or another one that --api-key-env names."
        )
    if api_key_env:
        verify_variable("--api-key-env", api_key_env)
    return Options(
        teachers=tuple(teachers or ()),
        base_url=base_url,
        api_key_env=api_key_env,
        headers=parse_headers(headers),
        samples=_at_least(1, "--samples", samples),
        settings=pairs("--set", "KEY=VALUE", settings),
        rename=pairs("--map", "NEW=OLD", rename),
        limit=_at_least(1, "--limit", limit),
        shuffle=shuffle,
        seed=seed,
        concurrency=_at_least(1, "--concurrency", concurrency),
        timeout=_above_zero("--timeout", timeout),
        rpm=_above_zero("--rpm", rpm),
        tpm=_above_zero("--tpm", tpm),
        max_cost=_above_zero("--max-cost", max_cost),
        max_tokens_total=_at_least(1, "--max-tokens-total", max_tokens_total),
        max_failed=share("--max-failed", max_failed),
        resample=_at_least(0, "--resample", resample),
        retry_failed=retry_failed,
        accept_drift=accept_drift,
        reuse=tuple(reuse or ()),
        replay=replay,
        run=run,
        pilot=_at_least(1, "--pilot", pilot),
        dry_run=dry_run,
        lane=lane,
        rebuy_lost=rebuy_lost,
        config=config,
        shard=parse_shard(shard) if shard else None,
        shards=_at_least(1, "--shards", shards),
        engine=engine,
    )


Command = TypeVar("Command", bound=Callable[..., None])


def takes_options(command: Command, without: Collection[str] = ()) -> Command:
    """Let the command's `**options` be the parameters of `build_options`, in the eyes of Typer; `without` names those
    that would do nothing for it."""
    own = [each for each in inspect.signature(command).parameters.values() if each.kind is not each.VAR_KEYWORD]
    shared = [each for name, each in inspect.signature(build_options).parameters.items() if name not in without]
    parameters = [*(each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own), *shared]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return command


def parse_headers(texts: Sequence[str] | None) -> dict[str, str]:
    """`NAME=ENVVAR` texts as header to variable. Raises UsageError, in which no value is repeated: it may be a key."""
    found: dict[str, str] = {}
    for text in texts or ():
        name, equals, variable = text.partition("=")
        if not equals or not name:
            raise UsageError(
                "--header must be NAME=ENVVAR: a header and the environment variable that holds its value."
            )
        verify_variable(f"--header {name}", variable)
        if name in found:
            raise UsageError(f"--header {name} is given twice.")
        found[name] = variable
    return found


def parse_kinds(texts: Sequence[str] | None) -> tuple[str, dict[str, Path]]:
    """`K` and `K=FILE` texts as the kind of the output, and further kinds with their files. Raises UsageError."""
    kinds = [text.partition("=") for text in texts or ()]
    plain = [kind for kind, equals, _ in kinds if not equals]
    others = {kind: Path(file) for kind, equals, file in kinds if file}
    if len(plain) > 1:
        raise UsageError(f"--kind {plain[1]}: the output is {plain[0]} already; give --kind {plain[1]}=FILE.")
    if len(plain) + len(others) < len(kinds) or (plain and plain[0] in others) or not all(k for k, _, _ in kinds):
        raise UsageError("--kind must be KIND or KIND=FILE, with each kind once.")
    return plain[0] if plain else "", others


def verify_variable(option: str, name: str) -> None:
    """Raise UsageError, in which the name is not repeated: it may be the value, typed by mistake."""
    if not _VARIABLE.fullmatch(name):
        raise UsageError(f"{option} must name an environment variable; the value itself is never an argument.")


def pairs(option: str, form: str, texts: Sequence[str] | None) -> dict[str, str]:
    """KEY=VALUE texts as a mapping. Raises UsageError, in which `form` says how they are written."""
    found: dict[str, str] = {}
    for text in texts or ():
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise UsageError(f"{option} {text}: this must be {form}.")
        if key in found:
            raise UsageError(f"{option} {key} is given twice: {found[key]} and {value}.")
        found[key] = value
    return found


Number = TypeVar("Number", int, int | None)


def _at_least(least: int, option: str, value: Number) -> Number:
    if value is not None and value < least:
        raise UsageError(f"{option} {value}: this must be a whole number of at least {least}.")
    return value


def _above_zero(option: str, value: float | None) -> float | None:
    if value is not None and not 0 < value < math.inf:
        raise UsageError(f"{option} {value}: this must be a number above 0.")
    return value


def share(option: str, text: str) -> float:
    """`0.05`, `5%` and `5 %` are the same."""
    digits, percent, rest = text.partition("%")
    try:
        value = float(digits) / (100 if percent else 1)
    except ValueError:
        value = math.nan
    if rest.strip() or not 0 <= value <= 1:
        raise UsageError(f"{option} {text}: this must be a share from 0 to 1, or a percentage such as 1%.")
    return value

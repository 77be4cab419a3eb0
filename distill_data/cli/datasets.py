"""Commands about datasets that are there: are they as written, what fits them, another shape of them."""

import json
from typing import Annotated

import typer

from distill_data.cli.options import (
    ApiKeyEnv,
    AsJson,
    BaseUrl,
    Config,
    Headers,
    Quiet,
    Seed,
    Teachers,
    build_options,
)
from distill_data.cli.rows import Rows
from distill_data.cli.talk import listening, put, put_json, say
from distill_data.errors import DamageError, UsageError

SHOWN = 10
"""Findings that an error tells; all of them with --json."""

Written = Annotated[str, typer.Argument(metavar="OUT", help="a dataset that a command wrote, with its manifest beside")]
Checked = Annotated[str, typer.Argument(metavar="IN", help="a file or folder that a trainer shall read; - is stdin")]
Rescore = Annotated[
    int, typer.Option("--rescore", rich_help_panel="Input", metavar="N", help="ask the teacher again for N rows")
]
Target = Annotated[
    str, typer.Option("--to", rich_help_panel="Output and resume", metavar="TARGET", help="one of those below")
]
Exported = Annotated[
    str,
    typer.Option("-o", "--output", rich_help_panel="Output and resume", metavar="OUT", help="- is stdout, for lines"),
]
Tokenizer = Annotated[
    str,
    typer.Option(
        "--tokenizer",
        rich_help_panel="Teacher",
        metavar="MODEL",
        help="transformers/PATH, for arrays: the prompt's tokens; else the teacher's",
    ),
]
For = Annotated[
    str, typer.Option("--for", rich_help_panel="Input", metavar="TARGET", help="what reads it, a name of `export --to`")
]
Student = Annotated[
    str,
    typer.Option(
        "--student", rich_help_panel="Student", metavar="MODEL", help="for arrays of `feature`: transformers/PATH"
    ),
]

VERIFY_EXAMPLES = """\
Examples:
  distill-data verify logits.jsonl
  distill-data verify logits.jsonl --rescore 20 -t transformers/smollm2"""
EXPORT_EXAMPLES = """\
Targets; docs/formats.md tells the kinds that each takes and its columns:
  trl-sft trl-dpo trl-kto trl-reward trl-grpo trl-distillation sharegpt alpaca openai-sft
  openai-dpo axolotl nemo-rl rrhf pro        JSON lines
  parquet verl                               a Parquet file
  llama-factory hf                           a folder
  axolotl-kd distillkit npz                  the arrays of `feature`

Examples:
  distill-data export out.jsonl --to trl-sft -o train.jsonl
  distill-data export pairs.jsonl --to llama-factory -o data/pairs
  distill-data export logits.jsonl --to distillkit --tokenizer transformers/./teacher -o kd"""
CHECK_EXAMPLES = """\
Examples:
  distill-data check train.jsonl --for trl-sft
  distill-data check logits.jsonl --student transformers/./student"""


def verify(
    output: Written,
    rescore: Rescore = 0,
    seed: Seed = 0,
    teachers: Teachers = None,
    base_url: BaseUrl = "",
    api_key_env: ApiKeyEnv = "",
    headers: Headers = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Look whether a dataset is as it was written, arrays included. Exit code 5 if it is not."""
    from distill_data.commands.verify import verify as look

    if rescore < 0:
        raise UsageError(f"--rescore {rescore}: this must be a whole number of at least 0.")
    options = build_options(
        seed=seed, teachers=teachers, base_url=base_url, api_key_env=api_key_env, headers=headers, config=config
    )
    with listening(quiet=False, verbose=False, tty=False):
        found = look(output, rescore=rescore, options=options)
    counts = ", ".join(f"{count:,} {name}" for name, count in found.counts.items())
    if as_json:
        put_json({"findings": found.findings, "counts": found.counts})
    elif not found.findings:
        put(f"ok {output}: {counts}")
    if found.findings:
        shown = found.findings[:SHOWN]
        more = len(found.findings) - len(shown)
        head = f"{output} is not as it was written ({counts}):"
        raise DamageError("\n".join([head, *shown, *([f"and {more} more; see all with --json"] if more else [])]))


def export(
    source: Rows,
    to: Target,
    output: Exported,
    tokenizer: Tokenizer = "",
    config: Config = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Write a dataset in the shape that its consumer reads, with the settings for it."""
    from distill_data.commands.export import export as write

    with listening(quiet=quiet, verbose=False, tty=False):
        done = write(source, to=to, output=output, tokenizer=tokenizer, options=build_options(config=config))
    if output == "-":
        return
    if as_json:
        put_json(done.result)
        return
    from distill_data.reporting.rows import export_lines

    if not quiet:
        say(*export_lines(done))
    settings = done.result.get("trainer")
    if settings and not quiet:
        say("settings for the trainer, as YAML or JSON:")
        put(*json.dumps(settings, indent=2, ensure_ascii=False).split("\n"))


def check(
    source: Checked,
    target: For = "",
    student: Student = "",
    base_url: BaseUrl = "",
    api_key_env: ApiKeyEnv = "",
    headers: Headers = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Tell whether a trainer reads a file, or its arrays fit a student. Exit code 2 if not."""
    if bool(target) == bool(student):
        raise UsageError("name what the file is checked for: --for TARGET, or --student MODEL, and one of them only.")
    if target:
        _check_for(source, target, as_json)
        return
    from distill_data.commands.check import check_student

    options = build_options(base_url=base_url, api_key_env=api_key_env, headers=headers, config=config)
    with listening(quiet=False, verbose=False, tty=False):
        found = check_student(source, student, options)
    if as_json:
        put_json({"match": found.match, "fits": found.fits, "lines": found.lines})
    else:
        put(*found.lines)
    raise typer.Exit(0 if found.fits else 2)


def _check_for(source: str, target: str, as_json: bool) -> None:
    from distill_data.commands.check_target import check_target, lines_of

    with listening(quiet=False, verbose=False, tty=False):
        found = check_target(source, target)
    lines = list(lines_of(source, found, SHOWN))
    if as_json:
        faults = [fault._asdict() for fault in found.faults]
        put_json(
            {"target": target, "rows": found.rows, "count": found.count, "as_it_is": found.canonical, "faults": faults}
        )
    elif not found.count:
        put(*lines)
    if found.count:
        raise UsageError("\n".join(lines))

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
    Seed,
    Teachers,
    build_options,
)
from distill_data.cli.talk import listening, put, put_json, say
from distill_data.errors import DamageError, UsageError

SHOWN = 10
"""Findings that an error tells; all of them with --json."""

Written = Annotated[str, typer.Argument(metavar="OUT", help="a dataset that a command wrote, with its manifest beside")]
WithArrays = Annotated[str, typer.Argument(metavar="IN", help="a dataset that `feature` wrote")]
Rescore = Annotated[
    int, typer.Option("--rescore", rich_help_panel="Input", metavar="N", help="ask the teacher again for N rows")
]
Target = Annotated[
    str, typer.Option("--to", rich_help_panel="Output and resume", metavar="NAME", help="distillkit, axolotl-kd or npz")
]
Exported = Annotated[
    str,
    typer.Option("-o", "--output", rich_help_panel="Output and resume", metavar="OUT", help="a folder for distillkit"),
]
Tokenizer = Annotated[
    str,
    typer.Option(
        "--tokenizer",
        rich_help_panel="Teacher",
        metavar="MODEL",
        help="transformers/PATH, for the prompt's tokens; else the teacher's",
    ),
]
Student = Annotated[
    str, typer.Option("--student", rich_help_panel="Student", metavar="MODEL", help="such as transformers/PATH")
]

VERIFY_EXAMPLES = """\
Examples:
  distill-data verify logits.jsonl
  distill-data verify logits.jsonl --rescore 20 -t transformers/smollm2"""
EXPORT_EXAMPLES = """\
Examples:
  distill-data export logits.jsonl --to axolotl-kd -o kd.jsonl
  distill-data export logits.jsonl --to distillkit --tokenizer transformers/./teacher -o kd
  distill-data export states.jsonl --to npz -o states.npz"""
CHECK_EXAMPLES = """\
Examples:
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
    source: WithArrays,
    to: Target,
    output: Exported,
    tokenizer: Tokenizer = "",
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Write a dataset's arrays in the shape that a trainer reads, with its settings."""
    from distill_data.commands.export import export as write

    with listening(quiet=False, verbose=False, tty=False):
        manifest = write(source, to=to, output=output, tokenizer=tokenizer, options=build_options(config=config))
    if as_json:
        put_json(manifest)
        return
    say(f"written: {output}, {output}.manifest.json; {manifest['rows']:,} rows")
    if manifest["settings"]:
        say("settings for the trainer, as YAML or JSON:")
        put(*json.dumps(manifest["settings"], indent=2, ensure_ascii=False).split("\n"))


def check(
    source: WithArrays,
    student: Student,
    base_url: BaseUrl = "",
    api_key_env: ApiKeyEnv = "",
    headers: Headers = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Tell whether a dataset's arrays fit a student before anyone trains. Exit code 2 if not."""
    from distill_data.commands.check import check_student

    options = build_options(base_url=base_url, api_key_env=api_key_env, headers=headers, config=config)
    with listening(quiet=False, verbose=False, tty=False):
        found = check_student(source, student, options)
    if as_json:
        put_json({"match": found.match, "fits": found.fits, "lines": found.lines})
    else:
        put(*found.lines)
    raise typer.Exit(0 if found.fits else 2)

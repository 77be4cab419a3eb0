"""The generating commands: options in, a run with its progress on stderr, the closing lines, the exit code."""

import gc
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import typer

from distill_data.cli.options import Output, Quiet, RecipeName, Seeds, Verbose, build_options, takes_options
from distill_data.cli.talk import listening, say
from distill_data.errors import UsageError

if TYPE_CHECKING:
    from distill_data.commands.options import Options, Summary
    from distill_data.reporting import Progress

    Report = Callable[[Progress], None]

LABEL_EXAMPLES = """\
Examples:
  distill-data label @sentiment -r annotate -o sentiment.jsonl
  distill-data label tasks.csv -r answer -t openai/gpt-x --map instruction=task -o answers.jsonl"""


@takes_options
def label(
    seeds: Seeds, recipe: RecipeName, output: Output, verbose: Verbose = False, quiet: Quiet = False, **options: Any
) -> None:
    """Label your data: a teacher answers each seed. More in docs/options.md."""
    from distill_data.commands.label import label as run_label

    refuse_typing(seeds)
    built = build_options(**options)
    generate(
        lambda progress: run_label(seeds, recipe=recipe, output=output, options=built, progress=progress),
        built,
        verbose=verbose,
        quiet=quiet,
    )


def generate(run: "Callable[[Report], Summary]", options: "Options", *, verbose: bool, quiet: bool) -> None:
    """Run, say how it goes and how it ended, and leave with the summary's exit code."""
    from distill_data.reporting import closing_lines, make_progress

    if not (quiet or options.teachers or options.replay or os.environ.get("DISTILL_TEACHER")):
        say("No teacher is named (-t, DISTILL_TEACHER); the embedded one answers: local/smollm2.")
    gc.freeze()  # what is loaded by now stays
    tty = sys.stderr.isatty()
    with (
        listening(quiet=quiet, verbose=verbose, tty=tty and not quiet),
        make_progress(sys.stderr, tty, quiet or options.dry_run) as progress,
    ):
        summary = run(progress)
    if not quiet:
        say(*closing_lines(summary, verbose=verbose))
    elif summary.exit_code:
        say(summary.message)
    raise typer.Exit(summary.exit_code)


def refuse_typing(seeds: str) -> None:
    """Raise UsageError where seeds would have to be typed: no command waits for input."""
    if seeds == "-" and sys.stdin.isatty():
        raise UsageError("SEEDS is -, but stdin is a terminal. Pipe the seeds in, or name a file.")

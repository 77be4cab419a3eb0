"""The generating commands: options in, a run with its progress on stderr, the closing lines, the exit code."""

import gc
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import typer

from distill_data.cli.options import (
    AllowCode,
    AnswersColumn,
    AnswerTeacher,
    Canaries,
    Data,
    Kinds,
    MaxCandidates,
    Meta,
    NoAnswer,
    Output,
    Previous,
    Prompts,
    Quiet,
    RecipeName,
    Round,
    Rows,
    Seeds,
    SomeRows,
    Students,
    Verbose,
    Verifier,
    build_options,
    parse_kinds,
    share,
    takes_options,
)
from distill_data.cli.talk import listening, say
from distill_data.errors import UsageError

if TYPE_CHECKING:
    from distill_data.commands.options import Options, Summary
    from distill_data.reporting import Progress

    Report = Callable[[Progress], None]

EXPAND_EXAMPLES = """\
Examples:
  distill-data expand @tasks -r self-instruct --rows 200 -t openai/gpt-x -o tasks.jsonl
  distill-data expand @instructions -r evol-depth --rows 90 -t openai/gpt-x -o evolved.jsonl"""
CURATE_EXAMPLES = """\
Examples:
  distill-data curate @topics -r textbook --rows 100 -t openai/gpt-x -o lessons.jsonl
  distill-data curate handbook/ -r document-qa --rows 300 -t openai/gpt-x -o questions.jsonl"""
FEEDBACK_EXAMPLES = """\
Examples:
  distill-data feedback @instructions -r rate -s local/smollm2 -t openai/gpt-x -o rated.jsonl
  distill-data feedback told.csv -r compare --answers answers -t openai/gpt-x -o pairs.jsonl"""
SELF_EXAMPLES = """\
Examples:
  distill-data self-knowledge @arithmetic -r majority -s local/smollm2 -o voted.jsonl
  distill-data self-knowledge @arithmetic -r rest -s big --round 2 --previous r1.jsonl -o r2.jsonl"""
FEATURE_EXAMPLES = """\
Examples:
  distill-data feature answers.jsonl -r topk -t transformers/smollm2 -o logits.jsonl
  distill-data feature answers.jsonl -r hidden -t transformers/./m --set layers=[0,-1] -o h.jsonl"""
LABEL_EXAMPLES = """\
Examples:
  distill-data label @sentiment -r annotate -o sentiment.jsonl
  distill-data label tasks.csv -r answer -t openai/gpt-x --map instruction=task -o answers.jsonl"""


@takes_options
def label(
    seeds: Seeds, recipe: RecipeName, output: Output, verbose: Verbose = False, quiet: Quiet = False, **options: Any
) -> None:
    """Label your data: a teacher answers each seed. More in docs/options.md."""
    from distill_data.commands.label import label as run

    refuse_typing(seeds)
    _run(run, seeds, recipe, output, build_options(**options), verbose=verbose, quiet=quiet)


@takes_options
def expand(
    seeds: Seeds,
    recipe: RecipeName,
    output: Output,
    rows: Rows,
    max_candidates: MaxCandidates = None,
    answer_teacher: AnswerTeacher = "",
    no_answer: NoAnswer = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
    **options: Any,
) -> None:
    """Grow your data: a teacher writes new x beside yours, and y. More in docs/options.md."""
    from distill_data.commands.expand import expand as run

    built = _with(
        seeds, options, rows=rows, max_candidates=max_candidates, answer_teacher=answer_teacher, answers=not no_answer
    )
    _run(run, seeds, recipe, output, built, verbose=verbose, quiet=quiet)


@takes_options
def curate(
    meta: Meta,
    recipe: RecipeName,
    output: Output,
    rows: Rows,
    max_candidates: MaxCandidates = None,
    answer_teacher: AnswerTeacher = "",
    no_answer: NoAnswer = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
    **options: Any,
) -> None:
    """Write about things: a teacher makes x of your data, and y. More in docs/options.md."""
    from distill_data.commands.curate import curate as run

    built = _with(
        meta, options, rows=rows, max_candidates=max_candidates, answer_teacher=answer_teacher, answers=not no_answer
    )
    _run(run, meta, recipe, output, built, verbose=verbose, quiet=quiet)


@takes_options
def feature(
    data: Data, recipe: RecipeName, output: Output, verbose: Verbose = False, quiet: Quiet = False, **options: Any
) -> None:
    """Open a teacher: its distribution or states along a given y. More in docs/options.md."""
    from distill_data.commands.feature import feature as run

    refuse_typing(data)
    _run(run, data, recipe, output, build_options(**options), verbose=verbose, quiet=quiet, announce=False)


@takes_options
def feedback(
    prompts: Prompts,
    recipe: RecipeName,
    output: Output,
    students: Students = None,
    answers_column: AnswersColumn = "",
    kinds: Kinds = None,
    canaries: Canaries = "0",
    verifier: Verifier = "",
    allow_code: AllowCode = False,
    rows: SomeRows = None,
    max_candidates: MaxCandidates = None,
    round_number: Round = 0,
    previous: Previous = None,
    verbose: Verbose = False,
    quiet: Quiet = False,
    **options: Any,
) -> None:
    """Judge answers: a student gives y, a teacher says what it is worth. More in docs/options.md."""
    from distill_data.commands.feedback import feedback as run

    kind, others = parse_kinds(kinds)
    built = _with(
        prompts, options, students=tuple(students or ()), answers_column=answers_column, kind=kind, other_kinds=others,
        canaries=share("--canaries", canaries), verifier=verifier, allow_code=allow_code, rows=rows,
        max_candidates=max_candidates, round=round_number, previous=previous,
    )  # fmt: skip
    _run(run, prompts, recipe, output, built, verbose=verbose, quiet=quiet, announce=False)


@takes_options
def self_knowledge(
    seeds: Seeds,
    recipe: RecipeName,
    output: Output,
    students: Students = None,
    kinds: Kinds = None,
    canaries: Canaries = "0",
    verifier: Verifier = "",
    allow_code: AllowCode = False,
    rows: SomeRows = None,
    max_candidates: MaxCandidates = None,
    round_number: Round = 0,
    previous: Previous = None,
    verbose: Verbose = False,
    quiet: Quiet = False,
    **options: Any,
) -> None:
    """Let a student teach itself: it votes, verifies, rewards, refines. More in docs/options.md."""
    from distill_data.commands.self_knowledge import self_knowledge as run

    kind, others = parse_kinds(kinds)
    built = _with(
        seeds, options, students=tuple(students or ()), kind=kind, other_kinds=others,
        canaries=share("--canaries", canaries), verifier=verifier, allow_code=allow_code, rows=rows,
        max_candidates=max_candidates, round=round_number, previous=previous,
    )  # fmt: skip
    _run(run, seeds, recipe, output, built, verbose=verbose, quiet=quiet, announce=False)


def _run(
    run: "Callable[..., Summary]",
    source: str,
    recipe: str,
    output: str,
    options: "Options",
    *,
    verbose: bool,
    quiet: bool,
    announce: bool = True,
) -> None:
    """One of the commands above, on its seeds."""
    generate(
        lambda progress: run(source, recipe=recipe, output=output, options=options, progress=progress),
        options,
        verbose=verbose,
        quiet=quiet,
        announce=announce,
    )


def _with(source: str, options: dict[str, Any], **more: Any) -> "Options":
    """The shared options and a command's own."""
    from dataclasses import replace

    refuse_typing(source)
    return replace(build_options(**options), **more)


def generate(
    run: "Callable[[Report], Summary]", options: "Options", *, verbose: bool, quiet: bool, announce: bool = True
) -> None:
    """`watch`, and leave with the summary's exit code."""
    raise typer.Exit(watch(run, options, verbose=verbose, quiet=quiet, announce=announce).exit_code)


def watch(
    run: "Callable[[Report], Summary]", options: "Options", *, verbose: bool, quiet: bool, announce: bool
) -> "Summary":
    """Run, and say how it goes and how it ended.

    `announce`: say which teacher answers where none is named.
    """
    from distill_data.reporting import closing_lines, make_progress

    named = options.teachers or options.replay or os.environ.get("DISTILL_TEACHER")
    if announce and not (quiet or named):
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
    return summary


def refuse_typing(seeds: str) -> None:
    """Raise UsageError where seeds would have to be typed: no command waits for input."""
    if seeds == "-" and sys.stdin.isatty():
        raise UsageError("SEEDS is -, but stdin is a terminal. Pipe the seeds in, or name a file.")

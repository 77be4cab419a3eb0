"""`score`: options in, a run with its progress on stderr, the closing lines, the exit code."""

from functools import partial
from typing import Annotated, Any

import typer

from distill_data.cli.generate import generate, refuse_typing
from distill_data.cli.options import (
    AllowCode,
    Output,
    Quiet,
    RecipeName,
    Verbose,
    Verifier,
    build_options,
    takes_options,
)
from distill_data.cli.rows import Rows

SCORE_EXAMPLES = """\
Examples:
  distill-data score pairs.jsonl -r ifd -t transformers/smollm2 -o scored.jsonl"""

Students = Annotated[
    list[str] | None,
    typer.Option("-s", "--student", rich_help_panel="Teacher", metavar="MODEL", help="for pass-rate: who is tested"),
]


@partial(takes_options, without=("shuffle", "seed"))
def score(
    data: Rows,
    recipe: RecipeName,
    output: Output,
    students: Students = None,
    verifier: Verifier = "",
    allow_code: AllowCode = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
    **options: Any,
) -> None:
    """Score rows: a column more, and none dropped. More in docs/options.md."""
    from dataclasses import replace

    from distill_data.commands.score import score as run

    refuse_typing(data)
    built = replace(build_options(**options), students=tuple(students or ()), verifier=verifier, allow_code=allow_code)
    generate(
        lambda progress: run(data, recipe=recipe, output=output, options=built, progress=progress),
        built,
        verbose=verbose,
        quiet=quiet,
        announce=False,
    )

"""`score`: options in, a run with its progress on stderr, the closing lines, the exit code."""

from typing import Any

from distill_data.cli.generate import generate, refuse_typing
from distill_data.cli.options import (
    AllowCode,
    Output,
    Quiet,
    RecipeName,
    Students,
    Verbose,
    Verifier,
    build_options,
    takes_options,
)
from distill_data.cli.rows import Rows

SCORE_EXAMPLES = """\
Examples:
  distill-data score pairs.jsonl -r ifd -t transformers/smollm2 -o scored.jsonl
  distill-data score scored.jsonl -r embedding -t openai/embed-x --set on=x+y -o vectors.jsonl"""


@takes_options
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

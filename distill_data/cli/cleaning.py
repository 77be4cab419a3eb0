"""Commands that drop rows of a dataset: filter, dedup, decontaminate."""

from typing import Annotated

import typer

from distill_data.cli.options import AsJson, Quiet
from distill_data.cli.rows import INPUT, Rejects, Rows, RowsOut, tell
from distill_data.cli.talk import listening

Checks = Annotated[
    list[str] | None,
    typer.Option("--check", "-c", rich_help_panel=INPUT, metavar="CHECK", help="repeatable; all are below"),
]

FILTER_EXAMPLES = """\
Checks, each as NAME[@COLUMN][:ARGS]; a COLUMN is a column's name, x (what is asked) or y [y]:
  length:MIN,MAX  words:MIN,MAX  language:CODE  refusal  truncation  repetition[:SHARE]
  boilerplate  substance  toxicity[:FILE]  pii[:KIND,...]  schema:FILE  regex:PATTERN
  no-regex:PATTERN  choice:A,B,...  verifier:NAME[,COLUMN]  score:COLUMN,MIN,MAX
  perplexity:MIN,MAX  function:MODULE:FUNCTION

Examples:
  distill-data filter a.jsonl -c words:3,400 -c refusal -c language@x:en -o b.jsonl
  distill-data filter - -c score:quality,3 -o - < scored.jsonl > good.jsonl"""


def filter_rows(
    source: Rows,
    output: RowsOut,
    checks: Checks = None,
    rejects: Rejects = "",
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Keep the rows that pass every check. More in docs/datasets.md."""
    from distill_data.commands.filter import filter_rows as run

    with listening(quiet=quiet, verbose=False, tty=False):
        done = run(source, checks=checks or (), output=output, rejects=rejects)
    tell(done, quiet=quiet, as_json=as_json)

"""Commands for looking at a dataset: a page, and row by row."""

from typing import Annotated

import typer

from distill_data.cli.options import AsJson, Quiet
from distill_data.cli.rows import OUTPUT, Rows
from distill_data.cli.talk import listening, put_json, say

Page = Annotated[
    str, typer.Option("-o", "--output", rich_help_panel=OUTPUT, metavar="PAGE", help="the page; - is stdout")
]

REPORT_EXAMPLES = """\
What is beside the dataset is read too: its manifest, its rejects and its run.

Examples:
  distill-data report answers.jsonl -o report.html
  distill-data report answers.jsonl -o - > report.html"""


def report(source: Rows, output: Page, quiet: Quiet = False, as_json: AsJson = False) -> None:
    """Write one static page about a dataset. More in docs/datasets.md."""
    from distill_data.commands.report import report as run

    with listening(quiet=quiet, verbose=False, tty=False):
        done = run(source, output=output)
    if as_json and output != "-":
        put_json({"output": done.output, "bytes": done.bytes, "changed": done.changed})
    elif not quiet:
        say(f"{'written' if done.changed else 'unchanged'}: {done.output}, {done.bytes:,} bytes")

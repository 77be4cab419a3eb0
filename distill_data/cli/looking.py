"""Commands for looking at a dataset: a page, and row by row."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from distill_data.cli.options import AsJson, Quiet
from distill_data.cli.rows import INPUT, OUTPUT, Rows
from distill_data.cli.talk import listening, put, put_json, say
from distill_data.errors import UsageError

if TYPE_CHECKING:
    from distill_data.commands.view import Shelf

DUMPED = 20
"""Rows that are written where nobody browses."""

Page = Annotated[
    str, typer.Option("-o", "--output", rich_help_panel=OUTPUT, metavar="PAGE", help="the page; - is stdout")
]
RowNumber = Annotated[int, typer.Option("--row", rich_help_panel=INPUT, metavar="N", help="write row N, from 1, whole")]
Search = Annotated[
    str, typer.Option("--search", rich_help_panel=INPUT, metavar="TEXT", help="write rows that hold it, in any case")
]
OnlyRejects = Annotated[bool, typer.Option("--rejects", rich_help_panel=INPUT, help="its rejects instead of its rows")]

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


VIEW_EXAMPLES = """\
On a terminal one row is shown at a time: n next, p back, a number and Enter, / search,
N again, r next reject, R the one before, a raw answers, space more, b less, q end.
Elsewhere, and with --row or --search, rows are written; at most 20.

Examples:
  distill-data view answers.jsonl
  distill-data view answers.jsonl --search photosynthesis | less
  distill-data view answers.jsonl --rejects --row 3"""


def view(source: Rows, row: RowNumber = 0, search: Search = "", rejects: OnlyRejects = False) -> None:
    """Look at the rows of a dataset, its rejects and raw answers. More in docs/datasets.md."""
    from distill_data.commands.view import open_book

    if row < 0 or (row and search):
        raise UsageError("--row takes a number from 1, and no --search beside it.")
    with listening(quiet=False, verbose=False, tty=False):
        book = open_book(source)
        if not row and not search and sys.stdin.isatty() and sys.stdout.isatty():
            from distill_data.cli.browse import browse

            browse(book, rejects=rejects)
        else:
            _write(book.rejects if rejects else book.rows, row, search)


def _write(shelf: "Shelf", row: int, search: str) -> None:
    """The rows that were asked for, else the first ones, on stdout; how many more there are, on stderr."""
    from itertools import islice

    from distill_data.reporting.browsing import lines_of

    if not shelf.count:
        raise UsageError(f"{shelf.name}: there is nothing in it, or no such file.")
    numbers = [row] if row else shelf.search(search) if search else range(1, shelf.count + 1)
    shown = 0
    for shown, number in enumerate(islice(numbers, DUMPED), 1):
        lines = lines_of(shelf.row(number), shelf.place(number))
        put(*([""] if shown > 1 else []), *(line.text for line in lines))
    if not row:
        what = f"rows that hold {search!r}, {DUMPED} at most" if search else f"of {shelf.count:,} rows"
        say(f"{shown:,} {what}; --row N writes one")

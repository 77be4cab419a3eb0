"""What commands on datasets share on the command line: rows in, rows out, and how they end. Knows no command."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from distill_data.cli.talk import put_json, say

if TYPE_CHECKING:
    from distill_data.commands.rows import Done

INPUT, OUTPUT = "Input", "Output and resume"
"""Headings of the help."""

Rows = Annotated[
    str,
    typer.Argument(metavar="IN", help="a dataset: JSON lines, or what SEEDS can be; - is stdin", show_default=False),
]
RowsOut = Annotated[str, typer.Option("-o", "--output", rich_help_panel=OUTPUT, metavar="OUT", help="- is stdout")]
Rejects = Annotated[
    str, typer.Option("--rejects", rich_help_panel=OUTPUT, metavar="FILE", help="dropped rows; else beside OUT")
]


def tell(
    done: "Done", *, quiet: bool, as_json: bool, first: Callable[[Mapping[str, Any]], list[str]] | None = None
) -> None:
    """How a command on datasets ended: on stderr, or as JSON on stdout, where the rows are not there.

    `first` gives the lines before those that every command has.
    """
    from distill_data.reporting.rows import rows_lines

    if as_json and done.output != "-":
        put_json(done.result)
    elif not quiet:
        say(*(first(done.result) if first else ()), *rows_lines(done))

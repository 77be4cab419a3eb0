"""Commands that put datasets together and take them apart: split, merge, sample, diff."""

from typing import Annotated

import typer

from distill_data.cli.options import AsJson, Quiet, share
from distill_data.cli.rows import INPUT, OUTPUT, Rejects, Rows, RowsOut, tell
from distill_data.cli.talk import listening, put, put_json
from distill_data.errors import UsageError

DIFFERENT = 3
"""Exit code of `diff --exit-code`: 1 is kept for bugs, and 2 for mistakes."""

Into = Annotated[
    list[str] | None,
    typer.Option("--into", rich_help_panel=INPUT, metavar="NAME=SHARE", help="a part, such as train=0.9; repeatable"),
]
GroupBy = Annotated[
    str,
    typer.Option("--by", rich_help_panel=INPUT, metavar="COLUMN", help="what keeps rows together; else their seed"),
]
Seed = Annotated[int, typer.Option("--seed", rich_help_panel=INPUT, metavar="N", help="another one draws other rows")]
Parts = Annotated[
    str,
    typer.Option(
        "-o",
        "--output",
        rich_help_panel=OUTPUT,
        metavar="OUT",
        help="x.jsonl gives x.train.jsonl; a folder/ gives train.jsonl",
    ),
]
Inputs = Annotated[
    list[str],
    typer.Argument(
        metavar="IN[=WEIGHT]", help="a dataset; =0.5 takes half of it, =3 takes it three times", show_default=False
    ),
]
SampleRows = Annotated[
    int | None, typer.Option("--rows", rich_help_panel=INPUT, metavar="N", help="how many rows to draw")
]
SampleShare = Annotated[
    str, typer.Option("--share", rich_help_panel=INPUT, metavar="S", help="about this share, such as 0.1 or 10%")
]
Per = Annotated[
    str, typer.Option("--per", rich_help_panel=INPUT, metavar="COLUMN", help="draw --rows of each value of a column")
]
NotDrawn = Annotated[
    str, typer.Option("--rejects", rich_help_panel=OUTPUT, metavar="FILE", help="rows not drawn; else counted only")
]
First = Annotated[str, typer.Argument(metavar="OLD", help="a dataset; - is stdin", show_default=False)]
Second = Annotated[str, typer.Argument(metavar="NEW", help="the one to compare with it", show_default=False)]
FoundBy = Annotated[
    str,
    typer.Option("--by", rich_help_panel=INPUT, metavar="COLUMN", help="what rows are found by; else id, or x without"),
]
On = Annotated[
    str, typer.Option("--on", rich_help_panel=INPUT, metavar="COLUMN", help="compare this only, x and y too; else all")
]
Show = Annotated[
    int, typer.Option("--show", rich_help_panel=INPUT, metavar="N", help="rows of each kind of change to list")
]
ExitCode = Annotated[
    bool, typer.Option("--exit-code", rich_help_panel=OUTPUT, help=f"end with {DIFFERENT} where they differ")
]

SPLIT_EXAMPLES = """\
Rows of one seed go to one part: by the root seed that meta.details names, where a row was made
from one seed or evolved from it; else by meta.seed_id; in rows from elsewhere by the text of x.
Which part depends on the group's name and --seed alone, so rows that are appended move no others.
Shares are of groups, so counts are near them only. Shares below 1 together leave the rest out.

Examples:
  distill-data split a.jsonl --into train=0.9 --into test=0.1 -o a.jsonl
  distill-data split a.csv --by topic --into train=80% --into dev=10% --into test=10% -o parts/"""
MERGE_EXAMPLES = """\
All rows need the same columns and one kind. Of equal rows with an id the first stays; another row
with the same id gets a new one. The manifest lists every source and how it was made.

Examples:
  distill-data merge a.jsonl b.jsonl -o all.jsonl
  distill-data merge chat.jsonl=0.5 maths.jsonl=2 code.jsonl -o mix.jsonl"""
SAMPLE_EXAMPLES = """\
The same rows for the same --seed; a larger sample holds the smaller one. For a sample of a
sample take another --seed: the same one draws the same rows again.

Examples:
  distill-data sample a.jsonl --rows 1000 -o small.jsonl
  distill-data sample a.jsonl --rows 50 --per answer -o balanced.jsonl
  distill-data sample a.jsonl --share 1% -o - | less"""
DIFF_EXAMPLES = f"""\
Ends with 0 where it could compare; with --exit-code {DIFFERENT} where they differ.

Examples:
  distill-data diff old.jsonl new.jsonl
  distill-data diff gpt.jsonl qwen.jsonl --on y --show 3
  distill-data diff old.jsonl new.jsonl --json --show 1000000"""


def split(
    source: Rows,
    output: Parts,
    into: Into = None,
    by: GroupBy = "",
    seed: Seed = 0,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Split into parts, so that rows of one seed never stand in two of them."""
    from distill_data.commands.split import split as run
    from distill_data.reporting.choosing import split_lines

    done = run(source, into=_shares(into or ()), output=output, by=by, seed=seed)
    tell(done, quiet=quiet, as_json=as_json, first=split_lines)


def merge(
    sources: Inputs,
    output: RowsOut,
    seed: Seed = 0,
    rejects: Rejects = "",
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Put datasets together, each with a weight."""
    from distill_data.commands.merge import merge as run
    from distill_data.reporting.choosing import merge_lines

    done = run(sources, output=output, seed=seed, rejects=rejects)
    tell(done, quiet=quiet, as_json=as_json, first=merge_lines)


def sample(
    source: Rows,
    output: RowsOut,
    rows: SampleRows = None,
    share_of: SampleShare = "",
    per: Per = "",
    seed: Seed = 0,
    rejects: NotDrawn = "",
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Draw rows by chance, the same ones every time."""
    from distill_data.commands.sample import sample as run

    part = share("--share", share_of) if share_of else 0.0
    with listening(quiet=quiet, verbose=False, tty=False):
        done = run(source, output=output, rows=rows, share=part, seed=seed, per=per, rejects=rejects)
    tell(done, quiet=quiet, as_json=as_json)


def diff(
    first: First,
    second: Second,
    by: FoundBy = "",
    on: On = "",
    show: Show = 10,
    exit_code: ExitCode = False,
    as_json: AsJson = False,
) -> None:
    """Tell how two datasets differ: rows that were added, changed, or are gone."""
    from distill_data.commands.diff import diff as run
    from distill_data.reporting.choosing import diff_lines

    found = run(first, second, by=by, on=on, show=show)
    if as_json:
        put_json(found.to_json())
    else:
        put(*diff_lines(found.names, found.rows, found.counts(), found.columns, found.shown))
    if exit_code and not found.same:
        raise typer.Exit(DIFFERENT)


def _shares(texts: list[str] | tuple[str, ...]) -> dict[str, float]:
    """`NAME=SHARE` texts. Raises UsageError."""
    found: dict[str, float] = {}
    for text in texts:
        name, equals, part = text.partition("=")
        if not equals:
            raise UsageError(f"--into {text}: this must be NAME=SHARE, such as train=0.9.")
        if name in found:
            raise UsageError(f"--into {name} is given twice.")
        found[name] = share(f"--into {name}", part)
    return found

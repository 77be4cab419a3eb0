"""Commands that look at a dataset as a whole: select the rows that are worth training on, and tell what is in it."""

from typing import Annotated

import typer

from distill_data.cli.options import AsJson, Quiet
from distill_data.cli.rows import INPUT, Rejects, Rows, RowsOut, tell
from distill_data.cli.talk import listening, put, put_json, say


def _chosen(metavar: str, about: str, name: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(name, rich_help_panel=INPUT, metavar=metavar, help=about)
    return option


Budget = Annotated[str, _chosen("N|SHARE", "how many rows to keep: 5000, 10% or 0.1", "--budget")]
How = Annotated[str, _chosen("NAME", "top, deita, ifd, balance, band or k-centre; see below", "--how")]
By = Annotated[str | None, _chosen("COLUMN", "a column of numbers, or the product of some: a*b", "--by")]
Per = Annotated[str | None, _chosen("COLUMN", "its values are the groups", "--per")]
Least = Annotated[float | None, _chosen("NUMBER", "the band's lower end", "--min")]
Most = Annotated[float | None, _chosen("NUMBER", "its upper end", "--max")]
On = Annotated[
    str | None, _chosen("COLUMN", "compare these vectors or texts; else the column embedding, else x+y", "--on")
]
Alike = Annotated[float | None, _chosen("COSINE", "from here on two rows are too alike", "--alike")]
Looked = Annotated[list[str] | None, _chosen("COLUMN", "texts to look at; repeatable; else x and y", "--on")]

SELECT_EXAMPLES = """\
How, and the options that go with it:
  top       the highest --by
  deita     the highest --by [complexity*quality] that are not --alike [0.9] one kept before
  ifd       the highest --by [ifd] that is at most 1
  balance   equally many for every value of --per, the highest --by of each if given
  band      --by [pass_rate] from --min [0.2] to --max [0.8], nearest to the middle first
  k-centre  so that no row is far from one that is kept

Examples:
  distill-data select scored.jsonl --how deita --budget 6000 -o best.jsonl
  distill-data select a.jsonl --how balance --per topic --by quality --budget 10% -o b.jsonl"""
STATS_EXAMPLES = """\
Examples:
  distill-data stats answers.jsonl
  distill-data stats answers.jsonl --on prompt --json > stats.json"""


def select(
    source: Rows,
    how: How,
    budget: Budget,
    output: RowsOut,
    by: By = None,
    per: Per = None,
    least: Least = None,
    most: Most = None,
    on: On = None,
    alike: Alike = None,
    rejects: Rejects = "",
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Keep the rows that are most worth training on, as many as the budget allows."""
    from distill_data.commands.select import Choosing
    from distill_data.commands.select import select as run

    choosing = Choosing(by=by, per=per, min=least, max=most, on=on, alike=alike)
    with listening(quiet=quiet, verbose=False, tty=False):
        done = run(source, how=how, budget=budget, output=output, rejects=rejects, choosing=choosing)
    settings = done.result["settings"]
    if "likeness" in settings and not quiet:
        say(f"compared by the cosine of {settings['likeness']} in {settings['on']}")
    tell(done, quiet=quiet, as_json=as_json)


def stats(source: Rows, on: Looked = None, as_json: AsJson = False) -> None:
    """Tell what is in a dataset: columns, lengths, languages, labels, scores, diversity."""
    from distill_data.commands.stats import stats as look
    from distill_data.reporting.stats import stats_lines

    with listening(quiet=False, verbose=False, tty=False):
        found = look(source, on=on or ())
    if as_json:
        put_json(found)
    else:
        put(*stats_lines(found))

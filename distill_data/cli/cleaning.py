"""Commands that drop rows of a dataset: filter, dedup, decontaminate."""

from typing import Annotated

import typer

from distill_data.cli.options import AsJson, Quiet
from distill_data.cli.rows import INPUT, OUTPUT, Rejects, Rows, RowsOut, tell
from distill_data.cli.talk import listening, put, put_json, say

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


RULE = "Limits"
"""Heading of what decides which rows fall."""

Against = Annotated[
    list[str] | None,
    typer.Option("--against", rich_help_panel=INPUT, metavar="BENCHMARK", help="what must not be in; repeatable"),
]
On = Annotated[str, typer.Option("--on", rich_help_panel=INPUT, metavar="COLUMNS", help="what of a row is looked at")]
BenchmarkOn = Annotated[
    str,
    typer.Option("--benchmark-on", rich_help_panel=INPUT, metavar="COLUMNS", help="what of BENCHMARK is looked for"),
]
Answer = Annotated[
    str,
    typer.Option("--answer", rich_help_panel=INPUT, metavar="COLUMN", help="the answer in BENCHMARK; else y"),
]
Method = Annotated[
    str, typer.Option("--method", rich_help_panel=RULE, metavar="METHOD", help="ngram; substring for code")
]
Ngram = Annotated[int, typer.Option("--ngram", rich_help_panel=RULE, metavar="N", help="words in a row that count")]
Coverage = Annotated[
    float, typer.Option("--coverage", rich_help_panel=RULE, metavar="SHARE", help="of an item's words in n-grams")
]
Fuzzy = Annotated[
    float, typer.Option("--fuzzy", rich_help_panel=RULE, metavar="SHARE", help="of equal characters in edited items")
]
CleanOut = Annotated[
    str,
    typer.Option("-o", "--output", rich_help_panel=OUTPUT, metavar="OUT", help="- is stdout; without, a dry run"),
]
DryRun = Annotated[bool, typer.Option("--dry-run", rich_help_panel=OUTPUT, help="write nothing, even with -o")]

DECONTAMINATE_EXAMPLES = """\
Without -o it shows which rows hold items of a benchmark, and by what words. An item is found
with other words around it, its first words cut, or a word or two replaced. An opening that
it shares with a row is no item, nor is what many items or rows have.

Examples:
  distill-data decontaminate a.jsonl --against gsm8k.jsonl --against math.jsonl
  distill-data decontaminate a.jsonl --against gsm8k.jsonl -o clean.jsonl"""


def decontaminate(
    source: Rows,
    against: Against = None,
    output: CleanOut = "",
    on: On = "x+y",
    benchmark_on: BenchmarkOn = "x",
    answer: Answer = "",
    method: Method = "ngram",
    ngram: Ngram = 8,
    coverage: Coverage = 0.5,
    fuzzy: Fuzzy = 0.95,
    rejects: Rejects = "",
    dry_run: DryRun = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Show or drop the rows that hold items of a benchmark. More in docs/datasets.md."""
    from distill_data.commands.decontaminate import Search, find_contamination, make_rules
    from distill_data.commands.decontaminate import decontaminate as run
    from distill_data.errors import UsageError
    from distill_data.reporting.contamination import benchmark_lines, evidence_lines

    if rejects and not output:
        raise UsageError("--rejects: without -o nothing is written; name the output too.")
    search = Search(against or (), on, benchmark_on, answer, make_rules(ngram, coverage, fuzzy, method))
    with listening(quiet=quiet, verbose=False, tty=False):
        if output and not dry_run:
            done = run(source, search, output=output, rejects=rejects)
            tell(done, quiet=quiet, as_json=as_json)
            if not quiet and not as_json:
                say(*benchmark_lines(done.result["benchmarks"]))
            return
        found = find_contamination(source, search)
    if as_json:
        findings = [each._asdict() for each in found.findings.values()]
        put_json({"rows": found.rows, "benchmarks": found.benchmarks, "findings": findings})
        return
    put(*evidence_lines(source, found.findings.values()))
    if not quiet:
        say(f"{len(found.findings):,} of {found.rows:,} rows hold items; nothing was written")
        say(*benchmark_lines(found.benchmarks))


Alike = Annotated[
    str, typer.Option("--method", rich_help_panel=RULE, metavar="METHOD", help="exact, fuzzy, rouge or semantic; below")
]
Text = Annotated[
    str | None, typer.Option("--on", rich_help_panel=INPUT, metavar="COLUMNS", help="what is compared [x]")
]
Vectors = Annotated[
    str | None,
    typer.Option("--column", rich_help_panel=INPUT, metavar="COLUMN", help="vectors for semantic [embedding]"),
]
Others = Annotated[
    list[str] | None,
    typer.Option("--against", rich_help_panel=INPUT, metavar="FILE", help="drop rows like these too; repeatable"),
]
Best = Annotated[
    str, typer.Option("--best", rich_help_panel=RULE, metavar="COLUMN", help="keep the highest number, not the first")
]
Threshold = Annotated[
    float | None, typer.Option("--threshold", rich_help_panel=RULE, metavar="T", help="similarity from which rows fall")
]
Run = Annotated[
    int | None, typer.Option("--ngram", rich_help_panel=RULE, metavar="N", help="words compared as one, for fuzzy [1]")
]

DEDUP_EXAMPLES = """\
Methods, each with its threshold:
  exact           equal but for case, width, punctuation and space
  fuzzy [0.6]     words, or runs of --ngram words, in common; not counting function words
  rouge [0.7]     ROUGE-L above it, as in Self-Instruct
  semantic [0.9]  cosine of the vectors that `score` adds

A row falls where it is like one that is kept: rows are taken in order, or by --best, and no
two that are left are alike. Where one word is the task, raise the threshold.

Examples:
  distill-data dedup answers.jsonl -o unique.jsonl
  distill-data dedup scored.jsonl --method semantic --best quality --against old.jsonl -o b.jsonl"""


def dedup(
    source: Rows,
    output: RowsOut,
    method: Alike = "fuzzy",
    on: Text = None,
    column: Vectors = None,
    against: Others = None,
    threshold: Threshold = None,
    ngram: Run = None,
    best: Best = "",
    rejects: Rejects = "",
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Keep one row of those that are alike. More in docs/datasets.md."""
    from distill_data.commands.dedup import Matching
    from distill_data.commands.dedup import dedup as run
    from distill_data.reporting.clusters import cluster_lines

    matching = Matching(method, on, column, threshold, ngram)
    with listening(quiet=quiet, verbose=False, tty=False):
        done = run(source, matching, output=output, against=against or (), best=best, rejects=rejects)
    tell(done, quiet=quiet, as_json=as_json, first=cluster_lines)

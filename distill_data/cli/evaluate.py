"""`evaluate`: options in, a run with its progress on stderr, the table on stdout, the exit code."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from distill_data.cli.generate import watch
from distill_data.cli.options import AsJson, Quiet, Verbose, build_options, takes_options
from distill_data.cli.talk import put, put_json, say

if TYPE_CHECKING:
    from distill_data.commands.evaluate import Evaluation
    from distill_data.commands.options import Summary
    from distill_data.reporting import Progress

EVALUATE_EXAMPLES = """\
Metrics: exact, numeric, rouge-l, choice, perplexity, judge. Without --metric it is choice where the
rows have choices, else numeric, exact or rouge-l, by what the right answers are. docs/evaluate.md
says what each is.

Examples:
  distill-data evaluate students/a --task test.jsonl --baseline transformers/smollm2
  distill-data evaluate students/a --task test.jsonl --metric exact --metric perplexity -o a/
  distill-data evaluate local/smollm2 --task qa.jsonl --judge openai/gpt-x -o judged.json"""

_STUDENT, _OUTPUT, _RECIPE = "Student", "Output and resume", "Recipe"

Model = Annotated[
    str,
    typer.Argument(metavar="MODEL", help="a trained student's folder, or a model as -t takes it", show_default=False),
]
Task = Annotated[
    str,
    typer.Option("--task", rich_help_panel="Input", metavar="FILE", help="rows with prompt and answer, label or so on"),
]
Metrics = Annotated[
    list[str] | None,
    typer.Option("--metric", rich_help_panel=_RECIPE, metavar="NAME", help="what is measured; repeatable"),
]
Baseline = Annotated[
    str, typer.Option("--baseline", rich_help_panel=_STUDENT, metavar="MODEL", help="a model to compare with")
]
Judge = Annotated[
    str, typer.Option("--judge", rich_help_panel=_STUDENT, metavar="MODEL", help="who says which answer is better")
]
MaxTokens = Annotated[
    int, typer.Option("--max-tokens", rich_help_panel=_RECIPE, metavar="N", help="tokens of an answer, at most")
]
Results = Annotated[
    str,
    typer.Option(
        "-o", "--output", rich_help_panel=_OUTPUT, metavar="OUT", help="a .json or a folder; else under .distill/"
    ),
]
_NO_USE = ("shuffle", "samples", "resample", "teachers", "shard", "shards", "engine", "pilot", "lane", "rebuy_lost")


@partial(takes_options, without=_NO_USE)
def evaluate(
    model: Model,
    task: Task,
    metrics: Metrics = None,
    baseline: Baseline = "",
    judge: Judge = "",
    max_tokens: MaxTokens = 512,
    output: Results = "",
    as_json: AsJson = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
    **options: Any,
) -> None:
    """Measure a student on held-out rows, with intervals. More in docs/evaluate.md."""
    from distill_data.commands.evaluate import evaluate as run
    from distill_data.reporting.evaluation import table_lines

    built = build_options(**options)
    ended: list[Evaluation] = []

    def measure(progress: "Callable[[Progress], None]") -> "Summary":
        ended.append(
            run(
                model,
                task=task,
                metrics=metrics or (),
                baseline=baseline,
                judge=judge,
                max_tokens=max_tokens,
                output=output,
                options=built,
                progress=progress,
            )
        )
        return ended[0].summary

    summary = watch(measure, built, verbose=verbose, quiet=quiet, announce=False)
    evaluation = ended[0]
    if evaluation.results and as_json:
        put_json(evaluation.results)
    elif evaluation.results:
        put(*table_lines(evaluation.results))
        if not quiet:
            say(f"The figures are in {evaluation.output}, and each row's beside it.")
    raise typer.Exit(summary.exit_code)

"""Commands about this machine and what lies on it: weights, what would keep a run from working, how runs stand."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from distill_data.cli.options import (
    ApiKeyEnv,
    AsJson,
    BaseUrl,
    Config,
    Headers,
    MaxFailed,
    Quiet,
    Teachers,
    Verbose,
    parse_headers,
    share,
)
from distill_data.cli.talk import put, put_json, say
from distill_data.errors import UsageError

if TYPE_CHECKING:
    from distill_data.commands.training_output import Standing

PUBLISH_EXAMPLES = """\
Examples:
  distill-data publish out.jsonl
  distill-data publish out.jsonl --partial"""

WeightsName = Annotated[str, typer.Argument(metavar="NAME", help="smollm2")]
Partial = Annotated[bool, typer.Option("--partial", help="write what there is, to OUT.partial.jsonl")]
OutputFile = Annotated[str, typer.Argument(metavar="OUT", help="what -o named")]


def pull(name: WeightsName) -> None:
    """Fetch the weights of an embedded teacher into the user's cache."""
    from distill_data.commands.models import pull_model

    put(str(pull_model(name, say)))


def doctor(
    teachers: Teachers = None,
    base_url: BaseUrl = "",
    api_key_env: ApiKeyEnv = "",
    headers: Headers = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Look for what would keep a run from working. Exit code 2 if there is anything."""
    from distill_data.commands.doctor import doctor as look

    if teachers and len(teachers) > 1:
        raise UsageError("doctor looks at one teacher at a time; name one with -t.")
    findings = look(
        teacher=teachers[0] if teachers else None,
        base_url=base_url or None,
        api_key_env=api_key_env or None,
        headers=parse_headers(headers) or None,
        config=config,
    )
    if as_json:
        put_json([asdict(finding) for finding in findings])
    else:
        width = max(len(finding.name) for finding in findings)
        for finding in findings:
            advice = f"  ({finding.advice})" if finding.advice else ""
            put(f"{'ok' if finding.ok else 'NO':<3} {finding.name:<{width}}  {finding.value}{advice}")
    raise typer.Exit(0 if all(finding.ok for finding in findings) else 2)


def status(output: OutputFile, as_json: AsJson = False) -> None:
    """Tell how a run or a training stands, from its files: counts, tokens, cost, in doubt."""
    from distill_data.commands.status import status as read_status
    from distill_data.commands.training_output import standing
    from distill_data.reporting import closing_lines

    if training := standing(output):
        _put_training(training, as_json)
        return
    summary = read_status(output)
    if as_json:
        head = {"status": summary.status, "output": summary.output, "message": summary.message}
        put_json({**head, **summary.result, **summary.history})
    else:
        put(f"status: {summary.status}", *closing_lines(summary))


def _put_training(training: "Standing", as_json: bool) -> None:
    from distill_data.cli.training import training_lines

    if as_json:
        put_json({"status": training.state, "message": training.message, **training.result})
        return
    put(f"status: {training.state}", *filter(None, [training.message]))
    if training.result:
        put(*training_lines(training.result))


def publish(
    output: OutputFile,
    partial: Partial = False,
    max_failed: MaxFailed = "1%",
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Unite the shards of a run into the files that one process would have written."""
    from distill_data.commands.publish import publish as unite
    from distill_data.reporting import closing_lines

    summary = unite(output, partial=partial, max_failed=share("--max-failed", max_failed))
    if not quiet:
        say(*closing_lines(summary, verbose=verbose))
    elif summary.exit_code:
        say(summary.message)
    raise typer.Exit(summary.exit_code)

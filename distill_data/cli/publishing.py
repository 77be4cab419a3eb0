"""Commands that bring a dataset to others: card, push."""

from pathlib import Path
from typing import Annotated

import typer

from distill_data.cli.datasets import Written
from distill_data.cli.options import AsJson, Quiet
from distill_data.cli.rows import INPUT, OUTPUT
from distill_data.cli.talk import listening, put, put_json, say

CARD_EXAMPLES = """\
Examples:
  distill-data card out.jsonl -o README.md --license cc-by-4.0
  distill-data card out.jsonl --title "Polite replies" --seeds-license cc0-1.0 | less"""
PUSH_EXAMPLES = """\
The token is read from $HF_TOKEN. Rejects stay here, as they may hold raw answers.

Examples:
  distill-data push out.jsonl --to me/polite-replies --license cc-by-4.0 --dry-run
  distill-data push out.jsonl --to me/polite-replies --card README.md --private"""

CardOut = Annotated[
    str, typer.Option("-o", "--output", rich_help_panel=OUTPUT, metavar="FILE", help="a .md file; - is stdout")
]
Title = Annotated[str, typer.Option("--title", rich_help_panel=INPUT, metavar="TEXT", help="of the card; else a name")]
License = Annotated[
    str, typer.Option("--license", rich_help_panel=INPUT, metavar="ID", help="of the dataset, such as cc-by-4.0")
]
SeedsLicense = Annotated[
    str,
    typer.Option("--seeds-license", rich_help_panel=INPUT, metavar="TEXT", help="of the seeds, if not shipped ones"),
]
To = Annotated[
    str, typer.Option("--to", rich_help_panel=OUTPUT, metavar="ORG/NAME", help="the dataset's name on the Hub")
]
CardFile = Annotated[
    Path | None,
    typer.Option("--card", rich_help_panel=INPUT, metavar="FILE", help="the card to send; else one is written"),
]
WithRejects = Annotated[bool, typer.Option("--with-rejects", rich_help_panel=OUTPUT, help="send the rejects too")]
Private = Annotated[
    bool, typer.Option("--private", rich_help_panel=OUTPUT, help="if it is new, only you and ORG can read it")
]
Endpoint = Annotated[
    str, typer.Option("--endpoint", rich_help_panel=OUTPUT, metavar="URL", help="of the Hub; else $HF_ENDPOINT")
]
TokenEnv = Annotated[
    str,
    typer.Option(
        "--token-env", rich_help_panel=OUTPUT, metavar="NAME", help="the environment variable that holds the token"
    ),
]
Token = Annotated[str | None, typer.Option("--token", hidden=True, help="refused", metavar="VALUE")]
Revision = Annotated[str, typer.Option("--revision", rich_help_panel=OUTPUT, metavar="BRANCH", help="which branch")]
DryRun = Annotated[bool, typer.Option("--dry-run", rich_help_panel=OUTPUT, help="check and list all; send nothing")]


def card(
    source: Written,
    output: CardOut = "-",
    title: Title = "",
    license: License = "",  # noqa: A002 - as the option is called
    seeds_license: SeedsLicense = "",
    quiet: Quiet = False,
) -> None:
    """Write a dataset's card: what it is, how it was made, on what terms."""
    from distill_data.commands.card import card as write

    with listening(quiet=quiet, verbose=False, tty=False):
        written = write(source, output=output, title=title, license=license, seeds_license=seeds_license)
    if output == "-":
        put(*written.text.rstrip("\n").split("\n"))
    elif not quiet:
        say(f"written: {output}" if written.changed else f"unchanged: {output}")


def push(
    source: Written,
    to: To,
    card: CardFile = None,
    title: Title = "",
    license: License = "",  # noqa: A002 - as the option is called
    seeds_license: SeedsLicense = "",
    with_rejects: WithRejects = False,
    private: Private = False,
    endpoint: Endpoint = "",
    token_env: TokenEnv = "HF_TOKEN",  # noqa: S107 - the name of a variable
    token: Token = None,
    revision: Revision = "main",
    dry_run: DryRun = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Bring a dataset with its manifest and card to the Hugging Face Hub, in one commit."""
    from distill_data.cli.options import verify_variable
    from distill_data.commands.push import push as send
    from distill_data.errors import UsageError
    from distill_data.reporting.card import Wishes

    if token is not None:
        raise UsageError(
            "--token is refused: every user of this machine can read the arguments of a process. Put the token into "
            "the environment variable HF_TOKEN, or another one that --token-env names."
        )
    verify_variable("--token-env", token_env)
    with listening(quiet=quiet, verbose=False, tty=False):
        done = send(
            source,
            to=to,
            wishes=Wishes(title, license, seeds_license),
            card=card,
            with_rejects=with_rejects,
            private=private,
            endpoint=endpoint,
            token_env=token_env,
            revision=revision,
            dry_run=dry_run,
        )
    if as_json:
        put_json(done._asdict())
        return
    if not quiet:
        head = {"planned": "would be sent", "pushed": "sent", "unchanged": "unchanged; all of it is there"}[done.status]
        say(f"{head}:", *(f"  {each['bytes']:>12,} bytes  {each['name']}" for each in done.files))
    put(done.url)

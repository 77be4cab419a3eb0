"""The table of commands. A new command is a function in this package and a line here."""

from collections.abc import Callable
from typing import Annotated

import typer

from distill_data.cli.choosing import (
    DIFF_EXAMPLES,
    MERGE_EXAMPLES,
    SAMPLE_EXAMPLES,
    SPLIT_EXAMPLES,
    diff,
    merge,
    sample,
    split,
)
from distill_data.cli.cleaning import (
    DECONTAMINATE_EXAMPLES,
    DEDUP_EXAMPLES,
    FILTER_EXAMPLES,
    decontaminate,
    dedup,
    filter_rows,
)
from distill_data.cli.datasets import CHECK_EXAMPLES, EXPORT_EXAMPLES, VERIFY_EXAMPLES, check, export, verify
from distill_data.cli.evaluate import EVALUATE_EXAMPLES, evaluate
from distill_data.cli.generate import (
    CURATE_EXAMPLES,
    EXPAND_EXAMPLES,
    FEATURE_EXAMPLES,
    FEEDBACK_EXAMPLES,
    LABEL_EXAMPLES,
    SELF_EXAMPLES,
    curate,
    expand,
    feature,
    feedback,
    label,
    self_knowledge,
)
from distill_data.cli.help import SETTINGS, PlainCommand, PlainGroup
from distill_data.cli.looking import REPORT_EXAMPLES, VIEW_EXAMPLES, report, view
from distill_data.cli.machine import PUBLISH_EXAMPLES, doctor, publish, pull, status
from distill_data.cli.publishing import CARD_EXAMPLES, PUSH_EXAMPLES, card, push
from distill_data.cli.recipes import SHOW_EXAMPLES, check_recipe, list_recipes, show
from distill_data.cli.score import SCORE_EXAMPLES, score
from distill_data.cli.selecting import SELECT_EXAMPLES, STATS_EXAMPLES, select, stats
from distill_data.cli.talk import put, say
from distill_data.cli.training import TRAIN_EXAMPLES, train

COMMANDS: dict[str, tuple[tuple[str, Callable[..., None], str], ...]] = {
    "Ask models": (
        ("label", label, LABEL_EXAMPLES),
        ("expand", expand, EXPAND_EXAMPLES),
        ("curate", curate, CURATE_EXAMPLES),
        ("feature", feature, FEATURE_EXAMPLES),
        ("feedback", feedback, FEEDBACK_EXAMPLES),
        ("self-knowledge", self_knowledge, SELF_EXAMPLES),
        ("score", score, SCORE_EXAMPLES),
    ),
    "Look at rows": (
        ("stats", stats, STATS_EXAMPLES),
        ("view", view, VIEW_EXAMPLES),
        ("report", report, REPORT_EXAMPLES),
        ("diff", diff, DIFF_EXAMPLES),
    ),
    "Drop and choose rows": (
        ("filter", filter_rows, FILTER_EXAMPLES),
        ("dedup", dedup, DEDUP_EXAMPLES),
        ("decontaminate", decontaminate, DECONTAMINATE_EXAMPLES),
        ("select", select, SELECT_EXAMPLES),
        ("sample", sample, SAMPLE_EXAMPLES),
        ("split", split, SPLIT_EXAMPLES),
        ("merge", merge, MERGE_EXAMPLES),
    ),
    "Hand rows on": (
        ("check", check, CHECK_EXAMPLES),
        ("export", export, EXPORT_EXAMPLES),
        ("card", card, CARD_EXAMPLES),
        ("push", push, PUSH_EXAMPLES),
        ("verify", verify, VERIFY_EXAMPLES),
    ),
    "Train and measure students": (
        ("train", train, TRAIN_EXAMPLES),
        ("evaluate", evaluate, EVALUATE_EXAMPLES),
    ),
    "Recipes, runs and this machine": (
        ("recipes", list_recipes, ""),
        ("show", show, SHOW_EXAMPLES),
        ("check-recipe", check_recipe, ""),
        ("status", status, ""),
        ("publish", publish, PUBLISH_EXAMPLES),
        ("doctor", doctor, ""),
    ),
}
"""Heading to its commands: name, function and examples."""
ROOT_EXAMPLE = """\
Try:
  distill-data label @sentiment -r annotate -o sentiment.jsonl"""

Version = Annotated[bool, typer.Option("--version", help="print the version")]


def _root(context: typer.Context, version: Version = False) -> None:
    """Ask a teacher model for training data, and lose nothing."""
    if version:
        from distill_data import __version__

        put(f"distill-data {__version__}")
    elif context.invoked_subcommand is None:
        say(context.get_help())
        raise typer.Exit(2)


def _models() -> None:
    """Weights of embedded teachers: models pull NAME."""


def make_app() -> typer.Typer:
    """The whole command line, without rich, completion or pretty tracebacks."""
    app, models = (
        typer.Typer(
            cls=PlainGroup,
            add_completion=False,
            rich_markup_mode=None,
            pretty_exceptions_enable=False,
            context_settings=dict(SETTINGS),
        )
        for _ in range(2)
    )
    app.callback(invoke_without_command=True, epilog=ROOT_EXAMPLE)(_root)
    for heading, commands in COMMANDS.items():
        for name, function, examples in commands:
            app.command(name, cls=PlainCommand, epilog=examples, rich_help_panel=heading)(function)
    models.callback()(_models)
    models.command("pull", cls=PlainCommand)(pull)
    app.add_typer(models, name="models", rich_help_panel=next(reversed(COMMANDS)))
    return app

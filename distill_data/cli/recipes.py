"""Commands about recipes: which there are, what one sends, whether a file is right. Nothing is sent."""

import json
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from distill_data.cli.options import AsJson, Config, Headers, Rename, Seed, Settings, Teachers, build_options
from distill_data.cli.talk import put, put_json, say
from distill_data.errors import UsageError

Shown = Annotated[str, typer.Argument(metavar="RECIPE", help="a name, or a file: with a / or ending in .jinja")]
Files = Annotated[list[Path], typer.Argument(metavar="FILE", help="recipe files")]
SeedFile = Annotated[
    str, typer.Option("--seeds", rich_help_panel="Input", metavar="SEEDS", help="else the recipe's own example")
]
ForCommand = Annotated[
    str,
    typer.Option(
        "--command", rich_help_panel="Recipe", metavar="NAME", help="whose recipe it is; else by the file's folder"
    ),
]
RowNumber = Annotated[int, typer.Option("--row", rich_help_panel="Input", metavar="N", help="which seed, from 1")]

SHOW_EXAMPLES = """\
Examples:
  distill-data show answer --seeds @instructions --row 3
  distill-data show ./topic.jinja --seeds headlines.csv --set temperature=0.7"""


def list_recipes(as_json: AsJson = False) -> None:
    """List the recipes that come with the package."""
    from distill_data.commands.recipes import recipes

    found = [_described(recipe) for recipe in recipes()]
    if as_json:
        put_json(found)
        return
    rows = [
        (
            f"{recipe['command']} -r {recipe['name']}",
            recipe["strategy"],
            ", ".join(name if needed == "required" else f"[{name}]" for name, needed in recipe["columns"].items()),
        )
        for recipe in found
    ]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
    for row, recipe in zip(rows, found, strict=True):
        cells = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        put(f"{cells}  {recipe['about']}" + (f" ({recipe['paper']})" if recipe["paper"] else ""))


def _described(recipe: Any) -> dict[str, Any]:
    columns = {
        name: "required" if isinstance(default, Enum) else "optional" for name, default in recipe.columns.items()
    }
    return {
        "name": recipe.name,
        "command": recipe.command,
        "strategy": recipe.strategy,
        "columns": columns,
        "about": recipe.about,
        "paper": recipe.paper,
    }


def show(
    recipe: Shown,
    command: ForCommand = "",
    seeds: SeedFile = "",
    row: RowNumber = 1,
    rename: Rename = None,
    settings: Settings = None,
    seed: Seed = 0,
    teachers: Teachers = None,
    headers: Headers = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Show the exact messages and parameters of one request; nothing is sent."""
    from distill_data.commands.show import show as show_requests
    from distill_data.reporting import message_lines

    if row < 1:
        raise UsageError(f"--row {row}: rows count from 1.")
    options = build_options(
        rename=rename, settings=settings, seed=seed, teachers=teachers, headers=headers, config=config
    )
    bodies = show_requests(recipe, command=command, seeds=seeds, row=row, options=options)
    if as_json:
        put_json(bodies)
        return
    if not bodies:
        say(f"{recipe} asks nobody: its records follow from the rows alone.")
    for body in bodies:
        put(*message_lines(body.get("messages", [])))
        parameters = {key: value for key, value in body.items() if key != "messages"}
        put("parameters:", *json.dumps(parameters, indent=2, ensure_ascii=False, default=str).split("\n"))


def check_recipe(files: Files, command: ForCommand = "") -> None:
    """Find what is wrong with recipe files, without asking a model. Exit code 2 if anything is."""
    from distill_data.commands.check_recipe import check_recipe as problems_of

    wrong = False
    for file in files:
        problems = problems_of(str(file), command)
        wrong = wrong or bool(problems)
        put(*(problems or [f"ok {file}"]))
    raise typer.Exit(2 if wrong else 0)

"""docs/options.md, made from the commands themselves: `python -m distill_data.cli.reference > docs/options.md`."""

from collections.abc import Iterator
from typing import Any

from typer.main import get_command

from distill_data.cli import PROGRAM
from distill_data.cli.app import make_app
from distill_data.cli.help import rows_by_heading, usage

INTRODUCTION = """\
# Commands and options

Written by `python -m distill_data.cli.reference > docs/options.md`; change the options, not this page. What stands in
brackets is the default.

stdout carries only what was asked for: a dataset with `-o -`, a list, a path, JSON. Everything else goes to stderr. No
command waits for input. In all that is shown, characters that command a terminal are written as `\\x1b`.

## How values are written

- **SEEDS**: a file (JSONL, CSV, Parquet or plain text, also `.gz` and `.zst`), a folder that the library `datasets`
  saved (`FOLDER:SPLIT`), `hf/ORG/NAME:SPLIT` on the Hugging Face Hub (or `hf/ORG/NAME@REVISION:CONFIG/SPLIT`), `-` for
  stdin, or `@NAME` for a shipped seed file.
- **`--recipe`**: a name of `distill-data recipes`, or a path, which holds a `/` or ends in `.jinja`.
- **`--set KEY=VALUE`**: a setting of the recipe, a key of its `sampling`, `extra_body.KEY`, `samples` or
  `demonstrations.KEY`; VALUE is YAML. See [recipes](recipes.md#--set).
- **`--map NEW=OLD`**: the recipe's column NEW is the seeds' column OLD.
- **`--teacher`**: `openai/MODEL`, `local/MODEL`, `echo`, or a profile of `distill.toml`; without it
  `DISTILL_TEACHER`, then `local/smollm2`. See [teachers](teachers.md).
- **`--header NAME=ENVVAR`**, **`--api-key-env NAME`**: names of environment variables. A key is never an
  argument, because every user of a machine can read the arguments of a process; `--api-key` is refused.
- **`--max-failed`**: a share from 0 to 1, or a percentage. `1%` and `0.01` are the same, `1` is all.
- **`--max-cost`**, **`--max-tokens-total`**: over the whole run, all invocations, requests in doubt included; answers
  taken from other runs are free.
- **`--reuse RUN`**, **`--replay RUN`**, **`--run DIR`**: run directories. Without `--run` it is `OUT.run` beside the
  output, with `.jsonl` cut off, and for `-o -` a folder under `.distill/`.

An option that takes one value and is given twice counts as it was given last; the same KEY, NEW or header twice is
an error.

## Exit codes

| code | meaning |
|---|---|
| 0 | done, and published |
| 1 | a bug |
| 2 | usage, recipe, configuration or input is wrong, nothing was sent; what `check`, `check-recipe` and `doctor` find |
| 3 | too many failed, or too few or none kept; a run then leaves `.partial`. `diff --exit-code`: rows differ |
| 4 | stopped: the teacher refuses or cannot be reached, or the budget is spent |
| 5 | damage, or drift that was not accepted |
| 6 | another process works on the run |
| 7 | the disk is full, read-only or broken |
| 130, 143 | interrupted by SIGINT or SIGTERM |
| 141 | whoever read stdout went away |
"""


def reference() -> str:
    """The whole page."""
    root: Any = get_command(make_app())
    context = root.make_context(PROGRAM, [], resilient_parsing=True)
    return "\n".join([INTRODUCTION, *_chapter(root, context)]).rstrip("\n") + "\n"


def _chapter(command: Any, context: Any) -> Iterator[str]:
    """One command with its options; then its own commands."""
    yield f"## {context.command_path}\n"
    yield f"{command.help}\n\n```\n{usage(command, context)}\n```\n"
    for heading, rows in rows_by_heading(command, context).items():
        yield f"| {heading} | |\n|---|---|"
        yield from (f"| `{_cell(written)}` | {_cell(meaning)} |" for written, meaning in rows)
        yield ""
    if command.epilog:
        examples = [line.strip() for line in command.epilog.split("\n") if line.startswith(" ")]
        yield "```\n" + "\n".join(examples) + "\n```\n"
    for name, each in getattr(command, "commands", {}).items():
        yield from _chapter(each, each.make_context(name, [], parent=context, resilient_parsing=True))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    print(reference(), end="")

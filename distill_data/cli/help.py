"""Help as plain text: one line an option, under headings, with the examples as they were written.

The heading of an option, and of a command, is its `rich_help_panel`; nothing here needs the library of that name.
Knows no command.
"""

from collections.abc import Mapping
from typing import Any

from typer.core import TyperCommand, TyperGroup, TyperOption

from distill_data.cli.coercion import coerce_plainly

WIDTH = 100
"""Columns of a help text, on any terminal: so it has the same lines everywhere."""
COLUMN = 24
"""Columns for what is written; its meaning follows."""
HEADINGS = ("Input", "Recipe", "Student", "Loop", "Teacher", "Output and resume", "Limits", "Talk")
"""In this order. Arguments stand under the first, options without a heading under the last."""
SETTINGS: Mapping[str, Any] = {"terminal_width": WIDTH, "help_option_names": ["-h", "--help"]}
"""For `context_settings`."""


def rows_by_heading(command: Any, context: Any) -> dict[str, list[tuple[str, str]]]:
    """Headings, each with its parameters: how to write one, and what it means with its default."""
    found: dict[str, list[tuple[str, str]]] = {heading: [] for heading in HEADINGS}
    for parameter in command.get_params(context):
        if not isinstance(parameter, TyperOption):
            name = parameter.display_name_raw + ("..." if parameter.nargs != 1 else "")
            found[HEADINGS[0]].append((name, parameter.help or ""))
        elif not parameter.hidden:
            found[parameter.rich_help_panel or HEADINGS[-1]].append(_row(parameter, context))
    return {heading: rows for heading, rows in found.items() if rows}


def _row(option: TyperOption, context: Any) -> tuple[str, str]:
    written = ", ".join(sorted(option.opts, key=len))
    if "--help" in option.opts:
        return written, "show this text"
    if not option.is_flag:
        written += f" {option.display_type_rich(context)}"
    shown = "" if option.is_flag or option.default in (None, "") else f" [{option.default}]"
    return written, f"{option.help}{shown}"


def usage(command: Any, context: Any) -> str:
    """`distill-data label [OPTIONS] SEEDS`."""
    pieces = " ".join(piece.strip("{}") for piece in command.collect_usage_pieces(context))
    return f"{context.command_path} {pieces}".replace("}...", "...")


def _write_usage(self: Any, ctx: Any, formatter: Any) -> None:
    formatter.write(f"Usage: {usage(self, ctx)}\n")


def _write_about(self: Any, ctx: Any, formatter: Any) -> None:
    formatter.write(f"\n{self.help}\n")


def _write_options(self: Any, ctx: Any, formatter: Any) -> None:
    for heading, rows in rows_by_heading(self, ctx).items():
        _write_table(formatter, heading, rows)


def _write_options_and_commands(self: Any, ctx: Any, formatter: Any) -> None:
    _write_options(self, ctx, formatter)
    tables: dict[str, list[tuple[str, str]]] = {}
    for name, command in self.commands.items():
        heading = getattr(command, "rich_help_panel", None)
        tables.setdefault(heading if isinstance(heading, str) else "Commands", []).append((name, command.help))
    for heading, rows in tables.items():
        _write_table(formatter, heading, rows)


def _write_table(formatter: Any, heading: str, rows: list[tuple[str, str]]) -> None:
    formatter.write(f"\n{heading}:\n" + "".join(f"  {written:<{COLUMN}}{meaning}\n" for written, meaning in rows))


def _write_epilog(self: Any, ctx: Any, formatter: Any) -> None:
    if self.epilog:
        formatter.write(f"\n{self.epilog}\n")


class PlainCommand(TyperCommand):
    """A command whose help is lines of text."""

    def get_params(self, ctx: Any) -> Any:
        return coerce_plainly(super().get_params(ctx))

    format_usage = _write_usage
    format_help_text = _write_about
    format_options = _write_options
    format_epilog = _write_epilog


class PlainGroup(TyperGroup):
    """Several commands, one line each."""

    def get_params(self, ctx: Any) -> Any:
        return coerce_plainly(super().get_params(ctx))

    format_usage = _write_usage
    format_help_text = _write_about
    format_options = _write_options_and_commands
    format_epilog = _write_epilog

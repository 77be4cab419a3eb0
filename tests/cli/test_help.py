"""Help texts: short, plain, complete, and free of what only a run needs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner, Result

from distill_data.cli.app import make_app
from distill_data.cli.help import HEADINGS
from distill_data.cli.reference import reference
from tests.cli.command import ROOT

COMMANDS = [
    "",
    "label",
    "expand",
    "curate",
    "feature",
    "feedback",
    "self-knowledge",
    "score",
    "stats",
    "view",
    "report",
    "diff",
    "filter",
    "dedup",
    "decontaminate",
    "select",
    "sample",
    "split",
    "merge",
    "check",
    "export",
    "card",
    "push",
    "verify",
    "train",
    "evaluate",
    "recipes",
    "show",
    "check-recipe",
    "status",
    "publish",
    "doctor",
    "models",
    "models pull",
]
FORBIDDEN = {"openai", "pydantic", "rich", "jinja2", "yaml", "httptools", "jsonschema", "orjson", "uvloop", "logging"}
SHARED = """
    --map --limit --shuffle -r -n --set --seed --resample -t --base-url --api-key-env --header --timeout --config -o
    --retry-failed --accept-drift --reuse --replay --run --pilot --dry-run --lane --rebuy-lost --concurrency --rpm --tpm
    --max-cost --max-tokens-total --max-failed --shard --shards --engine -v -q
"""


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(make_app(), list(arguments))


def help_of(command: str) -> str:
    result = invoke(*command.split(), "--help")
    assert result.exit_code == 0
    return result.stdout


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("columns", ["40", "100", "300"])
def test_help_fits_a_screen_of_a_hundred_columns(command: str, columns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    lines = help_of(command).rstrip("\n").split("\n")
    assert 5 < len(lines) <= 72
    assert max(map(len, lines)) <= 117 if command == "" else max(map(len, lines)) <= 100
    assert all(32 <= ord(character) < 127 for line in lines for character in line)


def test_label_groups_its_options_under_headings_in_order() -> None:
    lines = help_of("label").split("\n")
    headings = [heading for heading in HEADINGS if heading not in ("Student", "Loop")]
    assert [line[:-1] for line in lines if re.fullmatch(r"[A-Z][a-z ]+:", line)] == [*headings, "Examples"]


def test_label_shows_every_option_on_a_line_of_its_own() -> None:
    options = [line.split()[0].rstrip(",") for line in help_of("label").split("\n") if line.startswith("  -")]
    assert sorted(options) == sorted([*SHARED.split(), "-h"])


def test_label_ends_with_two_examples_as_they_were_written() -> None:
    assert re.search(r"Examples:\n  distill-data label .+\n  distill-data label .+\n$", help_of("label"))


def test_the_examples_name_options_that_exist() -> None:
    root: Any = get_command(make_app())
    for command in root.commands.values():
        known = {name for parameter in command.params for name in parameter.opts}
        assert set(re.findall(r" (--?[a-z][a-z-]*)", command.epilog or "")) <= known


def test_the_root_lists_every_command_with_a_line() -> None:
    listed = re.findall(r"^  ([a-z-]+) {2,}\S", help_of("").partition("Ask models:")[2], re.MULTILINE)
    assert listed == [name for name in COMMANDS if name and " " not in name]


def test_a_key_has_no_option_in_the_help() -> None:
    assert "--api-key " not in help_of("label")


@pytest.mark.parametrize("command", ["", "label", "models pull"])
def test_help_imports_nothing_that_only_a_run_needs(command: str) -> None:
    script = (
        "import sys\nfrom distill_data.cli import main\ncode = main(sys.argv[1:])\n"
        "import json\nprint(json.dumps(sorted(sys.modules)), file=sys.stderr)\nsys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *command.split(), "--help"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(json.loads(done.stderr))
    assert "typer" in loaded
    assert not loaded & FORBIDDEN
    assert not [name for name in loaded if name.startswith("distill_data.commands")]


def test_without_a_command_the_help_is_on_stderr() -> None:
    result = invoke()
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Ask models:" in result.stderr


def test_the_reference_is_current() -> None:
    page = (ROOT / "docs" / "options.md").read_text(encoding="utf-8")
    assert page == reference(), "run: python -m distill_data.cli.reference > docs/options.md"


def test_the_reference_has_every_command_and_option() -> None:
    chapters = re.findall(r"^## distill-data ?(.*)$", reference(), re.MULTILINE)
    assert sorted(chapters) == sorted(COMMANDS)
    label = reference().partition("## distill-data label")[2].partition("\n## ")[0]
    assert [option for option in SHARED.split() if f"| `{option}" not in label] == []

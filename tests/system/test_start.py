"""Starting is free: help is short plain text, and imports nothing that only a run needs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.system.command import DISTILL, environment, run

HEAVY = {
    "openai",
    "pydantic",
    "genai_prices",
    "rich",
    "jinja2",
    "yaml",
    "httptools",
    "aiohappyeyeballs",
    "jsonschema",
    "datasets",
    "xllamacpp",
    "uvloop",
}
COMMANDS = [
    (),
    ("label",),
    ("recipes",),
    ("show",),
    ("check-recipe",),
    ("models",),
    ("models", "pull"),
    ("doctor",),
    ("status",),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_is_at_most_sixty_plain_lines(command: tuple[str, ...]) -> None:
    text = run(*command, "--help").ended(0).out
    lines = text.rstrip().split("\n")
    assert 3 < len(lines) <= 60
    assert max(map(len, lines)) <= 120
    assert "\x1b" not in text
    assert not {"╭", "│", "╰"} & set(text)


@pytest.mark.parametrize("command", [(), ("label",)], ids=["root", "label"])
def test_help_imports_nothing_heavy(command: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *DISTILL[1:], *command, "--help"],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.split("\n")}
    assert "typer" in imported
    assert not imported & HEAVY


def test_label_help_shows_two_real_examples() -> None:
    text = run("label", "--help").ended(0).out
    assert text.count("distill-data label ") >= 2


def test_the_version_is_told() -> None:
    assert run("--version").ended(0).out.startswith("distill-data ")

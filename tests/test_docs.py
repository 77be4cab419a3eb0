"""The documents: links lead somewhere, and what is named is there: headings, make targets, commands with their options,
recipes and objectives with their settings.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from typer.main import get_command

from distill_data import commands as api
from distill_data.cli import PROGRAM
from distill_data.cli.app import make_app
from distill_data.commands import Options
from distill_data.commands.plan import read_recipe
from distill_data.recipes import shipped
from distill_data.training.objectives import OBJECTIVES, settings_of

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("seeds/*.md"), *ROOT.glob("tests/**/README.md")]
)
LINK = re.compile(r"!?\[[^\]]*\]\(<?([^)\s>]+)>?(?: \"[^\"]*\")?\)")
FENCED = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+ +(.+?) *#*$", re.MULTILINE)


def links(text: str) -> list[str]:
    """Where the links of a document lead, without those to other sites."""
    prose = re.sub(r"`[^`\n]*`", "", FENCED.sub("", text))
    return [target for target in LINK.findall(prose) if not re.match(r"[a-z]+:", target)]


def anchors(text: str) -> set[str]:
    """The names that GitHub gives the headings."""
    headings = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", found) for found in HEADING.findall(FENCED.sub("", text)))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(document: Path) -> list[str]:
    """The links of a document that lead to no file, or to no heading of one."""
    broken = []
    for target in links(document.read_text(encoding="utf-8")):
        file, _, anchor = target.partition("#")
        path = document.parent / file if file else document
        if not path.exists() or (anchor and path.suffix == ".md" and anchor not in anchors(path.read_text("utf-8"))):
            broken.append(target)
    return broken


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    assert broken_links(document) == []


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    (tmp_path / "b.md").write_text("# Exit codes, *all* of them\n```\n# no heading\n```\n")
    (tmp_path / "a.md").write_text(
        "[1](b.md) [2](b.md#exit-codes-all-of-them) [3](b.md#no-heading) [4](gone.md) [5](#top) `[6](gone)`\n"
        "```\n[7](gone)\n```\n[8](https://example.org/gone)\n# Top\n"
    )
    assert broken_links(tmp_path / "a.md") == ["b.md#no-heading", "gone.md"]


def test_the_make_targets_that_documents_name_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    code = re.compile(r"`make ([a-z][a-z-]*)|^make ([a-z][a-z-]*)", re.MULTILINE)
    for document in DOCUMENTS:
        named = {one or other for one, other in code.findall(document.read_text(encoding="utf-8"))}
        assert named <= targets, f"{document.relative_to(ROOT)} names make {named - targets}"
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony and targets == set(phony[1].split())


class Commands(NamedTuple):
    """The command line, to hold against what a page says of it."""

    root: Any
    context: Any

    def parse(self, words: list[str], *, whole: bool) -> dict[str, Any]:
        """Option to value, for words after the program's name. Where the command is `whole`, nothing that it needs may
        be missing and every value must be of its type. Raises ClickException.
        """
        name, *rest = words
        assert name in self.root.commands, f"{PROGRAM} has no command {name}"
        command = self.root.commands[name]
        if whole:
            return dict(command.make_context(name, rest, parent=self.context).params)
        parser = command.make_parser(command.context_class(command, parent=self.context, info_name=name))
        return dict(parser.parse_args(rest)[0])


@pytest.fixture(scope="module")
def commands() -> Commands:
    root: Any = get_command(make_app())
    return Commands(root, root.make_context(PROGRAM, [], resilient_parsing=True))


def spans(text: str) -> Iterator[str]:
    """What stands as code in a line, and the lines of fenced code."""
    for block in FENCED.finditer(text):
        yield from block[0].replace("\\\n", " ").split("\n")
    yield from re.findall(r"`([^`\n]+)`", FENCED.sub("", text))


def lines_of(document: Path) -> Iterator[str]:
    """Commands of ours in a document, without the program's name; they stand without it only in the survey's."""
    for span in spans(document.read_text(encoding="utf-8")):
        line = re.sub(r" *(2?>|\||&|;|  #).*", "", span.removeprefix("$ "))
        if line.startswith(f"{PROGRAM} ") and "[OPTIONS]" not in line:
            yield line.removeprefix(f"{PROGRAM} ")
        elif document == SURVEY and re.match(r"[a-z][a-z-]* ", line):
            yield line


SURVEY = ROOT / "docs" / "survey.md"
BRIEF = re.compile(r"[a-z-]+ -r [a-z-]+")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_in_documents_have_the_options_that_they_are_given(document: Path, commands: Commands) -> None:
    for line in lines_of(document):
        commands.parse(shlex.split(line), whole=False)


def test_the_page_of_python_names_every_function() -> None:
    page = (ROOT / "docs/api.md").read_text(encoding="utf-8")
    assert [name for name in api.__all__ if f"`{name}" not in page and f"{name}(" not in page] == []


def test_the_survey_names_commands_that_parse_and_every_recipe_and_objective(commands: Commands) -> None:
    recipes, objectives = set(), set()
    for line in lines_of(SURVEY):
        words = shlex.split(line)
        given = commands.parse(words, whole=not BRIEF.fullmatch(line))
        settings = dict(pair.split("=", 1) for pair in given.get("settings") or ())
        if given.get("objective"):
            objectives.add(given["objective"])
            settings_of(given["objective"], settings)
        elif words[0] != "show" and given.get("recipe"):
            recipes.add((words[0], given["recipe"]))
            if settings:
                read_recipe(given["recipe"], words[0], Options(settings=settings))
    assert recipes == {(command, name) for command in shipped.commands() for name in shipped.recipe_files(command)}
    assert objectives == set(OBJECTIVES)


def test_every_term_of_the_survey_has_a_command_or_the_reason_why_not() -> None:
    rows = [line.split(" | ") for line in SURVEY.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    terms = [(row[0], row[-2]) for row in rows if row[0] not in ("| way", "| step", "| objective", "| skill", "| idea")]
    assert len(terms) > 50
    assert [term for term, here in terms if "`" not in here and "](#" not in here and "No command: " not in here] == []

"""docs/recipes.md says what the code does: its recipe is whole, its tables are complete."""

import re
from pathlib import Path

import pytest

from distill_data.commands.check_recipe import STRATEGY_SETTINGS, check_recipe
from distill_data.parsing import PARSERS
from distill_data.quality import CHECKS, VERIFIERS
from distill_data.recipes import list_recipes
from distill_data.recipes.declare import KEYS, LITERAL
from distill_data.recipes.sampling import SAMPLING
from distill_data.recipes.sandbox import CHARACTERS, FILTERS, STEPS, TESTS

PAGE = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text(encoding="utf-8")


def test_the_recipe_on_the_page_is_whole(tmp_path: Path) -> None:
    (source,) = re.findall(r"^```jinja\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    path = tmp_path / "topic.jinja"
    path.write_text(source)
    assert check_recipe(str(path)) == []


def test_every_key_has_a_row() -> None:
    table = PAGE.partition("| key |")[2].partition("\n\n")[0]
    assert sorted(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) == sorted(KEYS)
    needed = re.findall(r"^\| `(\w+)` \| yes", table, re.MULTILINE)
    assert needed == ["about", "columns", "parser", "sampling", "record"]


def named(start: str, end: str) -> set[str]:
    """The names in backquotes between two pieces of the page."""
    assert start in PAGE and end in PAGE.partition(start)[2], (start, end)
    return set(re.findall(r"`([\w-]+)`", PAGE.partition(start)[2].partition(end)[0]))


@pytest.mark.parametrize(
    ("start", "end", "names"),
    [
        ("- filters: ", ";", FILTERS),
        ("- tests: ", ".", TESTS),
        ("| `sampling` | yes |", "|\n", SAMPLING),
        ("in all keys but", ". So", LITERAL),
        ("`rejection` reads", "(", STRATEGY_SETTINGS["rejection"]),
    ],
)
def test_lists_are_complete(start: str, end: str, names: object) -> None:
    assert named(start, end) == set(names)  # type: ignore[call-overload]


def test_what_is_named_exists() -> None:
    for recipe in list_recipes():
        assert f"| `{recipe.name}` |" in PAGE
    for row, table in (("parsers", PARSERS), ("checks", CHECKS), ("verifiers", VERIFIERS)):
        (cells,) = re.findall(rf"^\| {row}[^|]*\| (.*) \|$", PAGE, re.MULTILINE)
        cells = re.sub(r"\(`[^)]*\)", "", cells)
        assert set(re.findall(r"`\{?([a-z-]+)", cells)) == set(table)
    assert f"{CHARACTERS:,} characters" in PAGE and f"{STEPS:,} steps" in PAGE

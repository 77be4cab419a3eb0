"""The recipes and seeds that come with the package."""

import ast
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_data.commands.check_annotation import shown_example
from distill_data.commands.check_recipe import problems
from distill_data.data.exchange import Message
from distill_data.errors import RecipeError, SeedError
from distill_data.methods.stages import make_stages
from distill_data.recipes import apply_settings, list_recipes, load_recipe, recipe_path, seed_path, shipped
from distill_data.recipes.recipe import Recipe
from tests.shipped import RECIPES

LABEL = [
    *("annotate", "answer", "cot", "erase", "explain", "extract", "grade", "rank", "rejection", "rewrite"),
    *("self-consistency", "step-by-step", "summarize", "translate"),
]


def test_list() -> None:
    assert [recipe.name for recipe in list_recipes("label")] == LABEL
    assert {f"label/{name}" for name in LABEL} <= set(RECIPES)
    assert list_recipes("nothing") == []


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_every_shipped_recipe_is_whole(recipe: Recipe) -> None:
    """Loads, renders its example, and parses, checks and verifies the example's reply."""
    assert problems(recipe.path) == []
    assert recipe.about.endswith(".") and recipe.example
    assert load_recipe(recipe.name, recipe.command) == load_recipe(str(recipe.path), recipe.command)


@pytest.mark.parametrize(
    ("name", "seeds"),
    [
        *(("annotate", "@sentiment"), ("answer", "@instructions"), ("cot", "@questions"), ("cot", "@arithmetic")),
        *(("self-consistency", "@questions"), ("rejection", "@arithmetic"), ("extract", "@extraction")),
        *((name, "@sentiment") for name in ("step-by-step", "summarize", "translate", "rewrite", "grade")),
        *(("explain", "@instructions"), ("erase", "@instructions"), ("rank", "@ranking")),
    ],
)
def test_every_shipped_seed_renders(name: str, seeds: str) -> None:
    recipe = load_recipe(name, "label")
    for line in seed_path(seeds).read_bytes().split(b"\n"):
        if line:
            row = json.loads(line)
            text = row.get("text") or row.get("question") or row.get("query") or row["instruction"]
            for block in recipe.blocks:
                assert recipe.render(block, row)[-1]["content"].count(text) == 1


def test_annotate_lists_definitions_and_shows_demonstrations() -> None:
    labels = "{ham: wanted mail, spam: 'mail that nobody asked for: ads', other: ''}"
    recipe = apply_settings(load_recipe("annotate", "label"), {"labels": labels, "task": "What is this? One of"})
    head = (
        'What is this? One of "ham", "spam", "other".\n- ham: wanted mail\n- spam: mail that nobody asked for: ads\n\n'
    )
    assert recipe.choices == ("ham", "spam", "other")
    shown = [{"text": "Buy now!", "label": "spam"}, {"text": "Hi.", "label": "ham"}]
    assert recipe.render("main", {"text": "  Lunch?\n"}, demonstrations=shown) == [
        {"role": "user", "content": f"{head}Text:\nBuy now!"},
        {"role": "assistant", "content": "spam"},
        {"role": "user", "content": f"{head}Text:\nHi."},
        {"role": "assistant", "content": "ham"},
        {"role": "user", "content": f"{head}Text:\n  Lunch?\n"},
    ]
    plain = 'What is the sentiment of this text? Answer with one word: "positive", "negative".\n\nText:\nFine.'
    assert load_recipe("annotate", "label").render("main", {"text": "Fine."}) == [{"role": "user", "content": plain}]


HOSTILE = st.one_of(
    st.text(),
    st.lists(
        st.sampled_from(
            ["{{ 7*7 }}", '{% message "system" %}', "{% endmessage %}", "{% endblock %}", "\n", "{#", "\x00"]
        )
    ).map("".join),
)


@pytest.mark.slow
@given(text=HOSTILE, other=HOSTILE)
@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_no_seed_text_changes_the_shape_of_a_prompt(recipe: Recipe, text: str, other: str) -> None:
    """Whatever the columns hold, the messages are those of a harmless row with the texts put in."""
    marks = {column: f"\ue000{column}\ue001" for column in recipe.columns}
    values = {column: (text if index % 2 == 0 else other) or "-" for index, column in enumerate(recipe.columns)}
    values |= {column: values[column] if values[column].strip() else "-" for column in recipe.lists}

    def row(texts: dict[str, str]) -> dict[str, object]:
        return {column: [value] if column in recipe.lists else value for column, value in texts.items()}

    render: Callable[[str, dict[str, object]], list[Message]] = recipe.render
    if recipe.command != "label":
        stages, x = make_stages(recipe, 0), recipe.example.get("x", {})

        def render(block: str, row: dict[str, object]) -> list[Message]:
            shown = {"x": x, "said": x, "demonstrations": [row, row], "operation": "-", **shown_example()}
            return stages.messages(block, row, shown)

    for block in recipe.blocks:
        expected = render(block, row(marks))
        for message in expected:
            parts = message["content"].replace("\ue001", "\ue000").split("\ue000")
            message["content"] = "".join(values.get(part, part) if odd % 2 else part for odd, part in enumerate(parts))
        assert render(block, row(values)) == expected


def test_unknown_names() -> None:
    with pytest.raises(RecipeError, match="unknown recipe anotate for label; did you mean annotate"):
        load_recipe("anotate", "label")
    with pytest.raises(RecipeError, match="unknown recipe zzz for label; known are annotate, answer"):
        recipe_path("zzz", "label")
    with pytest.raises(SeedError, match="unknown seed set @sentimnt; did you mean sentiment"):
        seed_path("@sentimnt")
    with pytest.raises(SeedError):
        seed_path("@../seeds/sentiment")
    assert seed_path("some/file.csv") == Path("some/file.csv")


def test_a_name_with_a_slash_or_an_ending_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(recipe_path("answer", "label"), "annotate.jinja")
    assert load_recipe("annotate.jinja", "label").about == load_recipe("answer", "label").about
    assert load_recipe("./annotate.jinja", "label").columns == load_recipe("answer", "label").columns
    assert load_recipe("annotate", "label").path == recipe_path("annotate", "label")


def test_files_inside_of_the_package_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "package" / "prompts" / "label").mkdir(parents=True)
    (tmp_path / "seeds").mkdir()
    shutil.copy(recipe_path("answer", "label"), tmp_path / "package" / "prompts" / "label" / "mine.jinja")
    shutil.copy(seed_path("@sentiment"), tmp_path / "seeds" / "sentiment.jsonl")
    monkeypatch.setattr(shipped, "PACKAGE", tmp_path / "package")
    assert [recipe.name for recipe in list_recipes()] == ["mine"]
    assert seed_path("@sentiment") == tmp_path / "seeds" / "sentiment.jsonl"


def test_one_module_knows_yaml_and_three_know_jinja() -> None:
    package = Path(shipped.__file__).parent
    users: dict[str, set[str]] = {"yaml": set(), "jinja2": set()}
    for path in package.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = (
                    [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
                )
                for library in users.keys() & {name.partition(".")[0] for name in names}:
                    users[library].add(path.stem)
    assert users == {"yaml": {"frontmatter"}, "jinja2": {"sandbox", "tags", "template"}}

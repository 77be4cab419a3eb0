"""Prompts that begin alike are asked one after the other; what comes out stays in the order of the seeds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from distill_data.commands import grouping
from distill_data.commands.check_annotation import shown_example
from distill_data.commands.grouping import group, leading_column
from distill_data.commands.label import label
from distill_data.commands.options import Options
from distill_data.data.items import Item
from distill_data.methods.stages import make_stages
from distill_data.recipes import load_recipe
from distill_data.recipes.recipe import Recipe
from tests.provider import Provider, serve
from tests.shipped import RECIPES

pytestmark = pytest.mark.slow

CACHED = 4096
"""Characters, about: of what is shorter than a thousand tokens, the large providers keep nothing."""
ASKED = """\
---
about: A question about a document.
strategy: single
columns: {question: required, document: required}
parser: text
sampling: {temperature: 0, max_tokens: 30}
record: {kind: sft, completion: {content: text}}
example:
  row: {question: "Why so?", document: It is so.}
  reply: It is so.
---
{% block main %}
Answer from the document alone.

{{ document }}

{{ question }}
{% endblock %}
"""


def items(*documents: str) -> Iterator[Item]:
    return (Item(n, f"{n:016x}", {"document": text, "n": n}, "", 0) for n, text in enumerate(documents))


def order(found: Iterator[Item]) -> list[int]:
    return [item.ordinal for item in found]


def test_long_values_that_are_equal_come_together_after_short_ones() -> None:
    a, b = "a" * 300, "b" * 300
    assert order(group(items(a, b, "x", a, "x", b, a), "document")) == [2, 4, 0, 3, 6, 1, 5]
    assert order(group(items("x", "y", "x"), "document")) == [0, 1, 2]
    assert order(group(items(a, b, a), "n")) == [0, 1, 2]


def test_windows_bound_what_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = "a" * 300, "b" * 300
    monkeypatch.setattr(grouping, "WINDOW", 4)
    assert order(group(items(a, b, a, b, a, b, a), "document")) == [0, 2, 1, 3, 4, 6, 5]
    monkeypatch.setattr(grouping, "WINDOW_BYTES", 500)
    assert order(group(items(a, b, a, b, a), "document")) == [0, 1, 2, 3, 4]
    monkeypatch.setattr(grouping, "WINDOW_BYTES", 700)
    rows: list[dict[str, Any]] = [{"document": text, "more": ["x" * 300]} for text in (a, b, a)]
    wide = (Item(n, f"{n:016x}", row, "", 0) for n, row in enumerate(rows))
    assert order(group(wide, "document")) == [0, 1, 2], "what stands beside the value counts too"


def test_the_leading_column_is_that_of_the_prompt(tmp_path: Path) -> None:
    path = tmp_path / "ask.jinja"
    path.write_text(ASKED)
    assert leading_column(load_recipe(str(path), "label")) == "document"
    assert leading_column(load_recipe("cot", "label")) == "", "equal questions are equal prompts"


def test_questions_about_one_document_find_it_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, seeds = tmp_path / "ask.jinja", tmp_path / "seeds.jsonl"
    recipe.write_text(ASKED)
    rows = [{"question": f"Question {n}?", "document": f"Document {n % 7} says: " + "word " * 200} for n in range(42)]
    seeds.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def made(name: str, provider: Provider) -> tuple[bytes, int]:
        out = tmp_path / f"{name}.jsonl"
        options = Options(teachers=("openai/x",), base_url=provider.url, concurrency=1)
        assert label(str(seeds), recipe=str(recipe), output=str(out), options=options).exit_code == 0
        return out.read_bytes(), sum(each.cached_tokens for each in provider.ledger)

    def reply(prompt: str, before: int) -> str:
        return prompt[-12:]

    with serve(reply) as provider:
        grouped, hits = made("grouped", provider)
    monkeypatch.setattr(grouping, "WINDOW", 1)
    with serve(reply) as provider:
        plain, fewer = made("plain", provider)
        whole = sum(each.prompt_tokens for each in provider.ledger)
    assert grouped == plain
    assert fewer < 0.2 * whole and hits > 0.75 * whole


def test_all_samples_of_a_question_go_together(tmp_path: Path) -> None:
    seeds = tmp_path / "seeds.jsonl"
    seeds.write_text("".join(json.dumps({"instruction": f"Say {n}."}) + "\n" for n in range(8)))
    with serve() as provider:
        options = Options(
            teachers=("openai/x",), base_url=provider.url, concurrency=2, samples=4, settings={"temperature": "0.7"}
        )
        label(str(seeds), recipe="answer", output=str(tmp_path / "out.jsonl"), options=options)
        runs = [len(list(members)) for _, members in groupby(each.prompt for each in provider.ledger)]
    assert sum(runs) == 32 and len(runs) <= 16, runs


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_no_shipped_prompt_hides_from_a_cache_what_it_would_keep(recipe: Recipe) -> None:
    """Nothing that is the same in every prompt and long enough to be kept stands behind what differs.

    Short instructions may: a passage comes before what is asked about it, so that questions share the passage.
    """

    for block in recipe.blocks:
        one, other = (shown(recipe, block, mark) for mark in ("A", "B"))
        same = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), len(one))
        assert len(one) - same < CACHED, block


def shown(recipe: Recipe, block: str, mark: str) -> str:
    """A block's text where every value is this mark."""
    row = {column: [mark] if column in recipe.lists else mark for column in recipe.columns}
    if recipe.command == "label":
        messages = recipe.render(block, row)
    else:
        x = marked(recipe.example.get("x", {}), mark)
        more = {"x": x, "said": x, "demonstrations": [row, row], "operation": mark, **marked(shown_example(), mark)}
        messages = make_stages(recipe, 0).messages(block, row, more)
    return "\n".join(str(message["content"]) for message in messages)


def marked(value: Any, mark: str) -> Any:
    """The same with every text replaced."""
    if isinstance(value, str):
        return mark
    if isinstance(value, list):
        return [marked(each, mark) for each in value]
    return {name: marked(each, mark) for name, each in value.items()} if isinstance(value, dict) else value


def test_demonstrations_come_before_the_row() -> None:
    recipe = load_recipe("annotate", "label")
    demonstrations = [{"text": f"Shown {n}. " + "word " * 50, "label": "positive"} for n in range(8)]
    one, other = (
        "\n".join(str(each["content"]) for each in recipe.render("main", {"text": text}, demonstrations=demonstrations))
        for text in ("First.", "Second.")
    )
    shared = next(n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    assert len(one) - shared == len("First.")

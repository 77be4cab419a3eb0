"""Which solved examples a prompt shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_data.commands.options import Options
from distill_data.commands.plan import find_pool, find_seeds
from distill_data.data.items import Item, Row
from distill_data.errors import SeedError
from distill_data.methods.demonstrations import make_choose
from distill_data.recipes import Demonstrations, apply_settings, load_recipe
from distill_data.recipes.recipe import Recipe

POOL: list[Row] = [
    {"text": "the soup was cold", "label": "negative"},
    {"text": "a warm and sunny room", "label": "positive"},
    {"text": "cold soup again and a cold room", "label": "negative"},
    {"text": "the bus came on time", "label": "positive"},
    {"text": "nobody answered the phone", "label": "negative"},
]


def item(row: Row, number: int = 0, seed: int = 0) -> Item:
    return Item(number, f"{number:016x}", row, f"seeds.jsonl:{number + 1}", seed)


def spec(pick: Any, k: int) -> Demonstrations:
    return Demonstrations("seeds", pick, k, "text")


def test_none() -> None:
    assert make_choose(None, [])(item(POOL[0])) == []
    assert make_choose(spec("fixed", 0), POOL)(item(POOL[0])) == []


def test_fixed_takes_the_first_others() -> None:
    choose = make_choose(spec("fixed", 2), POOL)
    assert choose(item({"text": "new"})) == POOL[:2]
    assert choose(item(POOL[0])) == POOL[1:3]
    assert choose(item(POOL[1])) == [POOL[0], POOL[2]]
    assert choose(item(POOL[4])) == POOL[:2]


def test_random_draws_by_the_item() -> None:
    choose = make_choose(spec("random", 3), POOL)
    drawn = [choose(item({"text": "new"}, number)) for number in range(20)]
    assert all(len(rows) == 3 and all(row in POOL for row in rows) for rows in drawn)
    assert len({str(rows) for rows in drawn}) > 5
    assert [choose(item({"text": "new"}, number)) for number in reversed(range(20))] == drawn[::-1]
    assert [choose(item({"text": "new"}, number, seed=1)) for number in range(20)] != drawn


def test_nearest_puts_the_most_similar_last() -> None:
    choose = make_choose(spec("nearest", 2), POOL)
    assert choose(item(POOL[0]))[-1] == POOL[2]
    assert choose(item({"text": "sunny phone room"})) == [POOL[4], POOL[1]]
    assert choose(item({"text": "cold soup again"}))[-1] == POOL[2]
    assert choose(item({"text": "did the bus come"}))[-1] == POOL[3]


@given(
    pick=st.sampled_from(["fixed", "random", "nearest"]),
    k=st.integers(1, 4),
    texts=st.lists(st.sampled_from("abcdef"), min_size=1, max_size=9),
    data=st.data(),
)
def test_never_the_item_itself(pick: str, k: int, texts: list[str], data: st.DataObject) -> None:
    """Nor a row equal to it; as many as wanted where there are so many others."""
    pool = [{"text": text} for text in texts]
    row = data.draw(st.sampled_from(pool))
    chosen = make_choose(spec(pick, k), pool)(item(dict(row)))
    assert row not in chosen
    assert len(chosen) == min(k, sum(other != row for other in pool))


def annotate(**settings: str) -> Recipe:
    pairs = {f"demonstrations.{key.rstrip('_')}": value for key, value in settings.items()}
    return apply_settings(load_recipe("annotate", "label"), pairs)


def write(path: Path, rows: int) -> Path:
    path.write_text("".join(f'{{"text": "text {number}", "label": "positive"}}\n' for number in range(rows)))
    return path


@pytest.mark.parametrize("source", ["seeds", "file"])
@pytest.mark.parametrize("rows", [1, 3, 4])
def test_too_few_rows_to_choose_from(tmp_path: Path, source: str, rows: int) -> None:
    path = write(tmp_path / "seeds.jsonl", rows)
    recipe = annotate(k="3") if source == "seeds" else annotate(k="3", from_=str(path))
    seeds = find_seeds(str(path), Options(), None)
    seeds.survey(recipe)
    if rows > 3:
        assert len(find_pool(recipe.demonstrations, seeds, recipe)) == rows
        return
    with pytest.raises(SeedError, match="3 demonstrations are wanted") as caught:
        find_pool(recipe.demonstrations, seeds, recipe)
    assert caught.value.exit_code == 2

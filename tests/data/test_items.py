"""Items: identities that survive every change of the file except that of the row itself."""

from __future__ import annotations

import random
import tracemalloc
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from distill_data.data.items import Item
from distill_data.data.seeds import make_items

rows = st.lists(st.fixed_dictionaries({"a": st.integers(0, 3)}), max_size=12)


def items(plain: list[dict[str, Any]], seed: int = 0) -> list[Item]:
    return list(make_items(((f"s.jsonl:{n}", row) for n, row in enumerate(plain, 1)), seed))


@given(rows, st.randoms(use_true_random=False))
def test_ids_are_distinct_and_do_not_depend_on_order(plain: list[dict[str, Any]], shuffler: random.Random) -> None:
    before = items(plain)
    assert len({item.id for item in before}) == len(plain)
    assert [item.ordinal for item in before] == list(range(len(plain)))
    shuffled = shuffler.sample(plain, len(plain))
    assert {item.id for item in items(shuffled)} == {item.id for item in before}


@given(rows, rows)
def test_appending_rows_changes_no_id(plain: list[dict[str, Any]], more: list[dict[str, Any]]) -> None:
    assert [item.id for item in items(plain + more)][: len(plain)] == [item.id for item in items(plain)]


def test_an_id_is_known_for_good() -> None:
    first, key_order, again, other = items(
        [{"a": 1, "b": "x"}, {"b": "x", "a": 1}, {"a": 1, "b": "x"}, {"a": 1.0, "b": "x"}]
    )
    assert (first.id, first.where) == ("2b6a054fef6a5dc6", "s.jsonl:1")
    assert (key_order.id, again.id) == ("4dd383cecd1ac63f", "2af082cfbf4a47fa")
    assert other.id not in {first.id, key_order.id, again.id}
    assert all(len(item.id) == 16 for item in (first, again, other))


def test_each_item_draws_for_itself() -> None:
    first, second = items([{"a": 1}, {"a": 2}], seed=7)
    assert first.rng().random() == first.rng().random() != second.rng().random()
    assert first.rng().random() != items([{"a": 1}], seed=8)[0].rng().random()


def test_memory_a_row_is_small() -> None:
    count = 60_000
    tracemalloc.start()
    try:
        numbered = make_items(((f"s.jsonl:{n}", {"a": n}) for n in range(count)), 0)
        for item in numbered:
            if item.ordinal == count - 1:
                held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held / count < 100

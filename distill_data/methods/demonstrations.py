"""Choosing the demonstrations c that a prompt shows. Knows nothing about prompts or where the pool was read."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from distill_data.data.items import Item, Row
from distill_data.quality.similarity import make_nearest
from distill_data.recipes import Demonstrations

Choose = Callable[[Item], list[Row]]


def make_choose(spec: Demonstrations | None, pool: Sequence[Row]) -> Choose:
    """A function from an item to its k demonstrations, of which the item itself is never one.

    `fixed` takes the first of the pool, `random` draws by the item's own generator, `nearest` takes the most similar in
    the column `by`, the most similar last, next to the question.
    """
    if spec is None or spec.k == 0:
        return lambda item: []
    k = spec.k

    def fixed(item: Item) -> list[Row]:
        return _others(pool[: k + 1 + pool.count(item.row)], item)[:k]

    def random(item: Item) -> list[Row]:
        others = _others(pool, item)
        return item.rng().sample(others, min(k, len(others)))

    if spec.pick == "nearest":
        find = make_nearest([str(row.get(spec.by, "")) for row in pool])

        def nearest(item: Item) -> list[Row]:
            found = [pool[index] for index in find(str(item.row.get(spec.by, "")), k + 1 + pool.count(item.row))]
            return _others(found, item)[:k][::-1]

        return nearest
    return fixed if spec.pick == "fixed" else random


def _others(rows: Sequence[Row], item: Item) -> list[Row]:
    return [row for row in rows if row != item.row]

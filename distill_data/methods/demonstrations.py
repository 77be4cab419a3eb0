"""Choosing the demonstrations c that a prompt shows. Knows nothing about prompts or where the pool was read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

from distill_data.data.items import Item, Row, canonical
from distill_data.quality.similarity import make_nearest
from distill_data.recipes import Demonstrations

Choose = Callable[[Item], list[Row]]


def make_choose(spec: Demonstrations | None, pool: Sequence[Row], question: Sequence[str] = ()) -> Choose:
    """A function from an item to its k demonstrations, of which the item itself is never one.

    `fixed` takes the first of the pool, `random` draws by the item's own generator, `nearest` takes the most similar in
    the column `by`, the most similar last, next to the question. Rows are the same where
    their columns `question` are; without any, where all are.
    """
    if spec is None or spec.k == 0:
        return lambda item: []
    k = spec.k

    def key(row: Row) -> bytes:
        return canonical([row.get(column) for column in question] if question else row)

    keys = [key(row) for row in pool]

    def others(indices: Iterable[int], item: Item) -> Iterator[Row]:
        asked = key(item.row)
        return (pool[index] for index in indices if keys[index] != asked)

    def fixed(item: Item) -> list[Row]:
        return list(islice(others(range(len(pool)), item), k))

    def random(item: Item) -> list[Row]:
        rows = list(others(range(len(pool)), item))
        return item.rng().sample(rows, min(k, len(rows)))

    if spec.pick == "nearest":
        find = make_nearest([str(row.get(spec.by, "")) for row in pool])
        copies = Counter(keys)

        def nearest(item: Item) -> list[Row]:
            found = find(str(item.row.get(spec.by, "")), k + copies[key(item.row)])
            return list(islice(others(found, item), k))[::-1]

        return nearest
    return fixed if spec.pick == "fixed" else random

"""What is drawn for each round: seeds in turn, combinations, pairs, demonstrations, a queue. Knows no prompt.

All randomness comes from the run's random seed and the number of the round.
"""

from __future__ import annotations

import itertools
import random
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from distill_data.data.growth import Draft, Draw
from distill_data.data.items import Item, Row
from distill_data.errors import SeedError
from distill_data.methods.growing import ROUND, Drawer, Settle, Setup


def _size(setup: Setup) -> int:
    """Proposals in a round: as many as give `round` candidates, where each gives `per_call`."""
    return max(1, -(-int(setup.setting("round", ROUND)) // int(setup.setting("per_call", 1))))


def _taken(setup: Setup, draws: Iterator[Draw]) -> Drawer:
    size = _size(setup)
    return lambda: list(itertools.islice(draws, size))


def draw_each(setup: Setup) -> Drawer:
    """Every seed in turn, and again with another sample once all had their turn."""

    def draws() -> Iterator[Draw]:
        for sample in itertools.count():
            for item in setup.seeds:
                yield Draw(item.row, sample, parents=(item.id,), source=item.id)

    return _taken(setup, draws())


def draw_combined(setup: Setup) -> Drawer:
    """Seeds times the recipe's `combine`, drawn without replacement; once all were drawn, again with another sample."""
    columns = setup.recipe.combine
    sizes = [len(setup.seeds), *(len(values) for values in columns.values())]
    total = 1
    for size in sizes:
        total *= size

    def draws() -> Iterator[Draw]:
        for sample in itertools.count():
            for number in _shuffled(total, f"{setup.seed}:combine:{sample}"):
                row, item = _combination(setup.seeds, columns, number)
                yield Draw(row, sample, parents=(item.id,), source=item.id)

    return _taken(setup, draws())


def _combination(seeds: Sequence[Item], columns: Mapping[str, Sequence[Any]], number: int) -> tuple[Row, Item]:
    number, index = divmod(number, len(seeds))
    row = dict(seeds[index].row)
    for column, values in columns.items():
        number, place = divmod(number, len(values))
        if row.get(column) in (None, ""):
            row[column] = values[place]
    return row, seeds[index]


def _shuffled(total: int, seed: str) -> Iterator[int]:
    """All numbers below `total` in a drawn order, without a list of them: a walk by a step that is prime to it."""
    rng = random.Random(seed)
    if total <= 1 << 20:
        yield from rng.sample(range(total), total)
        return
    prime = next(step for step in iter(lambda: rng.randrange(1, total), None) if _prime_to(step, total))
    start = rng.randrange(total)
    for index in range(total):
        yield (start + index * prime) % total


def _prime_to(one: int, other: int) -> bool:
    while other:
        one, other = other, one % other
    return one == 1


def draw_pairs(setup: Setup, by: str = "", k: int = 2) -> Drawer:
    """`k` different seeds at random, of different values in the column `by` where it is given; shown as `parents`.

    Raises SeedError where there are not enough.
    """
    groups: dict[str, list[Item]] = {}
    for item in setup.seeds:
        groups.setdefault(str(item.row.get(by, "")) if by else item.id, []).append(item)
    if len(groups) < k:
        what = f"different values in the column {by}" if by else "different seeds"
        raise SeedError(f"the recipe {setup.recipe.name} needs {k} {what}, and there are {len(groups)}.")
    rng = random.Random(f"{setup.seed}:pairs")

    def draws() -> Iterator[Draw]:
        for sample in itertools.count():
            chosen = [rng.choice(groups[name]) for name in rng.sample(sorted(groups), k)]
            shown = {"demonstrations": [item.row for item in chosen]}
            yield Draw(chosen[0].row, sample, shown, tuple(item.id for item in chosen), chosen[0].id)

    return _taken(setup, draws())


def draw_demonstrations(setup: Setup) -> tuple[Drawer, Settle]:
    """`human` seeds and up to `machine` candidates kept in earlier rounds, shuffled, as demonstrations.

    Raises SeedError where there are fewer seeds than one prompt shows.
    """
    human, machine = int(setup.setting("human", 6)), int(setup.setting("machine", 2))
    if len(setup.seeds) < human + machine:
        raise SeedError(
            f"{human + machine} demonstrations are wanted ({human} seeds and {machine} grown ones, which are seeds too "
            f"while nothing has grown) and there are {len(setup.seeds)} seeds. Give more, or lower --set human=N."
        )
    grown: list[tuple[str, Row]] = []
    rng = random.Random(f"{setup.seed}:demonstrations")

    def one(number: int, pool: Sequence[tuple[str, Row]]) -> Draw:
        machines = rng.sample(pool, min(machine, len(pool)))
        humans = rng.sample(setup.seeds, human + machine - len(machines))
        shown = [*((item.id, item.row) for item in humans), *machines]
        rng.shuffle(shown)
        return Draw({}, number, {"demonstrations": [row for _, row in shown]}, tuple(name for name, _ in shown))

    numbers = itertools.count()

    def draw() -> list[Draw]:
        pool = list(grown)
        return [one(next(numbers), pool) for _ in range(_size(setup))]

    def settle(item: Item, draft: Draft, kept: bool) -> None:
        if kept:
            grown.append((item.id, draft.x))

    return draw, settle


def draw_queue(setup: Setup, operations: Sequence[str], depth: int) -> tuple[Drawer, Settle]:
    """Parents in turn, each with an operation drawn at random. A kept child joins the queue until it is `depth` deep;
    where the child failed, its parent comes back once more for each of `tries`."""
    rng = random.Random(f"{setup.seed}:queue")
    tries = int(setup.setting("tries", 3))
    queue = deque(Draw(item.row, 0, {}, (item.id,), item.id, 0) for item in setup.seeds)

    def draw() -> list[Draw]:
        taken = [queue.popleft() for _ in range(min(_size(setup), len(queue)))]
        return [each._replace(shown={"operation": rng.choice(operations)}) for each in taken]

    def settle(item: Item, draft: Draft, kept: bool) -> None:
        parent = draft.draw
        if kept and parent.depth + 1 < depth:
            row = {**parent.row, **draft.x}
            queue.append(Draw(row, 0, {}, (item.id, *parent.parents), parent.source, parent.depth + 1))
        elif not kept and draft.reason != "surplus" and parent.sample + 1 < tries:
            queue.append(parent._replace(sample=parent.sample + 1))

    return draw, settle

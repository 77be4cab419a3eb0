"""What is drawn for each round: seeds in turn, combinations, pairs, demonstrations, a queue. Knows no prompt.

All randomness comes from the run's random seed and the number of the round.
"""

from __future__ import annotations

import itertools
import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from distill_data.data.growth import Draft, Draw
from distill_data.data.items import Item, Row
from distill_data.errors import SeedError, UsageError
from distill_data.methods.growing import ROUND, Drawer, Settle
from distill_data.methods.setup import Setup


def _size(setup: Setup) -> int:
    """Proposals in a round: as many as give `round` candidates, where each gives `per_call`."""
    return -(-setup.whole("round", ROUND, 1) // setup.whole("per_call", 1, 1))


def _taken(setup: Setup, draws: Iterator[Draw]) -> Drawer:
    size = _size(setup)
    return lambda: list(itertools.islice(draws, size))


def _samples(setup: Setup) -> Iterable[int]:
    """Numbers of the passes over all there is to draw: one at temperature 0, where a second would ask for the same."""
    return (0,) if setup.recipe.sampling.get("temperature") == 0 else itertools.count()


def _own_id(item: Item) -> str:
    return item.id


def draw_each(setup: Setup) -> Drawer:
    """Every seed in turn, and again with another sample once all had their turn. At temperature 0 only once."""

    def draws() -> Iterator[Draw]:
        for sample in _samples(setup):
            for item in setup.seeds:
                yield Draw(item.row, sample, parents=(item.id,), source=item.id)

    return _taken(setup, draws())


def draw_combined(setup: Setup, *, source: Callable[[Item], str] = _own_id, varied: bool = False) -> Drawer:
    """Seeds times the recipe's `combine`, drawn without replacement; once all were drawn, again with another sample.

    At temperature 0 only once, unless the draws are `varied` by the caller. `source`: what a seed counts as.
    """
    columns = setup.recipe.combine
    sizes = [len(setup.seeds), *(len(values) for values in columns.values())]
    total = 1
    for size in sizes:
        total *= size

    def draws() -> Iterator[Draw]:
        for sample in itertools.count() if varied else _samples(setup):
            for number in _shuffled(total, f"{setup.seed}:combine:{sample}"):
                row, item = _combination(setup.seeds, columns, number)
                yield Draw(row, sample, parents=(item.id,), source=source(item))

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
    """`k` different seeds at random, of different values in the column `by` where it is given.

    Templates see them as `demonstrations`. Raises SeedError where there are not enough.
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
    human, machine, size = setup.whole("human", 6, 0), setup.whole("machine", 2, 0), _size(setup)
    if not human + machine:
        raise UsageError("--set human=0: must be at least 1 where machine is 0; a prompt shows at least one of them")
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
        return [one(next(numbers), pool) for _ in range(size)]

    def settle(item: Item, draft: Draft, kept: bool) -> None:
        if kept:
            grown.append((item.id, {**draft.x, **setup.stages.columns(draft.x)}))

    return draw, settle


def draw_queue(
    setup: Setup, operations: Sequence[str], depth: int, *, source: Callable[[Item], str] = _own_id
) -> tuple[Drawer, Settle]:
    """Parents in turn, each with an operation drawn at random. A kept child joins the queue until it is `depth` deep;
    where the child failed, its parent comes back once more for each of `tries`. `source`: what a seed counts as."""
    rng = random.Random(f"{setup.seed}:queue")
    tries, size = setup.whole("tries", 3, 1), _size(setup)
    queue = deque(Draw(item.row, 0, {}, (item.id,), source(item), 0) for item in setup.seeds)

    def draw() -> list[Draw]:
        taken = [queue.popleft() for _ in range(min(size, len(queue)))]
        return [each._replace(shown={"operation": rng.choice(operations)}) for each in taken]

    def settle(item: Item, draft: Draft, kept: bool) -> None:
        parent = draft.draw
        if kept and parent.depth + 1 < depth:
            row = {**parent.row, **draft.x}
            queue.append(Draw(row, 0, {}, (item.id, *parent.parents), parent.source, parent.depth + 1))
        elif not kept and parent.sample + 1 < tries:
            queue.append(parent._replace(sample=parent.sample + 1))

    return draw, settle

"""Relation-based knowledge: how alike the rows of a batch are to the teacher, and triples that follow from it.

Rows are taken in plan order, so many to a batch; each is the mean of one layer's states over y's tokens, or the last of
them, and likeness is the cosine (relational knowledge distillation, arXiv:1904.05068). A row asks for its own state,
and then for those of its batch that no row has yet: so each is asked for once, and a row's outcome depends on its batch
alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from distill_data.data.arrays import decode, encode
from distill_data.data.exchange import Answer, Ask
from distill_data.data.items import Arrays, Item, Outcome, Record, kept, rejected
from distill_data.errors import UsageError
from distill_data.methods.given import Annotator, read_given, rejection_of
from distill_data.methods.scored import Method, one_of, read_feature, together
from distill_data.methods.setup import number, whole
from distill_data.recipes import Recipe

if TYPE_CHECKING:
    from distill_data.data.arrays import Array

ALONE, BELOW_MARGIN = "alone", "below-margin"
Items = Callable[[], Iterator[Item]]


class Found(NamedTuple):
    """What there is of one row."""

    answer: Answer
    state: Array | None
    """(H,); None where the row cannot be scored."""


@dataclass(slots=True)
class Batch:
    """Consecutive rows, and what is known of them by now."""

    rows: list[Item]
    found: dict[int, Found] = field(default_factory=dict)
    """By the row's place."""
    asked: int = 0
    """How many of the rows have come for it."""


@dataclass(slots=True)
class Batches:
    """Rows in batches. A batch is held here from the first of its rows to the last."""

    items: Iterator[Item]
    size: int
    _held: dict[int, Batch] = field(default_factory=dict)
    _next: int = 0

    def of(self, item: Item) -> Batch:
        """The batch that the row is in. Each row asks once."""
        number = item.ordinal // self.size
        while self._next <= number:
            self._held[self._next] = Batch([each for _, each in zip(range(self.size), self.items, strict=False)])
            self._next += 1
        batch = self._held[number]
        batch.asked += 1
        if batch.asked == len(batch.rows):
            del self._held[number]
        return batch


class Related(NamedTuple):
    """A row among its batch."""

    rows: Sequence[Item]
    """The rows that have a state, in order."""
    own: int
    """Where it stands among them."""
    cosines: Array
    """(rows,) of its state with each."""
    answer: Answer


@dataclass(frozen=True, slots=True)
class Relating:
    """A recipe of relations, ready to run."""

    annotator: Annotator
    feature: dict[str, Any]
    batches: Batches

    async def relate(self, item: Item, ask: Ask) -> Related | Outcome:
        """The row among those of its batch. Raises what a refused request raises, whichever row it is of."""
        import numpy as np

        batch, at = self.batches.of(item), item.ordinal % self.batches.size
        await self._find(batch, [at], ask)
        own = batch.found[at]
        if own.state is None:
            return rejected(*rejection_of([own.answer]))
        await self._find(batch, range(len(batch.rows)), ask)
        states = {place: found.state for place, found in sorted(batch.found.items()) if found.state is not None}
        if len(states) < 2:
            return rejected(ALONE, "no other row of its batch has a state")
        rows = [batch.rows[place] for place in states]
        return Related(rows, list(states).index(at), np.stack([*states.values()]) @ own.state, own.answer)

    async def _find(self, batch: Batch, places: Iterable[int], ask: Ask) -> None:
        """Ask for the states of these rows that nobody has found yet."""
        missing = [place for place in places if place not in batch.found]
        requests = [self.annotator.request(read_given(batch.rows[place].row), self.feature) for place in missing]
        for place, answer in zip(missing, await together([ask(request) for request in requests]), strict=True):
            state = None if rejection_of([answer])[0] else _state(answer)
            batch.found.setdefault(place, Found(answer, state))

    def described(self, related: Related) -> dict[str, Any]:
        said = related.answer.feature or {}
        return self.annotator.described("teacher", "relations", int(said["tokens"]))

    def record(self, item: Item, related: Related, columns: dict[str, Any]) -> Record:
        said = related.answer.feature or {}
        details = {
            "feature": {**self.feature, "of": "relations"},
            "batch": self.batches.size,
            "truncated": bool(said["truncated"]),
        }
        return self.annotator.record(item, related.answer, columns, details)

    def id_of(self, item: Item) -> str:
        """The record id of another row of the batch."""
        return str(self.annotator.record(item, None, {}, {})["id"])


def make_relations(recipe: Recipe, annotator: Annotator, items: Items) -> Method:
    """One record a row: its similarity to every row of its batch. Raises UsageError for settings that cannot be."""
    import numpy as np

    relating = _make(recipe, annotator, items)

    async def relations(item: Item, ask: Ask) -> Outcome:
        related = await relating.relate(item, ask)
        if isinstance(related, Outcome):
            return related
        columns = {
            **read_given(item.row).columns(),
            "batch": [relating.id_of(each) for each in related.rows],
            "features": relating.described(related),
        }
        arrays = Arrays(*encode({"similarity": related.cosines.astype(np.float32)}))
        return kept(relating.record(item, related, columns))._replace(arrays=(arrays,))

    return relations


def make_triples(recipe: Recipe, annotator: Annotator, items: Items) -> Method:
    """One triple a row: its y, the most and the least similar y of its batch, where these differ by the setting
    `margin`. Raises UsageError for settings that cannot be."""
    relating = _make(recipe, annotator, items)
    margin = number(recipe, "margin", 0.0, 0, 2)

    async def triples(item: Item, ask: Ask) -> Outcome:
        related = await relating.relate(item, ask)
        if isinstance(related, Outcome):
            return related
        others = [at for at in range(len(related.rows)) if at != related.own]
        # rounded, as sums of floats come in an order that the machine chooses
        cosines = [round(float(cosine), 6) for cosine in related.cosines]
        near = max(others, key=lambda at: (cosines[at], -at))
        far = min(others, key=lambda at: (cosines[at], at))
        scores = [cosines[near], cosines[far]]
        if len(others) < 2 or scores[0] - scores[1] <= margin:
            return rejected(BELOW_MARGIN, f"the most similar y has {scores[0]:g}, the least similar {scores[1]:g}")
        texts = [read_given(related.rows[at].row).text() for at in (related.own, near, far)]
        columns = {
            **dict(zip(("anchor", "positive", "negative"), texts, strict=True)),
            "positive_score": scores[0],
            "negative_score": scores[1],
        }
        return kept(relating.record(item, related, columns))

    return triples


def _make(recipe: Recipe, annotator: Annotator, items: Items) -> Relating:
    if len(annotator.teachers) > 1:
        raise UsageError(f"{recipe.name}: one teacher's states are compared: give -t once.")
    layer = recipe.settings.get("layer", -1)
    if type(layer) is not int:
        raise UsageError(f"--set layer={layer}: must be a whole number, such as -1.")
    feature = read_feature(recipe, "hidden")
    feature |= {"layers": [layer], "pool": one_of(recipe, "pool", ("mean", "last")), "dtype": "float32"}
    return Relating(annotator, feature, Batches(items(), whole(recipe, "batch", 32, 2)))


def _state(answer: Answer) -> Array:
    """(H,) in float64, of length 1."""
    import numpy as np

    assert answer.feature is not None and answer.blob is not None
    pooled: Array = decode(answer.feature["arrays"], answer.blob.read())["hidden"][0].astype(np.float64)
    scaled: Array = pooled / max(float(np.linalg.norm(pooled)), 1e-12)
    return scaled

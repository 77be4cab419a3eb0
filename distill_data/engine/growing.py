"""Growing a dataset in rounds: draw, propose, admit in order, answer in order, until enough candidates are kept.

    draw a round -> propose, all at once -> admit, one by one -> answer as many as are missing -> the next round

Knows no prompt, no teacher and no file. Interrupted or not, at any concurrency, equal answers give equal outcomes: a
round of which a proposal is missing decides nothing.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from distill_data.data.exchange import Ask
from distill_data.data.growth import Draft, Draw, Growth
from distill_data.data.items import Item, Outcome, canonical, failed, rejected
from distill_data.engine.schedule import PENDING, run_all, settle
from distill_data.errors import AnswerFailed, DistillError, RecipeError, SeedError

SURPLUS = "surplus"
"""Why a candidate is rejected that came after enough were kept. Nothing was paid for its answer."""
Admitted = list[tuple[Item, Draft]]


@dataclass(slots=True)
class Grown:
    """How far a growth came."""

    kept: int = 0
    candidates: int = 0
    """All that were begun: ended and pending."""
    dry: bool = False
    """Nothing was left to draw."""
    coverage: Counter[str] = field(default_factory=Counter)
    """How many were kept by the seed that they come from."""


@dataclass(frozen=True, slots=True)
class Grower:
    """One growth at work."""

    growth: Growth
    rows: int
    """How many candidates to keep."""
    cap: int
    """How many to look at, at most; a round that was begun is finished."""
    seed: int
    """The run's random seed."""
    ask_for: Callable[[str], Ask]
    finish: Callable[[Item, Outcome], None]
    width: int
    """How many are worked on at once."""
    stopping: Callable[[], bool]
    halt: Callable[[DistillError], None]
    grown: Grown
    _repeats: dict[str, int] = field(default_factory=dict)

    async def run(self) -> None:
        """Round after round, until there are enough, no more may be tried, or an answer is missing."""
        grown, whole = self.grown, True
        while whole and grown.kept < self.rows and grown.candidates < self.cap and not self.stopping():
            drawn = self.growth.draw()
            grown.dry = not drawn
            if grown.dry:
                return
            whole = await self._round([self._call(draw) for draw in drawn], drawn)

    async def _round(self, calls: Sequence[Item], drawn: Sequence[Draw]) -> bool:
        """One round; whether it was decided as a whole."""
        steps = [partial(self._propose, call, draw) for call, draw in zip(calls, drawn, strict=True)]
        proposed = await run_all(steps, self.width, self.stopping, self.halt)
        if None in proposed:
            self.grown.candidates += len(calls)
            return False
        waiting: Admitted = []
        for call, found in zip(calls, proposed, strict=True):
            if isinstance(found, Outcome):
                self.finish(self._numbered(call), found)
            else:
                waiting += self._admit(call, found or [])
        return await self._answer(waiting)

    async def _propose(self, call: Item, draw: Draw) -> list[Draft] | Outcome:
        try:
            return await self.growth.propose(call, draw, self.ask_for(call.id))
        except AnswerFailed as error:
            return failed(error.reason, error.detail)
        except (RecipeError, SeedError) as error:
            return failed("unusable-row", str(error))

    def _admit(self, call: Item, drafts: Sequence[Draft]) -> Admitted:
        """Those of one proposal that may stand beside the pool and each other; the others end here."""
        admitted: Admitted = []
        for index, draft in enumerate(drafts):
            item = self._numbered(_candidate(call, draft, index))
            judged = draft if draft.reason else self.growth.admit(item, draft)
            if judged.reason:
                self._end(item, judged, rejected(judged.reason, judged.detail, *judged.answers))
            else:
                admitted.append((item, judged))
        return admitted

    async def _answer(self, waiting: Admitted) -> bool:
        """As many at a time as rows are missing, in order. Whether all of them ended."""
        while waiting and self.grown.kept < self.rows:
            missing = self.rows - self.grown.kept
            batch, waiting = waiting[:missing], waiting[missing:]
            steps = [partial(self._settle, item, draft) for item, draft in batch]
            outcomes = await run_all(steps, self.width, self.stopping, self.halt)
            for (item, draft), outcome in zip(batch, outcomes, strict=True):
                if outcome is not None and outcome is not PENDING:
                    self._end(item, draft, outcome)
            if None in outcomes or PENDING in outcomes:
                return False
        for item, draft in waiting:
            self._end(item, draft, rejected(SURPLUS, "enough candidates were kept before this one"))
        return True

    async def _settle(self, item: Item, draft: Draft) -> Outcome:
        return await settle(item, lambda item, ask: self.growth.answer(item, draft, ask), self.ask_for)

    def _end(self, item: Item, draft: Draft, outcome: Outcome) -> None:
        kept = outcome.status == "kept"
        if kept:
            self.grown.kept += 1
            self.grown.coverage[draft.draw.source] += 1
        self.growth.settle(item, draft, kept)
        self.finish(item, outcome)

    def _numbered(self, item: Item) -> Item:
        self.grown.candidates += 1
        return item._replace(ordinal=self.grown.candidates - 1)

    def _call(self, draw: Draw) -> Item:
        """The item that a proposal's answers belong to: its id survives other draws before it."""
        content = canonical([draw.row, dict(draw.shown), draw.sample, draw.depth])
        identity = hashlib.sha256(content).hexdigest()
        occurrence = self._repeats[identity] = self._repeats.get(identity, 0) + 1
        call_id = hashlib.sha256(b"%s\n%d" % (identity.encode(), occurrence)).hexdigest()[:16]
        return Item(0, call_id, draw.row, draw.source or "the pool", self.seed)


def _candidate(call: Item, draft: Draft, index: int) -> Item:
    content = canonical([call.id, index])
    return Item(0, hashlib.sha256(content).hexdigest()[:16], draft.x, call.where, call.seed)

"""Panel: what a strategy over students' answers is made from: recipe, students, judges, verifier. Knows no strategy."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from distill_data.data.exchange import Ask, Message
from distill_data.data.items import Item, Row
from distill_data.errors import SeedError
from distill_data.methods.responses import Response
from distill_data.methods.setup import number, whole
from distill_data.methods.stages import Said, Stages, make_stages
from distill_data.quality import Verify, make_check
from distill_data.recipes import Recipe
from distill_data.recipes.template import MAIN

WAITING = 8
"""Slow verifiers at work or waiting for a process, each in a thread."""
Right = Callable[[str, Row, Ask], Awaitable[bool]]
"""(answer, seed row, ask) -> whether the answer is right by the row's gold. Raises VerifierFailed, and where a judge is
asked AnswerFailed."""


class Answers(NamedTuple):
    """What the students said to one item."""

    responses: tuple[Response, ...]
    """Those that count, sample by sample, in each the students in order."""
    dropped: Counter[str]
    """The others, by reason."""
    raw: tuple[str, ...]
    """All texts."""
    said: tuple[Said, ...] = ()
    """All replies; none where the answers are a column."""

    @property
    def reason(self) -> str:
        """Why the first one that doesn't count doesn't."""
        return next(iter(self.dropped), "")


@dataclass(frozen=True, slots=True)
class Panel:
    """What a strategy is made from."""

    recipe: Recipe
    stages: Stages
    models: Mapping[str, str]
    """Role to the model as the user named it."""
    students: tuple[str, ...]
    """Roles that answer; none where the seeds bring the answers."""
    judges: tuple[str, ...]
    """Roles that judge: teachers, or the student itself."""
    seed: int
    """The run's random seed."""
    column: str = ""
    """The column with answers, where the seeds bring them: a text, a list of texts, or JSON text of one."""
    canaries: frozenset[str] = frozenset()
    """Ids of the items whose judges are shown a planted answer too."""
    right: Right | None = None
    """Whether an answer is right; None where the recipe has no verifier."""
    round: int = 0
    """Which round of training the student is in, from 1; 0 where nobody says."""

    @property
    def samples(self) -> int:
        return self.recipe.samples

    @property
    def judge(self) -> str:
        """The first judge."""
        return self.judges[0]

    def setting(self, name: str, default: Any) -> Any:
        return self.recipe.settings.get(name, default)

    def whole(self, name: str, default: int, least: int, most: int = 10**9) -> int:
        """See `methods.setup.whole`."""
        return whole(self.recipe, name, default, least, most)

    def number(self, name: str, default: float, least: float = -1e9, most: float = 1e9) -> float:
        """See `methods.setup.number`."""
        return number(self.recipe, name, default, least, most)

    def open_row(self, row: Row) -> Row:
        """The row without the column of answers: what models wrote is shown to models in fences only."""
        return {name: value for name, value in row.items() if name != self.column} if self.column else row

    def prompt(self, item: Item, shown: Mapping[str, Any] = {}) -> list[Message]:
        """What the student is shown in training: the block `student`, or what it was asked."""
        block = "student" if "student" in self.recipe.blocks else MAIN
        return self.stages.messages(block, self.open_row(item.row), shown)

    async def answers(
        self,
        item: Item,
        ask: Ask,
        *,
        block: str = MAIN,
        shown: Mapping[str, Any] = {},
        samples: Sequence[int] | None = None,
        students: Sequence[str] | None = None,
    ) -> Answers:
        """y ∼ p_S(y | I ⊕ x): every sample of every student, or the answers that the row brings. Raises AnswerFailed,
        and SeedError for a row whose column of answers has none."""
        if self.column:
            return self.given(item)
        wanted = range(self.samples) if samples is None else samples
        roles = self.students if students is None else students
        voters = [(role, sample) for sample in wanted for role in roles]
        row = self.open_row(item.row)
        asked = [self.stages.ask(ask, block, row, shown, sample=sample, to=role) for role, sample in voters]
        said = await together(asked)
        responses = tuple(
            self.response(each, role, sample)
            for each, (role, sample) in zip(said, voters, strict=True)
            if not each.reason
        )
        dropped = Counter(each.reason for each in said if each.reason)
        return Answers(responses, dropped, tuple(each.answer.text for each in said), tuple(said))

    def response(self, said: Said, role: str, sample: int) -> Response:
        """A reply that counts, as a response. Its completion is made as the recipe's `record` says."""
        shape = self.recipe.record
        completion: Message = {"role": "assistant"}
        completion |= {key: written(said.fields.get(field, "")) for key, field in shape.completion.items()}
        text = written(said.fields.get(shape.answer or shape.completion["content"], ""))
        answer = said.answer
        tokens = {"prompt_tokens": answer.prompt_tokens, "completion_tokens": answer.completion_tokens}
        return Response(role, sample, answer.model, completion, text, details={"finish": answer.finish, **tokens})

    def given(self, item: Item) -> Answers:
        """The answers that the row brings. Raises SeedError where it brings none."""
        value = item.row.get(self.column)
        if isinstance(value, str) and value.lstrip().startswith("["):
            listed = _list_in(value)
            value = value if listed is None else listed
        texts = [text for text in (value if isinstance(value, list) else [value]) if isinstance(text, str)]
        if not texts or (isinstance(value, list) and len(texts) < len(value)) or not all(map(str.strip, texts)):
            raise SeedError(f"the column {self.column} must hold an answer, or a list of answers, none of them blank")
        responses = tuple(
            Response(self.column, number, "", {"role": "assistant", "content": text}, text)
            for number, text in enumerate(texts)
        )
        return Answers(responses, Counter(), tuple(texts))


async def together(asked: Sequence[Awaitable[Any]]) -> list[Any]:
    """All results, in the order given. Waits for all before it raises the first error."""
    if len(asked) == 1:
        return [await asked[0]]
    done = await asyncio.gather(*asked, return_exceptions=True)
    for result in done:
        if isinstance(result, BaseException):
            raise result
    return list(done)


def written(value: Any) -> str:
    """A field as text; a score of 4.0 is written 4."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _list_in(text: str) -> list[Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, list) else None


def make_panel(
    recipe: Recipe,
    models: Mapping[str, str],
    seed: int,
    resample: int,
    *,
    judges: Sequence[str],
    column: str = "",
    canaries: frozenset[str] = frozenset(),
    verify: Verify | None = None,
    slow: bool = False,
    round: int = 0,  # noqa: A002 - the term of the field
) -> Panel:
    """The panel of one run. Raises UsageError for parsers and checks that there are not."""
    students = () if column else tuple(role for role in models if role.startswith("student"))
    stages = make_stages(recipe, resample)
    checks = [make_check(check.name, check.args) for check in recipe.checks]
    main = replace(stages.readers[MAIN], checks=checks)
    right = _make_right(recipe, verify, slow) if verify is not None else None
    return Panel(
        recipe, replace(stages, readers={**stages.readers, MAIN: main}), models, students, tuple(judges), seed,
        column, canaries, right, round,
    )  # fmt: skip


def _make_right(recipe: Recipe, verify: Verify, slow: bool) -> Right:
    """By the recipe's verifier and the gold column. One that takes long runs beside the loop."""

    free = asyncio.Semaphore(WAITING)

    async def right(answer: str, row: Row, ask: Ask) -> bool:
        gold = row.get(recipe.gold)
        if gold is None or gold == "":
            raise SeedError(f"the verifier needs the right answer, and the column {recipe.gold} is empty")
        if slow:
            async with free:
                return await _beside(verify, answer, str(gold))
        return verify(answer, str(gold))

    return right


async def _beside(verify: Verify, answer: str, gold: str) -> bool:
    """The verdict, found in a thread of its own. `asyncio.to_thread` has few threads, and the end of a run waits for
    all of them; nothing waits for this one."""
    verdict: Future[bool] = Future()

    def fail(_kind: object, error: BaseException | None, _trace: object) -> bool:
        if error is not None:
            verdict.set_exception(error)
        return True

    def work() -> None:
        with ExitStack() as stack:
            stack.push(fail)
            verdict.set_result(verify(answer, gold))

    verdict.set_running_or_notify_cancel()  # from here on it cannot be cancelled, so that the thread can always set it
    threading.Thread(target=work, daemon=True).start()
    return await asyncio.wrap_future(verdict)

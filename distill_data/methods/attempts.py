"""Attempts: what one student tried on one problem, told apart by reasoning, length and what is right.

Shared by the strategies that need no judge but the problem itself. Knows no strategy and no prompt.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from distill_data.data.exchange import Ask
from distill_data.data.items import Item, Row
from distill_data.errors import UsageError
from distill_data.methods.judging import draws
from distill_data.methods.panel import Answers, Panel, together
from distill_data.methods.responses import Response
from distill_data.parsing import fields_of
from distill_data.quality.solutions import same_reasoning_key

Tally = tuple[int, int]
NOT_USED = "not-used"
"""Why all but the first answer that a row brings don't count, where one is worked on."""


async def one_answer(panel: Panel, item: Item, ask: Ask) -> Answers:
    """One student's answer, by `draw_student`; the first one where the row brings several. See `Panel.answers`."""
    if not panel.column:
        return await panel.answers(item, ask, students=[draw_student(panel, item)])
    given = panel.given(item)
    unused = len(given.responses) - 1
    return Answers(given.responses[:1], +Counter({NOT_USED: unused}), given.raw[:1])


def draw_student(panel: Panel, item: Item) -> str:
    """Of several students one for each item, where the strategy works on what one of them wrote."""
    return draws(item, "student").choice(panel.students)


def reasoning_of(response: Response) -> str:
    """How the answer was reached; the answer itself where that is all."""
    return str(response.completion.get("reasoning_content", "")) or response.text


def whole_of(response: Response) -> str:
    """Reasoning and answer, as a student would write them."""
    turn = response.completion
    return "\n\n".join(filter(None, (str(turn.get("reasoning_content", "")), str(turn["content"]))))


def each_once(responses: Iterable[Response], key: Callable[[Response], object] = lambda _: "") -> list[Response]:
    """The first one of each reasoning; of those that differ in `key`, each for itself."""
    first: dict[tuple[object, str], Response] = {}
    for response in responses:
        first.setdefault((key(response), same_reasoning_key(reasoning_of(response))), response)
    return list(first.values())


def has_gold(panel: Panel, row: Row) -> bool:
    """Whether somebody can say what is right: the recipe has a verifier, and the row an answer."""
    return panel.right is not None and row.get(panel.recipe.gold) not in (None, "")


async def agrees(panel: Panel, text: str, row: Row, ask: Ask) -> bool | None:
    """Whether the answer is right by the row's gold; None where there is none."""
    if panel.right is None or not has_gold(panel, row):
        return None
    return await panel.right(text, row, ask)


async def score_by_gold(panel: Panel, responses: Sequence[Response], row: Row, ask: Ask) -> list[Response]:
    """The responses with 1 for a right answer and 0 for a wrong one. Raises SeedError for a row without gold."""
    assert panel.right is not None
    found = await together([panel.right(response.text, row, ask) for response in responses])
    return [response._replace(score=float(right)) for response, right in zip(responses, found, strict=True)]


def count_right(responses: Sequence[Response]) -> Tally:
    """How many of those that count are right."""
    return sum(response.score == 1 for response in responses), len(responses)


def require_fields(panel: Panel, block: str) -> None:
    """Raise UsageError where the reply to a block lacks what the record is made of."""
    spec, shape = panel.recipe.stages[block].parser, panel.recipe.record
    given = fields_of(spec.name, spec.args)
    for field in filter(None, [*shape.completion.values(), shape.answer]):
        if field not in given:
            raise UsageError(
                f"{panel.recipe.path}: the record needs {field} from the stage {block} too: "
                "give it the parser of the block main."
            )

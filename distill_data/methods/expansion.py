"""Expansion: {(x, y): x ∼ p_T(x | I ⊕ c), y ∼ p_T(y | I ⊕ x)}. The teacher writes x from demonstrations c, then y.

Five strategies, which a recipe names in its front matter:

    demonstrations   new x beside shown ones; the pool of shown ones grows (Alpaca)
    self-instruct    the same, and each x gets its instance by its kind (arXiv:2212.10560)
    each             every seed gives new x: paraphrases, translations, harder answers
    pairs            two or more seeds at random give one x: class boundaries, composed skills
    evolve           a queue of x, rewritten by operations drawn at random (Evol-Instruct, arXiv:2304.12244)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from distill_data.data.exchange import Ask
from distill_data.data.growth import Draft, Draw, Growth
from distill_data.data.items import Item, Outcome, kept, rejected
from distill_data.errors import UsageError
from distill_data.methods.drawing import draw_demonstrations, draw_each, draw_pairs, draw_queue
from distill_data.methods.growing import (
    AnswerX,
    Composed,
    Propose,
    make_admit,
    make_answer,
    make_propose,
    make_x_record,
    notes_of,
    settle_nothing,
)
from distill_data.methods.setup import Setup, make_setup
from distill_data.methods.stages import Said
from distill_data.recipes import Recipe

CLASSIFY, OUTPUT_FIRST, INPUT_FIRST, JUDGE = "classify", "output_first", "input_first", "equal"


def make_expansion(
    recipe: Recipe, teachers: Mapping[str, str], seeds: Sequence[Item], seed: int, resample: int, *, answers: bool
) -> Growth:
    """The growth for one pass. Raises UsageError for settings that cannot work, SeedError for too few seeds."""
    if recipe.strategy not in STRATEGIES:
        raise UsageError(f"{recipe.path}: there is no strategy {recipe.strategy!r}; there are {', '.join(STRATEGIES)}.")
    return STRATEGIES[recipe.strategy](make_setup(recipe, teachers, seeds, seed, resample, answers=answers))


def demonstrations(setup: Setup) -> Growth:
    draw, settle = draw_demonstrations(setup)
    return Composed(draw, make_propose(setup), make_admit(setup), make_answer(setup), settle)


def self_instruct(setup: Setup) -> Growth:
    draw, settle = draw_demonstrations(setup)
    return Composed(draw, make_propose(setup), make_admit(setup), make_instance(setup), settle)


def each(setup: Setup) -> Growth:
    return Composed(draw_each(setup), make_propose(setup), make_admit(setup), make_answer(setup), settle_nothing)


def pairs(setup: Setup) -> Growth:
    """`by`: the column whose values must differ; `k`: how many seeds are put together."""
    draw = draw_pairs(setup, str(setup.setting("by", "")), setup.whole("k", 2, 2))
    return Composed(draw, make_propose(setup), make_admit(setup), make_answer(setup), settle_nothing)


def evolve(setup: Setup) -> Growth:
    """`operations`: name to what is asked for; `depth`: how often a line may be evolved."""
    operations = setup.setting("operations", {})
    if not isinstance(operations, Mapping) or not all(isinstance(text, str) for text in operations.values()):
        raise UsageError(f"{setup.recipe.path}: the strategy evolve needs `operations`, a mapping of names to texts.")
    if not operations:
        raise UsageError(f"{setup.recipe.path}: `operations` is empty; the strategy evolve needs at least one.")
    draw, settle = draw_queue(setup, list(operations.values()), setup.whole("depth", 4, 1))
    return Composed(draw, make_evolution(setup), make_admit(setup), make_answer(setup), settle)


def make_evolution(setup: Setup) -> Propose:
    """A child of the parent; one that a judge finds to ask for nothing new is no candidate (Evol-Instruct, §3.2).

    The child holds all of its parent's text, also what the parent has as its `input`.
    """
    propose = make_propose(setup)
    names = {text: name for name, text in setup.setting("operations", {}).items()}

    async def evolve_one(item: Item, draw: Draw, ask: Ask) -> list[Draft]:
        notes = {"operation": names[draw.shown["operation"]], "depth": draw.depth + 1}
        alone = {"input": ""} if draw.row.get("input") else {}
        drafts = [
            draft._replace(x={**alone, **draft.x}, notes={**draft.notes, **notes})
            for draft in await propose(item, draw, ask)
        ]
        if not setup.stages.has(JUDGE):
            return drafts
        return [draft if draft.reason else await judged(draft, ask) for draft in drafts]

    async def judged(draft: Draft, ask: Ask) -> Draft:
        said = await setup.stages.ask(ask, JUDGE, draft.draw.row, {"x": draft.x}, sample=draft.draw.sample)
        answers = (*draft.answers, said.answer.text)
        if said.reason:
            return draft._replace(reason=said.reason, detail=said.detail, answers=answers)
        equal = said.fields.get("answer") == setup.stages.readers[JUDGE].labels[0]
        return draft._replace(reason="no-gain" if equal else "", answers=answers)

    return evolve_one


def make_instance(setup: Setup) -> AnswerX:
    """Classification tasks get the label first and then an input for it, others the input first and then its output.

    Asking for the input first would give nearly all classification tasks the same label (Self-Instruct, §2.2).
    """

    async def instance(item: Item, draft: Draft, ask: Ask) -> Outcome:
        if not setup.answers:
            return kept(make_x_record(setup, item, draft))
        shown = {"x": draft.x}
        kind = await setup.stages.ask(ask, CLASSIFY, {}, shown, to=setup.answerer)
        if kind.reason:
            return rejected(kind.reason, kind.detail, kind.answer.text)
        classification = kind.fields.get("answer") == setup.stages.readers[CLASSIFY].labels[0]
        block = OUTPUT_FIRST if classification else INPUT_FIRST
        said = await setup.stages.ask(ask, block, {}, shown, to=setup.answerer)
        if said.reason:
            return rejected(said.reason, said.detail, said.answer.text)
        x = {**draft.x, **read_instance(said)}
        if reason := bad_instance(x):
            return rejected(reason, "", said.answer.text)
        notes = {**draft.notes, **notes_of(said, "answer_"), "classification": classification}
        return kept(make_x_record(setup, item, draft._replace(x=x, notes=notes), x, said.answer.model))

    return instance


def read_instance(said: Said) -> dict[str, str]:
    """Input and output from tags or from a JSON object; what is absent or no text is empty."""
    value = said.fields.get("value")
    found = value if isinstance(value, Mapping) else said.fields
    return {name: text if isinstance(text := found.get(name), str) else "" for name in ("input", "output")}


def bad_instance(x: Mapping[str, str]) -> str:
    """Why an instance teaches nothing: no output, one that repeats the input, or either breaks off at a colon."""
    if not x["output"].strip():
        return "empty-output"
    if x["input"].strip() == x["output"].strip():
        return "echo"
    broken = any(x[name].rstrip().endswith((":", "：")) for name in ("input", "output"))
    return "breaks-off" if broken else ""


STRATEGIES: dict[str, Callable[[Setup], Growth]] = {
    "demonstrations": demonstrations,
    "self-instruct": self_instruct,
    "each": each,
    "pairs": pairs,
    "evolve": evolve,
}

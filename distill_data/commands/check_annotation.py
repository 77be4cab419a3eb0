"""What `check-recipe` looks at where a student writes y: strategy, stages, kinds of record, the example.

Knows no limits and no process; commands.check_recipe runs it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from distill_data.errors import ParseError, UsageError
from distill_data.methods import feedback, needs, self_knowledge
from distill_data.methods.annotating import Strategy, make_method
from distill_data.methods.judging import Candidate, fence
from distill_data.methods.panel import Panel, make_panel
from distill_data.parsing import fields_of
from distill_data.quality import BY_JUDGE, RUN_CODE, make_verifier
from distill_data.recipes import Recipe
from distill_data.recipes.nearest import hint
from distill_data.recipes.template import MAIN

STRATEGIES: Mapping[str, Mapping[str, Strategy]] = {
    "feedback": feedback.STRATEGIES,
    "self-knowledge": self_knowledge.STRATEGIES,
}
OPEN = frozenset({"json", "list", "text"})
"""Parsers whose fields the recipe doesn't name."""


def shown_example() -> dict[str, Any]:
    """A value for every variable that strategies show to templates."""
    texts = {"K": fence("A first answer."), "F": fence("A second answer.")}
    answers = [Candidate(name, text)._asdict() for name, text in texts.items()]
    return {"answers": answers, "mark": "0" * 16, **dict.fromkeys(needs.SHOWN, "an example")}


def problems_of(recipe: Recipe) -> Iterator[str]:
    """Strategy, stages, kinds, record and example, each problem a line."""
    known = STRATEGIES[recipe.command]
    if recipe.strategy not in known:
        yield f"there is no strategy {recipe.strategy}{hint(recipe.strategy, known)}"
        return
    yield from needs.lacking(recipe)
    try:
        panel = _panel(recipe)
        make_method(panel, known[recipe.strategy], [recipe.record.kind])
    except UsageError as error:
        yield str(error)
        return
    yield from _fields(recipe)
    yield from _example(panel)


def _panel(recipe: Recipe) -> Panel:
    """A panel of one of each role."""
    verifier, verify = recipe.verifier, None
    if verifier is not None and verifier.name != BY_JUDGE:
        runs = verifier.name in RUN_CODE  # the file may come from anybody
        verify = _never if runs else make_verifier(verifier.name, verifier.args)
    models = {"student": "example", "teacher": "example"}
    judges = ["teacher" if recipe.command == "feedback" else "student"]
    return make_panel(recipe, models, 0, 0, judges=judges, verify=verify)


def _never(answer: str, gold: str) -> bool:
    """In the place of a verifier that runs code."""
    return False


def _fields(recipe: Recipe) -> Iterator[str]:
    """Fields of the record that the student's reply does not give."""
    if recipe.parser.name in OPEN:
        return
    fields, record = fields_of(recipe.parser.name, recipe.parser.args), recipe.front["record"]
    wanted = [(record["completion"][key], field) for key, field in recipe.record.completion.items()]
    if recipe.record.answer:
        wanted.append((record["answer"], recipe.record.answer))
    for entry, field in wanted:
        if field not in fields:
            yield str(entry.error(f"the parser gives no field {field}{hint(field, fields)}"))


def _example(panel: Panel) -> Iterator[str]:
    """Whether every block renders on the example's row, and the student's reply passes."""
    recipe = panel.recipe
    if not recipe.example:
        yield "there is no example; add example: {row: …, reply: …}"
        return
    for block in sorted(recipe.blocks):
        try:
            panel.stages.messages(block, recipe.fill(recipe.example["row"]), shown_example())
        except UsageError as error:
            yield str(error)
    try:
        fields = panel.stages.readers[MAIN].parse(recipe.example["reply"])
        for check in panel.stages.readers[MAIN].checks:
            if reason := check(fields, recipe.example["row"]):
                yield str(recipe.front["example"]["reply"].error(f"a check rejects it: {reason}"))
    except ParseError as error:
        yield str(recipe.front["example"]["reply"].error(f"the parser {recipe.parser.name} refuses it: {error}"))
    except UsageError as error:
        yield str(error)

"""What `check-recipe` looks at in recipes of growing commands: stages, x, and the example from drawing to record.

Knows no limits and no process; commands.check_recipe runs it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain

from distill_data.commands.check_annotation import shown_example
from distill_data.errors import ParseError, UsageError
from distill_data.methods import curation, expansion, feedback, needs, self_knowledge
from distill_data.methods.growing import make_check_x, read_x
from distill_data.methods.setup import Setup
from distill_data.methods.stages import make_stages
from distill_data.parsing import FIELDS, fields_of
from distill_data.recipes import Recipe
from distill_data.recipes.nearest import hint

SHARED = frozenset({"round", "per_call", "rouge", "minhash", "neighbours", "keep_from"})
"""Settings that every growth reads, so that a template need not."""
STRATEGIES: Mapping[str, Mapping[str, object]] = {
    "expand": expansion.STRATEGIES,
    "curate": curation.STRATEGIES,
    "feedback": feedback.GROWTHS,
    "self-knowledge": self_knowledge.GROWTHS,
}
READS = {
    "demonstrations": frozenset({"human", "machine"}),
    "self-instruct": frozenset({"human", "machine"}),
    "instruct": frozenset({"human", "machine"}),
    "self-reward": frozenset({"human", "machine", "answers", "judgements"}),
    "pairs": frozenset({"by", "k"}),
    "evolve": frozenset({"operations", "depth", "tries"}),
    "adversarial": frozenset({"gap", "ahead", "operations"}),
    **curation.READS,
}
"""Settings that a strategy reads."""
OPEN = frozenset({"json", "list", "text"})
"""Parsers whose fields the recipe doesn't name, so that the columns of x are only known from the example."""


def read_settings(recipe: Recipe) -> frozenset[str]:
    """Settings that something other than a template reads."""
    return SHARED | READS.get(recipe.strategy, frozenset())


def problems_of(recipe: Recipe) -> Iterator[str]:
    """Strategy, stages, record and example, each problem a line."""
    known = STRATEGIES[recipe.command]
    if recipe.strategy not in known:
        yield f"there is no strategy {recipe.strategy}{hint(recipe.strategy, known)}"
        return
    try:
        setup = Setup(recipe, {"teacher": "example"}, (), 0, make_stages(recipe, 0))
        check_x, shown = make_check_x(setup), setup.whole("k", 2, 1, 100)
    except UsageError as error:
        yield str(error)
        return
    yield from needs.lacking(recipe)
    yield from _fields(recipe)
    yield from _rendered(setup, shown)
    if recipe.example:
        try:
            fields = setup.stages.readers["main"].parse(recipe.example["reply"])
            for x in read_x(recipe, fields):
                if reason := check_x(x, recipe.example["row"]):
                    yield str(recipe.front["example"]["reply"].error(f"a candidate in it is refused: {reason}"))
        except ParseError as error:
            yield str(recipe.front["example"]["reply"].error(f"the parser {recipe.parser.name} refuses it: {error}"))
        except UsageError as error:
            yield str(error)


def _fields(recipe: Recipe) -> Iterator[str]:
    """Fields of the record that nothing gives: no stage, and not x. Where no stage writes y, only x can."""
    of_x = needs.fields_of_x(recipe)
    specs = [] if of_x else [recipe.parser, *(stage.parser for stage in recipe.stages.values())]
    found = set(chain.from_iterable(fields_of(spec.name, spec.args) for spec in specs if spec.name in FIELDS))
    found |= {recipe.writes, *recipe.example.get("x", {})}
    if recipe.example and recipe.writes not in recipe.example.get("x", {}):
        yield str(recipe.front["example"].error(f"x lacks {recipe.writes}, which `writes` says is what x is"))
    record = recipe.front["record"]
    wanted = [(record["completion"][key], field) for key, field in recipe.record.completion.items()]
    if recipe.record.answer:
        wanted.append((record["answer"], recipe.record.answer))
    for entry, field in wanted:
        if field not in found and recipe.strategy not in curation.WRITES_MESSAGES:
            yield str(entry.error(f"no stage gives a field {field}{hint(field, found)}; is it in example.x?"))


def _rendered(setup: Setup, k: int) -> Iterator[str]:
    """Blocks that fail on the example, shown `k` times as demonstrations."""
    recipe = setup.recipe
    if not recipe.example:
        yield "there is no example; add example: {row: …, reply: …, x: …}"
        return
    row = recipe.example["row"]
    operations = setup.setting("operations", {})
    shown = {
        "x": recipe.example.get("x", {}),
        "said": recipe.example.get("x", {}),
        "demonstrations": [row] * k,
        "operation": next(iter(operations.values()), "") if isinstance(operations, dict) else "",
        **shown_example(),
    }
    for block in sorted(recipe.blocks):
        try:
            setup.stages.messages(block, row, shown)
        except UsageError as error:
            yield str(error)

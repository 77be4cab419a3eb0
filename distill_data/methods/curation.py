"""Curation: {(x, y): x ∼ p_T(x | I ⊕ m), y ∼ p_T(y | I ⊕ x)}. The teacher writes x from meta-information m, then y.

m is data: a row of topics, personas, documents, code or tool specifications, times the recipe's `combine`. Combinations
are drawn without replacement. Knows no run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from distill_data.data.growth import Growth
from distill_data.data.items import Item
from distill_data.errors import UsageError
from distill_data.methods.backtranslation import backtranslation
from distill_data.methods.constrained import constrained
from distill_data.methods.dialogue import dialogue, roleplay
from distill_data.methods.drawing import draw_combined
from distill_data.methods.fragments import fragments
from distill_data.methods.grounding import cited, quoted
from distill_data.methods.growing import Composed, make_admit, make_answer, make_propose, settle_nothing
from distill_data.methods.raw import raw
from distill_data.methods.recommending import recommendation
from distill_data.methods.retrieval import document_query
from distill_data.methods.setup import Setup, make_setup
from distill_data.methods.tool_calls import agent, tools
from distill_data.methods.vision import vision
from distill_data.recipes import Recipe


def make_curation(
    recipe: Recipe, teachers: Mapping[str, str], seeds: Sequence[Item], seed: int, resample: int, *, answers: bool
) -> Growth:
    """The growth for one pass. Raises UsageError for settings that cannot work, SeedError for too few seeds."""
    if recipe.strategy not in STRATEGIES:
        raise UsageError(f"{recipe.path}: there is no strategy {recipe.strategy!r}; there are {', '.join(STRATEGIES)}.")
    return STRATEGIES[recipe.strategy](make_setup(recipe, teachers, seeds, seed, resample, answers=answers))


def single(setup: Setup) -> Growth:
    """x from one combination, y from x."""
    propose, admit = make_propose(setup), make_admit(setup, ())
    return Composed(draw_combined(setup), propose, admit, make_answer(setup), settle_nothing)


READS: dict[str, frozenset[str]] = {
    "fragments": frozenset({"lines"}),
    "quoted": frozenset({"passage_words", "passage_overlap"}),
    "cited": frozenset({"passage_words", "passage_overlap", "passages", "unanswerable", "no_answer"}),
    "backtranslation": frozenset({"passage_words", "passage_overlap", "tries"}),
    "constrained": frozenset({"count"}),
    "dialogue": frozenset({"fewest", "most"}),
    "document-query": frozenset({"passage_words", "passage_overlap"}),
    "roleplay": frozenset({"fewest", "most", "done"}),
    "tools": frozenset({"k"}),
    "agent": frozenset({"specs", "steps"}),
    "raw": frozenset({"header"}),
}
"""Settings that a strategy reads, besides those that all do."""
WRITES_MESSAGES: frozenset[str] = frozenset({"dialogue", "roleplay", "tools", "agent"})
"""Strategies whose completions are conversations, not fields of a reply."""
STRATEGIES: dict[str, Callable[[Setup], Growth]] = {
    "single": single,
    "fragments": fragments,
    "quoted": quoted,
    "cited": cited,
    "backtranslation": backtranslation,
    "constrained": constrained,
    "recommendation": recommendation,
    "vision": vision,
    "dialogue": dialogue,
    "roleplay": roleplay,
    "document-query": document_query,
    "tools": tools,
    "agent": agent,
    "raw": raw,
}

"""What a strategy needs of a recipe besides the block `main`: stages, how they are read, and columns that are lists.

Looked at before anything is asked, so that what is missing costs nothing. Knows no prompt.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from distill_data.errors import UsageError
from distill_data.recipes import Recipe

ANSWER, SCORE = "answer", "score"
STAGES: Mapping[str, tuple[str, ...]] = {
    "self-instruct": ("classify", "output_first", "input_first"),
    "quoted": (ANSWER,),
    "cited": (ANSWER,),
    "backtranslation": (SCORE,),
    "constrained": (ANSWER,),
    "recommendation": (ANSWER,),
    "vision": (ANSWER,),
    "dialogue": ("user", "assistant"),
    "roleplay": ("user", "assistant"),
    "tools": ("calls", ANSWER),
    "agent": ("act",),
    "compare": ("judge",),
    "critique": ("critique", "revise"),
    "correct": ("repair",),
    "steps": ("continue",),
    "rate": ("judge",),
    "rubric": ("judge",),
    "best-of-n": ("judge",),
    "moderate": ("judge",),
    "instruct": ("classify", "output_first", "input_first"),
    "self-reward": (ANSWER, SCORE),
    "adversarial": (ANSWER, "try", "referee"),
    "star": ("hint",),
    "refine": ("feedback", "refine"),
    "judge": ("judge",),
}
"""Strategy to the stages that it cannot do without. Those that are not here do with `main` alone."""
PARSERS: Mapping[str, Mapping[str, str]] = {
    "demonstrations": {SCORE: "score"},
    "self-instruct": {"classify": "choice"},
    "each": {SCORE: "score"},
    "pairs": {SCORE: "score"},
    "evolve": {"equal": "choice", SCORE: "score"},
    "single": {SCORE: "score"},
    "fragments": {SCORE: "score"},
    "raw": {SCORE: "score"},
    "backtranslation": {SCORE: "score"},
    "tools": {"calls": "json", "judge": "choice"},
    "agent": {"act": "json"},
    "compare": {"judge": "choice"},
    "critique": {"critique": "text", "revise": "text"},
    "rate": {"judge": "score"},
    "rubric": {"judge": "score"},
    "best-of-n": {"judge": "score"},
    "moderate": {"judge": "choice"},
    "instruct": {"classify": "choice"},
    "self-reward": {SCORE: "score"},
    "adversarial": {"referee": "score", SCORE: "score"},
    "rest": {"judge": "score"},
    "judge": {"judge": "score"},
    "refine": {"feedback": "choice"},
}
"""Strategy to stages, and the one parser that gives what the strategy reads there, where the recipe has the stage."""
LISTS: Mapping[str, tuple[str, ...]] = {"recommendation": ("candidates",)}
"""Strategy to the columns that every seed must have, each a list of texts."""
OWN_Y: frozenset[str] = frozenset(
    {"self-instruct", "instruct", "backtranslation", "document-query", "dialogue", "roleplay", "tools", "agent"}
)
"""Strategies whose y is neither the reply of the stage `answer` nor a part of x as the teacher wrote it."""

SHOWN: frozenset[str] = frozenset(
    {"affix", "asked", "aspect", "gold", "critique", "error", "feedback", "format", "meaning", "principle", "response"}
    | {"steps"}
)
"""Texts that strategies over students' answers show to templates, beside `answers` and `mark`."""
SETTINGS: Mapping[str, frozenset[str]] = {
    "": frozenset({"rationale", "na", "pairs", "margin", "threshold"}),
    "compare": frozenset({"soft", "pairs_asked"}),
    "contrast": frozenset({"positive", "negative"}),
    "critique": frozenset({"principles", "rounds"}),
    "correct": frozenset({"show_gold"}),
    "steps": frozenset({"completions", "estimate", "enough", "most_steps"}),
    "rate": frozenset({"aspects", "least_aspects"}),
    "moderate": frozenset({"principles", "sense"}),
    "majority": frozenset({"waves", "rule", "agreement"}),
    "consistency": frozenset({"formats", "agreement"}),
    "star": frozenset({"markers"}),
    "rest": frozenset({"thresholds", "keep"}),
    "refine": frozenset({"rounds"}),
}
"""Strategy over students' answers to the settings that it reads, so that a template need not; "" is all of them."""


def lacking(recipe: Recipe) -> Iterator[str]:
    """What the recipe's strategy needs and the recipe doesn't have, each a line for a person."""
    who = f"the strategy {recipe.strategy} needs"
    for stage in STAGES.get(recipe.strategy, ()):
        if stage not in recipe.stages:
            yield f"{who} the stage {stage}: add a block {stage}, and {stage}: {{parser: …}} under `stages`"
    for stage, parser in PARSERS.get(recipe.strategy, {}).items():
        if stage in recipe.stages and recipe.stages[stage].parser.name != parser:
            has = recipe.stages[stage].parser.name
            yield f"{who} the parser {parser} in the stage {stage}, which has the parser {has}"
    for column in LISTS.get(recipe.strategy, ()):
        if column not in recipe.lists:
            yield f"{who} the column {column}: add {column}: list under `columns`"


def require(recipe: Recipe) -> None:
    """Raises UsageError where the recipe lacks what its strategy needs."""
    problem = next(lacking(recipe), "")
    if problem:
        raise UsageError(f"{recipe.path}: {problem}.")


def fields_of_x(recipe: Recipe) -> tuple[str, ...]:
    """The fields that x must bring because the record is made of them and nothing else writes y."""
    if recipe.strategy in OWN_Y or ANSWER in recipe.stages:
        return ()
    fields = [*recipe.record.completion.values(), recipe.record.answer]
    return tuple(dict.fromkeys(name for name in fields if name))

"""Contracts: the columns that trainers want, and what may stand in them, as data.

After TRL 1.16, except `stepwise` (TRL up to 1.13, Axolotl) and the list-wise losses `rrhf` and `pro`, which TRL has
not: their repositories call the same columns by other names. Columns that a contract does not name are the trainer's
to ignore. Knows no files, and not how a record came to be.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from distill_data.data.items import Record
from distill_data.errors import UsageError
from distill_data.formats.checks import (
    BOOL,
    BOOLS,
    REAL,
    REALS,
    SEVERAL_TEXTS,
    TEXT,
    TEXTS,
    Check,
    Relation,
    as_long,
    begin_alike,
    falls,
    messages,
    prompt,
    same_form,
    tools,
    turns,
)

EMPTY: Mapping[str, Any] = MappingProxyType({})


class Form(NamedTuple):
    """One set of columns that a trainer reads."""

    columns: Mapping[str, Check]
    relations: tuple[Relation, ...] = ()


class Contract(NamedTuple):
    """What a trainer reads."""

    forms: tuple[Form, ...]
    """Of these the first whose columns are all there counts, else the very first."""
    optional: Mapping[str, Check] = EMPTY
    """Columns that are read where they are there."""
    barred: Mapping[str, str] = EMPTY
    """Columns that may not be there, with the reason."""


# -- trainers ----------------------------------------------------------------------------------------------------------

PROMPT_COMPLETION = Form({"prompt": prompt, "completion": turns}, (same_form("prompt", "completion"),))
PREFERENCE = Form({"prompt": prompt, "chosen": turns, "rejected": turns}, (same_form("prompt", "chosen", "rejected"),))
WHOLE = Form({"chosen": turns, "rejected": turns}, (same_form("chosen", "rejected"),))
IMPLICIT = WHOLE._replace(relations=(*WHOLE.relations, begin_alike("chosen", "rejected")))
UNPAIRED = Form({**PROMPT_COMPLETION.columns, "label": BOOL}, PROMPT_COMPLETION.relations)
RANKED = Form({"prompt": prompt, "responses": SEVERAL_TEXTS, "scores": REALS}, (as_long("responses", "scores"),))
STEPS = Form({"prompt": TEXT, "completions": TEXTS, "labels": BOOLS}, (as_long("completions", "labels"),))
TOOLS: Mapping[str, Check] = {"tools": tools}
GRPO_KEYWORDS = ("prompts", "completions", "trainer_state", "log_extra", "log_metric")
TAKEN = "GRPO hands every column to the reward functions by its name, and this name is its own"

CONTRACTS: dict[str, Contract] = {
    "sft": Contract((PROMPT_COMPLETION, Form({"messages": messages}), Form({"text": TEXT})), TOOLS),
    "dpo": Contract((PREFERENCE, IMPLICIT), TOOLS),
    "kto": Contract((UNPAIRED, PREFERENCE, IMPLICIT), TOOLS),
    "reward": Contract((PREFERENCE, WHOLE), {**TOOLS, "margin": REAL}),
    "grpo": Contract((Form({"prompt": prompt}),), TOOLS, dict.fromkeys(GRPO_KEYWORDS, TAKEN)),
    "rrhf": Contract((RANKED,)),
    "pro": Contract((RANKED._replace(relations=(*RANKED.relations, falls("scores"))),)),
    "stepwise": Contract((STEPS,)),
}
"""Trainer to what it reads."""
TRAINERS: dict[str, tuple[str, ...]] = {
    "sft": ("sft", "grpo"),
    "preference": ("dpo", "kto", "reward", "grpo"),
    "unpaired": ("kto", "grpo"),
    "ranked": ("rrhf", "pro", "grpo"),
    "steps": ("stepwise",),
    "critique": ("sft", "grpo"),
    "logits": ("sft", "grpo"),
    "hidden": ("sft", "grpo"),
    "attention": ("sft", "grpo"),
    "relations": ("sft", "grpo"),
    "triple": (),
    "prompt": ("grpo",),
}
"""Kind of record to the trainers that read its file as it is; side files are left aside, and raw text is no chat."""


def faults(record: Record, trainer: str) -> list[str]:
    """What keeps a trainer from reading a record, each as `column: reason`; empty where nothing does.

    Raises UsageError for a trainer without a contract.
    """
    if trainer not in CONTRACTS:
        raise UsageError(f"there is no contract of a trainer {trainer!r}; there are {', '.join(CONTRACTS)}.")
    return [f"{name}: {reason}" for name, reason in breaches(record, CONTRACTS[trainer])]


def breaches(record: Record, contract: Contract) -> list[tuple[str, str]]:
    """Where a record is not as a contract says: each column with the reason."""
    form, columns = contract.forms[0], record.keys()
    if not form.columns.keys() <= columns:
        form = next((other for other in contract.forms[1:] if other.columns.keys() <= columns), form)
    found = [(name, reason) for name, reason in contract.barred.items() if name in record]
    for name, check in form.columns.items():
        fault = check(record[name]) if name in record else "is missing"
        if fault:
            found.append((name, fault))
    for name, check in contract.optional.items():
        fault = check(record[name]) if name in record else ""
        if fault:
            found.append((name, fault))
    if not found and form.relations:
        found = [each for relation in form.relations for each in relation(record)]
    return found
